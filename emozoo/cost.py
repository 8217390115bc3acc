"""What a model costs: parameters, and multiply-accumulates of one forward pass."""

from __future__ import annotations

import torch
from torch import nn

from emozoo.model import EmotionModel
from emozoo.recipe import ModelConfig


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable values."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(config: ModelConfig) -> int:
    """Return the multiply-accumulates of one image (1, C, crop, crop), counted on the meta device.

    Convolutions, linear layers and attention are counted, normalisation and activations are not.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        model = EmotionModel(config).eval()
        image = torch.empty(1, config.preprocess.channels, config.preprocess.crop, config.preprocess.crop)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    return counter.get_total_flops() // 2
