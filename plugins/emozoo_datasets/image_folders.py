"""Folders of images in the two usual layouts: root/<class>/* and root/<split>/<class>/*."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from emozoo.contracts import IMAGE_SUFFIXES

_SPLIT_WORDS = {
    "train": ("train", "training"),
    "public_test": ("publictest",),
    "private_test": ("privatetest",),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
_SPLITS = {word: split for split, words in _SPLIT_WORDS.items() for word in words}


@dataclass(frozen=True, slots=True)
class ClassFolder:
    """A folder whose images share a category, and the name of the folder of a split around it, if any."""

    split: str | None
    path: Path


def split_of(word: str) -> str | None:
    """Return the split that a word means: train, validation, test, public_test or private_test, or None."""
    return _SPLITS.get(_plain(word))


def split_in(name: str) -> str | None:
    """Return the split of a file's name, which may hold its word ("train-00000-of-00001"), or None."""
    words = (word for word in _SPLITS if len(word) > 3 and word in _plain(name))
    return split_of(name) or _SPLITS.get(next(words, ""))


def class_folders(root: Path) -> list[ClassFolder]:
    """Return the class folders of a folder in either layout, sorted by split and name."""
    top = sorted(_folders(root))
    if not any(split_of(folder.name) for folder in top) and any(has_images(folder) for folder in top):
        return [ClassFolder(None, folder) for folder in top]
    return [ClassFolder(split.name, folder) for split in top for folder in sorted(_folders(split))]


def images(folder: Path) -> list[Path]:
    """Return the image files that lie in a folder itself, sorted by name."""
    return sorted(_images(folder))


def has_images(folder: Path) -> bool:
    """Say whether an image lies in a folder itself."""
    return next(_images(folder), None) is not None


def others(folder: Path) -> list[Path]:
    """Return what lies in a folder and is no image: other files, and folders."""
    return sorted(path for path in visible(folder) if not _is_image(path))


def visible(folder: Path) -> Iterable[Path]:
    """Yield what lies in a folder, leaving out hidden files and what archive tools leave behind."""
    return (path for path in folder.iterdir() if not path.name.startswith((".", "__")))


def _folders(folder: Path) -> Iterator[Path]:
    return (path for path in visible(folder) if path.is_dir())


def _images(folder: Path) -> Iterator[Path]:
    return (path for path in visible(folder) if _is_image(path))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
