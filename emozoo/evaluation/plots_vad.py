"""Pictures of valence, arousal and dominance in one space, and of how they agree with the category."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from emozoo.evaluation import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 10
"""Equal bins of the calibration of violations."""


def vad_space(
    path: Path,
    predicted: ArrayLike,
    target: ArrayLike,
    dimensions: Sequence[str],
    category: ArrayLike,
    labels: Sequence[str],
    *,
    prototypes: ArrayLike | None = None,
    title: str = "",
) -> None:
    """Draw predicted values, the categories' means and their published places, in 3-D and as three projections.

    Args:
        path: the PNG file.
        predicted: (N, 3) in [-1, 1].
        target: (N, 3) in [-1, 1], NaN where missing; samples without all three are left out.
        dimensions: names of the three columns.
        category: (N,) indices into `labels`, -1 where unknown.
        labels: names of the categories.
        prototypes: (C, 3), where a category should lie; NaN where nobody says.
        title: a heading.
    """
    true = np.asarray(target, dtype=float)
    known = ~np.isnan(true).any(1)
    values, true, index = np.asarray(predicted, dtype=float)[known], true[known], np.asarray(category)[known]
    groups = plots.category_groups(index, labels, len(values))
    places = np.full((len(labels), 3), np.nan) if prototypes is None else np.asarray(prototypes, dtype=float)
    with plots.picture(path, (11.2, 9.4)) as figure:
        grid = figure.add_gridspec(2, 2, wspace=0.12)  # room for the label of the third axis of space
        space = figure.add_subplot(grid[0, 0], projection="3d")
        space.view_init(elev=18, azim=-60)
        _draw(space, groups, values, true, dict(zip(labels, places, strict=True)), [0, 1, 2])
        scale = {
            f"{axis}{what}": value
            for axis in "xyz"
            for what, value in (("lim", (-1, 1)), ("ticks", (-1, 0, 1)))
        }
        space.set(**scale, **{f"{axis}label": name for axis, name in zip("xyz", dimensions, strict=True)})
        for number, (x, y) in enumerate(combinations(range(3), 2), 2):
            axes = figure.add_subplot(grid[divmod(number - 1, 2)])
            axes.axhline(0, color="#a0a0a0", linewidth=1)
            axes.axvline(0, color="#a0a0a0", linewidth=1)
            _draw(axes, groups, values, true, dict(zip(labels, places, strict=True)), [x, y])
            axes.set(**plots.canonical_axes(1.1), xlabel=dimensions[x], ylabel=dimensions[y])
        plots.category_legend(figure, groups)
        figure.suptitle(title, x=0.01, ha="left")
        ring = "" if prototypes is None else " ring: published norm;"
        about = f"small: predicted; large: mean of the annotations;{ring} line: to the mean prediction"
        figure.text(0.01, -0.015, about, fontsize=9)


def _draw(
    axes: Axes,
    groups: Sequence[tuple[str, str, str, Any]],
    values: np.ndarray,
    true: np.ndarray,
    places: Mapping[str, np.ndarray],
    columns: list[int],
) -> None:
    """Draw each group's predictions, the mean of its annotations with a line to theirs, and its published place."""
    for name, colour, marker, rows in groups:
        axes.scatter(*values[rows][:, columns].T, s=14, alpha=0.55, linewidths=0, color=colour, marker=marker)
        means = np.stack([values[rows].mean(0), true[rows].mean(0)])[:, columns]
        axes.plot(*means.T, color=colour, linewidth=1.2)
        axes.scatter(
            *means[1:].T, s=120, color=colour, marker=marker, edgecolor="white", linewidth=1.2, zorder=3
        )
        place = places.get(name)
        if place is not None and not np.isnan(place).any():
            ring = place[None, columns].T
            axes.scatter(
                *ring, s=170, facecolor="none", edgecolor=colour, marker="o", linewidth=1.6, zorder=3
            )


def violation_calibration(path: Path, expected: ArrayLike, violated: ArrayLike, *, title: str = "") -> None:
    """Draw how often predicted values contradict the true category, against how likely the model held that to be.

    Args:
        path: the PNG file.
        expected: (N,) the probability, under the predicted class probabilities, that values contradict the category.
        violated: (N,) whether they contradict the true one.
        title: a heading.
    """
    x, y = np.asarray(expected, dtype=float).ravel(), np.asarray(violated, dtype=float).ravel()
    bins = np.minimum((x * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    filled = counts > 0
    held, seen = (np.bincount(bins, v, BINS)[filled] / counts[filled] for v in (x, y))
    gap = float((np.abs(held - seen) * counts[filled]).sum() / max(len(x), 1))
    with plots.picture(path, (4.6, 5.2)) as figure:
        top, bottom = figure.subplots(2, 1, height_ratios=(3.2, 1), sharex=True)
        top.plot([0, 1], [0, 1], color="#2b2b2b", linewidth=1, linestyle="--", label="calibrated")
        name = f"mean gap {gap:.3f}; expected {x.mean():.1%}, found {y.mean():.1%}"
        top.plot(held, seen, color=plots.COLOURS[1], marker="s", label=name)
        top.set(ylim=(0, 1), ylabel="share that contradicts the true category", title=title)
        top.legend(fontsize=8, loc="lower right", framealpha=1)
        bottom.bar((np.arange(BINS) + 0.5) / BINS, counts / counts.sum(), 0.92 / BINS, color=plots.COLOURS[6])
        bottom.set(xlim=(0, 1), xlabel="expected share of contradictions", ylabel="values")
        bottom.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
