"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path

import typer

ASSIGNMENTS = typer.Option(
    None, "--set", help="Override a key: train.epochs=3. May be repeated.", metavar="KEY=VALUE"
)

READER_OPTIONS = typer.Option(
    None,
    "--set",
    help="An option of the reader: vad=annotations.csv. May be repeated.",
    metavar="KEY=VALUE",
)


def data_root(data: Path | None) -> list[str]:
    """Return the assignment that says where the dataset lies, if that was given."""
    return [] if data is None else [f"data.root='''{data.expanduser().resolve()}'''"]
