"""How accuracy depends on the picture: brightness, contrast, sharpness, a quarter of the samples each; faces' size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from emozoo.data.media import Images
from emozoo.data.samples import Samples
from emozoo.errors import DataError
from emozoo.evaluation.metrics import paired_difference

FEWEST = 100
"""Samples below which quarters say nothing."""


def accuracy_by_quality(logits: Tensor, samples: Samples, *, resamples: int = 1000) -> list[dict[str, Any]]:
    """Measure accuracy on the darkest quarter of the images, the next, ..., and so for contrast and sharpness.

    Brightness is the mean of the pixels and contrast their standard deviation, both from 0 to 255; sharpness is the
    variance of the discrete Laplacian. Quarters are those of the labelled samples.

    Args:
        logits: (N, C), of a classification head.
        samples: images in memory; nothing is measured of others.
        resamples: bootstrap resamples for the 95 % intervals.

    Returns:
        A list of {"by", "quarter" (1 to 4), "low", "high", "n", "accuracy": {"value", "interval"}}.
    """
    category = samples.targets.category.cpu()
    known = category >= 0
    media = samples.media
    pixels = media.pixels if isinstance(media, Images) else None
    if pixels is None or int(known.sum()) < FEWEST:
        return []
    hits = (logits.argmax(1) == category)[known].double().numpy()
    rows = []
    for name, values in _qualities(pixels[known.to(pixels.device)]).items():
        edges = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
        quarter = np.clip(np.searchsorted(edges, values, side="right"), 1, 4)
        for number in range(1, 5):
            part = hits[quarter == number]
            measured = paired_difference(part, np.zeros_like(part), resamples=resamples)
            rows.append(
                {
                    "by": name,
                    "quarter": number,
                    "low": float(edges[number - 1]),
                    "high": float(edges[number]),
                    "n": len(part),
                    "accuracy": {key: measured[key] for key in ("value", "interval")},
                }
            )
    return rows


def smaller_faces(samples: Samples, size: int) -> Samples:
    """Return the samples as they would be had each face been `size` pixels wide: averaged down and enlarged again.

    Raises:
        DataError: they are no images in memory, or those are not wider than that.
    """
    media = samples.media
    if not isinstance(media, Images) or media.pixels is None or media.features is not None:
        raise DataError("a face size is for images that fit in memory, not for videos")
    pixels = media.pixels
    side = pixels.shape[-1]
    if not 1 <= size < side:
        raise DataError(
            f"a face size must be from 1 to {side - 1}: the model sees {side} pixels; it is {size}"
        )
    parts = []
    for part in pixels.split(1024):
        small = F.interpolate(part.float(), size=(size, size), mode="area")
        parts.append(F.interpolate(small, size=(side, side), mode="bilinear").round().to(torch.uint8))
    return replace(samples, media=replace(media, pixels=torch.cat(parts)))


def _qualities(pixels: Tensor) -> dict[str, np.ndarray]:
    """Return brightness, contrast and sharpness of uint8 (N, C, size, size), each (N,)."""
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    found: dict[str, list[Tensor]] = {"brightness": [], "contrast": [], "sharpness": []}
    for part in pixels.cpu().split(1024):
        grey = part.float().mean(1, keepdim=True)
        found["brightness"].append(grey.mean((1, 2, 3)))
        found["contrast"].append(grey.std((1, 2, 3)))
        found["sharpness"].append(F.conv2d(grey, kernel).var((1, 2, 3)))
    return {name: torch.cat(values).double().numpy() for name, values in found.items()}
