"""Reading videos: files through PyAV, and folders of frames.

Frames are counted as they decode, from 0, in the order in which they are shown; a header's count is never believed.
Pixels are upright, times are the file's own and never go back, and a damaged file gives what it still holds and
says what it lacks.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from emozoo.data.frame_folder import FrameFolder
from emozoo.data.video_file import VideoFile
from emozoo.errors import DataError, EmozooWarning


def count_frames(path: str | Path) -> int:
    """Return how many frames a video holds; one is decoded, and the others are counted.

    In a damaged video a few of them may fail to decode.

    Args:
        path: a video file, or a folder of frames.

    Raises:
        DataError: not a video, no video in it, nothing decodes, or too large; names the path.
    """
    path = _existing(path)
    if path.is_dir():
        folder = FrameFolder.open(path)
        _first_readable(folder)
        return len(folder.files)
    with VideoFile(path) as video:
        for packet in video.packets():
            if not video.decoded:
                video.decode(packet)
        if not video.decoded:
            raise video.nothing()
        return video.held


def read_frames(path: str | Path, index: np.ndarray) -> np.ndarray:
    """Read some frames of a video, converting none but those: uint8 (n, H, W, 3), RGB, upright, in the order asked for.

    Frames that a damaged video lacks are replaced by the nearest before them that decodes (in folders, by the
    nearest of those asked for), with an EmozooWarning that says what it lacks, as far as it was read.

    Args:
        path: a video file, or a folder of frames.
        index: integers (n,) from 0, in any order, repeated or not.

    Raises:
        DataError: the path is no readable video, none of the frames decodes, or an index is beyond the end.
    """
    path, index = _existing(path), np.asarray(index)
    if index.ndim != 1 or not len(index) or not np.issubdtype(index.dtype, np.integer) or index.min() < 0:
        raise DataError(f"{path}: frames are asked for by a list of integers from 0, not by {index!r:.80}")
    wanted, places = np.unique(index.astype(np.int64), return_inverse=True)
    frames, damage = (_read_folder if path.is_dir() else _read_file)(path, wanted.tolist())
    if damage:
        warnings.warn(f"{path}: {damage}", EmozooWarning, stacklevel=2)
    return np.stack([frames[place] for place in places.tolist()])


class FrameStream:
    """Frames of a video in turn, in memory that does not grow with its length.

    Iterating gives (number, seconds after the first frame, uint8 (H, W, 3) RGB upright) of every wanted frame that
    decodes; those that are not wanted are decoded and not converted.

    Args:
        path: a video file, or a folder of frames.
        wanted: whether the frame of a number is wanted; None for all.
        fps: frames a second of a folder, whose files do not tell.

    Attributes:
        frames: how many frames have gone by, wanted or not.
        seconds: time of the last of them.
        damaged: what the video lacks, in words, known at its end; None for a sound one.

    Raises:
        DataError: as `read_frames`, when it is iterated over.
    """

    def __init__(
        self, path: str | Path, wanted: Callable[[int], bool] | None = None, *, fps: float = 25.0
    ) -> None:
        self.path = _existing(path)
        self.wanted = wanted or (lambda _: True)
        self.fps = fps
        self.frames, self.seconds = 0, 0.0
        self.damaged: str | None = None

    def __iter__(self) -> Iterator[tuple[int, float, np.ndarray]]:
        return self._of_folder() if self.path.is_dir() else self._of_file()

    def _of_file(self) -> Iterator[tuple[int, float, np.ndarray]]:
        with VideoFile(self.path) as video:
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
        self.damaged = _damage(folder, broken)


def stream_frames(path: str | Path) -> Iterator[np.ndarray]:
    """Yield every frame that decodes, uint8 (H, W, 3) RGB upright, in turn.

    As `FrameStream`, but a damaged video ends with an EmozooWarning that says what it lacks.
    """
    stream = FrameStream(path)
    for _, _, pixels in stream:
        yield pixels
    if stream.damaged:
        warnings.warn(f"{stream.path}: {stream.damaged}", EmozooWarning, stacklevel=2)


def _existing(path: str | Path) -> Path:
    path = Path(path).expanduser()
    if not os.path.isdir(path) and not os.path.isfile(path):
        raise DataError(f"there is no video file or folder of frames {path}")
    return path


def _read_file(path: Path, wanted: list[int]) -> tuple[list[np.ndarray], str | None]:
    """Return the wanted frames, and what the file lacks; its last frame stands in for any beyond it."""
    frames, last = [], None
    with VideoFile(path) as video:
        for number, (_, frame) in enumerate(video.frames()):
            last = frame
            if number == wanted[len(frames)]:
                frames.append(video.pixels(frame))
                if len(frames) == len(wanted):
                    return frames, video.damage(ended=False)
        if last is None:
            raise video.nothing()
        damage = video.damage(ended=True)
        if wanted[-1] >= video.held:
            raise _beyond(path, wanted[-1], video.held, damage)
        return frames + [video.pixels(last)] * (len(wanted) - len(frames)), damage


def _read_folder(path: Path, wanted: list[int]) -> tuple[list[np.ndarray], str | None]:
    """Return the wanted frames, and what the folder lacks; the nearest that can be read stands in for another."""
    folder = FrameFolder.open(path)
    if wanted[-1] >= len(folder.files):
        raise _beyond(path, wanted[-1], len(folder.files))
    images, broken = {}, []
    for number in wanted:
        try:
            images[number] = folder.pixels(number)
        except DataError as error:
            broken.append(str(error))
    if not images:
        raise DataError(f"{path}: none of the {len(wanted)} frames asked for can be read: {broken[0]}")
    shape = next(iter(images.values())).shape
    nearest = [min(images, key=lambda readable: abs(readable - number)) for number in wanted]
    return [_sized(images[number], shape) for number in nearest], _damage(folder, broken)


def _beyond(path: Path, number: int, count: int, damage: str | None = None) -> DataError:
    note = f" ({damage})" if damage else ""
    return DataError(f"{path}: frame {number} was asked for, the last of its {count} is {count - 1}{note}")


def _first_readable(folder: FrameFolder) -> np.ndarray:
    for number in range(len(folder.files)):
        try:
            return folder.pixels(number)
        except DataError as error:
            problem = error
    raise DataError(f"{folder.path}: none of its {len(folder.files)} frames can be read; the last: {problem}")


def _damage(folder: FrameFolder, broken: list[str]) -> str | None:
    """Say what a folder lacks: numbers, and frames that cannot be read, of which the errors are given."""
    unread = f"{len(broken)} of its frames cannot be read; the first: {broken[0]}" if broken else None
    return "; ".join(filter(None, (folder.gaps(), unread))) or None


def _sized(pixels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return an image in the size of the video's others."""
    from PIL import Image

    if pixels.shape == shape:
        return pixels
    size = shape[1], shape[0]
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
