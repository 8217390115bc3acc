"""Where videos lie: video files, and folders of frames, found by name without suffix."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from emozoo.contracts import FRAME_SUFFIXES, VIDEO_SUFFIXES
from emozoo.errors import DataError
from emozoo_datasets.image_folders import visible

DEPTH = 7
"""How far below a dataset's folder lists and media are looked for."""

_SAMPLE = 12
"""Videos that are looked for to find the folder of all."""


def frame_files(folder: Path) -> list[Path]:
    """Return the images that lie in a folder itself, unsorted."""
    return [folder / name for name in os.listdir(folder) if _is_frame(name)]


def is_video(path: Path) -> bool:
    """Say whether a path is a video file, by its suffix, or a folder with an image in it."""
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return True
    if not path.is_dir():
        return False
    with os.scandir(path) as entries:
        return any(_is_frame(entry.name) for entry in entries)


def count_frames(video: Path) -> int | None:
    """Return how many frames a folder holds; None for a file, which would have to be decoded."""
    return None if video.suffix.lower() in VIDEO_SUFFIXES else sum(map(_is_frame, os.listdir(video)))


def _is_frame(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in FRAME_SUFFIXES and not name.startswith((".", "__"))


def without_suffix(name: str) -> str:
    """Return a video's name without the suffix of a video file, if it has one."""
    stem, dot, suffix = name.rpartition(".")
    return stem if f"{dot}{suffix}".lower() in VIDEO_SUFFIXES else name


class Footage:
    """The videos below a folder, by name: "00001" or "Action/Happy/0267"; each folder is listed once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listed: dict[Path, dict[str, Path]] = {}

    def find(self, name: str) -> Path | None:
        """Return the video of a name without suffix, or None."""
        folder, _, last = name.rpartition("/")
        place = self.root / folder
        if place not in self._listed:
            self._listed[place] = _videos_by_name(place)
        return self._listed[place].get(last)


def find_footage(root: Path, names: Sequence[str], media: str | None, preferred: Sequence[str]) -> Footage:
    """Find the folder that holds the videos of a list.

    Args:
        root: the dataset's folder.
        names: the videos.
        media: the folder that holds them, or a folder above it; in the dataset's folder or absolute.
        preferred: names of folders to prefer, best first, where several hold the videos.

    Raises:
        DataError: there is no such folder, or there are several and none is preferred.
    """
    top = root if media is None else root / Path(media).expanduser()
    if not top.is_dir():
        raise DataError(f"media: there is no folder {top}")
    sample = list(names[:: max(1, len(names) // _SAMPLE)])
    found = [folder for folder in folders_below(top) if _holds(folder, sample)]
    ranks = {name: rank for rank, name in enumerate(preferred)}
    found.sort(key=lambda folder: ranks.get(folder.name.lower(), len(ranks)))
    if not found:
        raise DataError(
            f"{top} holds none of the videos that the lists name ({', '.join(sample[:3])}, ...); name their "
            "folder with the option media"
        )
    if len(found) > 1 and found[0].name.lower() not in ranks:
        places = ", ".join(path.relative_to(top).as_posix() for path in found)
        raise DataError(f"{top}: several folders hold the videos: {places}; name one with the option media")
    return Footage(found[0])


def folders_below(top: Path, depth: int = DEPTH) -> Iterator[Path]:
    """Yield a folder and those below it, nearest first; what is named by a number is a video, not a place."""
    level = [top]
    for _ in range(depth):
        yield from level
        level = [path for folder in level for path in _subfolders(folder)]


def _subfolders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir()]
    return [
        folder / name for name in sorted(names) if not name.isdecimal() and not name.startswith((".", "__"))
    ]


def _holds(folder: Path, names: Sequence[str]) -> bool:
    footage = Footage(folder)
    return any(footage.find(name) is not None for name in names)


def _videos_by_name(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    paths = [path for path in visible(folder) if path.suffix.lower() in VIDEO_SUFFIXES or path.is_dir()]
    return {without_suffix(path.name): path for path in sorted(paths, key=lambda path: path.is_dir())}
