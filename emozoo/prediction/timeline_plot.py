"""The picture of a timeline: frames, emotional activation map, probabilities and dimensions over time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, cycle, pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from emozoo.data.video import FrameStream
from emozoo.evaluation.plots import COLOURS, MARKERS, picture
from emozoo.labels import DIMENSIONS
from emozoo.prediction.faces import crop_face
from emozoo.prediction.timeline import Clip, Timeline, Track, Window

FACES = 3
"""Faces that are drawn: those that are seen most."""

SLOTS, SIDE = 12, 144
"""Frames that are shown of a face, and their side in pixels."""

MARKED = 16
"""Windows up to which the located clip of each is marked; of more, the one that stands out most."""

_LOCATED = "#E8751A"
_Cell = tuple[float, float, float]
"""Start and end in seconds, and an intensity, where 1 is an even share."""


def draw_timeline(path: Path, timeline: Timeline) -> None:
    """Draw what a model says of a video, for each of the faces that are seen most.

    Each has a row of frames; the activation map, darker where the model finds more of the expression, with the located
    clips framed as the frames of them are (CEFLNet, Figure 6), of models that weigh clips or frames; the probabilities
    of the categories; and the dimensions.

    Args:
        path: the PNG file.
        timeline: of a video, which must still lie where it was.

    Raises:
        DataError: the video cannot be read any more.
    """
    tracks = sorted(timeline.tracks, key=lambda track: -len(track.index))[:FACES]
    shown = [_moments(track) for track in tracks]
    crops = _crops(timeline, tracks, shown)
    panels = [_panels(track) for track in tracks]
    heights = [sum(rows.values()) for rows in panels] or [0.6]
    with picture(path, (11.5, sum(heights) + 0.5 * len(heights) + 0.3)) as figure:
        figure.suptitle(f"{Path(timeline.source).name}, {timeline.seconds:.1f} s", x=0.01, ha="left")
        parts: Any = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        if not tracks:
            parts[0].text(0.01, 0.5, "no face found")
        for part, track, rows, own in zip(parts, tracks, panels, crops, strict=False):
            _draw_track(part, track, rows, own, timeline.labels)
        if len(timeline.tracks) > len(tracks):
            figure.supxlabel(f"and {len(timeline.tracks) - len(tracks)} more, not seen longer", fontsize=9)


def activation(window: Window) -> list[_Cell]:
    """Return how a window's weights lie in time: of its clips, or else of its frames; 1 is an even share.

    A frame that several clips show has the mean of its weights.
    """
    if window.clips:
        mean = sum(clip.intensity for clip in window.clips) / len(window.clips)
        return [(clip.start, clip.end, clip.intensity / mean) for clip in window.clips if mean]
    if window.frame_weights is None:
        return []
    weights: dict[float, list[float]] = {}
    for time, weight in zip(chain(*window.times), chain(*window.frame_weights), strict=True):
        weights.setdefault(time, []).append(weight)
    times, means = sorted(weights), [fmean(weights[time]) for time in sorted(weights)]
    edges, mean = [times[0], *((a + b) / 2 for a, b in pairwise(times)), times[-1]], fmean(means)
    return [(a, b, w / mean) for (a, b), w in zip(pairwise(edges), means, strict=True) if mean]


def located(track: Track) -> list[Clip]:
    """Return the clips to mark: each window's, or of many windows the one that stands out most."""
    rich = [(clip, len(w.clips) * clip.intensity) for w in track.windows if (clip := w.rich_clip)]
    if len(rich) > MARKED:
        rich = [max(rich, key=lambda pair: pair[1])]
    return [clip for clip, _ in rich]


def _span(track: Track) -> tuple[float, float]:
    start, end = float(track.times[0]), float(track.times[-1])
    return start, max(end, start + 0.04)


def _moments(track: Track) -> list[int | None]:
    """Return which sighting is shown in each of equal slots: in a located clip where there is one, else the middle."""
    start, end = _span(track)
    edges = np.linspace(start, end, SLOTS + 1)
    clips = located(track)
    wanted = []
    for low, high in pairwise(edges):
        inside = [(c.start + c.end) / 2 for c in clips if low <= (c.start + c.end) / 2 < high]
        time = inside[0] if inside else (low + high) / 2
        nearest = int(np.abs(track.times - time).argmin())
        near = len(track.times) == 1 or low - 0.02 <= track.times[nearest] <= high + 0.02
        wanted.append(nearest if near else None)
    return wanted


def _crops(
    timeline: Timeline, tracks: Sequence[Track], shown: Sequence[list[int | None]]
) -> list[list[np.ndarray | None]]:
    """Return the pictures of the sightings that are shown, (SIDE, SIDE, 3)."""
    wanted: dict[int, list[tuple[int, int]]] = {}
    crops: list[list[np.ndarray | None]] = [[None] * SLOTS for _ in tracks]
    for row, (track, moments) in enumerate(zip(tracks, shown, strict=True)):
        for slot, moment in enumerate(moments):
            if moment is not None:
                wanted.setdefault(int(track.index[moment]), []).append((row, slot))
    if not wanted:
        return crops
    stream = FrameStream(timeline.source, wanted.__contains__, fps=timeline.frame_rate or 25.0)
    for number, _, pixels in stream:
        for row, slot in wanted[number]:
            crops[row][slot] = _crop(pixels, tracks[row], shown[row][slot] or 0)
        if number == max(wanted):
            break
    return crops


def _crop(pixels: np.ndarray, track: Track, moment: int) -> np.ndarray:
    from PIL import Image

    height, width = pixels.shape[:2]
    side = min(height, width)
    middle = np.asarray([width - side, height - side, width + side, height + side]) / 2
    square = crop_face(pixels, middle if track.boxes is None else track.boxes[moment])
    return np.asarray(Image.fromarray(square).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _panels(track: Track) -> dict[str, float]:
    """Return the panels that there is something to draw in, and their heights in inches."""
    panels = {"frames": 0.95}
    if any(activation(window) for window in track.windows):
        panels["activation"] = 0.3
    if track.probabilities is not None:
        panels["probability"] = 1.7
    if track.vad is not None:
        panels["dimensions"] = 1.3
    return panels


def _draw_track(
    figure: Any,
    track: Track,
    heights: dict[str, float],
    crops: list[np.ndarray | None],
    labels: Sequence[str],
) -> None:
    label = track.label or ""
    share = f"; {label} in {track.shares[label]:.0%} of its frames" if label in track.shares else ""
    figure.suptitle(f"face {track.face}: {track.words()} on average{share}", x=0.01, ha="left", fontsize=10)
    rows = figure.subplots(len(heights), 1, height_ratios=list(heights.values()), sharex=True, squeeze=False)
    axes = dict(zip(heights, rows[:, 0], strict=True))
    _draw_frames(axes["frames"], track, crops)
    if "activation" in axes:
        _draw_activation(axes["activation"], track)
    if "probability" in axes:
        values = {label: [(w.probabilities or {})[label] for w in track.windows] for label in labels}
        _draw_lines(axes["probability"], track, values)
        axes["probability"].set(ylim=(0, 1), ylabel="probability")
    if "dimensions" in axes:
        names = [name for name in DIMENSIONS if name in (track.vad or {})]
        _draw_lines(axes["dimensions"], track, {n: [(w.vad or {})[n] for w in track.windows] for n in names})
        axes["dimensions"].axhline(0, color="#a0a0a0", linewidth=1)
        axes["dimensions"].set(ylim=(-1, 1), ylabel="VAD")
    rows[-1, 0].set(xlim=_span(track), xlabel="seconds")


def _draw_frames(axes: Any, track: Track, crops: list[np.ndarray | None]) -> None:
    start, end = _span(track)
    edges = np.linspace(start, end, SLOTS + 1)
    for crop, low, high in zip(crops, edges, edges[1:], strict=False):
        if crop is not None:
            axes.imshow(crop, extent=(low, high, 0, 1), aspect="auto")
    for clip in located(track):
        slot = int(np.clip(np.searchsorted(edges, (clip.start + clip.end) / 2, "right") - 1, 0, SLOTS - 1))
        _mark(axes, edges[slot], edges[slot + 1])
    axes.set(xlim=(start, end), ylim=(0, 1), yticks=[])
    axes.grid(False)
    axes.tick_params(length=0, labelbottom=False)
    axes.spines[:].set_visible(False)


def _draw_activation(axes: Any, track: Track) -> None:
    start, end = _span(track)
    bins = np.linspace(start, end, 1201)
    values = np.full(1200, np.nan)  # where clips overlap, the one that counts more
    for low, high, value in (cell for window in track.windows for cell in activation(window)):
        first, last = np.searchsorted(bins, [low, high])
        cells = slice(first, max(last, first + 1))
        values[cells] = np.fmax(values[cells], value)
    top = max(2.0, float(np.nanmax(values)))
    axes.imshow(values[None], extent=(start, end, 0, 1), aspect="auto", cmap="Blues", vmin=0, vmax=top)
    for clip in located(track):
        _mark(axes, clip.start, clip.end)
    axes.set(yticks=[], ylim=(0, 1))
    axes.set_ylabel("activation", rotation=0, ha="right", va="center")
    axes.text(
        1.005,
        0.5,
        f"up to {np.nanmax(values):.1f} x\nan even share",
        transform=axes.transAxes,
        va="center",
        fontsize=8,
    )
    axes.grid(False)
    axes.tick_params(length=0, labelbottom=False)


def _mark(axes: Any, start: float, end: float) -> None:
    """Frame a stretch of a panel, over whatever is drawn there."""
    from matplotlib.patches import Rectangle

    box = Rectangle((start, 0), end - start, 1, fill=False, edgecolor=_LOCATED, linewidth=3, zorder=3)
    axes.add_patch(box).set_clip_on(False)


def _draw_lines(axes: Any, track: Track, values: dict[str, list[float]]) -> None:
    """Draw a line for each name, through the middles of the windows; a single window is drawn as long as it is."""
    middles = [(window.start + window.end) / 2 for window in track.windows]
    single = len(middles) == 1
    size = 4 if len(middles) <= 40 else 0
    for (name, y), colour, marker in zip(values.items(), cycle(COLOURS), cycle(MARKERS), strict=False):
        axes.plot(
            list(_span(track)) if single else middles, y * 2 if single else y,
            color=colour, marker=marker, markersize=0 if single else size, linewidth=1.5, label=name,
        )  # fmt: skip
    axes.legend(
        loc="center left", bbox_to_anchor=(1.005, 0.5), fontsize=8, handlelength=1.4, labelspacing=0.25
    )
