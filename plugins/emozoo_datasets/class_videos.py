"""Folders of videos in folders named by class, which may lie in folders named by split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from emozoo.labels import CATEGORIES, canonical
from emozoo_datasets.image_folders import visible
from emozoo_datasets.video_files import is_video
from emozoo_datasets.video_lists import split_word


@dataclass(frozen=True, slots=True)
class ClassOfVideos:
    """A folder whose videos share a class, and the name of the folder of a split around it, if any."""

    split: str | None
    path: Path

    @property
    def label(self) -> str:
        """The class, in emozoo's spelling."""
        return canonical(self.path.name)

    def videos(self) -> list[Path]:
        """Return the videos in it, sorted by name."""
        return sorted(path for path in visible(self.path) if is_video(path))


def classes_of_videos(root: Path) -> list[ClassOfVideos]:
    """Return the class folders root/<class>/<video> or root/<split>/<class>/<video>, sorted by split and name.

    They are in splits where a folder is named by a split, or where no folder has videos in it.
    """
    top = sorted(_folders(root))
    if not any(is_split(folder) for folder in top) and any(has_videos(folder) for folder in top):
        return [ClassOfVideos(None, folder) for folder in top]
    return [ClassOfVideos(split.name, folder) for split in top for folder in sorted(_folders(split))]


def is_split(folder: Path) -> bool:
    """Say whether a folder's name has the word for a split in it, and holds no videos itself."""
    return split_word(folder.name) is not None and not has_videos(folder)


def has_videos(folder: Path) -> bool:
    """Say whether a folder has a video in it: a file, or a folder of frames."""
    return any(is_video(path) for path in visible(folder))


def has_categories(folder: Path) -> bool:
    """Say whether a folder has folders of videos named by two known categories or more."""
    named = [path for path in _folders(folder) if canonical(path.name) in CATEGORIES]
    return len({canonical(path.name) for path in named if has_videos(path)}) >= 2


def _folders(folder: Path) -> Iterator[Path]:
    return (path for path in visible(folder) if path.is_dir())
