"""Any dataset of still images whose folders are named after the categories."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from emozoo.contracts import Finding
from emozoo.errors import DataError
from emozoo.labels import CATEGORIES, canonical
from emozoo_datasets.bu4dfe import Bu4dfe
from emozoo_datasets.fer2013 import Fer2013
from emozoo_datasets.image_checks import count_classes
from emozoo_datasets.image_folders import ClassFolder, class_folders, has_images, images, others
from emozoo_datasets.rows import image_paths, make_dataset

if TYPE_CHECKING:
    from datasets import Dataset


class Folders:
    """Kind `dataset`: images in folders named after categories, root/<class>/* or root/<split>/<class>/*.

    Splits are called as their folders are; without any, all images are of the split "train". Labels are the
    folders' names in emozoo's spelling, sorted: Happy and happiness are both happy. Images stay files.

    Args:
        root: the folder.
    """

    title: ClassVar[str] = "image folders"
    licence: ClassVar[str] = "The terms of whoever made the images."
    citation: ClassVar[str] = "A folder of the user's own."
    vad_scale: tuple[float, float] | None = None

    def __init__(self, root: Path | None) -> None:
        if root is None:
            raise DataError("image folders are not generated: give a folder with --data PATH")
        if not root.is_dir():
            raise DataError(f"{root} is no folder; give the folder that holds one folder a class")
        self._root = root

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Say whether a folder has images in folders of at least two known categories, and is no known dataset."""
        if not root.is_dir():
            return False
        names = {canonical(folder.path.name) for folder in class_folders(root) if has_images(folder.path)}
        return len(names & {*CATEGORIES}) >= 2 and not (Fer2013.recognises(root) or Bu4dfe.recognises(root))

    def read(self) -> Dataset:
        """Return all rows, with images as paths.

        Raises:
            DataError: there are no images in class folders.
        """
        rows = self._rows()
        if not rows:
            raise DataError(
                f"{self._root} holds no images in class folders; lay them out as "
                f"{self._root.name}/<class>/*.jpg or {self._root.name}/<split>/<class>/*.jpg"
            )
        names = sorted({label for _, label, _ in rows})
        columns = {
            "id": [self._relative(path) for _, _, path in rows],
            "image": image_paths([path.absolute() for _, _, path in rows]),
            "split": [split for split, _, _ in rows],
            "label": [names.index(label) for _, label, _ in rows],
        }
        return make_dataset(columns, names)

    def check(self) -> Sequence[Finding]:
        """Look at every folder."""
        rows = self._rows()
        names = sorted({label for _, label, _ in rows})
        splits, labels = [split for split, _, _ in rows], [names.index(label) for _, label, _ in rows]
        nothing = [Finding("error", str(self._root), "holds no images in class folders")] if not rows else []
        return [
            *nothing,
            *count_classes(splits, labels, names),
            *self._check_folders(),
        ]

    def _rows(self) -> list[tuple[str, str, Path]]:
        """Return (split, label, path) of every image."""
        return [
            (folder.split or "train", canonical(folder.path.name), path)
            for folder in class_folders(self._root)
            for path in images(folder.path)
        ]

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _check_folders(self) -> list[Finding]:
        """Report empty and numbered folders, several folders of one class, and what is not read."""
        folders = class_folders(self._root)
        findings = []
        for folder in folders:
            where = self._relative(folder.path)
            if not has_images(folder.path):
                findings.append(
                    Finding("warning", where, "holds no images; its class is not in the labels for it")
                )
            if folder.path.name.isdecimal():
                message = "is named by a number; labels are matched by name, so name it after its category"
                findings.append(Finding("warning", where, message))
        skipped = [path for folder in folders for path in others(folder.path)]
        parents = {folder.path.parent for folder in folders} | {self._root}
        skipped += [path for parent in sorted(parents) for path in others(parent) if path.is_file()]
        findings += [
            Finding("warning", self._relative(path), "is no image and is not read") for path in skipped
        ]
        return findings + self._synonyms(folders)

    def _synonyms(self, folders: Sequence[ClassFolder]) -> list[Finding]:
        spellings: dict[str, set[str]] = defaultdict(set)
        for folder in folders:
            spellings[canonical(folder.path.name)].add(folder.path.name)
        return [
            Finding("warning", ", ".join(sorted(names)), f"are read as one class, {label!r}")
            for label, names in sorted(spellings.items())
            if len(names) > 1
        ]
