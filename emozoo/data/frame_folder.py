"""Folders that hold a video as one image a frame: their order, the gaps in their numbers, their pixels."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from emozoo.contracts import FRAME_SUFFIXES
from emozoo.data.preprocess import open_image
from emozoo.errors import DataError


@dataclass(frozen=True)
class FrameFolder:
    """The frames of a folder in natural order: frame_2 comes before frame_10, however numbers are padded."""

    path: Path
    files: list[Path]

    @classmethod
    def open(cls, path: Path) -> FrameFolder:
        """List a folder's images.

        Raises:
            DataError: the folder holds no image.
        """
        files = [file for file in path.iterdir() if _is_frame(file)]
        if not files:
            kinds = ", ".join(sorted(FRAME_SUFFIXES))
            raise DataError(f"{path} holds no frames; a folder of frames holds {kinds}")
        return cls(path, sorted(files, key=lambda file: (_parts(file), file.name)))

    @cached_property
    def positions(self) -> np.ndarray:
        """Place of each frame in the video, int64 (n,), from 0; where numbers are missing, places stay empty.

        Where most would, numbers are something else, say times, and the frames follow each other.
        """
        places = self._numbered()
        return np.arange(len(places)) if _sparse(places) else places

    def gaps(self) -> str | None:
        """Say which frames the numbering leaves out; None where it leaves out none."""
        places = self._numbered()
        count = int(places[-1]) + 1 - len(places)
        if not count:
            return None
        numbers = self._numbers() or [0]
        if _sparse(places):
            return (
                f"most numbers from {numbers[0]} to {numbers[-1]} are missing, so its {len(places)} files are taken "
                "as consecutive frames"
            )
        step = (numbers[-1] - numbers[0]) // int(places[-1])
        holes = np.flatnonzero(np.diff(places) > 1)[:5]
        shown = ", ".join(
            _span(numbers[0] + step * int(places[hole] + 1), numbers[0] + step * int(places[hole + 1] - 1))
            for hole in holes
        )
        more = ", ..." if int((np.diff(places) > 1).sum()) > len(holes) else ""
        return f"{count} of {int(places[-1]) + 1} frames are missing: {shown}{more}"

    def pixels(self, number: int) -> np.ndarray:
        """Return a frame, upright, uint8 (H, W, 3) RGB.

        Raises:
            DataError: the image cannot be read; names its file.
        """
        file = self.files[number]
        return np.asarray(open_image(file, str(file)).convert("RGB"))

    def _numbered(self) -> np.ndarray:
        """Return the place of each frame if numbers count frames, by ones or in any other even steps."""
        numbers = self._numbers()
        if numbers is None or len(numbers) < 2:
            return np.arange(len(self.files))
        places = np.asarray([number - numbers[0] for number in numbers])
        return places // math.gcd(*places.tolist())

    def _numbers(self) -> list[int] | None:
        """Return each frame's number: the only part in which names differ; None if there is no such part."""
        names = [_parts(file) for file in self.files]
        if len({len(parts) for parts in names}) > 1:
            return None
        varying = [column for column in zip(*names, strict=True) if len(set(column)) > 1]
        if len(varying) != 1 or not isinstance(varying[0][0], int):
            return None
        numbers = [int(number) for number in varying[0]]
        return numbers if len(set(numbers)) == len(numbers) and max(numbers) < 1 << 63 else None


def _is_frame(file: Path) -> bool:
    return file.suffix.lower() in FRAME_SUFFIXES and not file.name.startswith(".")


def _parts(file: Path) -> list[str | int]:
    """Split a name into text and numbers, in turns, so that names compare part by part."""
    parts = re.split(r"([0-9]+)", file.stem)
    return [int(part) if place % 2 else part.lower() for place, part in enumerate(parts)]


def _sparse(places: np.ndarray) -> bool:
    """Return whether more places are empty than taken."""
    return int(places[-1]) + 1 > 2 * len(places)


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first} to {last}"
