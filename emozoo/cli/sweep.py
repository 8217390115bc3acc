"""`emozoo sweep`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import typer

from emozoo.cli.options import data_root


def sweep(
    file: Path = typer.Argument(
        help="A TOML file: recipe, variants or grid, seeds, folds, metrics (docs/recipe.md)."
    ),
    data: Path | None = typer.Option(None, "--data", help="Where the dataset lies (data.root)."),
    out: Path | None = typer.Option(None, "--out", help="The sweep's folder; sweeps/NAME if not given."),
    jobs: int = typer.Option(1, "--jobs", min=1, help="Runs at a time, each in a process of its own."),
    cpu: bool = typer.Option(False, "--cpu", help="Do not use a GPU."),
) -> None:
    """Train variants of a recipe over seeds and folds, and write one table and one picture.

    Called again, it goes on where it was stopped: finished runs stay, others are resumed.
    """
    from emozoo.training.runs import How
    from emozoo.training.sweep import run_sweep

    if jobs > 1:  # so that the processes are ended too, each with a checkpoint
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    failures = run_sweep(file, data_root(data), out, How(jobs=jobs, cpu=cpu, say=typer.echo))
    if failures:
        raise typer.Exit(1)
