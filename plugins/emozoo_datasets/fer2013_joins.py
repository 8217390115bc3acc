"""What is joined onto FER2013's rows: FER+ votes, and Huo & Ge's valence, arousal and dominance."""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emozoo.errors import DataError
from emozoo.labels import DIMENSIONS, FER2013_LABELS
from emozoo_datasets.fer2013_files import affect, number
from emozoo_datasets.fer2013_forms import Rows, header, label_index
from emozoo_datasets.ferplus import read_votes
from emozoo_datasets.image_checks import Report


@dataclass(frozen=True, slots=True)
class Annotation:
    """A line of a VAD file: which image it means, by name ("" if unknown) or row (-1), and its values."""

    where: str
    name: str
    row: int
    label: int | None
    vad: list[float]


def join_votes(rows: Rows, path: Path, report: Report) -> None:
    """Give rows the votes of fer2013new.csv, whose lines are in the order of fer2013.csv's."""
    unknown = int(np.sum(rows.row < 0))
    if unknown:
        problem = (
            f"gives votes by row of fer2013.csv, and {unknown:,} of these {len(rows):,} images do not say "
            "which row they are; use the whole fer2013.csv in its own order, or parquet files with a column "
            "ferplus_votes"
        )
        report(str(path), problem)
        return
    splits, votes = read_votes(path, report)
    if not splits:  # already reported
        return
    for row, split in zip(rows.row.tolist(), rows.split.tolist(), strict=True):
        there = splits[row] if row < len(splits) else "beyond the end"
        if there != split:
            problem = (
                f"does not belong to these images: row {row} is of {split} here and {there} there; "
                "use the whole fer2013.csv, in its own order"
            )
            report(str(path), problem)
            return
    rows.votes = votes[rows.row]


def read_annotations(path: Path, report: Report) -> list[Annotation]:
    """Read VAD annotations: a CSV, or all CSV files of a folder.

    Columns: source_name or row or both, valence, arousal, dominance from -2 to 2, perhaps label.
    """
    files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    if not files:
        report(str(path), "the folder of VAD annotations holds no CSV file; correct the option vad")
    return [annotation for file in files for annotation in _read_file(file, report)]


def _read_file(path: Path, report: Report) -> list[Annotation]:
    try:
        columns = header(path)
    except OSError as error:
        report(str(path), f"the VAD annotations cannot be read ({error}); correct the option vad")
        return []
    missing = [name for name in DIMENSIONS if name not in columns]
    if missing or not {"source_name", "row"} & set(columns):
        wanted = ", ".join(missing) or "source_name or row"
        report(str(path), f"lacks the column(s) {wanted}; it has {', '.join(columns) or 'none'}")
        return []
    annotations = []
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.reader(file)
        next(reader)
        for cells in filter(None, reader):
            where = f"{path}, line {reader.line_num}"
            try:
                annotations.append(
                    _annotation(where, dict(zip(columns, map(str.strip, cells), strict=False)))
                )
            except DataError as error:
                report(where, str(error))
    return annotations


def _annotation(where: str, cell: dict[str, str]) -> Annotation:
    row = cell.get("row", "")
    return Annotation(
        where,
        cell.get("source_name", ""),
        number(row, "row") if row not in ("", "-1") else -1,
        label_index(cell["label"]) if cell.get("label") else None,
        [affect(cell.get(name, ""), name) for name in DIMENSIONS],
    )


def join_annotations(rows: Rows, annotations: list[Annotation]) -> list[tuple[str, str]]:
    """Give rows their VAD; return (where, why) of each annotation that is left out.

    An annotation is joined to the image of its name, or of its row where names are not known, if that is one
    image and of the label that the annotation gives.
    """
    by_name: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(rows.name.tolist()):
        if name:
            by_name[name].append(index)
    by_row = {row: [index] for index, row in enumerate(rows.row.tolist()) if row >= 0}
    left_out, taken = [], set[int]()
    for item in annotations:
        by_name_known = bool(by_name) and bool(item.name)
        found = by_name.get(item.name, []) if by_name_known else by_row.get(item.row, [])
        if len(found) > 1:
            found = [index for index in found if rows.row[index] == item.row >= 0] or found
        problem = _mismatch(rows, item, found, taken)
        if problem:
            left_out.append((item.where, problem))
        else:
            rows.vad[found[0]] = item.vad
            taken.add(found[0])
    return left_out


def annotated_folds(rows: Rows, ids: Sequence[str], count: int) -> list[int | None]:
    """Return the fold, counted from 1, of each training image with VAD; None for every other row.

    The images are dealt out in the order of their category and then of a hash of their id, so that a fold has
    its share of each category, whatever the order of the rows.

    Raises:
        DataError: there are fewer images than folds.
    """
    annotated = np.flatnonzero((rows.split == "train") & ~np.isnan(rows.vad).any(axis=1))
    if len(annotated) < count:
        raise DataError(
            f"vad_folds = {count}, but {len(annotated)} training images have valence, arousal and dominance: "
            "give their annotations with the option vad, or fewer folds"
        )
    dealt = sorted(annotated, key=lambda i: (rows.label[i], hashlib.sha256(ids[i].encode()).digest()))
    folds: list[int | None] = [None] * len(rows)
    for position, index in enumerate(dealt):
        folds[index] = position % count + 1
    return folds


def _mismatch(rows: Rows, item: Annotation, found: list[int], taken: set[int]) -> str | None:
    image = item.name or f"row {item.row}"
    if not found:
        unknown = not item.name and (rows.row < 0).any()
        known = " (rows are known in whole splits in their own order alone)" if unknown else ""
        return f"no image is {image}{known}; its annotation is left out"
    if len(found) > 1:
        return f"{len(found)} images are called {image}; its annotation is left out: give their row"
    if found[0] in taken:
        return f"{image} is annotated twice; the first annotation is kept"
    label = rows.label[found[0]]
    if item.label is not None and label >= 0 and item.label != label:
        return (
            f"{image} is {FER2013_LABELS[item.label]} here but {FER2013_LABELS[label]} in the images; "
            "the annotation is left out: check that both are the same copy"
        )
    return None
