"""Pictures of results, as PNG files.

Drawn with matplotlib's Figure alone: pyplot would keep every figure alive and may look for a display. It is
imported when a picture is drawn. Colours follow Okabe & Ito (2008), so that colour-blind readers tell them
apart; every category has a marker of its own besides.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from emozoo.evaluation.metrics import vad_measure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A7A7A", "#B8A400")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")

_INK, _FAINT = "#2b2b2b", "#d0d0d0"
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": _INK,
    "text.parse_math": False,  # a label may hold a dollar sign
    "axes.labelcolor": _INK,
    "axes.edgecolor": "#8a8a8a",
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#ebebeb",
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "figure.titlesize": 12,
    "figure.titleweight": "bold",
    "figure.dpi": 130,
    "savefig.facecolor": "white",
}


def confusion_matrix(path: Path, confusion: ArrayLike, labels: Sequence[str], *, title: str = "") -> None:
    """Draw counts (C, C), a row for each true class; colour and percentage are shares of the row."""
    counts = np.asarray(confusion)
    support = counts.sum(1, keepdims=True)
    shares = counts / np.maximum(support, 1)
    side = 1.6 + 0.78 * len(labels)
    with picture(path, (side + 0.6, side)) as figure:

        def say(row: int, column: int) -> str:
            return f"{shares[row, column]:.0%}\n{counts[row, column]:,}" if support[row, 0] else ""

        axes, bar = _cells(figure, shares, say, top=1)
        axes.set_xticks(range(len(labels)), labels, rotation=35, ha="right", rotation_mode="anchor")
        axes.set_yticks(
            range(len(labels)), [f"{x}  ({n:,})" for x, n in zip(labels, support[:, 0], strict=True)]
        )
        axes.set(xlabel="predicted", ylabel="true (n)", title=title)
        bar.formatter = lambda share, _: f"{share:.0%}"
        bar.set_label("share of the true class")


def activation_map(
    path: Path, activation: Sequence[Sequence[float] | None], *, chance: float, title: str = ""
) -> None:
    """Draw the mean weight of each clip (clips, clips), a row for each true clip.

    Where a model finds the emotion-rich clip, the diagonal is dark; that of a model that weights all clips alike is
    the colour of `chance` throughout (Liu et al. 2022, Figure 6, of many videos).
    """
    clips = len(activation)
    weights = np.asarray([row or [np.nan] * clips for row in activation])
    side = 1.6 + 0.6 * clips
    with picture(path, (side + 0.8, side)) as figure:

        def say(row: int, column: int) -> str:
            return f"{weights[row, column]:.2f}" if activation[row] else ""

        axes, bar = _cells(figure, weights, say, top=max(np.nanmax(weights), 2 * chance))
        names = [f"{clip + 1}" for clip in range(clips)]
        axes.set_xticks(range(clips), names)
        axes.set_yticks(range(clips), names)
        axes.set(xlabel="clip", ylabel="clip that shows the expression", title=title)
        bar.set_label("mean weight of the clip")


def training_curves(
    path: Path,
    epochs: Sequence[Mapping[str, Any]],
    *,
    scores: Sequence[str] = ("accuracy",),
    best: int | None = None,
) -> None:
    """Draw a run, epoch by epoch: its losses, its scores and its learning rate.

    Args:
        path: the PNG file.
        epochs: one flat record an epoch with `epoch`, any keys that end in `loss`, the scores, and `lr`; a
            record may lack any but `epoch`.
        scores: keys of the metrics to draw.
        best: the epoch whose weights were kept, marked in every panel.
    """
    from matplotlib.ticker import MaxNLocator

    losses = list(dict.fromkeys(key for record in epochs for key in record if key.endswith("loss")))
    panels = {"loss": losses, "score": list(scores), "learning rate": ["lr"]}
    drawn = {
        name: keys for name, keys in panels.items() if any(k in record for record in epochs for k in keys)
    }
    with picture(path, (4.4 * max(len(drawn), 1), 3.4)) as figure:
        for index, (name, keys) in enumerate(drawn.items(), 1):
            axes = figure.add_subplot(1, len(drawn), index)
            for key, (colour, marker) in zip(keys, styles(), strict=False):
                points = [(record["epoch"], record[key]) for record in epochs if record.get(key) is not None]
                if points:
                    size = 4 if len(points) <= 30 else 0
                    axes.plot(
                        *zip(*points, strict=True), color=colour, marker=marker, markersize=size, label=key
                    )
            if best is not None:
                axes.axvline(best, color=_INK, linewidth=1, linestyle=":", label=f"kept: epoch {best}")
            axes.set(xlabel="epoch", title=name)
            few = min(2, len(epochs))  # it would rather show parts of an epoch than fewer ticks
            axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=few))
            axes.legend(fontsize=8)


def vad_scatter(
    path: Path,
    predicted: ArrayLike,
    target: ArrayLike,
    dimensions: Sequence[str],
    *,
    category: ArrayLike | None = None,
    labels: Sequence[str] = (),
    title: str = "",
) -> None:
    """Draw predicted against true values (N, d), a panel for each dimension, with its CCC and n.

    Args:
        path: the PNG file.
        predicted: (N, d) in [-1, 1].
        target: (N, d) in [-1, 1], NaN where missing.
        dimensions: names of the d columns.
        category: (N,) indices into `labels` that colour the samples, -1 where unknown.
        labels: names of the categories.
        title: a heading.
    """
    x, y = np.asarray(target, dtype=float), np.asarray(predicted, dtype=float)
    measure = vad_measure(y, x, dimensions)
    groups = category_groups(category, labels, len(x))
    with picture(path, (3.5 * len(dimensions) + 1.4, 4.1)) as figure:
        for index, dimension in enumerate(dimensions):
            axes = figure.add_subplot(1, len(dimensions), index + 1)
            axes.plot([-1, 1], [-1, 1], color=_INK, linewidth=1, linestyle="--", zorder=1)
            for _, colour, marker, rows in groups:
                axes.scatter(x[rows, index], y[rows, index], **_dots(len(x)), color=colour, marker=marker)
            ccc, n = measure["metrics"][f"{dimension}_ccc"]["value"], measure["dimensions"][dimension]
            axes.set_title(f"{dimension}: CCC {'undefined' if ccc is None else f'{ccc:.2f}'}, n = {n:,}")
            axes.set(**canonical_axes(1.06), xlabel="true", ylabel="predicted")
        category_legend(figure, groups)
        figure.suptitle(title, x=0.01, ha="left")


def embedding(
    path: Path, places: ArrayLike, category: ArrayLike, labels: Sequence[str], *, title: str = ""
) -> None:
    """Draw points (N, 2) of a map without a scale, such as t-SNE's, by category (N,), -1 where unknown."""
    points = np.asarray(places, dtype=float)
    groups = category_groups(category, labels, len(points))
    with picture(path, (7.4, 5.6)) as figure:
        axes = figure.add_subplot()
        for _, colour, marker, rows in groups:
            axes.scatter(*points[rows].T, **_dots(len(points)), color=colour, marker=marker)
        axes.set(xticks=[], yticks=[], aspect="equal")
        category_legend(figure, groups)
        figure.suptitle(title, x=0.01, ha="left")


def reliability_diagram(
    path: Path, bins: Sequence[Mapping[str, Any]], *, ece: float | None = None, title: str = ""
) -> None:
    """Draw accuracy against confidence, from the `reliability` of a classification measure."""
    filled = [row for row in bins if row["n"]]
    centres = [(row["low"] + row["high"]) / 2 for row in filled]
    width = (bins[0]["high"] - bins[0]["low"]) * 0.92
    n = sum(row["n"] for row in filled)
    with picture(path, (4.6, 5.2)) as figure:
        top, bottom = figure.subplots(2, 1, height_ratios=(3.2, 1), sharex=True)
        top.plot([0, 1], [0, 1], color=_INK, linewidth=1, linestyle="--", label="calibrated")
        confidence, accuracy = ([row[key] for row in filled] for key in ("confidence", "accuracy"))
        name = "model" if ece is None else f"model, ECE {ece:.3f}"
        top.plot(confidence, accuracy, color=COLOURS[0], marker="o", label=name)
        top.set(ylim=(0, 1), ylabel="accuracy", title=title)
        top.legend(fontsize=8, loc="upper left")
        bottom.bar(centres, [row["n"] / n for row in filled], width, color=COLOURS[6])
        bottom.set(xlim=(0, 1), xlabel="confidence", ylabel="samples")
        bottom.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")


def face_grid(
    path: Path,
    images: ArrayLike,
    captions: Sequence[str],
    *,
    correct: Sequence[bool | None] | None = None,
    title: str = "",
) -> None:
    """Draw uint8 images (N, H, W) or (N, C, H, W), C being 1 or 3, each with its caption, eight in a row.

    `correct` frames an image in blue where True and in orange where False.
    """
    pixels = np.asarray(images)
    if pixels.ndim == 4:
        pixels = pixels[:, 0] if pixels.shape[1] == 1 else np.moveaxis(pixels, 1, -1)
    marks = correct or [None] * len(pixels)
    columns, rows = 8, -(-len(pixels) // 8)
    lines = max(caption.count("\n") + 1 for caption in captions)
    with picture(path, (1.35 * columns, (1.35 + 0.17 * lines) * rows + 0.4)) as figure:
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid:
            axes.set_axis_off()
        for axes, image, caption, mark in zip(grid, pixels, captions, marks, strict=False):
            axes.set_axis_on()
            axes.imshow(image, cmap="gray", vmin=0, vmax=255)
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            colour = _FAINT if mark is None else COLOURS[0] if mark else COLOURS[1]
            axes.spines[:].set(visible=True, color=colour, linewidth=1 if mark is None else 3)
            axes.set_xlabel(caption, fontsize=8, labelpad=3)
        figure.suptitle(title, x=0.01, ha="left")


@contextmanager
def picture(path: Path, size: tuple[float, float]) -> Generator[Figure]:
    """Give a figure in the house style, and write it as PNG at the end."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        yield figure
        # Without the version of matplotlib in it, the same picture is the same file.
        figure.savefig(path, format="png", metadata={"Software": None}, bbox_inches="tight", pad_inches=0.15)


def category_groups(
    category: ArrayLike | None, labels: Sequence[str], n: int
) -> list[tuple[str, str, str, Any]]:
    """Return (name, colour, marker, rows) of each category that occurs, the unknown one first."""
    index = np.full(n, -1) if category is None else np.asarray(category)
    found = [
        (f"{name}", *style, index == i) for i, (name, style) in enumerate(zip(labels, styles(), strict=False))
    ]
    rest = ("", _FAINT if labels else COLOURS[0], "o", (index < 0) | (index >= len(labels)))
    return [group for group in (rest, *found) if group[3].any()]


def styles() -> Iterator[tuple[str, str]]:
    """Return colour and marker of one thing after another; forty go by before a pair comes again."""
    return zip(cycle(COLOURS), cycle(MARKERS), strict=False)


def _dots(n: int) -> dict[str, Any]:
    """Size and opacity of n points: many points are small and let each other through."""
    n = max(n, 1)
    return {"s": np.clip(9000 / n, 9, 36), "alpha": np.clip(600 / n, 0.35, 0.85), "linewidths": 0}


def canonical_axes(limit: float) -> dict[str, Any]:
    """Both axes on the scale [-1, 1], with some room around it."""
    ticks, limits = (-1, -0.5, 0, 0.5, 1), (-limit, limit)
    return {"xticks": ticks, "yticks": ticks, "xlim": limits, "ylim": limits, "aspect": "equal"}


def category_legend(figure: Figure, groups: Sequence[tuple[str, str, str, Any]]) -> None:
    """Name the categories beside the panels, with markers that can be seen however faint the dots are."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="", color=colour, marker=marker, markersize=7, label=name)
        for name, colour, marker, _ in groups
        if name
    ]
    if handles:
        figure.legend(handles=handles, loc="outside right center", fontsize=9)


def _cells(
    figure: Figure, values: np.ndarray, say: Callable[[int, int], str], *, top: float
) -> tuple[Any, Any]:
    """Draw a matrix from white (0) to blue (`top`), saying something in each cell; return its axes and colour bar."""
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap="Blues", vmin=0, vmax=top)
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for (row, column), value in np.ndenumerate(values):
        colour = _on_blue(value / top)
        axes.text(column, row, say(row, column), ha="center", va="center", fontsize=8, color=colour)
    bar: Any = figure.colorbar(image, ax=axes, shrink=0.75)
    bar.outline.set_visible(False)
    return axes, bar


def _on_blue(share: Any) -> str:
    """Colour of text that is read on a cell of this share."""
    return "white" if share > 0.55 else _INK
