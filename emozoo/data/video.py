"""Reading videos: files through PyAV (extra `video`) and folders of frames.

Frames are counted as they decode, from 0, in the order in which they are shown; a header's count is never believed.
Pixels are upright, times are the file's own and never go back, and a damaged file gives what it still holds and
says what it lacks.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emozoo.data.frame_folder import FrameFolder
from emozoo.data.video_file import Threads, VideoFile, quarter_turns
from emozoo.errors import DataError, EmozooWarning


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What a video is, without decoding all of it.

    Attributes:
        frames: how many frames the file holds; in a damaged file a few of them may fail to decode.
        fps: frames a second, over the whole video.
        seconds: how long it lasts.
        width: of the upright picture, pixels.
        height: of the upright picture, pixels.
        rotation: degrees counter-clockwise by which stored frames are turned upright: 0, 90, 180 or 270.
        variable: whether the time between frames varies.
        damaged: what the video lacks, in words; None for a sound one.
    """

    frames: int
    fps: float
    seconds: float
    width: int
    height: int
    rotation: int
    variable: bool
    damaged: str | None


@dataclass(frozen=True, slots=True)
class Frames:
    """Some frames of a video, in the order asked for.

    Attributes:
        pixels: uint8 (n, H, W, 3), RGB, upright.
        times: float64 (n,), seconds after the first frame.
        index: int64 (n,), which frames these are: those asked for, but where a damaged video lacks them, others.
        damaged: what the video lacks, as far as it was read, in words; None for a sound one.
    """

    pixels: np.ndarray
    times: np.ndarray
    index: np.ndarray
    damaged: str | None


def probe(path: str | Path, *, fps: float = 25.0) -> VideoFacts:
    """Look at a video: one frame is decoded, the others are counted.

    Args:
        path: a video file, or a folder of frames.
        fps: frames a second of a folder, whose files do not tell.

    Raises:
        DataError: not a video, no video in it, nothing decodes, or too large; names the path.
    """
    path = _existing(path)
    return _probe_folder(path, fps) if path.is_dir() else _probe_file(path)


def read_frames(
    path: str | Path, index: np.ndarray, *, threads: Threads = "SLICE", fps: float = 25.0
) -> Frames:
    """Read some frames of a video, converting none but those.

    Frames that a damaged video lacks are replaced by the nearest before them that decodes (in folders, by the
    nearest of those asked for); `Frames.index` says by which, `Frames.damaged` why.

    Args:
        path: a video file, or a folder of frames.
        index: integers (n,) from 0, in any order, repeated or not.
        threads: how to decode a file.
        fps: frames a second of a folder, whose files do not tell.

    Raises:
        DataError: the path is no readable video, none of the frames decodes, or an index is beyond the end.
    """
    path, index = _existing(path), np.asarray(index)
    if index.ndim != 1 or not len(index) or not np.issubdtype(index.dtype, np.integer) or index.min() < 0:
        raise DataError(f"{path}: frames are asked for by a list of integers from 0, not by {index!r:.80}")
    wanted, places = np.unique(index.astype(np.int64), return_inverse=True)
    return (
        _read_folder(path, wanted, places, fps)
        if path.is_dir()
        else _read_file(path, wanted, places, threads)
    )


class FrameStream:
    """Frames of a video in turn, in memory that does not grow with its length.

    Iterating gives (number, seconds after the first frame, uint8 (H, W, 3) RGB upright) of every wanted frame that
    decodes; those that are not wanted are decoded and not converted.

    Args:
        path: a video file, or a folder of frames.
        wanted: whether the frame of a number is wanted; None for all.
        threads: how to decode a file.
        fps: frames a second of a folder, whose files do not tell.

    Attributes:
        frames: how many frames have gone by, wanted or not.
        seconds: time of the last of them.
        damaged: what the video lacks, in words, known at its end; None for a sound one.

    Raises:
        DataError: as `read_frames`, when it is iterated over.
    """

    def __init__(
        self,
        path: str | Path,
        wanted: Callable[[int], bool] | None = None,
        *,
        threads: Threads = "SLICE",
        fps: float = 25.0,
    ) -> None:
        self.path = _existing(path)
        self.wanted = wanted or (lambda _: True)
        self.threads: Threads = threads
        self.fps = fps
        self.frames, self.seconds = 0, 0.0
        self.damaged: str | None = None

    def __iter__(self) -> Iterator[tuple[int, float, np.ndarray]]:
        return self._of_folder() if self.path.is_dir() else self._of_file()

    def _of_file(self) -> Iterator[tuple[int, float, np.ndarray]]:
        with VideoFile(self.path, self.threads) as video:
            for number, (time, frame) in enumerate(video.frames()):
                self.frames, self.seconds = number + 1, time
                if self.wanted(number):
                    yield number, time, video.pixels(frame)
            if not video.decoded:
                raise video.nothing()
            self.damaged = video.damage(ended=True)

    def _of_folder(self) -> Iterator[tuple[int, float, np.ndarray]]:
        folder = FrameFolder.open(self.path)
        broken, shape = [], _first_readable(folder).shape
        for number, place in enumerate(folder.positions):
            self.frames, self.seconds = number + 1, float(place) / self.fps
            if self.wanted(number):
                try:
                    pixels = _sized(folder.pixels(number), shape)
                except DataError as error:
                    broken.append(str(error))
                else:
                    yield number, self.seconds, pixels
        self.damaged = "; ".join(filter(None, (folder.gaps(), _unreadable(broken)))) or None


def stream_frames(
    path: str | Path, *, threads: Threads = "SLICE", fps: float = 25.0
) -> Iterator[tuple[float, np.ndarray]]:
    """Yield (seconds after the first frame, uint8 (H, W, 3) RGB upright) of every frame that decodes, in turn.

    As `FrameStream`, but a damaged video ends with an EmozooWarning that says what it lacks.
    """
    stream = FrameStream(path, threads=threads, fps=fps)
    for _, time, pixels in stream:
        yield time, pixels
    if stream.damaged:
        warnings.warn(f"{stream.path}: {stream.damaged}", EmozooWarning, stacklevel=2)


def _existing(path: str | Path) -> Path:
    path = Path(path).expanduser()
    if not os.path.isdir(path) and not os.path.isfile(path):
        raise DataError(f"there is no video file or folder of frames {path}")
    return path


def _gather(shots: list[tuple[int, float, np.ndarray]], places: np.ndarray, damage: str | None) -> Frames:
    """Put frames (number, time, pixels) where they were asked for; the last one stands in for any beyond it."""
    order = [shots[min(place, len(shots) - 1)] for place in places.tolist()]
    numbers, times, pixels = zip(*order, strict=True)
    return Frames(np.stack(pixels), np.asarray(times), np.asarray(numbers), damage)


def _probe_file(path: Path) -> VideoFacts:
    with VideoFile(path, "NONE") as video:
        first, stamps = None, []
        for packet in video.packets():
            if packet.pts is not None and not packet.is_discard:
                stamps.append(packet.pts)
            if first is None:
                first = next(iter(video.decode(packet)), None)
        if first is None:
            raise video.nothing()
        damage = video.damage(ended=True, decoded=False)
        fps, variable = _rate(np.sort(stamps) * video.tick, video)
    turns = quarter_turns(first)
    width, height = (first.height, first.width) if turns % 2 else (first.width, first.height)
    return VideoFacts(video.held, fps, video.held / fps, width, height, 90 * turns, variable, damage)


def _rate(times: np.ndarray, video: VideoFile) -> tuple[float, bool]:
    """Return frames a second, and whether the gaps between frames vary by more than the clock's rounding."""
    if len(times) < 2 or times[-1] == times[0]:
        return video.rate, False
    gaps = np.diff(times)
    return len(gaps) / float(times[-1] - times[0]), bool(np.ptp(gaps) > 1.5 * video.tick)


def _read_file(path: Path, wanted: np.ndarray, places: np.ndarray, threads: Threads) -> Frames:
    shots, last = [], None
    with VideoFile(path, threads) as video:
        for number, (time, frame) in enumerate(video.frames()):
            last = number, time, frame
            if number == wanted[len(shots)]:
                shots.append((number, time, video.pixels(frame)))
                if len(shots) == len(wanted):
                    return _gather(shots, places, video.damage(ended=False))
        if last is None:
            raise video.nothing()
        damage = video.damage(ended=True)
        if wanted[-1] >= video.held:
            raise _beyond(path, wanted[-1], video.held, damage)
        number, time, frame = last
        return _gather([*shots, (number, time, video.pixels(frame))], places, damage)


def _beyond(path: Path, number: int, count: int, damage: str | None = None) -> DataError:
    note = f" ({damage})" if damage else ""
    return DataError(f"{path}: frame {number} was asked for, the last of its {count} is {count - 1}{note}")


def _probe_folder(path: Path, fps: float) -> VideoFacts:
    folder = FrameFolder.open(path)
    height, width = _first_readable(folder).shape[:2]
    frames, places = len(folder.files), int(folder.positions[-1]) + 1
    return VideoFacts(frames, fps, places / fps, width, height, 0, places > frames, folder.gaps())


def _first_readable(folder: FrameFolder) -> np.ndarray:
    for number in range(len(folder.files)):
        try:
            return folder.pixels(number)
        except DataError as error:
            problem = error
    raise DataError(f"{folder.path}: none of its {len(folder.files)} frames can be read; the last: {problem}")


def _read_folder(path: Path, wanted: np.ndarray, places: np.ndarray, fps: float) -> Frames:
    folder = FrameFolder.open(path)
    if wanted[-1] >= len(folder.files):
        raise _beyond(path, wanted[-1], len(folder.files))
    images, broken = {}, []
    for number in wanted.tolist():
        try:
            images[number] = folder.pixels(number)
        except DataError as error:
            broken.append(str(error))
    if not images:
        raise DataError(f"{path}: none of the {len(wanted)} frames asked for can be read: {broken[0]}")
    readable, shape = np.asarray(list(images)), next(iter(images.values())).shape
    nearest = [int(readable[np.abs(readable - number).argmin()]) for number in wanted]
    shots = [(n, folder.positions[n] / fps, _sized(images[n], shape)) for n in nearest]
    return _gather(shots, places, _unreadable(broken))


def _unreadable(broken: list[str]) -> str | None:
    return f"{len(broken)} of its frames cannot be read; the first: {broken[0]}" if broken else None


def _sized(pixels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return an image in the size of the video's others."""
    from PIL import Image

    if pixels.shape == shape:
        return pixels
    size = shape[1], shape[0]
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
