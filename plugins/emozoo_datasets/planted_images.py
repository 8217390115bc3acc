"""The pictures that planted-expression videos are made of: decoded once, each in one cast of one split."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from emozoo.contracts import IMAGE_FORMATS
from emozoo.errors import DataError
from emozoo.labels import canonical

if TYPE_CHECKING:
    from datasets import Dataset

Pictures = NDArray[np.uint8]


class Face(NamedTuple):
    """An expressive picture: its label, its cast, and its place among its split's pictures."""

    label: int
    cast: int
    picture: int


@dataclass(frozen=True, slots=True)
class Pool:
    """The pictures of a split, dealt to casts: faces of one cast meet in videos with each other and no others.

    Attributes:
        pictures: uint8 (N, S, S).
        neutral: by cast, the pictures that hold a video.
        expressive: by label and cast, those that are planted; of a planted neutral, the same pictures.
        repeated: how many pictures are left out because an earlier row, of this split or another, is the same.
    """

    pictures: Pictures
    neutral: list[list[int]]
    expressive: list[list[list[Face]]]
    repeated: int

    @property
    def faces(self) -> list[Face]:
        """All that can be planted."""
        return [face for label in self.expressive for cast in label for face in cast]


def make_pools(
    rows: Dataset, splits: Sequence[str], labels: Sequence[str], neutral: str, size: int, most_casts: int
) -> dict[str, Pool]:
    """Decode the pictures of some labels, and deal those of each split to casts.

    A picture that comes twice counts once, for the first of the splits that has it: no test picture was seen
    in training. Each label's pictures are dealt in turn, in a fixed order that is not the dataset's, so that every
    cast has some of each.

    Args:
        rows: of a reader of still images.
        splits: those wanted, the training split first.
        labels: of the faces that are planted.
        neutral: label of the faces that hold a video.
        size: S.
        most_casts: of each split, unless a label has fewer pictures.

    Raises:
        DataError: the dataset lacks a split or a label, a split has no picture of a label, or a picture is broken.
    """
    wanted = list(dict.fromkeys(map(canonical, (*labels, neutral))))
    numbers = _numbers(rows, wanted)
    by_split: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for row, (split, label) in enumerate(zip(rows["split"][:], rows["label"][:], strict=True)):
        if label in numbers:
            by_split[split].append((row, numbers[label]))
    seen: set[bytes] = set()
    pools = {}
    for split in splits:
        if split not in by_split:
            raise DataError(f"the source has no pictures in a split {split!r}; it has: {', '.join(by_split)}")
        dealt, pictures = _deal(rows, by_split[split], size, most_casts, seen, where=(split, wanted))
        faces = [
            [[Face(label, cast, picture) for picture in members] for cast, members in enumerate(casts)]
            for label, casts in enumerate(dealt[: len(labels)])
        ]
        holders = dealt[wanted.index(canonical(neutral))]
        pools[split] = Pool(pictures, holders, faces, len(by_split[split]) - len(pictures))
    return pools


def _numbers(rows: Dataset, wanted: list[str]) -> dict[int, int]:
    """Return the position in `wanted` of each of the dataset's labels that is there."""
    if "image" not in rows.column_names:
        raise DataError("the source holds no still images; name a reader of still images, such as fer2013")
    names = [canonical(name) for name in rows.features["label"].names]
    missing = [name for name in wanted if name not in names]
    if missing:
        raise DataError(f"the source has no label {missing[0]!r}; it has: {', '.join(names)}")
    return {names.index(name): position for position, name in enumerate(wanted)}


def _deal(
    rows: Dataset,
    members: list[tuple[int, int]],
    size: int,
    most_casts: int,
    seen: set[bytes],
    where: tuple[str, list[str]],
) -> tuple[list[list[list[int]]], Pictures]:
    """Return places by label and cast, and pictures, of (row, label) pairs; note the pictures as seen."""
    split, names = where
    pictures: list[Pictures] = []
    of_label: list[list[int]] = [[] for _ in names]
    media = rows.select_columns(["id", "image"])[[row for row, _ in members]]
    for (_, label), name, image in zip(members, media["id"], media["image"], strict=True):
        picture = _decode(image, name, size)
        if (content := picture.tobytes()) not in seen:
            seen.add(content)
            of_label[label].append(len(pictures))
            pictures.append(picture)
    empty = [name for name, indices in zip(names, of_label, strict=True) if not indices]
    if empty:
        raise DataError(f"the split {split!r} of the source has no picture of {', '.join(empty)}")
    count = min(most_casts, *map(len, of_label))
    dealt = [[_shuffled(indices)[cast::count] for cast in range(count)] for indices in of_label]
    return dealt, np.stack(pictures)


def _shuffled(indices: list[int]) -> list[int]:
    return np.random.default_rng(0).permutation(indices).tolist()


def _decode(image: dict[str, Any], name: str, size: int) -> Pictures:
    """Return an upright grey picture (size, size), cut to a square around its centre."""
    source = image["path"] if image["bytes"] is None else io.BytesIO(image["bytes"])
    try:
        with Image.open(source, formats=IMAGE_FORMATS) as opened:
            upright = ImageOps.exif_transpose(opened) if "exif" in opened.info else opened
            grey = upright.convert("L")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(
            f"the image of row {name!r} cannot be decoded ({error}); remove it from the source"
        ) from error
    return np.asarray(grey if grey.size == (size, size) else ImageOps.fit(grey, (size, size)))
