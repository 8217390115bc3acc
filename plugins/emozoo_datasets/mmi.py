"""MMI: posed expressions from onset over apex to offset, in six categories."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

from emozoo.contracts import Finding
from emozoo.errors import DataError
from emozoo_datasets.class_videos import ClassOfVideos, classes_of_videos
from emozoo_datasets.image_checks import Report
from emozoo_datasets.image_folders import visible
from emozoo_datasets.video_files import folders_below, is_video, without_suffix
from emozoo_datasets.video_reader import VideoEntry, VideoReader, subject_folds

_CODES = {1: "angry", 2: "disgust", 3: "fear", 4: "happy", 5: "sad", 6: "surprise"}
"""The dataset's own codes; those above are of other states (boredom, sleepiness, ...), which are not read."""

_NAME = re.compile(r"(S[0-9]{3})[-_][0-9]{3}")

_ORIGINAL = 205
"""Sequences of the usual protocol: frontal, of a basic emotion, of 30 subjects."""

_XML_BYTES = 1 << 20
"""Largest annotation file that is read."""


class Mmi(VideoReader):
    """Kind `dataset`: MMI's sequences of six emotions, in ten folds (Pantic et al. 2005; Valstar & Pantic 2010).

    The original: `Sessions/<number>/S001-001.avi` beside `S001-001.xml`, whose Metatag "Emotion" is a code. Or by
    class: `Anger/S001-001.avi`, or a folder `Anger/S001-001` of frames. Sessions without one of the six emotions
    are not read. No fold list is published: the column `fold` deals the subjects out in ascending order (see
    `subject_folds`).
    """

    title: ClassVar[str] = "MMI"
    licence: ClassVar[str] = (
        "For research only, under the database's end-user agreement; it may not be passed on."
    )
    citation: ClassVar[str] = (
        "Pantic et al. (2005), Web-based Database for Facial Expression Analysis, ICME; Valstar & Pantic (2010), "
        "Induced Disgust, Happiness and Surprise: an Addition to the MMI Facial Expression Database, LREC Workshops."
    )
    labels: ClassVar[tuple[str, ...]] = tuple(_CODES.values())

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Say whether there are videos that are named S001-001, in sessions or by class."""
        return root.is_dir() and (bool(_sessions(root)) or bool(_by_class(root, cls.labels)))

    def entries(self, report: Report) -> list[VideoEntry]:
        """Return the sequences of one of the six emotions."""
        found = [(video, self._label(video, report)) for video in _sessions(self._root)]
        found = found or [
            (video, c.label) for c in _by_class(self._root, self.labels) for video in _named(c.path)
        ]
        if not found:
            raise DataError(
                f"{self._root} holds no videos of MMI; they belong in Sessions/<number>/S001-001.avi, or in "
                "<class>/S001-001.avi"
            )
        of_six = [(video, label) for video, label in found if label is not None]
        folds = subject_folds(_subject(video) for video, _ in of_six)
        entries: dict[str, VideoEntry] = {}
        for video, label in sorted(of_six, key=lambda item: item[0].name):
            name = without_suffix(video.name)
            if name in entries:
                report(str(video), f"{name} is also {entries[name].video}; keep one of them")
            else:
                subject = _subject(video)
                entries[name] = VideoEntry(
                    name, label, "train", video, str(video), fold=folds[subject], subject=subject
                )
        return list(entries.values())

    def peculiarities(self, entries: Sequence[VideoEntry]) -> Iterable[Finding]:
        """Return how many sequences and subjects there are, and which views of the face they show."""
        subjects = len({entry.subject for entry in entries})
        if len(entries) != _ORIGINAL:
            message = (
                f"{len(entries)} sequences of {subjects} subjects; published results are on {_ORIGINAL} frontal ones "
                "of 30: remove the others"
            )
            yield Finding("warning", str(self._root), message)
        views = Counter(_view(entry.video) for entry in entries if entry.video is not None)
        if views.keys() - {None}:
            text = ", ".join(f"{view or 'unknown'} {count}" for view, count in sorted(views.items(), key=str))
            yield Finding(
                "info", "views", f"{text} (by session.xml; 2 is a frontal and a side view in one picture)"
            )

    def _label(self, video: Path, report: Report) -> str | None:
        """Return the emotion of a session; None where it has none of the six."""
        path = video.with_suffix(".xml")
        root = _xml(path, report) if path.exists() else None
        values = (
            []
            if root is None
            else [t.get("Value") for t in root.iter("Metatag") if t.get("Name") == "Emotion"]
        )
        if not values:
            return None
        text = (values[0] or "").strip()
        if not text.isdecimal():
            report(
                str(path), f"Emotion is {text!r:.40}, which is no code; 1 to 6 are {', '.join(self.labels)}"
            )
            return None
        return _CODES.get(int(text))


def _subject(video: Path) -> str:
    return without_suffix(video.name).replace("_", "-").partition("-")[0]


def _named(folder: Path) -> list[Path]:
    """Return the videos of a folder that are named by subject and sequence, sorted."""
    names = sorted(name for name in os.listdir(folder) if _NAME.fullmatch(without_suffix(name)))
    return [folder / name for name in names if is_video(folder / name)]


def _sessions(root: Path) -> list[Path]:
    """Return the videos of all sessions, which are folders named by numbers."""
    for folder in folders_below(root, depth=3):
        sessions = [path for path in visible(folder) if path.name.isdecimal() and path.is_dir()]
        videos = [video for session in sessions for video in _named(session)]
        if videos:
            return sorted(videos)
    return []


def _by_class(root: Path, labels: Sequence[str]) -> list[ClassOfVideos]:
    return [found for found in classes_of_videos(root) if found.label in labels and _named(found.path)]


def _view(video: Path) -> str | None:
    """Return the view that a session's video shows; None where that is not told."""
    path = video.parent / "session.xml"
    root = _xml(path, lambda *_: None) if path.exists() else None
    track = None if root is None else next(root.iter("track"), None)
    return None if track is None else track.get("view")


def _xml(path: Path, report: Report) -> ElementTree.Element | None:
    try:
        if path.stat().st_size > _XML_BYTES:
            raise ValueError(f"it has more than {_XML_BYTES:,} bytes")
        return ElementTree.fromstring(path.read_bytes())
    except (ElementTree.ParseError, ValueError) as error:
        report(str(path), f"is no annotation in XML ({error}); replace it")
        return None
