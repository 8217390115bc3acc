"""What readers hand over: a `datasets.Dataset` with the contract's columns, built in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from datasets import Dataset

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""Arrow type of an undecoded image: encoded bytes, or the path of a file."""


def image_bytes(encoded: Sequence[bytes]) -> pa.StructArray:
    """Return an image column of encoded pictures (PNG, JPEG, ...)."""
    return pa.StructArray.from_arrays(
        [pa.array(encoded, pa.binary()), pa.nulls(len(encoded), pa.string())], fields=list(IMAGE)
    )


def image_paths(paths: Sequence[Path]) -> pa.StructArray:
    """Return an image column of files."""
    return pa.StructArray.from_arrays(
        [pa.nulls(len(paths), pa.binary()), pa.array(map(str, paths), pa.string())], fields=list(IMAGE)
    )


def unique(names: Sequence[str]) -> list[str]:
    """Number repeated names, "a", "a#2", so that each is an id."""
    seen: dict[str, int] = {}
    ids = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        ids.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return ids


def make_dataset(columns: Mapping[str, Any], labels: Sequence[str]) -> Dataset:
    """Build a dataset in memory.

    Args:
        columns: by name of the reader contract, lists or Arrow arrays.
        labels: names of the categories.
    """
    from datasets import ClassLabel, Dataset, Features, Image, List, Value

    types = {
        "id": Value("string"),
        "image": Image(decode=False),
        "video": Value("string"),
        "frames": Value("int32"),
        "split": Value("string"),
        "label": ClassLabel(names=list(labels)),
        "label_probabilities": List(Value("float32")),
        "valence": Value("float32"),
        "arousal": Value("float32"),
        "dominance": Value("float32"),
        "subject": Value("string"),
        "fold": Value("int32"),
    }
    features = Features({name: types[name] for name in columns})
    return Dataset(pa.table(dict(columns), schema=features.arrow_schema))
