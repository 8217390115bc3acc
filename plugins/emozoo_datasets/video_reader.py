"""What all readers of videos share: rows out of entries, and the checks that go with them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from emozoo.contracts import Finding
from emozoo.errors import DataError, EmozooWarning
from emozoo.labels import DIMENSIONS
from emozoo_datasets.image_checks import Problems, Report, count_classes, some, stop
from emozoo_datasets.rows import make_dataset
from emozoo_datasets.video_files import count_frames

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, slots=True)
class VideoEntry:
    """A video of a dataset, and what is known of it.

    Attributes:
        id: unique.
        label: in emozoo's spelling; None where unlabelled.
        split: train, val or test; with folds train, which holds where no fold tests the video.
        video: a file or a folder of frames; None where it is missing.
        where: what says that there is such a video.
        fold: the fold whose test set it is in.
        subject: who is in it.
        listed: how many frames a list says that it has.
        vad: valence, arousal, dominance in [-1, 1].
    """

    id: str
    label: str | None
    split: str
    video: Path | None
    where: str
    fold: int | None = None
    subject: str | None = None
    listed: int | None = None
    vad: tuple[float | None, ...] = (None, None, None)


class VideoReader:
    """Base of the readers of videos: a subclass lists the videos.

    Args:
        root: the dataset's folder.
        skip_missing: leave out videos that are not there, with a warning; without it, they are an error.

    Attributes:
        labels: the dataset's classes, in its own order and emozoo's spelling.
    """

    title: ClassVar[str]
    labels: ClassVar[tuple[str, ...]]
    vad_scale: tuple[float, float] | None = None

    def __init__(self, root: Path | None, *, skip_missing: bool = False) -> None:
        if root is None:
            raise DataError(f"{self.title} does not come with emozoo: give its folder with --data PATH")
        if not root.exists():
            raise DataError(f"{root} does not exist; give the folder of {self.title}")
        self._root, self._skip_missing = root, skip_missing

    def entries(self, report: Report) -> list[VideoEntry]:
        """Return all videos that the dataset's files tell of, and report what is wrong with those files."""
        raise NotImplementedError

    def class_names(self, entries: Sequence[VideoEntry]) -> Sequence[str]:
        """Return the names of the classes; those of the dataset unless a reader takes any."""
        del entries
        return self.labels

    def peculiarities(self, entries: Sequence[VideoEntry]) -> Iterable[Finding]:
        """Return what `check` has to say of this dataset in particular."""
        del entries
        return ()

    def read(self) -> Dataset:
        """Return all rows.

        Raises:
            DataError: names the file and line of what cannot be used, and videos that are missing.
        """
        entries = self.entries(stop)
        kept, lost = _there(entries)
        if lost and (len(lost) == len(entries) or not self._skip_missing):
            raise DataError(_missing(lost, len(entries)))
        if lost:
            warnings.warn(f"{_missing(lost, len(entries))} They are left out.", EmozooWarning, stacklevel=2)
        if not kept:
            raise DataError(f"{self._root} holds no videos of {self.title}")
        names = self.class_names(entries)
        return make_dataset(self._columns(list(kept), list(kept.values()), names), names)

    def check(self) -> Sequence[Finding]:
        """Look at lists and labels, and at how many frames folders hold."""
        problems = Problems()
        try:
            entries = self.entries(problems)
        except DataError as error:
            return [*problems.findings(), Finding("error", str(self._root), str(error))]
        kept, lost = _there(entries)
        there, missing = list(kept), Problems()
        if not there:
            problems(str(self._root), f"holds no videos of {self.title}")
        for entry in lost:
            missing(entry.id, f"there is no such video, or it is empty; {entry.where} names it")
        names = self.class_names(entries)
        numbers = [None if entry.label is None else list(names).index(entry.label) for entry in there]
        return [
            *problems.findings(),
            *missing.findings(),
            *count_classes([group_of(entry) for entry in there], numbers, names),
            *self.peculiarities(there),
            *_miscounted(kept),
        ]

    @staticmethod
    def _columns(
        entries: Sequence[VideoEntry], frames: Sequence[int | None], names: Sequence[str]
    ) -> dict[str, Any]:
        columns: dict[str, Any] = {
            "id": [entry.id for entry in entries],
            "video": [str(entry.video.absolute()) for entry in entries if entry.video is not None],
            "split": [entry.split for entry in entries],
            "label": [None if entry.label is None else names.index(entry.label) for entry in entries],
        }
        optional = {
            "frames": frames,
            "fold": [entry.fold for entry in entries],
            "subject": [entry.subject for entry in entries],
            **{name: [entry.vad[place] for entry in entries] for place, name in enumerate(DIMENSIONS)},
        }
        return columns | {
            name: values for name, values in optional.items() if any(value is not None for value in values)
        }


def _there(entries: Sequence[VideoEntry]) -> tuple[dict[VideoEntry, int | None], list[VideoEntry]]:
    """Return the videos that are there, with how many frames a folder holds (None for a file), and those missing."""
    counted = {entry: 0 if entry.video is None else count_frames(entry.video) for entry in entries}
    kept = {entry: count for entry, count in counted.items() if count != 0}
    return kept, [entry for entry, count in counted.items() if count == 0]


def _miscounted(kept: Mapping[VideoEntry, int | None]) -> list[Finding]:
    """Report folders that hold another number of frames than a list says."""
    differing = [
        f"{entry.id} ({count} for {entry.listed})"
        for entry, count in kept.items()
        if count is not None and entry.listed not in (None, count)
    ]
    message = f"{len(differing):,} videos have another number of frames than the list says"
    return [Finding("warning", some(differing), message)] if differing else []


def group_of(entry: VideoEntry) -> str:
    """Return what a video belongs to in a report: its fold, or else its split."""
    return entry.split if entry.fold is None else f"fold {entry.fold}"


def subject_folds(subjects: Iterable[str], folds: int = 10) -> dict[str, int]:
    """Deal subjects out to folds, in ascending order of their names, as cards are: 1, 2, ..., folds, 1, 2, ...

    No subject is in two folds, and no fold has more than one subject more than another. It is the practice of
    the literature on CK+ ("ID ascending order, step size 10"; Liu et al. 2014), and gives the folds of the list
    that FAN (Meng et al. 2019) was tested on.
    """
    return {name: place % folds + 1 for place, name in enumerate(sorted(set(subjects)))}


def _missing(lost: Sequence[VideoEntry], count: int) -> str:
    return (
        f"{len(lost):,} of {count:,} videos are missing or empty: {some([entry.id for entry in lost])} "
        f"({lost[0].where}). `emozoo data check` lists them; the option skip_missing leaves them out."
    )
