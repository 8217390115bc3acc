"""What `emozoo data check` finds: what a reader says of its dataset, and what is wrong with the media that it reads."""

from __future__ import annotations

import hashlib
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emozoo.contracts import DatasetReader, Finding
from emozoo.data.frame_folder import FrameFolder
from emozoo.data.preprocess import open_image
from emozoo.data.reading import read
from emozoo.data.video import count_frames
from emozoo.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

LISTED = 30
"""Broken images or videos that are listed one by one; the rest are counted."""

SHORT = 16
"""Frames below which a video is called short: what most video models take at once."""


@dataclass(frozen=True, slots=True)
class Look:
    """What an image or a video is.

    Attributes:
        key: what identical ones have in common; files of the same key are still to be compared.
        problem: why it cannot be read; None where it can.
        blank: whether an image is of one colour.
        frames: of a video, None where it cannot be read.
        lacks: which frames of a folder are missing or empty, in words.
    """

    key: Any = None
    problem: str | None = None
    blank: bool = False
    frames: int | None = None
    lacks: str | None = None


def check(reader: DatasetReader, name: str) -> list[Finding]:
    """Return what a reader finds, and what is wrong with the media of the rows that it reads.

    Images are decoded, and videos opened and counted, by what training does it with; videos that a reader makes are
    left alone.

    Args:
        reader: of the dataset.
        name: of the reader.

    Raises:
        ContractError: the reader returns something else than its contract says.
    """
    findings = list(reader.check())
    try:
        rows = read(reader, name)
    except DataError as error:
        if not any(finding.severity == "error" for finding in findings):
            return [*findings, Finding("error", name, str(error))]
        message = "are not looked at before the dataset can be read; mend the errors and check again"
        return [*findings, Finding("warning", "images or videos", message)]
    if "image" in rows.column_names:
        return findings + _check_images(rows)
    return findings if hasattr(reader, "render") else findings + _check_videos(rows)


def _check_images(rows: Dataset) -> list[Finding]:
    named = zip(rows["id"], rows.select_columns(["image"])["image"], strict=True)
    looks = [_look_at_image(image["bytes"] or image["path"], name) for name, image in named]
    blank = [name for name, look in zip(rows["id"], looks, strict=True) if look.blank]
    return [
        *_problems(rows["id"], looks),
        *_warning(blank, "images are blank: one colour throughout"),
        *_repetitions(_groups(look.key for look in looks), rows, "images"),
    ]


def _look_at_image(media: Any, name: str) -> Look:
    try:
        pixels = np.asarray(open_image(media, name))
    except DataError as error:
        return Look(problem=str(error))
    content = repr(pixels.shape).encode() + pixels.tobytes()
    key = hashlib.blake2b(content, digest_size=16).digest()
    return Look(key, blank=bool(pixels.min() == pixels.max()))


def _check_videos(rows: Dataset) -> list[Finding]:
    ids, videos = list(rows["id"]), [Path(video) for video in rows["video"]]
    with ThreadPoolExecutor() as pool:
        looks = list(pool.map(_look_at_video, videos))
    counted = [(name, look.frames) for name, look in zip(ids, looks, strict=True) if look.frames is not None]
    lacking = [f"{name} ({look.lacks})" for name, look in zip(ids, looks, strict=True) if look.lacks]
    short = [f"{name} ({count})" for name, count in counted if count < SHORT]
    alike = [
        [group[place] for place in same]
        for group in _groups(look.key for look in looks)
        for same in _groups(_digest(videos[place]) for place in group)
    ]
    return [
        *_problems(ids, looks),
        *_lengths([count for _, count in counted]),
        *_warning(short, f"videos have fewer than {SHORT} frames; samplers repeat or mask frames in them"),
        *_warning(lacking, "videos lack frames, by their files' numbers and sizes"),
        *_repetitions(alike, rows, "videos"),
    ]


def _look_at_video(path: Path) -> Look:
    try:
        frames = count_frames(path)
    except DataError as error:
        return Look(problem=str(error))
    files = _files(path)
    sizes = tuple(file.stat().st_size if file.is_file() else 0 for file in files)
    empty = sizes.count(0)
    lacks = [f"{empty} of its frames are empty files, {files[sizes.index(0)].name}"] if empty else []
    if path.is_dir() and (gaps := FrameFolder(path, files).gaps()):
        lacks.append(gaps)
    return Look(sizes, frames=frames, lacks="; ".join(lacks) or None)


def _files(video: Path) -> list[Path]:
    return FrameFolder.open(video).files if video.is_dir() else [video]


def _digest(video: Path) -> bytes | None:
    """Return a hash of a video's files; None where one cannot be read."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        for file in _files(video):
            digest.update(file.read_bytes() if file.is_file() else b"")
    except OSError:
        return None
    return digest.digest()


def _problems(ids: Sequence[str], looks: Sequence[Look]) -> list[Finding]:
    """Return what cannot be read; a flood of it is cut short, and says so."""
    found = [
        Finding("error", name, f"{look.problem.removeprefix(f'{name}: ')}; replace or remove it")
        for name, look in zip(ids, looks, strict=True)
        if look.problem is not None
    ]
    rest = len(found) - LISTED
    more = [Finding("error", "and more", f"{rest:,} further ones that cannot be read")] if rest > 0 else []
    return found[:LISTED] + more


def _lengths(counts: Sequence[int]) -> list[Finding]:
    if not counts:
        return []
    message = f"{min(counts)} to {max(counts)} a video, median {statistics.median(counts):g}"
    return [Finding("info", "frames", message)]


def _groups(keys: Iterable[Any]) -> list[list[int]]:
    """Return the places of keys that are there more than once; None is no key."""
    places: dict[Any, list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        if key is not None:
            places[key].append(place)
    return [group for group in places.values() if len(group) > 1]


def _repetitions(groups: Sequence[list[int]], rows: Dataset, what: str) -> list[Finding]:
    """Report groups of identical images or videos: within a split, across splits, under different labels."""
    ids, labels = list(rows["id"]), list(rows["label"])
    folds = rows["fold"] if "fold" in rows.column_names else [None] * len(rows)
    splits = list(zip(rows["split"], folds, strict=True))
    leaking = [group for group in groups if len({splits[i] for i in group}) > 1]
    contrary = [group for group in groups if len({labels[i] for i in group} - {None}) > 1]
    count = sum(map(len, groups))
    descriptions = (
        (groups, f"groups of identical {what}, of {count:,} rows; repeated faces count more than once"),
        (
            leaking,
            f"groups of identical {what} lie in more than one split: a test on them is not on unseen faces",
        ),
        (contrary, f"groups of identical {what} carry different labels: no model can get all of them right"),
    )
    return [
        Finding("warning", " = ".join(ids[i] for i in found[0][:3]), f"{len(found):,} {message}")
        for found, message in descriptions
        if found
    ]


def _warning(ids: Sequence[str], message: str) -> list[Finding]:
    """Return one warning of all, which names up to three of them; none of none."""
    named = ", ".join(ids[:3]) + (", ..." if len(ids) > 3 else "")
    return [Finding("warning", named, f"{len(ids):,} {message}")] if ids else []
