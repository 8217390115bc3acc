"""Reports of one result, for people: Markdown, and one HTML file that needs no other.

A result is what evaluation gives: {"name", "dataset", "split", "n", "tta", "heads": {head: its
measure and task}, "consistency", "notes": [sentences], ...}. Whatever else it holds is shown as a fact, so
versions, hardware or seeds need no code here.
"""

from __future__ import annotations

import base64
import mimetypes
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from emozoo.evaluation.tables import Table, entry, escape_markdown, interval, kind, metric_title, number

_SHOWN_ELSEWHERE = frozenset({"heads", "consistency", "quality", "rich_clips", "notes"})
_LARGEST_CONFUSION = 12


def write_report(result: Mapping[str, Any], folder: Path, pictures: Sequence[Path] = ()) -> None:
    """Write `report.md`, which links the pictures, and `report.html`, which contains them, into a folder.

    Args:
        result: an evaluation result, as the module describes it.
        folder: where to; it exists.
        pictures: image files, named for what they show.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("emozoo.evaluation", "."),
        autoescape=lambda name: bool(name) and name.endswith(".html.jinja"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["md"] = escape_markdown
    content = {
        "title": _title(result),
        "notes": list(result.get("notes") or ()),
        "facts": list(_facts(result)),
        "tables": list(result_tables(result)),
    }
    for name, address in (("report.md", _relative), ("report.html", _embedded)):
        shown = [
            {"caption": path.stem.replace("_", " "), "address": address(path, folder)} for path in pictures
        ]
        text = environment.get_template(f"{name}.jinja").render(content, pictures=shown)
        (folder / name).write_text(text, encoding="utf-8")


def result_tables(result: Mapping[str, Any]) -> Iterator[Table]:
    """Yield the tables of a result: each head's metrics and what belongs to its task, then consistency."""
    for name, measured in result["heads"].items():
        if "dimensions" in measured:
            yield from _dimension_tables(name, measured)
        else:
            yield _metrics_table(name, measured)
        if "per_class" in measured:
            yield _class_table(name, measured)
            if len(measured["confusion"]) <= _LARGEST_CONFUSION:
                yield _confusion_table(name, measured)
    if result.get("consistency"):
        yield _consistency_table(result["consistency"])
    if result.get("quality"):
        yield _quality_table(result["quality"])
    if result.get("rich_clips"):
        yield _rich_clips_table(result["rich_clips"])


def _metrics_table(name: str, measured: Mapping[str, Any]) -> Table:
    rows = [
        (metric_title(metric), number(metric, found["value"]), interval(metric, found["interval"]))
        for metric, found in measured["metrics"].items()
    ]
    if measured.get("majority_baseline") is not None:
        rows.append(
            (
                "accuracy of always guessing the most frequent class",
                number("accuracy", measured["majority_baseline"]),
                "",
            )
        )
    return Table(
        f"{name}: metrics (n = {measured['n']:,})", ("metric", "value", "95 % interval"), tuple(rows)
    )


def _class_table(name: str, measured: Mapping[str, Any]) -> Table:
    rows = [
        (
            row["label"],
            f"{row['n']:,}",
            entry("uar", {"value": row["recall"], "interval": row["recall_interval"]}),
            number("uar", row["precision"]),
            number("f1", row["f1"]),
        )
        for row in measured["per_class"]
    ]
    header = ("class", "n", "recall [95 % interval]", "precision", "F1")
    return Table(f"{name}: by class (n = {measured['n']:,})", header, tuple(rows))


def _confusion_table(name: str, measured: Mapping[str, Any]) -> Table:
    labels = [row["label"] for row in measured["per_class"]]
    rows = tuple(
        (label, *(f"{count:,}" for count in counts))
        for label, counts in zip(labels, measured["confusion"], strict=True)
    )
    return Table(f"{name}: counts, true by predicted (n = {measured['n']:,})", ("true class", *labels), rows)


def _dimension_tables(name: str, measured: Mapping[str, Any]) -> Iterator[Table]:
    """Metrics of each dimension above those of the constant predictor; then errors on the source's scale."""
    kinds = [metric for metric in measured["metrics"] if kind(metric) == metric]
    constant = measured["baseline"]
    values = ", ".join(f"{d} {number('ccc', value)}" for d, value in constant["values"].items())
    note = (
        f"The constant predictor always says the {constant['source']}: {values}. "
        "A model whose errors are no smaller has learnt nothing of that dimension."
    )
    dimensions = measured["dimensions"]
    yield _beside_constant(
        f"{name}: metrics on the scale [-1, 1] (n = {measured['n']:,})",
        kinds,
        dimensions,
        measured["metrics"],
        constant["metrics"],
        note,
    )
    if source := measured.get("source_scale"):
        low, high = source["scale"]
        kinds = [metric for metric in source["metrics"] if kind(metric) == metric]
        title = f"{name}: errors on the source's scale [{low:g}, {high:g}]"
        yield _beside_constant(title, kinds, dimensions, source["metrics"], source["baseline"], "")


def _beside_constant(
    title: str,
    kinds: Sequence[str],
    dimensions: Mapping[str, int],
    metrics: Mapping[str, Any],
    constant: Mapping[str, float | None],
    note: str,
) -> Table:
    rows: list[tuple[str, ...]] = []
    for dimension, n in (*dimensions.items(), ("", None)):
        names = [f"{dimension}_{metric}" if dimension else metric for metric in kinds]
        count = "" if n is None else f"{n:,}"
        rows.append((dimension or "mean", count, *(entry(key, metrics[key]) for key in names)))
        rows.append(("constant predictor", count, *(number(key, constant[key]) for key in names)))
    return Table(title, ("dimension", "n", *map(metric_title, kinds)), tuple(rows), note)


def _quality_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Accuracy by brightness, contrast and sharpness of the picture."""
    cells = [
        (
            row["by"],
            f"{row['low']:.0f} to {row['high']:.0f}",
            f"{row['n']:,}",
            entry("accuracy", row["accuracy"]),
        )
        for row in rows
    ]
    return Table(
        "Accuracy by the quality of the picture", ("by", "quarter", "n", "accuracy"), tuple(cells),
        "Brightness: mean of the pixels, 0 to 255; contrast: their standard deviation; sharpness: variance of the "
        "Laplacian.",
    )  # fmt: skip


def _rich_clips_table(found: Mapping[str, Any]) -> Table:
    """How often the clip of the greatest weight is the one that shows most of the expression."""
    row = ("greatest weight", f"{found['n']:,}", entry("accuracy", found))
    chances = (number("accuracy", found["chance"]), number("accuracy", found["majority"]))
    header = ("clip of the", "n", "found", "by chance", "by always naming the most frequent")
    unseen = found.get("unseen", 0)
    note = f"Of {unseen:,} more videos no clip shows the expression: they are not counted." if unseen else ""
    return Table("Emotion-rich clip", header, ((*row, *chances),), note)


def _consistency_table(found: Mapping[str, Any]) -> Table:
    """How often category and VAD contradict each other, in the predictions and in the annotation."""
    n, annotated = found["n"], found.get("annotation_n", 0)
    rows = [("predictions, any dimension", f"{n:,}", number("rate", found["violation_rate"]))]
    rows += [
        (f"predictions, {dimension}", f"{n:,}", number("rate", rate))
        for dimension, rate in found.get("per_dimension", {}).items()
    ]
    if annotated:
        rows.append(
            (
                "annotation, any dimension",
                f"{annotated:,}",
                number("rate", found["annotation_violation_rate"]),
            )
        )
    known = {"n", "violation_rate", "per_dimension", "annotation_n", "annotation_violation_rate"}
    rules = ", ".join(f"{key} {_text(value)}" for key, value in found.items() if key not in known)
    return Table(
        "Consistency: samples whose category and values contradict each other",
        ("of", "n", "violation rate"),
        tuple(rows),
        f"Rules: {rules}." if rules else "",
    )


def _title(result: Mapping[str, Any]) -> str:
    name = result.get("name") or "evaluation"
    where = [str(result[key]) for key in ("dataset", "split") if isinstance(result.get(key), str)]
    return f"{_text(name)} on {', '.join(where)}" if where else _text(name)


def _facts(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in result.items():
        if key not in _SHOWN_ELSEWHERE and value is not None and (text := _text(value)):
            yield key.replace("_", " "), text


def _text(value: Any) -> str:
    """Return any JSON value in a line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _relative(picture: Path, folder: Path) -> str:
    return quote(Path(os.path.relpath(picture, folder)).as_posix())


def _embedded(picture: Path, folder: Path) -> str:  # noqa: ARG001
    media = mimetypes.guess_type(picture.name)[0] or "image/png"
    return f"data:{media};base64,{base64.b64encode(picture.read_bytes()).decode('ascii')}"
