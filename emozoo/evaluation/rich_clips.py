"""Emotion-rich clips: which clip of a video shows its expression, and how often a model's weights point at it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from emozoo.errors import ContractError
from emozoo.evaluation.metrics import Array, paired_difference


def true_clip(start: int, stop: int, index: ArrayLike, mask: ArrayLike | None = None) -> int | None:
    """Return the clip that shows most of the expression in the frames [start, stop); None where none shows any.

    It is the one with the most frames there, a frame that it shows twice counting once; of several, the one whose
    frames lie nearest the middle of the expression, on average; and of several of those, the first.

    Args:
        start: first frame of the expression.
        stop: the frame after its last.
        index: (clips, frames), the frames that each clip shows, as a sampler gives them in testing.
        mask: (clips, frames), which of them are no padding; all, if not given.

    Raises:
        ContractError: the index has another shape.
    """
    clips = np.asarray(index)
    if clips.ndim != 2 or not clips.size:
        raise ContractError(f"the frames of clips must have the shape (clips, frames), not {clips.shape}")
    there = np.ones(clips.shape, bool) if mask is None else np.asarray(mask)
    frames = [clip[real] for clip, real in zip(clips, there, strict=True)]
    shown = [len(np.unique(clip[(start <= clip) & (clip < stop)])) for clip in frames]
    if not max(shown):
        return None
    middle = (start + stop - 1) / 2
    best = [number for number, count in enumerate(shown) if count == max(shown)]
    return min(best, key=lambda number: abs(frames[number].mean() - middle))


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
