"""`emozoo list`, `emozoo info` and `emozoo verify`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import typer

from emozoo.cli.output import echo_json, table

if TYPE_CHECKING:
    from emozoo.provenance import Source


def list_models(
    task: str | None = typer.Option(None, "--task", help="image or video."),
    dataset: str | None = typer.Option(None, "--dataset", help="fer2013, dfew, ..."),
    backbone: str | None = typer.Option(None, "--backbone", help="resnet18, ..."),
    head: str | None = typer.Option(None, "--head", help="classification, vad, ..."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """List the zoo's models, offline."""
    from emozoo.zoo import list_models as rows_of

    wanted = {"task": task, "dataset": dataset, "backbone": backbone, "head": head}
    rows = rows_of(**wanted)
    if as_json:
        echo_json(rows)
        return
    if not rows:
        typer.echo("no model of the zoo fits")
        for line in _known_values(wanted, rows_of()):
            typer.echo(line)
    else:
        columns = ["name", "task", "dataset", "backbone", "heads", "weights", "result"]
        if any(row["provider"] != "emozoo" for row in rows):
            columns.insert(1, "provider")
        for line in table(
            columns, [{**row, "heads": "+".join(row["heads"]), "result": _figure(row)} for row in rows]
        ):
            typer.echo(line)


def _known_values(wanted: dict[str, str | None], rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield what there is instead of a value that no model of the zoo has."""
    from emozoo.errors import suggest

    for key, value in wanted.items():
        known = sorted(
            {name for row in rows for name in (row["heads"] if key == "head" else [row[key]]) if name}
        )
        if value is not None and value not in known:
            yield f"  --{key} {value}: there is no such model.{suggest(value, known)} There are: {', '.join(known)}"


def _figure(row: dict[str, Any]) -> str:
    result = row["result"]
    if result is None:
        return "not trained yet"
    value = "undefined" if result["value"] is None else f"{result['value']:.4f}"
    return f"{result['metric']} {value} on {result['split']}"


def info(
    name: str = typer.Argument(help="A zoo name, hub:ORG/NAME[@REVISION], or dir:FOLDER."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Show what a model is: architecture, size, cost, terms, result, and where its weights are."""
    from emozoo.info import describe

    facts = describe(name)
    if as_json:
        echo_json(facts)
        return
    for key, value in facts.items():
        for shown in map(_of_others, value) if key == "literature" else [_shown(value)]:
            typer.echo(f"{key:<14} {shown}")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return "-" if value in (None, "") else f"{value:,}" if isinstance(value, int) else str(value)


def _of_others(figure: dict[str, Any]) -> str:
    """Return a figure of the literature with whose it is."""
    measured = f"{figure['metric']} {figure['value']:.2%}"
    return f"{measured} reported by {figure['source']}, not by emozoo: {figure['protocol']}"


def verify(name: str = typer.Argument(help="A zoo name, hub:ORG/NAME[@REVISION], or dir:FOLDER.")) -> None:
    """Prove that a model folder is what was saved: hashes, structure, golden outputs."""
    from emozoo.folder import verify_golden
    from emozoo.zoo import load

    model = load(name, "cpu")
    source = cast("Source", model.source)
    difference = verify_golden(model, source.folder)
    typer.echo(
        f"{source.folder}: every file is the one that was saved; golden outputs agree to {difference:.1e}"
    )
    typer.echo(source)
