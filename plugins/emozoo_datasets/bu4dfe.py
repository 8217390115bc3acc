"""BU-4DFE: posed expressions of 101 people, as frames, in six categories."""

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
from emozoo_datasets.video_files import folders_below, is_video, without_suffix
from emozoo_datasets.video_reader import VideoEntry, VideoReader, subject_folds

_SUBJECT = re.compile(r"[FM][0-9]{3}")

_ORIGINAL = 606
"""Sequences: 58 women and 43 men, six expressions of each."""


class Bu4dfe(VideoReader):
    """Kind `dataset`: BU-4DFE's 606 sequences in six categories, in ten folds (Yin et al. 2008).

    The CEFLNet paper calls it BU-3DFE, which is a dataset of still scans by the same authors. Frames:
    `F001/Angry/*.jpg`, beside the 3-D models, which are not read; or a video `F001/Angry.avi`; or by class,
    `Angry/F001`.

    The column `fold` deals the subjects out in ascending order (see `subject_folds`), women and men alike.
    """

    title: ClassVar[str] = "BU-4DFE"
    licence: ClassVar[str] = "For research only, under an agreement signed with Binghamton University."
    citation: ClassVar[str] = (
        "Yin et al. (2008), A High-Resolution 3D Dynamic Facial Expression Database, IEEE Face and Gesture."
    )
    labels: ClassVar[tuple[str, ...]] = ("angry", "disgust", "fear", "happy", "sad", "surprise")

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Say whether there are videos by subject (F001, M001) and class."""
        return root.is_dir() and bool(_sequences(root, cls.labels))

    def entries(self, report: Report) -> list[VideoEntry]:
        """Return all sequences."""
        sequences = _sequences(self._root, self.labels)
        if not sequences:
            raise DataError(f"{self._root} holds no sequences of BU-4DFE; they belong in F001/Angry/*.jpg")
        folds = subject_folds(subject for subject, _, _ in sequences)
        entries: dict[str, VideoEntry] = {}
        for subject, label, video in sequences:
            name = f"{subject}/{label}"
            if name in entries:
                report(str(video), f"{name} is also {entries[name].video}; keep one of them")
            else:
                entries[name] = VideoEntry(
                    name, label, "train", video, str(video), fold=folds[subject], subject=subject
                )
        return list(entries.values())

    def peculiarities(self, entries: Sequence[VideoEntry]) -> Iterable[Finding]:
        """Return whether there are as many sequences as in the original."""
        if len(entries) != _ORIGINAL:
            message = f"{len(entries)} sequences, the original has {_ORIGINAL}: the folds may be others, too"
            yield Finding("warning", str(self._root), message)


def _sequences(root: Path, labels: Sequence[str]) -> list[tuple[str, str, Path]]:
    """Return subject, class and video of the first folder below that has any, sorted."""
    for folder in folders_below(root, depth=4):
        found = []
        for outer in sorted(visible(folder)):
            for inner in visible(outer) if _speaks(outer.name, labels) and outer.is_dir() else ():
                names = outer.name, without_suffix(inner.name)
                subject = next((name for name in names if _SUBJECT.fullmatch(name)), None)
                label = next((canonical(name) for name in names if canonical(name) in labels), None)
                if subject is not None and label is not None and is_video(inner):
                    found.append((subject, label, inner))
        if found:
            return sorted(found)
    return []


def _speaks(name: str, labels: Sequence[str]) -> bool:
    return _SUBJECT.fullmatch(name) is not None or canonical(name) in labels
