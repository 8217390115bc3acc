"""What is given to predict: which media a list, folder or pattern stands for, and which of them are videos."""

from __future__ import annotations

import glob
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emozoo.contracts import FRAME_SUFFIXES, IMAGE_SUFFIXES, UNREAD_SUFFIXES, VIDEO_SUFFIXES
from emozoo.errors import DataError
from emozoo.printable import shortened

MEDIA_SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES | UNREAD_SUFFIXES
"""Suffixes of the files that are taken from a folder to predict."""


def expand(
    source: Any, suffixes: frozenset[str] = IMAGE_SUFFIXES, *, frames: bool = False
) -> list[Any] | None:
    """Return the media that a list, folder or glob pattern stands for, hidden files left out; None for a single one.

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
    source = os.path.expanduser(source)
    path = Path(source)
    if os.path.isdir(path):  # where Path.is_dir raises, of names that are too long or may not be looked at
        if frames and _holds_frames(path):
            return None
        files = suffixes - IMAGE_SUFFIXES if frames else suffixes
        visible = [p for p in sorted(path.rglob("*")) if not _hidden(p.relative_to(path))]
        found = [p for p in visible if _is_medium(p, files, frames)]
        if not found:
            raise DataError(
                f"{path} holds no {_called(suffixes)} ({', '.join(sorted(files - UNREAD_SUFFIXES))})"
            )
        return found
    if not os.path.exists(path) and glob.has_magic(source):
        matches = [Path(match) for match in sorted(glob.glob(source, recursive=True))]
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
    if not isinstance(item, str | Path) or item == "":
        return otherwise
    return str(item).encode(errors="backslashreplace").decode()


@contextmanager
def reading(name: str) -> Generator[None]:
    """Raise what the system has against a file as a DataError that names the file."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{shortened(name)}: {error.strerror or error}") from error


def _is_medium(path: Path, files: frozenset[str], frames: bool) -> bool:
    if os.path.isdir(path):
        return frames and _holds_frames(path)
    return path.suffix.lower() in files and os.path.isfile(path)


def _hidden(path: Path) -> bool:
    """Whether a file, or a folder that it lies in, is hidden; a Mac's archives hold such a twin of every photo."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _holds_frames(path: Path) -> bool:
    """Whether a folder holds frames; one that cannot be listed counts as a video, which then cannot be read."""
    try:
        files = [Path(name) for name in os.listdir(path) if not name.startswith(".")]
        return any(file.suffix.lower() in FRAME_SUFFIXES for file in files)
    except NotADirectoryError:
        return False
    except OSError:
        return True


def _called(suffixes: frozenset[str]) -> str:
    return "images or videos" if suffixes & VIDEO_SUFFIXES else "images"
