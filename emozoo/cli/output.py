"""How results look in a terminal, and whether files of them could be written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import typer


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
        if head["task"] == "classification":
            lines += [_line(name, metric, head) for metric in ("accuracy", "uar", "f1")]
            lines.append(f"  {'':<12} {'majority guess':<18} {head['majority_baseline']:.4f}")
        elif head["task"] == "vad":
            baseline = head["baseline"]["metrics"]
            for dimension in head["dimensions"]:
                lines.append(_line(name, f"{dimension}_ccc", head))
                constant = baseline[f"{dimension}_rmse"]
                beside = "" if constant is None else f"   constant: {constant:.4f}"
                lines.append(_line(name, f"{dimension}_rmse", head) + beside)
        else:
            lines.append(_line(name, head["primary"], head))
    if result.get("consistency"):
        lines.append(
            f"  category and VAD contradict each other: {result['consistency']['violation_rate']:.1%}"
        )
    if result.get("rich_clips"):
        found = result["rich_clips"]
        lines.append(
            f"  the clip of the expression is found: {found['value']:.1%} (chance {found['chance']:.1%})"
        )
    return lines


def _line(name: str, metric: str, head: Mapping[str, Any]) -> str:
    entry = head["metrics"][metric]
    value = "undefined" if entry["value"] is None else f"{entry['value']:.4f}"
    interval = f"  [{entry['interval'][0]:.4f}, {entry['interval'][1]:.4f}]" if entry["interval"] else ""
    return f"  {name:<12} {metric:<18} {value}{interval}  (n = {head['n']:,})"
