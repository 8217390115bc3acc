"""Which reader reads a dataset, and which of its rows train, select and report."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from emozoo import registry
from emozoo.contracts import DatasetReader
from emozoo.errors import (
    ContractError,
    DataError,
    DatasetNotRecognisedError,
    EmozooError,
    EmozooWarning,
    RecipeError,
    suggest,
)
from emozoo.recipe import Data
from emozoo.trees import explain, override

if TYPE_CHECKING:
    from datasets import Dataset

COLUMNS = ("id", "split", "label")


def open_reader(data: Data) -> DatasetReader:
    """Build the reader that a recipe's [data] table names."""
    root = Path(data.root).expanduser() if data.root is not None else None
    if root is not None and not root.exists():
        raise DataError(f"data.root: there is no file or folder {root}; give the place with --data PATH")
    reader = registry.build("dataset", data.name, data.options, root, where="data")
    if not isinstance(reader, DatasetReader):
        raise ContractError(f"dataset reader {data.name!r} lacks part of its contract: read, check, ...")
    return reader


def recognise(root: Path) -> str:
    """Return the name of the reader that recognises a folder or file.

    Raises:
        DatasetNotRecognisedError: none does, or several do; the message names the candidates.
    """
    if not root.exists():
        raise DataError(f"there is no file or folder {root}")
    readers = [c for c in registry.discover() if c.kind == "dataset" and c.status == "ok"]
    found = [c.name for c in readers if _recognises(c, root)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(c.name for c in readers)
    problem = (
        f"readers {' and '.join(found)} both recognise {root}" if found else f"no reader recognises {root}"
    )
    raise DatasetNotRecognisedError(f"{problem}; name one with --reader (installed: {names})")


def _recognises(component: registry.Component, root: Path) -> bool:
    """Ask a reader; one that fails is left out with a warning, so that it stops no other."""
    try:
        reader: Any = registry.load(component)
        return bool(reader.recognises(root))
    except Exception as error:
        warnings.warn(f"reader {component.qualified} is left out: {error}", EmozooWarning, stacklevel=3)
        return False


def reader_for(root: Path | None, name: str | None, assignments: Sequence[str]) -> tuple[str, DatasetReader]:
    """Return name and reader of a folder or file; see `data_for`."""
    data = data_for(root, name, assignments)
    return data.name, open_reader(data)


def data_for(root: Path | None, name: str | None, assignments: Sequence[str]) -> Data:
    """Return the table [data] of a folder or file, with the reader that is named, or that recognises it.

    Args:
        root: the dataset.
        name: a reader's name.
        assignments: keys of the table, "vad=annotations.csv" and the like.

    Raises:
        DataError: no reader recognises it, or several do.
        RecipeError: a key of the table is wrong.
    """
    if root is None and name is None:
        raise DataError("name the dataset's place with --data, or a reader that needs none with --reader")
    chosen = name or recognise(Path(root or ""))
    tree = override({"name": chosen, "root": None if root is None else str(root)}, assignments)
    try:
        return Data.model_validate(tree)
    except ValidationError as error:
        raise RecipeError(explain(error, Data, "data", tree)) from None


def read(reader: DatasetReader, name: str) -> Dataset:
    """Read a dataset and check that it keeps the contract's columns.

    Raises:
        ContractError: the reader fails, or returns something else than its contract says.
        DataError: the dataset cannot be used, or is empty.
    """
    rows = _rows(reader, name)
    missing = [column for column in COLUMNS if column not in rows.column_names]
    if missing:
        raise ContractError(f"dataset reader {name!r} returns no column {', '.join(missing)}")
    if len({"image", "video"} & set(rows.column_names)) != 1:
        raise ContractError(f"dataset reader {name!r} returns neither or both of the columns image and video")
    if not len(rows):
        raise DataError(f"dataset {name!r} is empty")
    if getattr(rows.features.get("image"), "decode", False):
        raise ContractError(
            f"dataset reader {name!r} returns images decoded: its column image is datasets.Image(decode=False)"
        )
    if not hasattr(rows.features["label"], "names"):
        raise ContractError(f"dataset reader {name!r}: column label is no datasets.ClassLabel")
    if len(set(rows["id"])) < len(rows):
        twice, count = Counter(rows["id"]).most_common(1)[0]
        raise ContractError(
            f"dataset reader {name!r} gives {count} rows the id {twice!r}; each needs its own"
        )
    return rows


def _rows(reader: DatasetReader, name: str) -> Dataset:
    """Return what a reader reads as plain values, whatever format (torch, numpy) it gave them."""
    from datasets import Dataset

    try:
        rows = reader.read()
    except (EmozooError, OSError, MemoryError):
        raise
    except Exception as error:
        raise ContractError(
            f"dataset reader {name!r} raised {type(error).__name__}: {error}; for data that it cannot read, its author "
            "lets it raise an emozoo.errors.DataError that says what is wrong"
        ) from error
    if not isinstance(rows, Dataset):
        raise ContractError(
            f"dataset reader {name!r} returned a {type(rows).__name__}, not a datasets.Dataset"
        )
    return rows.with_format(None)


@dataclass(frozen=True, slots=True)
class Splits:
    """Row numbers of a dataset by role, and how each role's split is to be called in a record.

    Without a `select` split, a share of the training split is set aside: by subject where subjects are known, else
    by id, evenly over the categories, and the same rows whatever the seed. Without a `report` split, or where it is
    that of `select`, what is reported is the selection split, and `report_name` says so.
    """

    train: list[int]
    select: list[int]
    report: list[int]
    train_name: str
    select_name: str
    report_name: str


def split_rows(rows: Dataset, data: Data) -> Splits:
    """Assign rows to training, selection and report.

    Raises:
        DataError: a named split is not in the dataset, or one that is trained on has another role too.
    """
    by_split: dict[str, list[int]] = defaultdict(list)
    for index, split in enumerate(split_names(rows, data.fold)):
        by_split[split].append(index)
    names = [name for name in (data.train, data.select, data.report) if name is not None]
    for name in names:
        if name not in by_split:
            known = ", ".join(f"{key} ({len(value):,})" for key, value in by_split.items())
            raise DataError(f"the dataset has no split {name!r}.{suggest(name, by_split)} It has: {known}")
    if data.train in names[1:]:
        raise DataError(
            f"data.train is {data.train!r}, and so is data.select or data.report: a model is not measured on what it "
            "was trained on"
        )
    train, select_name = by_split[data.train], data.select
    if select_name is None:
        train, select = hold_out(rows, train, data.holdout)
        select_name = f"{data.train} (held-out {data.holdout:.0%})"
    else:
        select = by_split[select_name]
    report = by_split[data.report] if data.report is not None else select
    of_fold = "" if data.fold is None else f" of fold {data.fold}"
    roles = (data.train, select_name, data.report or select_name)
    return Splits(train, select, report, *(role + of_fold for role in roles))


def folds(rows: Dataset) -> list[int]:
    """Return the numbers of a dataset's folds, none for one that has no folds."""
    values = rows["fold"] if "fold" in rows.column_names else []
    return sorted({value for value in values if value is not None})


def split_names(rows: Dataset, fold: int | None) -> list[str]:
    """Return each row's split: of a dataset with folds "test" for the rows of this fold, "train" for all others.

    Raises:
        DataError: the dataset has folds and none is named, or has not this one.
    """
    known = folds(rows)
    if not known and fold is None:
        return list(rows["split"])
    listed = ", ".join(map(str, known))
    if not known:
        raise DataError(f"data.fold is {fold}, but the dataset has no folds; leave data.fold (--fold) out")
    if fold is None:
        raise DataError(
            f"the dataset has the folds {listed}; name one with data.fold (--fold), or train --folds all"
        )
    if fold not in known:
        raise DataError(f"the dataset has no fold {fold}; it has {listed}")
    named = zip(rows["fold"], rows["split"], strict=True)
    return [split if value is None else "test" if value == fold else "train" for value, split in named]


def hold_out(rows: Dataset, index: Sequence[int], share: float) -> tuple[list[int], list[int]]:
    """Set a share of rows aside, the same whatever the seed; whole subjects where subjects are known.

    One subject, or one sample of each category, always stays to train on.

    Raises:
        DataError: nothing can be set aside.
    """
    part = rows.select(index)
    subjects = part["subject"] if "subject" in part.column_names else [None] * len(part)
    keys = [subject or name for subject, name in zip(subjects, part["id"], strict=True)]
    groups: dict[Any, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    grouped = any(subject is not None for subject in subjects)
    for position, key, label in zip(index, keys, part["label"], strict=True):
        groups[None if grouped else label][key].append(position)
    held: list[int] = []
    for members in groups.values():
        order = sorted(members, key=lambda key: hashlib.sha256(str(key).encode()).digest())
        for key in order[: min(len(order) - 1, max(1, round(len(order) * share)))]:
            held += members[key]
    if not held:
        what = "subject" if grouped else "sample of any category"
        raise DataError(f"there is no more than one {what}, so none can be held out; name data.select")
    chosen = set(held)
    return [i for i in index if i not in chosen], sorted(held)
