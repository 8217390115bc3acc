"""`emozoo data`."""

from __future__ import annotations

from pathlib import Path

import typer

from emozoo.cli.options import READER_OPTIONS

app = typer.Typer(help="Datasets on disk.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def data() -> None:
    """Datasets on disk."""


@app.command("check")
def check(
    path: Path = typer.Argument(help="A dataset's folder or file."),
    reader: str | None = typer.Option(None, "--reader", help="Dataset reader, where it is not recognised."),
    options: list[str] | None = READER_OPTIONS,
) -> None:
    """Look through a dataset and report everything that is wrong with it; the exit status is 1 on errors."""
    from emozoo.data.checks import check as checked
    from emozoo.data.reading import reader_for

    name, opened = reader_for(path, reader, options or [])
    typer.echo(f"{path}: {opened.title} (reader {name})\nterms: {opened.licence}")
    findings = checked(opened, name)
    for severity in ("error", "warning", "info"):
        for finding in (item for item in findings if item.severity == severity):
            typer.echo(f"{severity:<8} {finding.subject}: {finding.message}")
    errors = sum(item.severity == "error" for item in findings)
    typer.echo(f"{errors} errors, {sum(item.severity == 'warning' for item in findings)} warnings")
    if errors:
        raise typer.Exit(1)
