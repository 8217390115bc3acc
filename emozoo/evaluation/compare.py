"""Results of several runs side by side, and what may and may not be concluded from them.

Runs measured on the same samples can also be compared sample by sample, from the predictions that evaluation
writes as `predictions.parquet`. Its columns are `id` and, for each head: `<head>.label` and `<head>.true`
(names of categories) for a classification, `<head>.<dimension>` and `<head>.<dimension>_true` for values; a
truth is null where there is none. Others, such as the probabilities `<head>.p_<label>`, are left aside here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emozoo.errors import DataError
from emozoo.evaluation.metrics import Array, paired_difference
from emozoo.evaluation.tables import Table, better_low, entry, escape_markdown, interval, metric_title, number
from emozoo.trees import RECORD_LIMIT, read_as, read_tree

RESULT_FILES = ("run.json", "metrics.json")
PREDICTIONS = "predictions.parquet"

_SAME = ("dataset", "fingerprint", "split", "n")
_SHOWN = ("dataset", "split", "n", "tta")

Columns = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs side by side.

    Attributes:
        table: a row for each metric, a column for each run.
        warnings: why the runs are not comparable; empty where they are.
        paired: differences from the first run, sample by sample; None without predictions.
    """

    table: Table
    warnings: tuple[str, ...]
    paired: Table | None = None

    def to_markdown(self) -> str:
        """Return everything as Markdown, warnings first."""
        parts = [f"> **Not comparable:** {escape_markdown(warning)}" for warning in self.warnings]
        for table in filter(None, (self.table, self.paired)):
            parts += [f"## {escape_markdown(table.title)}", table.to_markdown(), escape_markdown(table.note)]
        return "\n\n".join(filter(None, parts)) + "\n"


def compare(records: Sequence[Mapping[str, Any]], predictions: Sequence[Path | None] = ()) -> Comparison:
    """Set results of evaluation side by side.

    Args:
        records: evaluation results, with `name`, `split`, `n`, `heads` and, where known,
            `dataset`, `fingerprint` and `tta`.
        predictions: each record's predictions.parquet, None where there is none.

    Raises:
        DataError: a record is no evaluation result, or a file holds no predictions.
    """
    for position, record in enumerate(records, 1):
        if not isinstance(record.get("heads"), Mapping):
            raise DataError(
                f"record {position} ({_name(record)}) has no measured heads: compare takes the results that "
                "`emozoo eval` and `emozoo train` write"
            )
    names = _distinct_names(records)
    loaded = {name: _read(path) for name, path in zip(names, predictions, strict=False) if path}
    warnings = _differences(records, names, alike=len(loaded) == len(records) > 1 and _pair(loaded))
    rows: list[tuple[str, ...]] = [
        (key, *(_plain(record.get(key)) for record in records))
        for key in _SHOWN
        if any(record.get(key) is not None for record in records)
    ]
    rows += _metric_rows(records, mark=not warnings)
    note = (
        'Values with 95 % intervals. "(best)" stands only where the interval of the best overlaps no other, '
        "and only between comparable runs."
    )
    paired = _paired(loaded) if len(loaded) > 1 else None
    return Comparison(Table("Runs side by side", ("", *names), tuple(rows), note), tuple(warnings), paired)


def compare_folders(paths: Sequence[Path]) -> str:
    """Compare the results in run folders, evaluation folders or their JSON files, as Markdown.

    Raises:
        DataError: a path holds no result.
        CorruptModelError: what it holds is none that emozoo wrote.
    """
    files = [_result_file(path) for path in paths]
    predictions = [file.with_name(PREDICTIONS) for file in files]
    with read_as("results of runs or evaluations", ", ".join(map(str, files))):
        records = [_result(file) for file in files]
        if len({_name(record) for record in records}) < len(
            records
        ):  # runs of one recipe: their folders tell them apart
            records = [{**record, "name": str(path)} for record, path in zip(records, paths, strict=True)]
        return compare(records, [path if path.is_file() else None for path in predictions]).to_markdown()


def _result_file(path: Path) -> Path:
    if path.is_file():
        return path
    found = [path / name for name in RESULT_FILES if (path / name).is_file()]
    if not found:
        raise DataError(
            f"{path} holds no {' or '.join(RESULT_FILES)}: "
            "name the folder of a finished run or of an evaluation"
        )
    return found[0]


def _result(file: Path) -> dict[str, Any]:
    """Return the result in a metrics.json, or the one a run.json reports and what it was measured on."""
    record = read_tree(file, DataError, RECORD_LIMIT)
    if "result" not in record:
        return record
    result, data = record["result"], record["data"]
    roles = [role for role in reversed(data["roles"].values()) if role["split"] == result["split"]]
    fingerprint = roles[0]["fingerprint"] if roles else None
    return {"name": record["name"], "dataset": data["title"], "fingerprint": fingerprint, **result}


def _name(record: Mapping[str, Any]) -> str:
    return str(record.get("name") or "unnamed")


def _plain(value: Any) -> str:
    return "not recorded" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _distinct_names(records: Sequence[Mapping[str, Any]]) -> list[str]:
    names = [_name(record) for record in records]
    return [f"{name} ({i})" if names.count(name) > 1 else name for i, name in enumerate(names, 1)]


def _differences(records: Sequence[Mapping[str, Any]], names: Sequence[str], *, alike: bool) -> list[str]:
    """Say in which respects the runs were not measured on the same thing.

    The fingerprint of images is that of their pixels as the model sees them: models of different sizes differ in it on
    the same samples, which the predictions' ids and truths show to be `alike`.
    """
    same = [key for key in _SAME if not (alike and key == "fingerprint")]
    aspects: dict[str, list[Any]] = {key: [record.get(key) for record in records] for key in same}
    for head in dict.fromkeys(head for record in records for head in record["heads"]):
        measured = [record["heads"].get(head) for record in records]
        aspects[f"n of {head}"] = [found and found["n"] for found in measured]
        aspects[f"labels of {head}"] = [
            found and ", ".join(row["label"] for row in found.get("per_class", ())) for found in measured
        ]
    warnings = []
    for aspect, values in aspects.items():
        if any(value != values[0] for value in values[1:]):
            each = "; ".join(f"{name}: {_plain(value)}" for name, value in zip(names, values, strict=True))
            warnings.append(f"{aspect} differs ({each})")
    return warnings


def _metric_rows(records: Sequence[Mapping[str, Any]], *, mark: bool) -> list[tuple[str, ...]]:
    keys = dict.fromkeys(
        (head, metric)
        for record in records
        for head, measured in record["heads"].items()
        for metric in measured["metrics"]
    )
    rows = []
    for head, metric in keys:
        found = [record["heads"].get(head, {}).get("metrics", {}).get(metric) for record in records]
        cells = ["" if value is None else entry(metric, value) for value in found]
        best = _clearly_best(metric, found) if mark else None
        if best is not None:
            cells[best] += " (best)"
        rows.append((f"{head}: {metric_title(metric)}", *cells))
    return rows


def _clearly_best(metric: str, found: Sequence[Mapping[str, Any] | None]) -> int | None:
    """Return which value is best, if its interval overlaps no other."""
    intervals = [value and value["interval"] for value in found]
    if len(found) < 2 or not all(intervals):
        return None
    sign = -1 if better_low(metric) else 1
    ends = [sorted(sign * end for end in pair) for pair in intervals if pair]
    best = max(range(len(ends)), key=lambda index: ends[index][0])
    return best if all(ends[best][0] > high for i, (_, high) in enumerate(ends) if i != best) else None


def _read(path: Path) -> Columns:
    """Return the columns of a predictions file, rows in the order of their ids."""
    from pyarrow import ArrowException, parquet

    try:
        table = parquet.read_table(path)
    except (OSError, ArrowException) as error:
        raise DataError(f"{path} cannot be read as predictions: {error}") from error
    if "id" not in table.column_names:
        raise DataError(f"{path} has no column id: it is not a predictions file of `emozoo eval`")
    twice = [name for name, count in Counter(table["id"].to_pylist()).items() if count > 1]
    if twice:
        raise DataError(
            f"{path} has more than one row with id {twice[0]!r}: its samples cannot be told apart"
        )
    return table.sort_by("id").to_pydict()


def _paired(loaded: Mapping[str, Columns]) -> Table:
    """Differences of the other runs from the first, over the samples whose truth is known."""
    (first, reference), *others = loaded.items()
    rows: list[tuple[str, ...]] = []
    notes = [f"A difference is the run minus {first}, on the same samples."]
    for name, columns in others:
        problem = _unpairable(reference, columns)
        if problem:
            notes.append(f"{name} is not paired with {first}: {problem}.")
            continue
        scores = _scores(columns)
        for (head, metric), values in _scores(reference).items():
            if (head, metric) in scores:
                rows.append(
                    (f"{name}, {head}: {metric_title(metric)}", *_row(metric, scores[head, metric], values))
                )
    header = ("run, metric", "n", "difference", "95 % interval", "verdict")
    return Table(f"Paired differences from {first}", header, tuple(rows), " ".join(notes))


def _pair(loaded: Mapping[str, Columns]) -> bool:
    first, *others = loaded.values()
    return not any(_unpairable(first, columns) for columns in others)


def _unpairable(a: Columns, b: Columns) -> str:
    """Say why two prediction files cannot be compared sample by sample; nothing where they can."""
    if a["id"] != b["id"]:
        return "their samples differ"
    for column in a.keys() & b.keys():
        if column.endswith((".true", "_true")):
            wrong = [name for name, x, y in zip(a["id"], a[column], b[column], strict=True) if x != y]
            if wrong:
                return f"they disagree on {column} of sample {wrong[0]!r}"
    return ""


def _scores(columns: Columns) -> dict[tuple[str, str], Array]:
    """Return, for each (head, metric), what each sample adds to the metric's mean; NaN without a truth."""
    scores = {}
    for column, predicted in columns.items():
        head, _, what = column.partition(".")
        if what == "label":
            pairs = zip(predicted, columns[f"{head}.true"], strict=True)
            hits = [np.nan if true is None else guess == true for guess, true in pairs]
            scores[head, "accuracy"] = np.array(hits, dtype=np.float64)
        elif f"{column}_true" in columns and not what.startswith("p_"):
            error = np.array(predicted, dtype=np.float64) - np.array(
                columns[f"{column}_true"], dtype=np.float64
            )
            scores[head, f"{what}_mse"] = error**2
    return scores


def _row(metric: str, values: Array, reference: Array) -> tuple[str, str, str, str]:
    known = ~np.isnan(values + reference)
    found = paired_difference(values[known], reference[known])
    sign = "+" if found["value"] is not None and found["value"] > 0 else ""
    return (
        f"{found['n']:,}",
        sign + number(metric, found["value"]),
        interval(metric, found["interval"]),
        verdict(metric, found["interval"]),
    )


def verdict(metric: str, ends: Sequence[float] | None) -> str:
    """Say what the interval of a difference in a metric allows to be concluded."""
    if ends is None:
        return "too few samples"
    if ends[0] <= 0 <= ends[1]:
        return "not distinguishable"
    return "better" if (ends[0] > 0) != better_low(metric) else "worse"
