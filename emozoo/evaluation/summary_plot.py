"""The picture of several runs: figures against the one key that was varied, or variants side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emozoo.evaluation.plots import COLOURS, MARKERS, picture
from emozoo.evaluation.summary import Row, Run, figure_title
from emozoo.evaluation.tables import better_low, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = 3
"""Panels beside each other."""

_LOGARITHMIC = 30
"""Ratio of the largest to the smallest value of a key from which on its axis is logarithmic."""

_BASE = "#8a8a8a"
_RUN: Any = {"s": 13, "facecolor": "white", "linewidths": 0.8, "zorder": 4}


def draw_summary(
    path: Path, runs: Sequence[Run], rows: Sequence[Row], *,
    points: Mapping[str, Mapping[str, Any]], baseline: str | None = None, title: str = "",
) -> None:  # fmt: skip
    """Draw a panel for each figure: means, their intervals, and every run as a hollow dot.

    Where exactly one key of a grid is numeric, it is the x axis; the other keys make the curves, and variants
    beside the grid are level lines. Otherwise, and where a figure is of variants beside the grid alone, they stand
    below each other, the best of the first figure on top.

    Args:
        path: the PNG file.
        runs: the finished runs.
        rows: their summary.
        points: the values of the grid's keys by variant.
        baseline: a variant to mark.
        title: a heading.
    """
    panels = {row.metric: [r for r in rows if r.metric == row.metric] for row in rows}
    names = _order(next(iter(panels.values())), [row.variant for row in rows])
    key = numeric_key({name: points[name] for name in names if name in points})
    columns = min(PANELS, len(panels))
    lines = -(-len(panels) // columns)
    height = 3.5 if key else 1.1 + 0.3 * len(names)
    with picture(path, (4.4 * columns + 0.06 * max(map(len, names)) * (not key), height * lines)) as figure:
        grid = figure.subplots(lines, columns, squeeze=False, sharey=False if key else "row").ravel()
        for axes, (metric, found) in zip(grid, panels.items(), strict=False):
            axes.set_title(_wrapped(figure_title(metric)))
            dots = _dots(runs, metric)
            if key and any(key in points.get(row.variant, {}) for row in found):
                _curves(axes, found, dots, points, key)
            else:
                shown = _order(found, []) if key else names
                _side_by_side(axes, found, dots, shown, baseline)
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        handles, labels = max(
            (axes.get_legend_handles_labels() for axes in grid), key=lambda each: len(each[1])
        )
        if key and len(labels) > 1:
            figure.legend(handles, labels, loc="outside right center", fontsize=9)
        figure.suptitle(f"{title}: means with 95 % intervals", x=0.01, ha="left")


def numeric_key(points: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the one key of a grid that has two numeric values or more, if there is exactly one."""
    values: dict[str, list[Any]] = {}
    for point in points.values():
        for key, value in point.items():
            values.setdefault(key, []).append(value)
    numeric = [key for key, found in values.items() if all(map(_numeric, found)) and len(set(found)) > 1]
    return numeric[0] if len(numeric) == 1 else None


def _numeric(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _order(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """Return the variants with the best of the rows' figure first, and those that lack it last."""
    sign = 1 if better_low(_last(rows[0].metric)) else -1
    ranked = [row.variant for row in sorted(rows, key=lambda row: sign * row.estimate.mean)]
    return list(dict.fromkeys([*ranked, *names]))


def _last(metric: str) -> str:
    return metric.rpartition(".")[2]


def _dots(runs: Sequence[Run], metric: str) -> dict[str, list[float]]:
    dots: dict[str, list[float]] = {}
    for run in runs:
        value = run.figures.get(metric)
        if value is not None:
            dots.setdefault(run.variant, []).append(value)
    return dots


def _curves(
    axes: Axes, rows: Sequence[Row], dots: Mapping[str, list[float]],
    points: Mapping[str, Mapping[str, Any]], key: str,
) -> None:  # fmt: skip
    """Draw one curve for each combination of the other keys' values, and a level line for each other variant."""
    curves: dict[str, list[tuple[float, Row]]] = {}
    for row in rows:
        point = points.get(row.variant, {})
        if key in point:
            rest = {k: v for k, v in point.items() if k != key}
            words = [str(v) if len(rest) == 1 else f"{_last(k)} {v}" for k, v in rest.items()]
            curves.setdefault(", ".join(words), []).append((point[key], row))
    level = [row for row in rows if key not in points.get(row.variant, {})]
    for index, (name, curve) in enumerate(curves.items()):
        curve.sort(key=lambda item: item[0])
        x, means = np.transpose([(x, row.estimate.mean) for x, row in curve])
        style: Any = {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}
        reach = np.transpose([_reach(row) for _, row in curve])
        label = name or _last(key)
        axes.plot(x, means, **style, markersize=6, linewidth=1.6, label=label, zorder=5)
        if len(curves) == 1:
            axes.errorbar(x, means, reach, color=style["color"], fmt="none", capsize=3, linewidth=1.4)
            for value, row in curve:
                own = dots[row.variant]
                axes.scatter([value] * len(own), own, **_RUN, edgecolor=style["color"])
        else:  # bars and dots of several curves would hide each other
            axes.fill_between(
                x, means - reach[0], means + reach[1], color=style["color"], alpha=0.13, linewidth=0
            )
    for index, row in enumerate(level):
        colour = _BASE if len(level) == 1 else COLOURS[(len(curves) + index) % len(COLOURS)]
        axes.axhline(row.estimate.mean, color=colour, linestyle="--", linewidth=1.4, label=row.variant)
        if row.estimate.interval:
            axes.axhspan(*row.estimate.interval, color=colour, alpha=0.15, linewidth=0)
    _x_axis(axes, sorted({x for curve in curves.values() for x, _ in curve}), key)
    _percent(axes.yaxis, rows[0].metric)


def _x_axis(axes: Axes, values: Sequence[float], key: str) -> None:
    """Mark the values that were run, on a logarithmic axis where they span much."""
    if values[0] > 0 and values[-1] / values[0] >= _LOGARITHMIC:
        axes.set_xscale("log")
        axes.minorticks_off()
    if len(values) <= 10:
        axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.set_xlabel(key)


def _side_by_side(
    axes: Axes,
    rows: Sequence[Row],
    dots: Mapping[str, list[float]],
    names: Sequence[str],
    baseline: str | None,
) -> None:
    """Draw a line for each variant, the first name on top; a dashed line runs down from the baseline's mean."""
    for row in rows:
        y = names.index(row.variant)
        colour = _BASE if row.variant == baseline else COLOURS[0]
        reach = np.transpose([_reach(row)])
        axes.errorbar([row.estimate.mean], [y], xerr=reach, fmt="o", color=colour, markersize=6, capsize=3)
        own = dots[row.variant]
        axes.scatter(own, np.full(len(own), y + 0.25), **_RUN, edgecolor=colour)
        if row.variant == baseline:
            axes.axvline(row.estimate.mean, color=_BASE, linestyle="--", linewidth=1.2, zorder=1)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(False, axis="y")
    axes.locator_params(axis="x", nbins=6)
    _percent(axes.xaxis, rows[0].metric)


def _reach(row: Row) -> tuple[float, float]:
    """Return how far the interval reaches below and above the mean; nowhere without one."""
    low, high = row.estimate.interval or (row.estimate.mean, row.estimate.mean)
    return row.estimate.mean - low, high - row.estimate.mean


def _percent(axis: Any, metric: str) -> None:
    if number(_last(metric), 0.5).endswith("%"):
        axis.set_major_formatter(lambda share, _: f"{100 * share:g} %")


def _wrapped(title: str) -> str:
    """Break a long heading after "best on test: "."""
    before, colon, rest = title.partition(": ")
    return f"{before}:\n{rest}" if colon and len(title) > 40 else title
