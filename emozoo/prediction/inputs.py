"""What is given to predict: which media a list, folder or pattern stands for, and which of them are videos."""

from __future__ import annotations

import glob
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emozoo.contracts import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from emozoo.errors import DataError

UNREAD_SUFFIXES = frozenset(
    {".heic", ".heif", ".avif", ".jxl", ".jp2", ".cr3", ".mxf", ".vob", ".m2v", ".f4v", ".rm", ".rmvb"}
)
"""Suffixes of photos and videos that are not read; none of a folder is left out without a word."""
MEDIA_SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES | UNREAD_SUFFIXES
"""Suffixes of the files that are taken from a folder to predict."""


def expand(
    source: Any, suffixes: frozenset[str] = IMAGE_SUFFIXES, *, frames: bool = False
) -> list[Any] | None:
    """Return the media that a list, folder or glob pattern stands for; None for a single one.

    Args:
        source: what was given.
        suffixes: of the files that are taken from a folder.
        frames: a folder that holds images is a video, each image a frame of it.

    Raises:
        DataError: a folder holds no such files, or a pattern matches nothing.
    """
    if isinstance(source, list | tuple):
        return list(source)
    if not isinstance(source, str | Path) or source == "":
        return None
    path = Path(source)
    if os.path.isdir(path):  # where Path.is_dir raises, of names that are too long or may not be looked at
        if frames and _holds_frames(path):
            return None
        files = suffixes - IMAGE_SUFFIXES if frames else suffixes
        found = [p for p in sorted(path.rglob("*")) if _is_medium(p, files, frames)]
        if not found:
            raise DataError(
                f"{path} holds no {_called(suffixes)} ({', '.join(sorted(files - UNREAD_SUFFIXES))})"
            )
        return found
    if not os.path.exists(path) and glob.has_magic(str(source)):
        matches = [Path(match) for match in sorted(glob.glob(str(source), recursive=True))]
        found = [str(p) for p in matches if os.path.isfile(p) or (frames and _holds_frames(p))]
        if not found:
            raise DataError(f"no file matches {source}")
        return found
    return None


def is_video(item: Any, *, frames: bool = False) -> bool:
    """Whether something given is a video: a file that is called like one, or with `frames` a folder."""
    if not isinstance(item, str | Path) or item == "":
        return False
    return Path(item).suffix.lower() in VIDEO_SUFFIXES or (frames and os.path.isdir(item))


def name_of(item: Any, otherwise: str) -> str:
    """Return what something given is called; a file name that is not UTF-8 could not be written down as it is."""
    if not isinstance(item, str | Path):
        return otherwise
    return str(item).encode(errors="backslashreplace").decode()


@contextmanager
def reading(name: str) -> Generator[None]:
    """Raise what the system has against a file as a DataError that names the file."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{shortened(name)}: {error.strerror or error}") from error


def shortened(name: str) -> str:
    """Return a name as errors show it: what is no path may have megabytes, as a data: URL does."""
    return name if len(name) <= 255 else f"{name[:99]}... ({len(name):,} characters)"


def _is_medium(path: Path, files: frozenset[str], frames: bool) -> bool:
    if os.path.isdir(path):
        return frames and _holds_frames(path)
    return path.suffix.lower() in files and os.path.isfile(path)


def _holds_frames(path: Path) -> bool:
    """Whether a folder holds images; one that cannot be listed counts as a video, which then cannot be read."""
    try:
        return any(Path(name).suffix.lower() in IMAGE_SUFFIXES for name in os.listdir(path))
    except NotADirectoryError:
        return False
    except OSError:
        return True


def _called(suffixes: frozenset[str]) -> str:
    return "images or videos" if suffixes & VIDEO_SUFFIXES else "images"
