"""What `check` says of any dataset of images: broken, blank, repeated pictures, and class counts."""

from __future__ import annotations

import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from emozoo.contracts import IMAGE_FORMATS, Finding
from emozoo.errors import DataError

Report = Callable[[str, str], None]
"""Told of each problem, (where, what and what to do): `stop` raises, `Problems` collects."""

BROKEN = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
"""What Pillow raises of an image that it cannot decode."""

LISTED = 30
"""Problems of a kind that are listed one by one; the rest are counted."""


def stop(where: str, problem: str) -> None:
    """Raise the first problem, as `read` does."""
    raise DataError(f"{where}: {problem}")


class Problems:
    """Collects problems as findings, as `check` does."""

    def __init__(self) -> None:
        self._found: list[Finding] = []

    def __call__(self, where: str, problem: str) -> None:
        """Note a problem and go on."""
        self._found.append(Finding("error", where, problem))

    def findings(self) -> list[Finding]:
        """Return what was found; a flood of it is cut short, and says so."""
        shown, rest = self._found[:LISTED], len(self._found) - LISTED
        if rest > 0:
            shown.append(Finding("error", "and more", f"{rest:,} further problems like these are not listed"))
        return shown


def count_classes(splits: Sequence[str], labels: Sequence[int | None], names: Sequence[str]) -> list[Finding]:
    """Return the number of samples of each class, by split."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for split, label in zip(splits, labels, strict=True):
        counts[split]["unlabelled" if label is None else names[label]] += 1
    order = (*names, "unlabelled")
    return [
        Finding(
            "info",
            split,
            f"{found.total():,} samples: " + ", ".join(f"{n} {found[n]:,}" for n in order if found[n]),
        )
        for split, found in counts.items()
    ]


def examine_images(
    images: Iterable[dict[str, Any]],
    ids: Sequence[str],
    splits: Sequence[str],
    labels: Sequence[int | None],
    size: tuple[int, int] | None = None,
) -> list[Finding]:
    """Decode every image and report the unreadable, blank, repeated, and those not of `size` (w, h)."""
    problems, blank, odd = Problems(), list[str](), list[str]()
    alike: dict[bytes, list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        try:
            pixels = _decode(image)
        except BROKEN as error:
            problems(ids[index], f"the image cannot be decoded ({error}); replace or remove it")
            continue
        if pixels.min() == pixels.max():
            blank.append(ids[index])
        if size is not None and (pixels.shape[1], pixels.shape[0]) != size:
            odd.append(ids[index])
        alike[_fingerprint(pixels)].append(index)
    findings = problems.findings()
    if blank:
        findings.append(
            Finding("warning", some(blank), f"{len(blank):,} images are blank: one colour throughout")
        )
    if odd and size is not None:
        message = f"{len(odd):,} images are not {size[0]}x{size[1]} pixels as the original is"
        findings.append(Finding("warning", some(odd), message))
    return findings + repetitions([group for group in alike.values() if len(group) > 1], ids, splits, labels)


def some(ids: Sequence[str]) -> str:
    """Name up to three of many."""
    return ", ".join(ids[:3]) + (", ..." if len(ids) > 3 else "")


def doubles(images: Iterable[dict[str, Any]], splits: Sequence[str], of: str) -> NDArray[np.bool_]:
    """Say which images (N,) of other splits are, pixel for pixel, in the split `of`; a broken one is in none."""
    prints = [_print_of(image) for image in images]
    known = {found for found, split in zip(prints, splits, strict=True) if split == of} - {None}
    return np.array(
        [split != of and found in known for found, split in zip(prints, splits, strict=True)], bool
    )


def _print_of(image: dict[str, Any]) -> bytes | None:
    try:
        return _fingerprint(_decode(image))
    except BROKEN:
        return None


def _fingerprint(pixels: np.ndarray) -> bytes:
    return hashlib.blake2b(repr(pixels.shape).encode() + pixels.tobytes(), digest_size=16).digest()


def _decode(image: dict[str, Any]) -> np.ndarray:
    source = io.BytesIO(image["bytes"]) if image["bytes"] is not None else image["path"]
    with Image.open(source, formats=IMAGE_FORMATS) as opened:
        return np.asarray(opened)


def repetitions(
    groups: list[list[int]],
    ids: Sequence[str],
    splits: Sequence[str],
    labels: Sequence[int | None],
    what: str = "images",
) -> list[Finding]:
    """Report groups of identical images or videos: within a split, across splits, under different labels."""
    leaking = [group for group in groups if len({splits[i] for i in group}) > 1]
    contrary = [group for group in groups if len({labels[i] for i in group} - {None}) > 1]
    descriptions = (
        (groups, f"groups of identical {what}, of {{rows:,}} rows; repeated faces count more than once"),
        (
            leaking,
            f"groups of identical {what} lie in more than one split: a test on them is not on unseen faces",
        ),
        (contrary, f"groups of identical {what} carry different labels: no model can get all of them right"),
    )
    findings = []
    for found, message in descriptions:
        if found:
            text = f"{len(found):,} " + message.format(rows=sum(map(len, found)))
            findings.append(Finding("warning", " = ".join(ids[i] for i in found[0][:3]), text))
    return findings
