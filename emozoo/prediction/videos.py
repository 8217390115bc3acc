"""From a video to its timeline, in memory that does not grow with the length of the video.

Frames are decoded in turn. The faces of each are linked to those of the frames before; of each face the crops of one
window are held, and windows go through the model as they fill a batch.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from emozoo.data.sampling import Sampled
from emozoo.data.video import FrameStream
from emozoo.errors import DataError
from emozoo.model import EmotionModel
from emozoo.prediction.answers import Box, mean_parts, said
from emozoo.prediction.detection import FrameFaces, find_faces
from emozoo.prediction.faces import FaceDetector
from emozoo.prediction.inputs import name_of
from emozoo.prediction.timeline import Clip, Timeline, Track, Window
from emozoo.prediction.tracks import MISSED, Tracker
from emozoo.recipe import TTA

VIDEO_WINDOW, IMAGE_WINDOW = 4.0, 1.0
"""Seconds of a window, unless said otherwise, of models that take videos (about CEFLNet's 105 frames) and images."""

NOTHING = 1e-6
"""Seconds of rounding that are tolerated."""


@dataclass(frozen=True, slots=True)
class Windowing:
    """How a video is walked through.

    Attributes:
        window: seconds of a face's video that are judged together; 0 judges every frame by itself. None is 4 for
            models that sample videos, and 1 for models of images.
        hop: seconds from the start of a window to that of the next. None is half a window for models that sample
            videos, and a whole one for models of images.
        every: look at every n-th frame only.
        frame_rate: take folders for videos, of so many frames a second; None takes them for collections.

    Raises:
        DataError: a value without meaning.
    """

    window: float | None = None
    hop: float | None = None
    every: int = 1
    frame_rate: float | None = None

    def __post_init__(self) -> None:
        if self.window is not None and not (_is_finite(self.window) and self.window >= 0):
            raise DataError(
                f"window is {self.window!r}: it is a number of seconds, or 0 for each frame by itself"
            )
        if self.hop is not None and not (_is_finite(self.hop) and self.hop > 0):
            raise DataError(f"hop is {self.hop!r}: windows start so many seconds apart, more than 0")
        if not isinstance(self.every, Integral) or self.every < 1:
            raise DataError(f"every is {self.every!r}: every n-th frame is looked at, n from 1")
        if self.frame_rate is not None and not (_is_finite(self.frame_rate) and self.frame_rate > 0):
            raise DataError(
                f"frame_rate is {self.frame_rate!r}: folders hold so many frames a second, more than 0"
            )

    def of(self, model: EmotionModel) -> tuple[float, float]:
        """Return the seconds of a window and of a hop for a model."""
        video = model.config.sampling is not None
        window = self.window if self.window is not None else VIDEO_WINDOW if video else IMAGE_WINDOW
        hop = self.hop if self.hop is not None else window / 2 if video else window
        return window, hop if window else 0.0


def _is_finite(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


class FaceCrop(NamedTuple):
    """One face in one frame."""

    time: float
    pixels: Tensor
    box: Box | None


class FaceTrack:
    """One face of a video: where it has been, what was said of it, and the crops that windows may still need."""

    def __init__(self, face: int, window: float, hop: float) -> None:
        self.face, self.window, self.hop = face, window, hop
        self.index, self.times, self.boxes = array("q"), array("d"), array("f")
        self.windows: list[Window] = []
        self.counts: list[int] = []
        self._crops: deque[FaceCrop] = deque()
        self._begin = self._covered = float("-inf")

    def see(self, number: int, crop: FaceCrop) -> Iterator[list[FaceCrop]]:
        """Take in the next sighting; yield the windows that are complete with what came before it."""
        while self._crops and crop.time > self._begin + self.window - NOTHING:
            yield from self._cut()
        if crop.time > self._begin + self.window - NOTHING:
            self._begin = crop.time
        self.index.append(number)
        self.times.append(crop.time)
        self.boxes.extend(crop.box or ())
        if crop.time > self._begin - NOTHING:
            self._crops.append(crop)

    def leave(self) -> Iterator[list[FaceCrop]]:
        """Yield the last window, if there are crops that were in none."""
        if self._crops:
            yield from self._cut()
        self._crops.clear()

    def _cut(self) -> Iterator[list[FaceCrop]]:
        """Yield the crops of the window, if any of them is new, and drop those that the next one does not need."""
        if self._crops[-1].time > self._covered:
            yield list(self._crops)
        self._covered = self._crops[-1].time
        self._begin += self.hop
        while self._crops and (self._crops[0].time < self._begin - NOTHING or not self.window):
            self._crops.popleft()

    def result(self) -> Track:
        """Return what is known of the face."""
        windows = self.windows
        parts = {name: mean_parts([w.heads[name] for w in windows], self.counts) for name in windows[0].heads}
        total: Counter[str] = Counter()
        for window, count in zip(windows, self.counts, strict=True):
            if window.label is not None:
                total[window.label] += count
        return Track(
            **said(parts),
            face=self.face,
            index=np.asarray(self.index),
            times=np.asarray(self.times),
            boxes=np.asarray(self.boxes).reshape(-1, 4) if self.boxes else None,
            windows=tuple(windows),
            shares={label: count / total.total() for label, count in total.most_common()},
        )


class WindowPredictor:
    """Runs windows through the model, as many at a time as fill a batch."""

    def __init__(self, model: EmotionModel, tta: TTA, batch_size: int) -> None:
        self.model, self.tta, self.batch_size = model, tta, batch_size
        self._waiting: list[tuple[FaceTrack, list[FaceCrop], Sampled]] = []

    def take(self, track: FaceTrack, crops: list[FaceCrop]) -> None:
        """Take a window of a face, which gets it back with an answer, now or at a later call."""
        sampling = self.model.config.sampling
        every = Sampled(np.arange(len(crops))[None], np.ones((1, len(crops)), bool))
        self._waiting.append((track, crops, sampling.sample(len(crops)) if sampling else every))
        if sum(sampled.index.size for *_, sampled in self._waiting) >= self.batch_size:
            self.flush()

    def flush(self) -> None:
        """Give an answer to every window that waits."""
        if not self._waiting:
            return
        answers = self._videos() if self.model.config.sampling else self._images()
        for (track, crops, sampled), (parts, clips, frames) in zip(self._waiting, answers, strict=True):
            track.windows.append(_window(crops, sampled, parts, clips, frames))
            track.counts.append(len(crops))
        self._waiting.clear()

    def _images(self) -> Iterator[tuple[dict[str, Any], None, None]]:
        """Yield the mean of what is said of each window's frames."""
        pixels = [crop.pixels for _, crops, _ in self._waiting for crop in crops]
        said_of: list[dict[str, dict[str, Any]]] = []
        for start in range(0, len(pixels), self.batch_size):
            images = torch.stack(pixels[start : start + self.batch_size])
            said_of += self.model.decode(self.model.predict_outputs(images, self.tta))
        first = 0
        for _, crops, _ in self._waiting:
            own, first = said_of[first : first + len(crops)], first + len(crops)
            weights = [1.0] * len(own)
            yield {name: mean_parts([p[name] for p in own], weights) for name in own[0]}, None, None

    def _videos(self) -> Iterator[tuple[dict[str, Any], Tensor | None, Tensor | None]]:
        """Yield what is said of each window, and the weights of its clips and frames."""
        shape = [max(sampled.index.shape[axis] for *_, sampled in self._waiting) for axis in (0, 1)]
        mask = torch.zeros(len(self._waiting), *shape, dtype=torch.bool)
        videos = []
        for row, (_, crops, sampled) in enumerate(self._waiting):
            clips, frames = sampled.index.shape
            places = np.zeros(shape, np.int64)
            places[:clips, :frames] = sampled.index
            mask[row, :clips, :frames] = torch.from_numpy(sampled.mask)
            videos.append(torch.stack([crops[place].pixels for place in places.ravel()]).unflatten(0, shape))
        output = self.model.outputs(torch.stack(videos), self.tta, mask)
        for row, parts in enumerate(self.model.decode(output.heads)):
            yield parts, _row(output.clip_weights, row), _row(output.frame_weights, row)


def _row(values: Tensor | None, row: int) -> Tensor | None:
    return None if values is None else values[row].cpu()


def _window(
    crops: list[FaceCrop],
    sampled: Sampled,
    parts: dict[str, dict[str, Any]],
    clip_weights: Tensor | None,
    frame_weights: Tensor | None,
) -> Window:
    """Put together what is known of a window; clips and frames that are padding are left out."""
    there = [row[mask] for row, mask in zip(sampled.index, sampled.mask, strict=True)]
    times = tuple(tuple(crops[place].time for place in row) for row in there if len(row))
    clips, frames = (), None
    if clip_weights is not None:
        values = [float(clip_weights[number]) for number, row in enumerate(there) if len(row)]
        clips = tuple(Clip(row[0], row[-1], value) for row, value in zip(times, values, strict=True))
    if frame_weights is not None:
        frames = tuple(
            tuple(frame_weights[number, : len(mask)][torch.from_numpy(mask)].tolist())
            for number, mask in enumerate(sampled.mask)
            if mask.any()
        )
    return Window(
        **said(parts), start=crops[0].time, end=crops[-1].time, box=crops[len(crops) // 2].box,
        times=times, clips=clips, frame_weights=frames,
    )  # fmt: skip


def predict_video(
    model: EmotionModel,
    path: Path,
    detector: FaceDetector | None,
    windowing: Windowing,
    *,
    tta: TTA = "none",
    batch_size: int = 32,
) -> Timeline:
    """Follow the faces of a video and predict each of them, window by window.

    Args:
        model: a model of videos, whose sampling is applied within each window, or one of images, of which a window
            is the mean over its frames.
        path: a video file, or a folder of frames.
        detector: what finds faces; None where the video is a face already.
        windowing: windows, and which frames are looked at.
        tta: test-time augmentation.
        batch_size: images a forward pass; a window of a video model is never divided.

    Raises:
        DataError: the video cannot be read at all.
    """
    stream = FrameStream(path, lambda number: number % windowing.every == 0, fps=windowing.frame_rate or 25.0)
    predictor, name = WindowPredictor(model, tta, batch_size), name_of(path, "")
    tracks = FaceTracks(predictor, *windowing.of(model), gap=max(MISSED, 2 * windowing.every))
    looked_at = 0
    for number, time, frame in tqdm(stream, desc=path.name, unit="frame", delay=2, disable=None, leave=False):
        tracks.see(number, time, find_faces(detector, model.preprocessor, frame, name))
        looked_at += 1
    return Timeline(
        source=name,
        detector=detector.name if detector else None,
        frames=stream.frames,
        seconds=stream.seconds,
        looked_at=looked_at,
        tracks=tracks.end(),
        damaged=stream.damaged,
        frame_rate=windowing.frame_rate if path.is_dir() else None,
    )


class FaceTracks:
    """All faces of a video: those that are here, and those that are gone."""

    def __init__(self, predictor: WindowPredictor, window: float, hop: float, *, gap: int) -> None:
        self.predictor, self.window, self.hop, self.gap = predictor, window, hop, gap
        self.tracker = Tracker(max_gap=gap)
        self.here: dict[int, FaceTrack] = {}
        self.gone: list[FaceTrack] = []

    def see(self, number: int, time: float, found: FrameFaces) -> None:
        """Take in what is seen in the next frame, and give windows that are complete to the predictor."""
        faces = [0] if found.detected is None else self.tracker.update(number, found.detected).tolist()
        for face, crop, box in zip(faces, found.crops, found.boxes, strict=True):
            if face not in self.here:
                self.here[face] = FaceTrack(face, self.window, self.hop)
            for crops in self.here[face].see(number, FaceCrop(time, crop, box)):
                self.predictor.take(self.here[face], crops)
        for face in [face for face, known in self.here.items() if number - known.index[-1] > self.gap]:
            self._leave(face)

    def _leave(self, face: int) -> None:
        """Let a face go, and with it the crops that were held of it."""
        track = self.here.pop(face)
        for crops in track.leave():
            self.predictor.take(track, crops)
        self.gone.append(track)

    def end(self) -> tuple[Track, ...]:
        """Return what is known of all faces, in order of appearance."""
        for face in list(self.here):
            self._leave(face)
        self.predictor.flush()
        return tuple(known.result() for known in sorted(self.gone, key=lambda known: known.face))
