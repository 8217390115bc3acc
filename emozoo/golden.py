"""Golden outputs: an input and what a model made of it, to tell whether it still does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from emozoo.data.sampling import NOMINAL_FRAMES
from emozoo.errors import CorruptModelError

if TYPE_CHECKING:
    from emozoo.model import EmotionModel

TOLERANCE = 1e-4
"""Largest difference, relative to the largest golden output of a head, that different machines may make."""


def golden(model: EmotionModel, images: Tensor | None = None) -> dict[str, Tensor]:
    """Return an input and what the model makes of it, on the CPU in single precision.

    Args:
        model: the model; it is where it was afterwards.
        images: uint8 images (N, C, size, size) or videos (N, clips, frames, C, size, size); noise where not given.

    Raises:
        CorruptModelError: the images are no input of this model.
    """
    config = model.preprocessor.config
    shape = (config.channels, config.size, config.size)
    if images is None:
        noise = np.random.default_rng(0).integers(0, 256, (*_leading(model), *shape), np.uint8)
        images = torch.from_numpy(noise)
    if images.dtype != torch.uint8 or tuple(images.shape[-3:]) != shape or not images.numel():
        raise CorruptModelError(
            f"the golden input is {images.dtype} {tuple(images.shape)}, not uint8 (N, {shape})"
        )
    if images.ndim != (4 if model.config.sampling is None else 6):
        raise CorruptModelError(
            f"the golden input has {images.ndim} axes; images have 4, videos, of a model that samples them, 6"
        )
    device = next(model.parameters()).device
    try:
        with torch.autocast("cpu", enabled=False):
            outputs = model.cpu().predict_outputs(images)
    finally:
        model.to(device)
    return {"input": images} | {f"output.{name}": value.clone() for name, value in outputs.items()}


def _leading(model: EmotionModel) -> tuple[int, ...]:
    """Return the axes before the pixels': two images, or a video of some frames, or of a clip for such a backbone."""
    if model.config.sampling is None:
        return (2,)
    if model.input_kind == "clips":
        return (1, 1, model.config.sampling.sample(NOMINAL_FRAMES).index.shape[1])
    return (1, 2, 3)


def difference(stored: Mapping[str, Tensor], computed: Mapping[str, Tensor]) -> float:
    """Return the largest difference between golden outputs, each relative to its head's largest.

    Raises:
        CorruptModelError: heads, shapes or types differ, a value is not finite, or one differs by more than
            `TOLERANCE`.
    """
    kinds = [
        {name: (value.dtype, tuple(value.shape)) for name, value in side.items()}
        for side in (stored, computed)
    ]
    if kinds[0] != kinds[1]:
        raise CorruptModelError(f"golden outputs are {kinds[0]}, the model gives {kinds[1]}")
    worst = 0.0
    for name in computed:
        old, new = stored[name].double(), computed[name].double()
        if not (old.isfinite().all() and new.isfinite().all()):
            raise CorruptModelError(f"golden {name} is not finite, as where training has diverged")
        worst = max(worst, float((old - new).abs().max()) / (float(old.abs().max()) or 1.0))
    if worst > TOLERANCE:
        raise CorruptModelError(f"golden outputs differ by {worst:.1e}, allowed is {TOLERANCE:.0e}")
    return worst
