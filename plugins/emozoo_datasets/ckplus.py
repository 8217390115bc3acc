"""CK+: posed expressions from neutral to their peak, as frames, in seven categories."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from emozoo.contracts import Finding
from emozoo.errors import DataError
from emozoo.labels import canonical
from emozoo_datasets.image_checks import Report
from emozoo_datasets.image_folders import visible
from emozoo_datasets.video_files import Footage, folders_below, is_video
from emozoo_datasets.video_lists import read_list, tail
from emozoo_datasets.video_reader import VideoEntry, VideoReader, subject_folds

_CODES = {1: "angry", 2: "contempt", 3: "disgust", 4: "fear", 5: "happy", 6: "sad", 7: "surprise"}
"""The dataset's own codes; 0 is neutral, which no sequence is labelled with."""

_SUBJECT, _SEQUENCE = re.compile(r"S[0-9]{3}"), re.compile(r"S[0-9]{3}/[0-9]{3}")

_HEAD = 4096
"""Characters by which a list is known."""

_ORIGINAL = 327
"""Sequences with a label, of 593."""


class CKPlus(VideoReader):
    """Kind `dataset`: CK+'s 327 labelled sequences in seven categories, in ten folds (Lucey et al. 2010).

    Frames: `cohn-kanade-images/S005/001/*`, or `ck_face/S005/001/*` of FAN's code. Labels:
    `Emotion/S005/001/*_emotion.txt`, each a code; or a list with lines `S005/001 Disgust`, such as FAN's. Sequences
    without a label are not read.

    The column `fold` deals the labelled subjects out in ascending order (see `subject_folds`): the folds of FAN's list.
    """

    title: ClassVar[str] = "CK+"
    licence: ClassVar[str] = (
        "For research only, under an agreement signed with its authors; few faces may be shown."
    )
    citation: ClassVar[str] = (
        "Lucey et al. (2010), The Extended Cohn-Kanade Dataset (CK+), CVPR Workshops; Kanade, Cohn & Tian (2000)."
    )
    labels: ClassVar[tuple[str, ...]] = tuple(_CODES.values())

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Say whether there are sequences S005/001 of frames, and labels of such."""
        return root.is_dir() and _frames_of(root) is not None and bool(_labels_of(root) or _list_of(root))

    def entries(self, report: Report) -> list[VideoEntry]:
        """Return the labelled sequences."""
        frames = _frames_of(self._root)
        if frames is None:
            raise DataError(
                f"{self._root} holds no sequences of CK+; they belong in cohn-kanade-images/S005/001/*"
            )
        labels = self._from_codes(report) or self._from_list(report)
        if not labels:
            raise DataError(
                f"{self._root} holds no labels of CK+; they belong in Emotion/S005/001/*_emotion.txt"
            )
        folds = subject_folds(name.split("/")[0] for name in labels)
        footage = Footage(frames)
        return [
            VideoEntry(
                id=name,
                label=label,
                split="train",
                video=footage.find(name),
                where=where,
                fold=folds[name.split("/")[0]],
                subject=name.split("/")[0],
            )
            for name, (label, where) in sorted(labels.items())
        ]

    def peculiarities(self, entries: Sequence[VideoEntry]) -> Iterable[Finding]:
        """Return whether there are as many labelled sequences as in the original."""
        if len(entries) != _ORIGINAL:
            message = (
                f"{len(entries)} labelled sequences, the original has {_ORIGINAL}: the folds are others, too"
            )
            yield Finding("warning", str(self._root), message)

    def _from_codes(self, report: Report) -> dict[str, tuple[str, str]]:
        """Return class and place by sequence, from files that hold a code each ("   3.0000000e+00")."""
        labels = {}
        for folder in _labels_of(self._root):
            for path in sorted(folder.glob("*_emotion.txt")):
                text = path.read_text(encoding="ascii", errors="replace").strip()
                try:
                    labels["/".join(folder.parts[-2:])] = _CODES[int(float(text))], str(path)
                except (ValueError, KeyError, OverflowError):
                    codes = ", ".join(f"{code} {name}" for code, name in _CODES.items())
                    report(str(path), f"{text!r:.40} is no code of an emotion: {codes}")
        return labels

    def _from_list(self, report: Report) -> dict[str, tuple[str, str]]:
        labels = {}
        for line in [line for path in _list_of(self._root) for line in read_list(path, report)]:
            name = tail(line.name, 2)
            if _SEQUENCE.fullmatch(name) and canonical(line.label) in self.labels:
                labels[name] = canonical(line.label), line.where
            elif _SEQUENCE.fullmatch(name):
                report(line.where, f"there is no class {line.label!r}; CK+ has {', '.join(self.labels)}")
        return labels


def _subjects(folder: Path) -> list[Path]:
    return sorted(path for path in visible(folder) if _SUBJECT.fullmatch(path.name) and path.is_dir())


def _frames_of(root: Path) -> Path | None:
    """Return the folder that has subjects that have sequences of frames."""
    for folder in folders_below(root, depth=4):
        if any(
            is_video(path) for subject in _subjects(folder)[:3] for path in visible(subject) if path.is_dir()
        ):
            return folder
    return None


def _labels_of(root: Path) -> list[Path]:
    """Return the folders of sequences that may have labels."""
    for folder in folders_below(root, depth=4):
        sequences = [
            path for subject in _subjects(folder) for path in sorted(visible(subject)) if path.is_dir()
        ]
        if any(next(path.glob("*_emotion.txt"), None) for path in sequences):
            return sequences
    return []


def _list_of(root: Path) -> list[Path]:
    """Return the first file with lines `S005/001 Disgust`."""
    for folder in folders_below(root, depth=4):
        for path in sorted((*folder.glob("*.txt"), *folder.glob("*.csv"))):
            with path.open(encoding="utf-8", errors="replace") as file:
                text = file.read(_HEAD)
            if re.search(rf"(?m)^\S*{_SEQUENCE.pattern}[ ,\t]+[A-Za-z]+\s*$", text):
                return [path]
    return []
