"""What the readers' checks have in common: how problems are told, class counts, what an image's bytes are."""

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
        with Image.open(_source(image), formats=IMAGE_FORMATS) as opened:
            pixels = np.asarray(opened)
    except BROKEN:
        return None
    return hashlib.blake2b(repr(pixels.shape).encode() + pixels.tobytes(), digest_size=16).digest()


def size_of(image: dict[str, Any]) -> tuple[int, int] | None:
    """Return an image's width and height, as its header has them; None of a broken one."""
    try:
        with Image.open(_source(image), formats=IMAGE_FORMATS) as opened:
            return opened.size
    except BROKEN:
        return None


def _source(image: dict[str, Any]) -> Any:
    return io.BytesIO(image["bytes"]) if image["bytes"] is not None else image["path"]
