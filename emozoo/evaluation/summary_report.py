"""The summary of several runs as files: a table for people, one for programs, everything as JSON, a picture."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from emozoo.evaluation.compare import verdict
from emozoo.evaluation.summary import Estimate, Row, Run, figure_title
from emozoo.evaluation.summary_plot import draw_summary
from emozoo.evaluation.tables import Table, escape_markdown, interval, number

Point = Mapping[str, Any]
"""The values of the keys in which the variants of a grid differ."""

INTERVALS = (
    "Intervals are 95 % Student's t intervals of the mean over {units}: they say how far a figure would move with "
    "other {units}, not with other test samples."
)
PAIRED = (
    "A difference is the variant minus {baseline}, run by run with the same seed{fold}; of percentages, in points. "
    "Each interval stands alone: of twenty differences that are none, one will seem to be one."
)
SEEDS_IN_FOLDS = "Runs of one fold share its samples, so the mean of their seeds counts as one value."
POOLED = (
    "Pooled: the predictions of all folds measured together{how}; std is that of a sample, with n - 1. "
    "A mean of folds and a pooled figure differ where a metric is no mean over samples, or folds differ in size."
)
BEST_ON = (
    "Figures named 'best on {split}' were measured on the split that chose the checkpoint, or that of a model "
    "which the run comes from, so they are too good."
)


def write_summary(
    folder: Path, stem: str, title: str, runs: Sequence[Run], rows: Sequence[Row], *,
    baseline: str | None = None, points: Mapping[str, Point] | None = None,
    failures: Mapping[str, str] | None = None,
) -> str:  # fmt: skip
    """Write STEM.md, STEM.csv and STEM.json into a folder, and STEM.png where there is something to compare.

    Args:
        folder: where to; it exists.
        stem: name of the files.
        title: a heading.
        runs: the finished runs.
        rows: their summary.
        baseline: the variant that differences are from.
        points: what the variants of a grid differ in, by variant.
        failures: what went wrong, by run.

    Returns:
        The text of STEM.md.
    """
    points, failures = points or {}, failures or {}
    parts = [f"# {escape_markdown(title)}"]
    if rows:
        table = summary_table(runs, rows, baseline)
        parts += [table.to_markdown(), table.note]
    several = len({row.variant for row in rows}) > 1
    if several:
        parts.append(f"![{stem}]({stem}.png)")
    if failures:
        listed = [f"- {run}: {escape_markdown(problem)}" for run, problem in failures.items()]
        parts += [f"## Runs that failed ({len(failures)}), and are not in the table", "\n".join(listed)]
    text = "\n\n".join(parts) + "\n"
    (folder / f"{stem}.md").write_text(text, encoding="utf-8")
    _write_csv(folder / f"{stem}.csv", rows)
    content = {
        "title": title,
        "baseline": baseline,
        "variants": dict(points),
        "rows": [asdict(row) for row in rows],
        "runs": [_run(run, folder) for run in runs],
        "failed": [{"run": run, "error": problem} for run, problem in failures.items()],
    }
    (folder / f"{stem}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    if several:  # last: whatever becomes of a picture, the figures are on disk
        draw_summary(folder / f"{stem}.png", runs, rows, points=points, baseline=baseline, title=title)
    return text


def summary_table(runs: Sequence[Run], rows: Sequence[Row], baseline: str | None) -> Table:
    """Return the rows as people read them, and how they are to be read as the table's note."""
    paired, pooled = any(row.difference for row in rows), any(row.pooled for row in rows)
    header = ["figure", "variant", "runs", "mean", "std", "95 % interval"]
    header += ["difference", "95 % interval", "verdict"] * paired + ["pooled"] * pooled
    cells = []
    for row in rows:
        name = row.metric.rpartition(".")[2]
        line = [figure_title(row.metric), row.variant, _count(row), *_cells(name, row.estimate)]
        if paired:
            line += _difference(row, name)
        if pooled:
            line.append(_pooled(name, row.pooled))
        cells.append(tuple(line))
    return Table("Summary", tuple(header), tuple(cells), _note(runs, rows, baseline))


def _count(row: Row) -> str:
    return f"{row.runs}" if row.runs == row.of else f"{row.runs} of {row.of}"


def _cells(name: str, found: Estimate) -> list[str]:
    """Return mean, standard deviation and interval as text; of large counts whole numbers."""
    if abs(found.mean) >= 10_000:
        return [f"{found.mean:,.0f}", "" if found.std is None else f"{found.std:,.0f}", ""]
    std = "" if found.std is None else number(name, found.std)
    return [number(name, found.mean), std, interval(name, found.interval)]


def _difference(row: Row, name: str) -> list[str]:
    if row.difference is None:
        return ["", "", ""]
    sign = "+" if row.difference.mean > 0 else ""
    mean, _, ends = _cells(name, row.difference)
    of_cost = row.metric.startswith(("model.", "training."))  # more of it is neither better nor worse
    judged = "" if of_cost or row.difference.interval is None else verdict(name, row.difference.interval)
    return [sign + mean, ends, judged]


def _pooled(name: str, found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    return f"{number(name, found['value'])} {interval(name, found['interval'])}".strip()


def _note(runs: Sequence[Run], rows: Sequence[Row], baseline: str | None) -> str:
    by_fold = len({run.fold for run in runs}) > 1
    several_seeds = len({run.seed for run in runs}) > 1
    sentences = [INTERVALS.format(units="folds" if by_fold else "seeds")]
    if by_fold and several_seeds:
        sentences.append(SEEDS_IN_FOLDS)
    if any(row.difference for row in rows):
        sentences.append(PAIRED.format(baseline=baseline, fold=" and fold" if by_fold else ""))
    if any(row.pooled for row in rows):
        how = ", then averaged over seeds" if several_seeds else ", with a bootstrap interval over samples"
        sentences.append(POOLED.format(how=how))
    splits = {run.reported_on for run in runs if run.prefix}
    sentences += [BEST_ON.format(split=split) for split in sorted(splits)]
    return " ".join(sentences)


def _write_csv(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["metric", "variant", "runs", "of", "mean", "std", "low", "high", "difference", "difference_std",
             "difference_low", "difference_high", "pooled", "pooled_low", "pooled_high"]
        )  # fmt: skip
        for row in rows:
            pooled = row.pooled or {"value": None, "interval": None}
            writer.writerow(
                [row.metric, row.variant, row.runs, row.of, *_values(row.estimate), *_values(row.difference),
                 pooled["value"], *(pooled["interval"] or (None, None))]
            )  # fmt: skip


def _values(found: Estimate | None) -> tuple[float | None, ...]:
    if found is None:
        return (None,) * 4
    return (found.mean, found.std, *(found.interval or (None, None)))


def _run(run: Run, folder: Path) -> dict[str, Any]:
    return {
        "variant": run.variant,
        "seed": run.seed,
        "fold": run.fold,
        "folder": run.folder.relative_to(folder).as_posix(),
        "selected_on": run.record["selected_on"],
        "reported_on": run.record["reported_on"],
        "figures": run.figures,
    }
