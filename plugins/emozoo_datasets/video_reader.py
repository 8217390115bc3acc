"""What all readers of videos share: rows out of clips, and the checks that go with them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from emozoo.contracts import Finding
from emozoo.errors import DataError, EmozooWarning
from emozoo.labels import DIMENSIONS
from emozoo_datasets.image_checks import Problems, Report, count_classes, some, stop
from emozoo_datasets.rows import make_dataset
from emozoo_datasets.video_checks import examine_videos
from emozoo_datasets.video_files import count_frames

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, slots=True)
class Clip:
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

    @property
    def frames(self) -> int | None:
        """How many frames a folder of frames holds, 0 for a missing video; None for a file."""
        return 0 if self.video is None else count_frames(self.video)


class VideoReader:
    """Base of the readers of videos: a subclass finds the clips.

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

    def clips(self, report: Report) -> list[Clip]:
        """Return all videos that the dataset's files tell of, and report what is wrong with those files."""
        raise NotImplementedError

    def class_names(self, clips: Sequence[Clip]) -> Sequence[str]:
        """Return the names of the classes; those of the dataset unless a reader takes any."""
        del clips
        return self.labels

    def peculiarities(self, clips: Sequence[Clip]) -> Iterable[Finding]:
        """Return what `check` has to say of this dataset in particular."""
        del clips
        return ()

    def read(self) -> Dataset:
        """Return all rows.

        Raises:
            DataError: names the file and line of what cannot be used, and videos that are missing.
        """
        clips = self.clips(stop)
        frames = [clip.frames for clip in clips]
        lost = [clip for clip, count in zip(clips, frames, strict=True) if count == 0]
        if lost and (len(lost) == len(clips) or not self._skip_missing):
            raise DataError(_missing(lost, len(clips)))
        if lost:
            warnings.warn(f"{_missing(lost, len(clips))} They are left out.", EmozooWarning, stacklevel=2)
        kept = [(clip, count) for clip, count in zip(clips, frames, strict=True) if count != 0]
        if not kept:
            raise DataError(f"{self._root} holds no videos of {self.title}")
        names = self.class_names(clips)
        return make_dataset(
            self._columns([clip for clip, _ in kept], [count for _, count in kept], names), names
        )

    def check(self) -> Sequence[Finding]:
        """Look at lists and labels, at every video, and for repetitions; frames are not all decoded."""
        problems = Problems()
        try:
            clips = self.clips(problems)
        except DataError as error:
            return [*problems.findings(), Finding("error", str(self._root), str(error))]
        there = [clip for clip in clips if clip.frames != 0]
        if not there:
            problems(str(self._root), f"holds no videos of {self.title}")
        missing = Problems()
        for clip in clips:
            if clip.frames == 0:
                missing(clip.id, f"there is no such video, or it is empty; {clip.where} names it")
        names = self.class_names(clips)
        numbers = [None if clip.label is None else list(names).index(clip.label) for clip in there]
        return [
            *problems.findings(),
            *missing.findings(),
            *count_classes([group_of(clip) for clip in there], numbers, names),
            *self.peculiarities(there),
            *examine_videos(
                [clip.video for clip in there if clip.video is not None],
                [clip.id for clip in there],
                [group_of(clip) for clip in there],
                numbers,
                [clip.listed for clip in there],
            ),
        ]

    @staticmethod
    def _columns(clips: Sequence[Clip], frames: Sequence[int | None], names: Sequence[str]) -> dict[str, Any]:
        columns: dict[str, Any] = {
            "id": [clip.id for clip in clips],
            "video": [str(clip.video.absolute()) for clip in clips if clip.video is not None],
            "split": [clip.split for clip in clips],
            "label": [None if clip.label is None else names.index(clip.label) for clip in clips],
        }
        optional = {
            "frames": frames,
            "fold": [clip.fold for clip in clips],
            "subject": [clip.subject for clip in clips],
            **{name: [clip.vad[place] for clip in clips] for place, name in enumerate(DIMENSIONS)},
        }
        return columns | {
            name: values for name, values in optional.items() if any(value is not None for value in values)
        }


def group_of(clip: Clip) -> str:
    """Return what a video belongs to in a report: its fold, or else its split."""
    return clip.split if clip.fold is None else f"fold {clip.fold}"


def subject_folds(subjects: Iterable[str], folds: int = 10) -> dict[str, int]:
    """Deal subjects out to folds, in ascending order of their names, as cards are: 1, 2, ..., folds, 1, 2, ...

    No subject is in two folds, and no fold has more than one subject more than another. It is the practice of
    the literature on CK+ ("ID ascending order, step size 10"; Liu et al. 2014), and gives the folds of the list
    that FAN (Meng et al. 2019) was tested on.
    """
    return {name: place % folds + 1 for place, name in enumerate(sorted(set(subjects)))}


def _missing(lost: Sequence[Clip], count: int) -> str:
    return (
        f"{len(lost):,} of {count:,} videos are missing or empty: {some([clip.id for clip in lost])} "
        f"({lost[0].where}). `emozoo data check` lists them; the option skip_missing leaves them out."
    )
