"""Emotion-rich clips: which clip of a video shows its expression, and how often a model's weights point at it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from emozoo.errors import ContractError
from emozoo.evaluation.metrics import Array, paired_difference


def true_clip(start: int, stop: int, index: ArrayLike) -> int:
    """Return the clip that shows most of the expression in the frames [start, stop).

    It is the one with the most frames there, a frame that it shows twice counting once; of several, the one whose
    frames lie nearest the middle of the expression, on average; and of several of those, the first.

    Args:
        start: first frame of the expression.
        stop: the frame after its last.
        index: (clips, frames), the frames that each clip shows, as a sampler gives them in testing.

    Raises:
        ContractError: no clip shows any of it, or the index has another shape.
    """
    clips = np.asarray(index)
    if clips.ndim != 2 or not clips.size:
        raise ContractError(f"the frames of clips must have the shape (clips, frames), not {clips.shape}")
    shown = [len({frame for frame in clip if start <= frame < stop}) for clip in clips.tolist()]
    if not max(shown):
        raise ContractError(f"none of the {len(clips)} clips shows any of the frames {start} to {stop - 1}")
    away = np.abs(clips.mean(1) - (start + stop - 1) / 2)
    return min(range(len(clips)), key=lambda clip: (-shown[clip], away[clip]))


def location_accuracy(clip_weights: ArrayLike, truth: ArrayLike, *, resamples: int = 1000) -> dict[str, Any]:
    """Measure how often the clip of the greatest weight is the true one (Liu et al. 2022, section 4.3.2).

    Where k clips share the greatest weight and the true one is among them, that counts 1 / k, as picking one of
    them by lot would on average: constant weights score exactly chance.

    Args:
        clip_weights: (N, clips), such as CEFLNet's activation map.
        truth: (N,) indices of the true clips.
        resamples: bootstrap resamples for the 95 % percentile interval, over videos; 0 for none.

    Returns:
        {"n", "value", "interval", "chance": 1 / clips, "majority": the share of the most frequent true clip,
        "activation": for each true clip the mean weight of each clip, None where no video has that true clip}.

    Raises:
        ContractError: shapes disagree, a weight is not finite, or a truth is not a clip.
    """
    weights, clips = _checked(clip_weights, truth)
    best = weights == weights.max(1, keepdims=True)
    hits = best[np.arange(len(clips)), clips] / best.sum(1)
    mean = paired_difference(hits, np.zeros_like(hits), resamples=resamples)
    majority = float(np.bincount(clips).max() / len(clips)) if len(clips) else None
    activation = [
        weights[clips == clip].mean(0).tolist() if (clips == clip).any() else None
        for clip in range(weights.shape[1])
    ]
    return {**mean, "chance": 1 / weights.shape[1], "majority": majority, "activation": activation}


def _checked(clip_weights: ArrayLike, truth: ArrayLike) -> tuple[Array, Any]:
    weights, clips = np.asarray(clip_weights, np.float64), np.asarray(truth)
    if weights.ndim != 2 or not weights.shape[1] or clips.shape != weights.shape[:1]:
        raise ContractError(
            f"weights must have the shape (videos, clips) and the truth (videos,), not {weights.shape} and "
            f"{clips.shape}"
        )
    if not np.isfinite(weights).all():
        raise ContractError("a clip weight is not finite: leave out videos that have no weights")
    clips = clips.astype(np.int64)
    if len(clips) and not 0 <= clips.min() <= clips.max() < weights.shape[1]:
        raise ContractError(
            f"true clips must be from 0 to {weights.shape[1] - 1}; they are {clips.min()} to {clips.max()}"
        )
    return weights, clips
