"""How results look in a terminal, and whether files of them could be written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import typer

from emozoo.evaluation.tables import entry, metric_title, number


def echo_json(tree: Any) -> None:
    """Print plain values as JSON."""
    typer.echo(json.dumps(tree, indent=2, ensure_ascii=False))


def table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return rows as lines of aligned columns, under a line of the columns' names."""
    cells = [{column: " ".join(str(row[column]).split()) for column in columns} for row in rows]
    lines = [{column: column for column in columns}, *cells]
    widths = {column: max(len(line[column]) for line in lines) for column in columns}
    return ["  ".join(f"{line[column]:<{widths[column]}}" for column in columns).rstrip() for line in lines]


def check_targets(targets: dict[str, Path | None]) -> None:
    """Refuse, before any work, files that could not be written; the folders that they go into are made.

    Args:
        targets: files by the option that names them; None where it was not given.

    Raises:
        DataError: one is a folder, or lies in no folder that can be written to.
    """
    from emozoo.errors import DataError

    for option, path in targets.items():
        if path is None:
            continue
        if os.path.isdir(path):
            raise DataError(f"{option} {path} is a folder; name a file to write to")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=path.parent).close()
        except OSError as error:
            reason = error.strerror or error
            raise DataError(
                f"{option} {path}: {path.parent} is no folder that can be written to ({reason}); name another"
            ) from error


def result_lines(result: Mapping[str, Any]) -> list[str]:
    """Return a measured split in a few lines: each head's main metrics with intervals, and the baseline."""
    lines = [f"split {result['split']}, n = {result['n']:,}, test-time augmentation: {result['tta']}"]
    for name, head in result["heads"].items():
        metrics, baseline = head["metrics"], head.get("baseline", {}).get("metrics", {})
        dimensions = [
            f"{dimension}_{kind}" for dimension in head.get("dimensions", ()) for kind in ("ccc", "rmse")
        ]
        for metric in [m for m in ("accuracy", "uar", "f1", *dimensions) if m in metrics] or [
            head["primary"]
        ]:
            constant = f"   constant: {number(metric, baseline[metric])}" if metric in baseline else ""
            lines.append(
                _line(name, metric_title(metric), entry(metric, metrics[metric]), head["n"]) + constant
            )
        if head.get("majority_baseline") is not None:
            lines.append(_line("", "majority guess", number("accuracy", head["majority_baseline"])))
    if result.get("consistency"):
        lines.append(
            f"  category and VAD contradict each other: {number('rate', result['consistency']['violation_rate'])}"
        )
    if result.get("rich_clips"):
        found = result["rich_clips"]
        chance = number("accuracy", found["chance"])
        lines.append(f"  the clip of the expression is found: {entry('accuracy', found)} (chance {chance})")
    return lines


def _line(name: str, what: str, value: str, n: int | None = None) -> str:
    return f"  {name:<12} {what:<18} {value}" + ("" if n is None else f"  (n = {n:,})")
