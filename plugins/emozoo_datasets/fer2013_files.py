"""Reading each form of FER2013 (see `fer2013_forms`) into rows, telling of every row that cannot be used."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from emozoo.errors import DataError
from emozoo.labels import DIMENSIONS, FER2013_LABELS, canonical
from emozoo_datasets.fer2013_forms import (
    COMPLETE,
    ORIGINAL,
    SIDE,
    Form,
    Rows,
    canonical_splits,
    class_names,
    header,
    join_rows,
    label_index,
    make_rows,
    original_rows,
)
from emozoo_datasets.ferplus import VOTES
from emozoo_datasets.image_checks import Report
from emozoo_datasets.image_folders import images, split_in, split_of
from emozoo_datasets.rows import IMAGE, image_bytes, image_paths

PIXELS = SIDE * SIDE

VAD_RANGE = (-2.0, 2.0)
"""The scale of Huo & Ge's annotation."""


def read_form(form: Form, report: Report) -> Rows:
    """Return all rows of a form; what cannot be used is reported and left out."""
    if form.kind == "HDF5":
        return _read_h5(form.files[0], report)
    if form.kind == "folders":
        return _read_folders(form.files, report)
    spoken = {path: split_in(path.stem) for path in form.files}
    splits = canonical_splits(split for split in spoken.values() if split)
    read = _read_csv if form.kind == "CSV" else _read_parquet
    return join_rows([read(path, splits.get(split or ""), report) for path, split in spoken.items()])


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a grey image (48, 48) as PNG, losslessly."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


@dataclass
class _Table:
    """Rows of a CSV while they are gathered; `row` is empty where the file does not number them."""

    image: list[bytes] = field(default_factory=list)
    label: list[int] = field(default_factory=list)
    split: list[str] = field(default_factory=list)
    row: list[int] = field(default_factory=list)
    vad: list[list[float]] = field(default_factory=list)


def _read_csv(path: Path, split: str | None, report: Report) -> Rows:
    """Read a CSV whose splits are in its column Usage, or which is all of one split."""
    columns = header(path)
    problem = _missing(path, columns, split)
    if problem:
        report(str(path), problem)
        return join_rows([])
    table, empty = _Table(), True
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file, warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # NumPy's word for text that is no number
        reader = csv.reader(file)
        next(reader)
        try:
            for cells in filter(None, reader):
                empty = False
                try:
                    _add(table, columns, cells, split)
                except DataError as error:
                    report(f"{path}, line {reader.line_num}", str(error))
        except csv.Error as error:
            report(
                f"{path}, line {reader.line_num}", f"is not CSV ({error}); mend it or download the file again"
            )
    if empty:
        report(str(path), "holds no rows; copy or download it again")
    rows = table.row or _rows_of_whole_splits(table.split)
    return make_rows(image_bytes(table.image), table.label, table.split, rows, vad=table.vad)


def _rows_of_whole_splits(splits: Iterable[str]) -> list[int]:
    """Return rows in fer2013.csv of lines by their splits; -1 in a split that is not whole: who knows what it lacks."""
    runs = [original_rows(split, len(list(run))) for split, run in groupby(splits)]
    return [row for run in runs for row in run.tolist()]


def _missing(path: Path, columns: Sequence[str], split: str | None) -> str | None:
    """Say which column a CSV lacks; only a test split may do without labels."""
    if not columns:
        return "is empty; copy or download it again"
    needed = ["pixels"] if split == "test" else ["emotion", "pixels"]
    missing = [name for name in (*needed, "usage") if name not in columns and not (name == "usage" and split)]
    if missing == ["usage"] and path.name not in COMPLETE:
        return "says nowhere which split its rows are of: add a column Usage, or call it train.csv, ..."
    return f"lacks the column(s) {', '.join(missing)}; it has {', '.join(columns)}" if missing else None


def _add(table: _Table, columns: Sequence[str], cells: Sequence[str], split: str | None) -> None:
    """Add a row of a CSV, or raise DataError naming the column."""
    if len(cells) != len(columns):
        raise DataError(f"has {len(cells)} cells for {len(columns)} columns; mend or remove the line")
    cell = dict(zip(columns, cells, strict=True))
    if "usage" in cell:
        split = _usage(cell["usage"])
    word = canonical(cell.get("emotionlabel", "").partition("=")[2])
    named = FER2013_LABELS.index(word) if word in FER2013_LABELS else -1
    label = label_index(cell["emotion"]) if "emotion" in cell else named
    if named not in (-1, label):
        raise DataError(
            f"columns emotion and emotionLabel disagree: {cell['emotion']} and {cell['emotionlabel']}"
        )
    vad = [affect(cell.get(name, ""), name) for name in DIMENSIONS]
    rows = []
    if "index" in cell and "usage" not in cell:  # Huo & Ge count within the split
        (first, size), index = ORIGINAL.get(str(split), (0, 0)), number(cell["index"], "index")
        rows = [first + index if index < size else -1]
    table.image.append(encode_png(_pixels(cell["pixels"])))
    table.label.append(label)
    table.split.append(str(split))
    table.row.extend(rows)
    table.vad.append(vad)


def _usage(text: str) -> str:
    split = split_of(text.strip())
    if split not in ORIGINAL:
        raise DataError(f"column Usage: {text!r} is none of Training, PublicTest, PrivateTest; correct it")
    return split


def _pixels(text: str) -> NDArray[np.uint8]:
    try:
        values = np.fromstring(text, np.int64, sep=" ")
    except (ValueError, DeprecationWarning):
        raise DataError(
            "column pixels: holds something that is no whole number; mend or remove the line"
        ) from None
    if len(values) != PIXELS:
        raise DataError(
            f"column pixels: has {len(values)} values, not {PIXELS} (48 x 48); mend or remove the line"
        )
    if values.min() < 0 or values.max() > 255:
        raise DataError("column pixels: holds values outside 0..255; mend or remove the line")
    return values.astype(np.uint8).reshape(SIDE, SIDE)


def number(text: str, column: str) -> int:
    """Return a row number, or raise DataError naming the column."""
    if not text.strip().isdecimal() or len(text) > 18:
        raise DataError(f"column {column}: {text!r} is no row number; correct it")
    return int(text)


def affect(text: str, column: str) -> float:
    """Return a VAD value from -2 to 2, NaN where the cell is empty, or raise DataError naming the column."""
    low, high = VAD_RANGE
    try:
        value = float(text or "nan")
    except ValueError:
        raise DataError(
            f"column {column}: {text!r} is no number; write {low:g} to {high:g} or nothing"
        ) from None
    if not (np.isnan(value) or low <= value <= high):
        raise DataError(f"column {column}: {text!r} is outside {low:g}..{high:g}; correct it")
    return value


def _read_h5(path: Path, report: Report) -> Rows:
    """Read WuJie's HDF5 file: {Training, PublicTest, PrivateTest}_{pixel, label}."""
    try:
        import h5py
    except ImportError:
        report(str(path), 'reading HDF5 needs h5py: pip install "emozoo[h5]"')
        return join_rows([])
    parts = []
    try:
        with h5py.File(path) as file:
            found = [usage for usage in ("Training", "PublicTest", "PrivateTest") if f"{usage}_pixel" in file]
            if not found:
                report(
                    str(path),
                    f"has no Training_pixel but {', '.join(file) or 'nothing'}: this is not FER2013's file",
                )
            for usage in found:
                label = file[f"{usage}_label"][()] if f"{usage}_label" in file else None
                parts.append(
                    _h5_split(f"{path}, {usage}", _usage(usage), file[f"{usage}_pixel"][()], label, report)
                )
    except (OSError, KeyError, RuntimeError) as error:
        report(str(path), f"is not a whole HDF5 file ({error}); copy or download it again")
    return join_rows(parts)


def _h5_split(where: str, split: str, pixel: NDArray, label: NDArray | None, report: Report) -> Rows:
    if label is None or len(label) != len(pixel):
        report(
            f"{where}_label", f"must hold one label for each of {len(pixel):,} images; make the file again"
        )
        return join_rows([])
    if pixel.size != len(pixel) * PIXELS or pixel.dtype.kind not in "ui":
        report(
            f"{where}_pixel",
            f"is {pixel.dtype} {pixel.shape}, not whole numbers (N, {PIXELS}); make the file again",
        )
        return join_rows([])
    pixel = pixel.reshape(-1, SIDE, SIDE)
    good = (label >= 0) & (label < len(FER2013_LABELS))
    _report_rows(f"{where}_label", label, good, "is no label; write 0 to 6", report)
    in_range = (pixel.min((1, 2), initial=0) >= 0) & (pixel.max((1, 2), initial=0) <= 255)
    _report_rows(
        f"{where}_pixel", pixel[:, 0, 0], in_range, "and other values: pixels must be 0..255", report
    )
    encoded = [encode_png(one) for one in pixel[good & in_range].astype(np.uint8)]
    rows = original_rows(split, len(label))[good & in_range]
    return make_rows(image_bytes(encoded), label[good & in_range], [split] * len(encoded), rows)


def _report_rows(
    where: str, values: Sequence | NDArray, good: NDArray[np.bool_], problem: str, report: Report
) -> None:
    for row in np.flatnonzero(~good):
        report(f"{where}, row {row}", f"{values[row]!s} {problem}")


def _read_parquet(path: Path, split: str | None, report: Report) -> Rows:
    """Read a parquet file with encoded images; rows are counted from 0."""
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        report(str(path), f"is not a whole parquet file ({error}); copy or download it again")
        return join_rows([])
    columns = set(table.column_names)
    missing = {"image", "label"} - columns
    if missing or not table.num_rows:
        what = f"lacks the column(s) {', '.join(sorted(missing))}" if missing else "holds no rows"
        report(str(path), f"{what}; copy or download it again")
        return join_rows([])
    try:
        image = _encoded(table["image"].combine_chunks())
    except (pa.ArrowException, KeyError):
        report(
            f"{path}, column image",
            f"holds {table['image'].type}, not encoded images; store PNG or JPEG bytes",
        )
        return join_rows([])
    has_image = np.asarray(image.field("bytes").is_valid())
    _report_rows(
        f"{path}, column image", ["no bytes"] * len(table), has_image, "are stored; remove the row", report
    )
    label, labelled = _parquet_labels(path, table, report)
    splits, placed = _parquet_splits(path, table, split, report)
    rows = make_rows(
        image,
        label,
        splits,
        table["row"].fill_null(-1).to_numpy() if "row" in columns else None,
        [name or "" for name in table["source_name"].to_pylist()] if "source_name" in columns else None,
        _parquet_votes(table["ferplus_votes"].to_pylist()) if "ferplus_votes" in columns else None,
    )
    return rows.select(has_image & labelled & placed)


def _encoded(column: pa.Array) -> pa.StructArray:
    """Bring an image column, Hugging Face's struct or plain binary, to the type IMAGE, without its paths."""
    if pa.types.is_struct(column.type):
        column = dict(zip(column.type.names, column.flatten(), strict=True))["bytes"]
    data = column.cast(pa.binary())
    return pa.StructArray.from_arrays([data, pa.nulls(len(data), pa.string())], fields=list(IMAGE))


def _parquet_labels(
    path: Path, table: pa.Table, report: Report
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return labels, by class name where there are names, -1 where null; and which are labels at all."""
    given = table["label"].to_pylist()
    names = class_names(table.schema) or FER2013_LABELS
    meaning: Mapping[object, str] = {
        **dict(enumerate(names)),
        **{text: canonical(text) for text in set(given) if isinstance(text, str)},
    }
    index = {None: -1, **{k: FER2013_LABELS.index(v) for k, v in meaning.items() if v in FER2013_LABELS}}
    good = np.array([value in index for value in given])
    problem = f"is no label; write 0 to {len(names) - 1} ({', '.join(names)}) or a name of FER2013's"
    _report_rows(f"{path}, column label", given, good, problem, report)
    return np.array([index.get(value, -1) for value in given], np.int64), good


def _parquet_splits(
    path: Path, table: pa.Table, split: str | None, report: Report
) -> tuple[list[str], NDArray[np.bool_]]:
    """Return each row's split, from the column `split` or else the file's name, and whether there is one."""
    if "split" not in table.column_names:
        if split is None:
            report(
                str(path),
                "says nowhere which split its rows are of: add a column split, or call it train.parquet",
            )
        return [split or ""] * len(table), np.full(len(table), split is not None)
    given = [text or "" for text in table["split"].to_pylist()]
    spoken = {text: split_of(text) for text in set(given)}
    names = canonical_splits(found for found in spoken.values() if found)
    good = np.array([spoken[text] is not None for text in given])
    _report_rows(f"{path}, column split", given, good, "is none of Training, PublicTest, PrivateTest", report)
    return [names.get(spoken[text] or "", "") for text in given], good


def _parquet_votes(votes: Iterable[Sequence[float] | None]) -> NDArray[np.float32]:
    unknown = [np.nan] * len(VOTES)
    return np.array([v if v is not None and len(v) == len(VOTES) else unknown for v in votes], np.float32)


def _read_folders(folders: Sequence[Path], report: Report) -> Rows:
    """Read class folders; in a merged test, names PublicTest_* and PrivateTest_* still tell which it is."""
    spoken = {folder: split_of(folder.parent.name) or "" for folder in folders}
    splits = canonical_splits(spoken.values())
    paths: list[Path] = []
    label: list[int] = []
    split: list[str] = []
    for folder in folders:
        if canonical(folder.name) not in FER2013_LABELS:
            report(
                str(folder), f"is no class of FER2013 ({', '.join(FER2013_LABELS)}); read it with `folders`"
            )
            continue
        found = images(folder)
        paths += found
        label += [FER2013_LABELS.index(canonical(folder.name))] * len(found)
        split += [_named_split(path.name) or splits[spoken[folder]] for path in found]
    return make_rows(image_paths(paths), label, split, name=[path.name for path in paths])


def _named_split(name: str) -> str | None:
    prefix = name.partition("_")[0]
    return {"Training": "train", "PublicTest": "public_test", "PrivateTest": "private_test"}.get(prefix)
