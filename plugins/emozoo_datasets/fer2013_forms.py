"""The forms in which FER2013 lies on people's disks: which one a path holds, and its rows.

| form | files |
|---|---|
| CSV with all splits | fer2013.csv (`emotion,pixels,Usage`), icml_face_data.csv (`emotion, Usage, pixels`) |
| CSV by split | train.csv, val.csv, test.csv (`emotion,pixels`), perhaps with VAD; an unlabelled test.csv |
| HDF5 | data.h5 (`Training_pixel`, `Training_label`, `PublicTest_pixel`, ...) |
| parquet | *.parquet (`image`, `label`; perhaps `split`, `row`, `source_name`, `ferplus_votes`) |
| folders | train/angry/*.jpg, test/angry/*.jpg; Training, PublicTest, PrivateTest; train, validation, test |
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emozoo.contracts import IMAGE_FORMATS
from emozoo.errors import DataError
from emozoo.labels import FER2013_LABELS, canonical
from emozoo_datasets.ferplus import VOTES
from emozoo_datasets.image_folders import class_folders, images, split_of
from emozoo_datasets.rows import IMAGE

SIDE = 48
"""FER2013 images are 48x48 pixels, grey."""

ORIGINAL = {"train": (0, 28709), "public_test": (28709, 3589), "private_test": (32298, 3589)}
"""Split: its first row in fer2013.csv, and how many rows it has."""

Kind = Literal["CSV", "HDF5", "parquet", "folders"]


@dataclass(frozen=True, slots=True)
class Form:
    """A form of FER2013 on disk: what kind it is of, and the files or class folders it consists of."""

    kind: Kind
    files: tuple[Path, ...]


@dataclass
class Rows:
    """N rows of FER2013 in any form.

    Attributes:
        image: undecoded images, of the Arrow type `rows.IMAGE`.
        label: (N,) indices into FER2013_LABELS, -1 where unlabelled.
        split: (N,) names of splits.
        row: (N,) row numbers in fer2013.csv, counted from 0; -1 where not known.
        name: (N,) file names in the image-folder copy, "" where not known.
        votes: (N, 10) FER+ votes, NaN where not known.
        vad: (N, 3) valence, arousal, dominance from -2 to 2, NaN where not known.
    """

    image: pa.Array
    label: NDArray[np.int64]
    split: NDArray[np.str_]
    row: NDArray[np.int64]
    name: NDArray[np.str_]
    votes: NDArray[np.float32]
    vad: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.label)

    def select(self, keep: NDArray[np.bool_]) -> Rows:
        """Return the rows where a mask (N,) holds."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        mask = {"image": pa.array(keep)}
        return Rows(**{name: v.filter(mask[name]) if name in mask else v[keep] for name, v in values.items()})


def make_rows(
    image: pa.Array,
    label: Sequence[int] | NDArray[np.int64],
    split: Sequence[str],
    row: Sequence[int] | NDArray[np.int64] | None = None,
    name: Sequence[str] | None = None,
    votes: NDArray[np.float32] | None = None,
    vad: Sequence[Sequence[float]] | None = None,
) -> Rows:
    """Make rows; what is left out is not known."""
    n = len(image)
    return Rows(
        image,
        np.asarray(label, np.int64).reshape(n),
        np.asarray(split, np.str_).reshape(n),
        np.full(n, -1) if row is None else np.asarray(row, np.int64).reshape(n),
        np.full(n, "") if name is None else np.asarray(name, np.str_).reshape(n),
        np.full((n, len(VOTES)), np.nan, np.float32) if votes is None else votes,
        np.full((n, 3), np.nan, np.float32) if vad is None else np.asarray(vad, np.float32).reshape(n, 3),
    )


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Put rows after one another; none at all give no rows."""
    if not parts:
        return make_rows(pa.array([], IMAGE), [], [])
    image = pa.concat_arrays([part.image for part in parts])
    names = [field.name for field in fields(Rows) if field.name != "image"]
    return Rows(image, **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def original_rows(split: str, count: int) -> NDArray[np.int64]:
    """Return row numbers in fer2013.csv of a whole split in its original order; -1 where it is not whole."""
    first, size = ORIGINAL.get(split, (0, -1))
    return np.arange(first, first + count) if count == size else np.full(count, -1)


def canonical_splits(found: Iterable[str]) -> dict[str, str]:
    """Map the splits that names speak of to FER2013's.

    Where there are both a validation and a test split they are the public and the private test, as in the
    challenge; a "test" alone is both merged, and a "validation" alone is somebody's own.
    """
    names = set(found)
    both = {"validation", "test"} <= names
    return {
        name: {"validation": "public_test", "test": "private_test"}.get(name, name) if both else name
        for name in names
    }


def find_form(root: Path) -> Form | None:
    """Return the form of a path, from names and headers; None where it holds none of them."""
    if not root.is_dir():
        kinds: dict[str, Kind] = {".csv": "CSV", ".h5": "HDF5", ".hdf5": "HDF5", ".parquet": "parquet"}
        kind = kinds.get(root.suffix.lower())
        return Form(kind, (root,)) if kind else None
    tables = _tables(root)
    if tables:
        return Form("CSV", tables)
    if (root / "data.h5").is_file():
        return Form("HDF5", (root / "data.h5",))
    shards = sorted(root.glob("*.parquet")) or sorted(root.glob("data/*.parquet"))
    if shards:
        return Form("parquet", tuple(shards))
    folders = [folder for folder in class_folders(root) if folder.split and split_of(folder.split)]
    return Form("folders", tuple(folder.path for folder in folders)) if folders else None


def is_fer2013(form: Form) -> bool:
    """Say whether names and headers speak of FER2013, not of another dataset in a form like it.

    Parquet: FER+ votes, or class names in FER2013's own order. Folders: the seven classes, a training and
    another split, and a first image of 48x48 pixels.
    """
    first = form.files[0]
    if form.kind == "CSV":
        return first.name in COMPLETE or any(
            {"emotion", "pixels"} <= set(header(path)) for path in form.files
        )
    if form.kind == "HDF5":
        return _has_h5_keys(first)
    if form.kind == "parquet":
        return _has_parquet_columns(first)
    return _has_small_faces(form.files)


COMPLETE = ("fer2013.csv", "icml_face_data.csv")
"""Names of the CSV files that hold all splits, the original first."""


def header(path: Path) -> list[str]:
    """Return the column names of a CSV, without the spaces and capitals that differ between copies."""
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        try:
            return [name.strip().lower() for name in next(csv.reader(file), [])]
        except csv.Error:
            return []


def _tables(root: Path) -> tuple[Path, ...]:
    """Return the CSV files with pixels: one that has all splits, the original first, or else one a split."""
    tables = {path: header(path) for path in sorted(root.glob("*.csv"))}
    complete = [
        path
        for path, columns in tables.items()
        if path.name in COMPLETE or {"pixels", "usage"} <= set(columns)
    ]
    if complete:
        return (min(complete, key=lambda path: COMPLETE.index(path.name) if path.name in COMPLETE else 2),)
    return tuple(path for path, columns in tables.items() if "pixels" in columns)


def _has_h5_keys(path: Path) -> bool:
    try:
        import h5py

        with h5py.File(path) as file:
            return "Training_pixel" in file
    except (ImportError, OSError):  # what cannot be looked into goes by its name
        return path.name == "data.h5"


def _has_parquet_columns(path: Path) -> bool:
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError):
        return False
    if not {"image", "label"} <= set(schema.names):
        return False
    return "ferplus_votes" in schema.names or class_names(schema) == list(FER2013_LABELS)


def class_names(schema: pa.Schema) -> list[str] | None:
    """Return the class names, canonical, that a parquet file's Hugging Face metadata give its labels."""
    import json

    try:
        metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        return [canonical(name) for name in metadata["info"]["features"]["label"]["names"]] or None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _has_small_faces(folders: Sequence[Path]) -> bool:
    from PIL import Image

    classes = Counter(canonical(folder.name) for folder in folders)
    splits = {split_of(folder.parent.name) for folder in folders}
    if set(classes) != set(FER2013_LABELS) or "train" not in splits or len(splits) < 2:
        return False
    first = next((path for folder in folders for path in images(folder)), None)
    try:
        with Image.open(first, formats=IMAGE_FORMATS) if first else Image.new("L", (1, 1)) as image:
            return image.size == (SIDE, SIDE)
    except OSError:
        return False


def label_index(text: str) -> int:
    """Return the index into FER2013_LABELS of a label written as its number or its name."""
    plain = canonical(text)
    if plain in FER2013_LABELS:
        return FER2013_LABELS.index(plain)
    if plain.isdecimal() and int(plain) < len(FER2013_LABELS):
        return int(plain)
    raise DataError(
        f"column emotion: {text!r} is no label; write 0 to 6 ({', '.join(FER2013_LABELS)}) or the name"
    )
