"""`emozoo plugins`."""

from __future__ import annotations

import json

import typer

from emozoo.cli.output import table

app = typer.Typer(
    help="Installed components and where they come from.", no_args_is_help=True, rich_markup_mode=None
)


@app.callback()
def plugins() -> None:
    """Installed components and where they come from."""


@app.command("list")
def list_plugins(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """List every component from metadata alone; nothing is imported."""
    from emozoo.registry import discover

    fields = ("kind", "name", "distribution", "version", "target", "status")
    rows = [{field: getattr(component, field) for field in fields} for component in discover()]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for line in table(fields, rows):
        typer.echo(line)
