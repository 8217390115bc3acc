"""What the tests of video aggregators have in common: plain numpy helpers and made-up masks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

RGB = {"colour": "rgb", "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
"""Preprocessing of colour frames; the models here are given tensors, so only the channels matter."""


def randomised(module: nn.Module) -> nn.Module:
    """Give every parameter a value that matters: fresh biases and norms hide errors. In evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    return module.eval()


def numbers(module: nn.Module) -> dict[str, np.ndarray]:
    """The parameters in float64, by name."""
    return {name: value.detach().double().numpy() for name, value in module.named_parameters()}


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


def holey_mask(*shape: int, seed: int = 0) -> Tensor:
    """A random mask (B, clips, frames) with holes anywhere, at least one empty clip and no empty video."""
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.6
    mask[:, 0, 1] = True
    mask[0, -1] = False
    return mask
