"""`emozoo compare`."""

from __future__ import annotations

from pathlib import Path

import typer


def compare(
    runs: list[Path] = typer.Argument(help="Run folders, evaluation folders, or their JSON files."),
) -> None:
    """Print runs side by side, with intervals, and say where they cannot be compared."""
    from emozoo.evaluation.compare import compare_folders

    typer.echo(compare_folders(runs))
