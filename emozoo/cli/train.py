"""`emozoo train`."""

from __future__ import annotations

from pathlib import Path

import typer

from emozoo.cli.options import ASSIGNMENTS, data_root
from emozoo.layout import MODEL


def train(
    recipe: str = typer.Argument(help="A recipe file, or a zoo name."),
    data: Path | None = typer.Option(None, "--data", help="Where the dataset lies (data.root)."),
    out: Path | None = typer.Option(None, "--out", help="The run's folder; runs/NAME if not given."),
    assignments: list[str] | None = ASSIGNMENTS,
    resume: bool = typer.Option(False, "--resume", help="Go on from the newest checkpoint, if there is one."),
    track: list[str] | None = typer.Option(
        None, "--track", help="Also log to: tensorboard, trackio, wandb, ..."
    ),
    cpu: bool = typer.Option(False, "--cpu", help="Do not use a GPU."),
    fold: int | None = typer.Option(
        None, "--fold", min=1, help="Test on this fold of the dataset, train on the others (data.fold)."
    ),
    folds: str | None = typer.Option(
        None,
        "--folds",
        help="all, or 1,2,5: train each into runs/NAME/fold-K and summarise; goes on by itself if stopped.",
    ),
) -> None:
    """Train a recipe: one process, or many under `accelerate launch -m emozoo train ...` or torchrun."""
    from emozoo.errors import RecipeError
    from emozoo.recipe import load_recipe

    overrides = [*(assignments or []), *data_root(data)]
    if folds is not None:
        if fold is not None:
            raise RecipeError("--fold trains one fold, --folds several: give one of them")
        return _train_folds(recipe, overrides, folds, out, tuple(track or ()), cpu)
    if fold is not None:
        overrides.append(f"data.fold={fold}")
    loaded = load_recipe(recipe, overrides)
    folder = out or Path("runs") / loaded.name / ("" if fold is None else f"fold-{fold}")
    from emozoo.training.run import finished
    from emozoo.training.run import train as run

    already = resume and finished(folder)
    run(loaded, folder, resume=resume, trackers=track or (), cpu=cpu)
    from accelerate import PartialState

    if PartialState().is_main_process:
        if already:
            typer.echo(f"{folder} is finished already; nothing was trained")
        _say(folder)


def _train_folds(
    recipe: str, overrides: list[str], folds: str, out: Path | None, track: tuple[str, ...], cpu: bool
) -> None:
    from emozoo.training.folds import parse_folds, train_folds
    from emozoo.training.runs import How

    how = How(cpu=cpu, trackers=track, say=typer.echo)
    if train_folds(recipe, overrides, parse_folds(folds), out, how):
        raise typer.Exit(1)


def _say(folder: Path) -> None:
    from emozoo.cli.output import result_lines
    from emozoo.records import read_record
    from emozoo.selection import validation_note

    record = read_record(folder)
    for line in result_lines(record["result"]):
        typer.echo(line)
    if note := validation_note(record):
        typer.echo(note)
    typer.echo(f"\nrun:    {folder}\nmodel:  {folder / MODEL}\nreport: {folder / 'report.html'}")
    typer.echo(f"next:   emozoo predict dir:{folder / MODEL} PHOTO...")
