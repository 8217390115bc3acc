"""AFEW: clips of films in seven categories, with a training and a validation set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from emozoo.contracts import Finding
from emozoo.errors import DataError
from emozoo.labels import canonical
from emozoo_datasets.class_videos import ClassOfVideos, has_categories
from emozoo_datasets.image_checks import Report, some
from emozoo_datasets.image_folders import visible
from emozoo_datasets.video_files import Footage, folders_below, without_suffix
from emozoo_datasets.video_lists import find_lists, read_list, split_word, tail
from emozoo_datasets.video_reader import VideoEntry, VideoReader

_ORIGINAL = {"train": 773, "val": 383}
"""Clips of AFEW 8.0 with published labels."""


class Afew(VideoReader):
    """Kind `dataset`: AFEW's clips in seven categories (Dhall et al. 2012; version 8.0 of EmotiW 2018).

    Videos: `Train_AFEW/<class>/*.avi` and `Val_AFEW/<class>/*.avi`, or folders of frames in the same place, as in
    `train_afew/<class>/013736360/*` of FAN's code and `train/<class>/*`, `validation/<class>/*` of Former-DFER's.
    Lists, such as FAN's `afew_train.txt` and `afew_eval.txt` or Former-DFER's `AFEW_train.txt` and
    `AFEW_validation.txt`, choose among the videos of their split; labels are the folders' names, whatever numbers
    lists have.

    Splits are called train and val. The test set's labels are not published, and it is not read.

    Args:
        root: the dataset's folder.
        media: the folder that holds the folders of splits, where there are several or it is elsewhere.
        faces: read the aligned faces that come with the dataset
            (`Train_AFEW/AlignedFaces_LBPTOP_Points/Faces/<id>/*`) in place of the videos.
        skip_missing: leave out videos that are listed, or have no faces, and are not there.
    """

    title: ClassVar[str] = "AFEW"
    licence: ClassVar[str] = (
        "For academic research only, under the EmotiW challenge's agreement; the clips belong to the films' owners."
    )
    citation: ClassVar[str] = (
        "Dhall et al. (2012), Collecting Large, Richly Annotated Facial-Expression Databases from Movies, IEEE "
        "MultiMedia 19(3)."
    )
    labels: ClassVar[tuple[str, ...]] = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")

    def __init__(
        self,
        root: Path | None,
        *,
        media: str | None = None,
        faces: bool = False,
        skip_missing: bool = False,
    ) -> None:
        super().__init__(root, skip_missing=skip_missing)
        self._media, self._faces = media, faces

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Say whether there are folders of splits with folders of classes, and AFEW in their or the root's name."""
        if not root.is_dir():
            return False
        return any(
            "afew" in f"{root.name}/{folder.relative_to(root)}".lower()
            for places in _places(root).values()
            for folder in places.values()
        )

    def entries(self, report: Report) -> list[VideoEntry]:
        """Return the videos of the lists, or of the folders where there are none."""
        splits = self._splits()
        found = {
            f"{split}/{name}": entry
            for split, folder in splits.items()
            for name, entry in self._in_split(split, folder).items()
        }
        listed = self._listed(report)
        for name, (frames, where) in listed.items():
            split, label = name.split("/")[:2]
            known = found.get(name, VideoEntry(name, label, split, None, where))
            found[name] = VideoEntry(name, known.label, split, known.video, where, listed=frames)
        there = {name.split("/")[0] for name in listed}
        return [entry for name, entry in sorted(found.items()) if name in listed or entry.split not in there]

    def peculiarities(self, entries: Sequence[VideoEntry]) -> Iterable[Finding]:
        """Return how many clips the original has, and which clips the lists leave out."""
        for split, count in _ORIGINAL.items():
            found = sum(entry.split == split for entry in entries)
            if found != count:
                message = f"{found} clips, AFEW 8.0 has {count}: say so beside published results"
                yield Finding("warning", split, message)
        names = {entry.id for entry in entries}
        left = [
            f"{split}/{name}"
            for split, folder in self._splits().items()
            for name in self._in_split(split, folder)
            if f"{split}/{name}" not in names
        ]
        if left:
            yield Finding("info", some(left), f"{len(left)} clips are in no list and are not read")

    def _splits(self) -> dict[str, Path]:
        """Return the folder of each split."""
        top = self._root if self._media is None else self._root / Path(self._media).expanduser()
        places = _places(top) if top.is_dir() else {}
        splits = {split: path for place in places.values() for split, path in place.items()}
        if len(splits) < sum(map(len, places.values())):
            named = ", ".join(sorted(path.relative_to(top).as_posix() for path in places))
            raise DataError(
                f"{top}: several folders hold the videos: {named}; name one with the option media"
            )
        if not splits:
            raise DataError(
                f"{top} holds no videos of AFEW; they belong in Train_AFEW/<class>/* and Val_AFEW/<class>/*"
            )
        return splits

    def _in_split(self, split: str, folder: Path) -> dict[str, VideoEntry]:
        """Return the clips of a split by class and name, "happy/013736360"."""
        faces = _aligned_faces(folder) if self._faces else None
        if self._faces and faces is None:
            raise DataError(
                f"{folder} holds no aligned faces; they belong in AlignedFaces_LBPTOP_Points/Faces"
            )
        entries = {}
        for place in sorted(visible(folder)):
            of_class = ClassOfVideos(split, place)
            if not place.is_dir() or of_class.label not in self.labels:
                continue
            for video in of_class.videos():
                name = without_suffix(video.name)
                shown = video if faces is None else faces.find(name)
                key = f"{of_class.label}/{name}"
                entries[key] = VideoEntry(f"{split}/{key}", of_class.label, split, shown, str(video))
        return entries

    def _listed(self, report: Report) -> dict[str, tuple[int | None, str]]:
        """Return the clips of all lists, "train/happy/013736360", with frames and place; none without lists."""
        entries = {}
        for lists in find_lists(self._root, self.labels, folds=False)[:1]:
            for (_, split), path in sorted(lists.files.items(), key=lambda item: item[0][1]):
                for line in read_list(path, report):
                    label, _, name = tail(line.name, 2).partition("/")
                    if canonical(label) in self.labels and name:
                        entries[f"{split}/{canonical(label)}/{name}"] = line.frames, line.where
                    else:
                        report(
                            line.where, f"{line.name!r} does not end in a class and a clip, Happy/013736360"
                        )
        return entries


def _places(top: Path) -> dict[Path, dict[str, Path]]:
    """Return, by the folder around them, the folders of splits (train, val) that have folders of classes."""
    places: dict[Path, dict[str, Path]] = {}
    for folder in folders_below(top, depth=4):
        split = split_word(folder.name)
        if split in _ORIGINAL and has_categories(folder):
            places.setdefault(folder.parent, {})[split] = folder
    return places


def _aligned_faces(folder: Path) -> Footage | None:
    found = sorted(path for path in folder.glob("AlignedFaces*/Faces") if path.is_dir())
    return Footage(found[0]) if found else None
