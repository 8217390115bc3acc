"""What a model costs: parameters, and multiply-accumulates of one forward pass."""

from __future__ import annotations

import torch
from torch import nn

from emozoo.data.sampling import NOMINAL_FRAMES
from emozoo.model import EmotionModel
from emozoo.recipe import ModelConfig


def count_parameters(model: nn.Module) -> int:
    """Return how many values all parameters hold."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(config: ModelConfig) -> int:
    """Return the multiply-accumulates of one image (1, C, crop, crop), counted on the meta device.

    For a model that samples videos: of one video of 105 frames, sampled as in testing. Convolutions, linear layers and
    attention are counted, normalisation and activations are not.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        model = EmotionModel(config).eval()
        image = torch.empty(1, *input_shape(config))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    return counter.get_total_flops() // 2


def input_shape(config: ModelConfig) -> tuple[int, ...]:
    """Return the shape of one sample's input in testing: (C, crop, crop), or (clips, frames, C, crop, crop)."""
    shape = config.preprocess
    frames = () if config.sampling is None else config.sampling.sample(NOMINAL_FRAMES).index.shape
    return (*frames, shape.channels, shape.crop, shape.crop)
