"""Any dataset of videos: folders named after the categories, or a CSV of paths and labels."""

from __future__ import annotations

import csv
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from emozoo.contracts import Finding
from emozoo.errors import DataError
from emozoo.labels import CATEGORIES, DIMENSIONS, canonical
from emozoo_datasets.afew import Afew
from emozoo_datasets.bu4dfe import Bu4dfe
from emozoo_datasets.class_videos import classes_of_videos
from emozoo_datasets.image_checks import Report, some
from emozoo_datasets.image_folders import visible
from emozoo_datasets.mmi import Mmi
from emozoo_datasets.rows import unique
from emozoo_datasets.video_files import is_video
from emozoo_datasets.video_lists import split_names, split_word
from emozoo_datasets.video_reader import VideoEntry, VideoReader

_PATHS = ("path", "video")
"""What the column of paths may be called."""


class Videos(VideoReader):
    """Kind `dataset`: videos in folders named after categories, or named by a CSV with their labels.

    Folders: `<class>/<video>` or `<split>/<class>/<video>`, each video a file or a folder of frames. A CSV: columns
    `path` and `label`, and where there are any `split`, `fold` (the one that a video is tested in, from 1),
    `subject`, `valence`, `arousal`, `dominance`; paths are relative to the CSV's folder. A folder with such a CSV
    directly in it is read by it.

    A split is called train, val or test where a word of its name says so and no other split's does, else by its
    own name; without any, all videos are train. Labels are in emozoo's spelling, sorted.

    Args:
        root: the folder, or the CSV.
        scale: lowest and highest value of the CSV's valence, arousal and dominance.
        skip_missing: leave out videos of the CSV that are not there.
    """

    title: ClassVar[str] = "videos"
    licence: ClassVar[str] = "The terms of whoever made the videos."
    citation: ClassVar[str] = "A collection of the user's own."

    def __init__(
        self,
        root: Path | None,
        *,
        scale: tuple[float, float] = (-1.0, 1.0),
        skip_missing: bool = False,
    ) -> None:
        super().__init__(root, skip_missing=skip_missing)
        if scale[0] >= scale[1]:
            raise ValueError(f"scale is {scale}: give the lowest value, then the highest")
        self._called: dict[str, str] = {}  # what splits are called here, once they have been read
        self._table = _table_of(self._root)
        if self._table is None and self._root.is_file():
            raise DataError(f"{self._root} is no CSV with the columns path and label")
        columns = _header(self._table) if self._table is not None else []
        self.vad_scale = scale if set(columns) & set(DIMENSIONS) else None

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Say whether this is a table of videos, or folders of at least two known categories with videos in them."""
        if _table_of(root) is not None:
            return True
        if not root.is_dir() or any(reader.recognises(root) for reader in (Afew, Bu4dfe, Mmi)):
            return False
        found = {folder.label for folder in classes_of_videos(root) if folder.videos()}
        return len(found & {*CATEGORIES}) >= 2

    def entries(self, report: Report) -> list[VideoEntry]:
        """Return all videos, with what their splits are called here."""
        entries = self._as_written(report)
        self._called = split_names({entry.split for entry in entries})
        return [replace(entry, split=self._called[entry.split]) for entry in entries]

    def _as_written(self, report: Report) -> list[VideoEntry]:
        """Return all videos, with the splits' own names."""
        if self._table is not None:
            return self._of_table(self._table, report)
        entries = self._of_folders()
        if not entries:
            raise DataError(
                f"{self._root} holds no videos in class folders; lay them out as <class>/<video> or "
                "<split>/<class>/<video>, or give a CSV with the columns path and label"
            )
        return entries

    def class_names(self, entries: Sequence[VideoEntry]) -> Sequence[str]:
        """Return all classes that there are, sorted."""
        return sorted({entry.label for entry in entries if entry.label is not None})

    def peculiarities(self, entries: Sequence[VideoEntry]) -> Iterable[Finding]:
        """Return what splits are called, classes that are numbers, subjects of several splits, what is not read."""
        yield from self._names_of_splits()
        for label in self.class_names(entries):
            if label.isdecimal():
                message = "is a number; labels are matched by name, so give the name of the category"
                yield Finding("warning", f"class {label}", message)
        splits: dict[str, set[str]] = defaultdict(set)
        for entry in entries:
            if entry.subject is not None:
                splits[entry.subject].add(entry.split if entry.fold is None else f"fold {entry.fold}")
        shared = sorted(subject for subject, places in splits.items() if len(places) > 1)
        if shared:
            message = f"{len(shared):,} subjects are in more than one split: a test is not on unseen people"
            yield Finding("warning", some(shared), message)
        if self._table is None:
            yield from self._unread()

    def _names_of_splits(self) -> Iterable[Finding]:
        """Report splits that have other names here than there, and those that share the word for one."""
        for name, split in sorted(self._called.items()):
            word = split_word(name)
            if split not in (name, name.lower()):
                yield Finding(
                    "info", f"split {name}", f"is called {split} here, as data.report and its like want it"
                )
            elif word not in (None, split):
                yield Finding(
                    "info", f"split {name}", f"keeps its name: it is not the only one that speaks of {word}"
                )

    def _unread(self) -> Iterable[Finding]:
        for folder in classes_of_videos(self._root):
            read = set(folder.videos())
            for path in sorted(path for path in visible(folder.path) if path not in read):
                where = path.relative_to(self._root).as_posix()
                yield Finding("warning", where, "is no video, nor a folder of frames, and is not read")

    def _of_folders(self) -> list[VideoEntry]:
        entries = []
        for folder in classes_of_videos(self._root):
            for video in folder.videos():
                where = video.relative_to(self._root).as_posix()
                entries.append(
                    VideoEntry(where, folder.label, folder.split or "train", video, str(folder.path))
                )
        return entries

    def _of_table(self, table: Path, report: Report) -> list[VideoEntry]:
        rows: list[dict[str, str]] = []
        with table.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            try:
                rows.extend(
                    {(k or "").strip().lower(): (v or "").strip() for k, v in row.items() if k}
                    for row in csv.DictReader(file)
                )
            except csv.Error as error:
                report(str(table), f"is not CSV after line {len(rows) + 1} ({error})")
        names = unique([row.get("path") or row.get("video", "") for row in rows])
        entries = []
        for number, (name, row) in enumerate(zip(names, rows, strict=True), 2):
            where = f"{table} line {number}"
            path = table.parent / (row.get("path") or row.get("video", ""))
            if not name:
                report(where, "names no video")
                continue
            entries.append(
                VideoEntry(
                    id=name,
                    label=canonical(row["label"]) if row.get("label") else None,
                    split=row.get("split") or "train",
                    video=path if os.path.exists(path) and is_video(path) else None,  # Path minds long names
                    where=where,
                    fold=_fold(row.get("fold", ""), where, report),
                    subject=row.get("subject") or None,
                    vad=tuple(
                        self._value(row.get(name, ""), f"{where} column {name}", report)
                        for name in DIMENSIONS
                    ),
                )
            )
        return entries

    def _value(self, text: str, where: str, report: Report) -> float | None:
        """Return a value of the table on the scale from -1 to 1; None where it is empty or NaN."""
        low, high = self.vad_scale or (-1.0, 1.0)
        try:
            value = float(text or "nan")
        except ValueError:
            value = math.inf
        if math.isnan(value):
            return None
        if not low <= value <= high:
            report(where, f"{text!r:.40} is no number from {low:g} to {high:g}; give the option scale")
            return None
        return 2 * (value - low) / (high - low) - 1


def _fold(text: str, where: str, report: Report) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or len(text) > 4 or int(text) < 1:
        report(f"{where} column fold", f"{text!r:.40} is no fold; folds are counted from 1")
        return None
    return int(text)


def _table_of(root: Path) -> Path | None:
    """Return the CSV with paths and labels that a path is, or that alone lies in a folder."""
    files = [root] if root.is_file() else sorted(root.glob("*.csv")) if root.is_dir() else []
    tables = [path for path in files if path.suffix.lower() == ".csv" and _is_table(path)]
    return tables[0] if len(tables) == 1 else None


def _is_table(path: Path) -> bool:
    columns: Any = _header(path)
    return "label" in columns and any(name in columns for name in _PATHS)


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        try:
            return [name.strip().lower() for name in next(csv.reader([file.readline()]), [])]
        except csv.Error:
            return []
