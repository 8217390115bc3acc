"""Readers of datasets whose protocol is a set of lists: DFEW, FERV39k, MAFW."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from emozoo.contracts import Finding
from emozoo.errors import DataError
from emozoo.labels import canonical
from emozoo_datasets.image_checks import Report, some
from emozoo_datasets.video_files import find_footage
from emozoo_datasets.video_lists import Line, Lists, find_lists, name_numbers, read_list, tail
from emozoo_datasets.video_reader import VideoEntry, VideoReader

Key = tuple[int | None, str]
"""Fold (None without folds) and split of a list."""


@dataclass(frozen=True)
class Protocol:
    """What the lists of a dataset say.

    Attributes:
        lists: by fold and split, lines by the clip's name.
        classes: class of each label as written.
        source: which lists these are, and how it is known what their numbers stand for.
    """

    lists: dict[Key, dict[str, Line]]
    classes: dict[str, str]
    source: str

    @cached_property
    def lines(self) -> dict[str, Line]:
        """A line of each clip, by its name."""
        return {name: line for part in self.lists.values() for name, line in part.items()}

    @cached_property
    def tested(self) -> dict[str, Key]:
        """Fold and split whose test or validation set each clip is in."""
        return {name: key for key, part in self.lists.items() if key[1] != "train" for name in part}


class ListedVideos(VideoReader):
    """Base of the readers of lists.

    Args:
        root: the dataset's folder, with lists and media somewhere below it.
        media: the folder that holds the clips, or a folder above it, where there are several or it is elsewhere;
            relative to the dataset's folder.
        lists: the folder that holds the lists, where there are several or it is elsewhere; likewise.
        numbers: which class each number of the lists stands for, where nothing else tells.
        skip_missing: leave out clips that are listed and not there.
    """

    folds: ClassVar[int] = 0
    """How many folds the protocol has; 0 for one that has a training and a test set."""
    name_parts: ClassVar[int] = 1
    """Last parts of a path that name a clip."""
    digits: ClassVar[int] = 0
    """Digits of a clip's number, which some lists write without zeros in front."""
    preferred: ClassVar[tuple[str, ...]] = ()
    """Folders of clips, best first."""
    counts: ClassVar[tuple[int, ...]] = ()
    """Clips of each class in the original."""
    numbered_from_one: ClassVar[bool] = False
    """Whether the original's own lists number the classes, from 1, in the order of `labels`."""
    mark: ClassVar[str]
    """Pattern of what the names of its lists, or of its folder, have and those of no other dataset."""

    def __init__(
        self,
        root: Path | None,
        *,
        media: str | None = None,
        lists: str | None = None,
        numbers: dict[str, str] | None = None,
        skip_missing: bool = False,
    ) -> None:
        super().__init__(root, skip_missing=skip_missing)
        self._media, self._lists, self._numbers = media, lists, numbers
        self._protocol = Protocol({}, {}, "")  # until the lists are read

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Say, from the names of lists and of the folder, whether this is the dataset."""
        if not root.is_dir():
            return False
        found = find_lists(root, cls.labels, folds=bool(cls.folds))
        return any(re.search(cls.mark, f"{root.name.lower()}/{lists.form}") for lists in found)

    def entries(self, report: Report) -> list[VideoEntry]:
        """Return the clips of all lists, once each."""
        protocol = self._protocol = self._read_protocol(report)
        footage = find_footage(self._root, list(protocol.lines), self._media, self.preferred)
        return [
            VideoEntry(
                id=name,
                label=protocol.classes[line.label],
                split="train" if self.folds else protocol.tested.get(name, (None, "train"))[1],
                video=footage.find(name),
                where=line.where,
                fold=protocol.tested.get(name, (None,))[0],
                listed=line.frames,
            )
            for name, line in sorted(protocol.lines.items())
            if line.label in protocol.classes
        ]

    def peculiarities(self, entries: Sequence[VideoEntry]) -> Iterable[Finding]:
        """Return where labels come from, and what differs from the original's lists."""
        protocol = self._protocol
        places = sorted({str(entry.video.parents[self.name_parts - 1]) for entry in entries if entry.video})
        yield Finding("info", "lists", protocol.source)
        yield Finding("info", "videos", ", ".join(places))
        yield from self._overlaps(protocol)
        found = tuple(sum(entry.label == label for entry in entries) for label in self.labels)
        if self.counts and found != self.counts:
            wrong = sorted(found) == sorted(self.counts)
            known = ", ".join(f"{n} {c:,}" for n, c in zip(self.labels, self.counts, strict=True))
            message = (
                "as many clips as in the original, but of other classes: the labels are in another order"
                if wrong
                else "not as many clips of each class as in the original: do not compare with published results"
            )
            yield Finding("error" if wrong else "warning", "classes", f"{message}; the original has {known}")

    def _overlaps(self, protocol: Protocol) -> Iterable[Finding]:
        """Report clips that a fold both trains on and tests, or leaves out, and folds without lists."""
        folds = sorted({fold for fold, _ in protocol.lists if fold is not None})
        tested = set(protocol.tested.values())
        if self.folds and len(tested) < self.folds:
            message = (
                f"there are test lists of {len(tested)} of {self.folds} folds: only those can be reported"
            )
            yield Finding("warning", "folds", message)
        for fold in folds or [None]:
            where = "lists" if fold is None else f"fold {fold}"
            train = set(protocol.lists.get((fold, "train"), ()))
            test = {
                name
                for (k, s), part in protocol.lists.items()
                if (k, s) != (fold, "train") and k == fold
                for name in part
            }
            if train & test:
                message = f"{len(train & test):,} clips are in the training and in the test list"
                yield Finding("error", f"{where}: {some(sorted(train & test))}", message)
            lost = sorted(protocol.lines.keys() - train - test) if train and self.folds else []
            if lost:
                message = f"{len(lost):,} clips of other folds are in neither of its lists, and train here"
                yield Finding("warning", f"{where}: {some(lost)}", message)

    def _read_protocol(self, report: Report) -> Protocol:
        """Read the lists in the form that is easiest to trust, and find out what their labels are."""
        chosen = self._choose()
        lists: dict[Key, dict[str, Line]] = {}
        for key, path in sorted(chosen.files.items(), key=lambda item: (item[0][0] or 0, item[0][1])):
            lists[key] = {self._clip_name(line): line for line in read_list(path, report)}
        for fold, split in list(lists):
            test = lists.get((fold, "test"))
            if (
                split == "val"
                and test is not None
                and (self.folds or test.keys() == lists[fold, split].keys())
            ):
                del lists[fold, split]
        classes, source = self._classes(Protocol(lists, {}, ""), report)
        protocol = Protocol(lists, classes, f"{chosen.form}{source}")
        self._report_conflicts(protocol, report)
        return protocol

    def _report_conflicts(self, protocol: Protocol, report: Report) -> None:
        """Report clips that have two classes, or are tested in two folds."""
        for key, part in protocol.lists.items():
            for name, line in part.items():
                other, tested = protocol.lines[name], protocol.tested.get(name, key)
                labels = {protocol.classes.get(line.label), protocol.classes.get(other.label)} - {None}
                if len(labels) > 1:
                    report(line.where, f"another label than in {other.where}; keep one")
                if key[1] != "train" and tested != key:
                    sets = f"{key[0] or key[1]} and {tested[0] or tested[1]}"
                    report(
                        line.where, f"the clip is in the test lists of two folds or splits, {sets}; keep one"
                    )

    def _choose(self) -> Lists:
        top = self._root if self._lists is None else self._root / Path(self._lists).expanduser()
        if not top.is_dir():
            raise DataError(f"lists: there is no folder {top}")
        found = find_lists(top, self.labels, folds=bool(self.folds))
        if not found:
            kind = "a training and a test list of a fold" if self.folds else "a training and a test list"
            raise DataError(f"{top} holds no lists of {self.title}; put {kind} there, or name their folder")
        return found[0]

    def _classes(self, protocol: Protocol, report: Report) -> tuple[dict[str, str], str]:
        """Return the class that each label of the lists stands for, and how the numbers' are known."""
        labels: dict[str, str] = {}
        for line in [line for part in protocol.lists.values() for line in part.values()]:
            if labels.setdefault(line.label, line.where) == line.where and not self._is_label(line.label):
                report(
                    line.where, f"there is no class {line.label!r}; {self.title} has {', '.join(self.labels)}"
                )
        classes = {label: canonical(label) for label in labels if canonical(label) in self.labels}
        numbers = [label for label in labels if label.isdecimal()]
        if not numbers:
            return classes, ""
        documented = dict(enumerate(self.labels, 1)) if self.numbered_from_one else {}
        known, source = name_numbers(
            list(protocol.lines.values()),
            self.labels,
            given=self._numbers,
            counts=self.counts,
            documented=documented,
        )
        for label in numbers:
            if int(label) not in known:
                report(
                    labels[label],
                    f"nothing says what class the label {label} is; add it to the option numbers",
                )
        classes |= {label: known[int(label)] for label in numbers if int(label) in known}
        order = ", ".join(f"{number} {known[number]}" for number in sorted(known))
        return classes, f"; the labels are {order}, by {source}"

    def _is_label(self, text: str) -> bool:
        return text.isdecimal() or canonical(text) in self.labels

    def _clip_name(self, line: Line) -> str:
        name = tail(line.name, self.name_parts)
        return name.zfill(self.digits) if name.isdecimal() else name
