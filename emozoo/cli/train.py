"""`emozoo train`."""

from __future__ import annotations

from pathlib import Path

import typer

ASSIGNMENTS = typer.Option(
    None, "--set", help="Override a key: train.epochs=3. May be repeated.", metavar="KEY=VALUE"
)


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
) -> None:
    """Train a recipe: one process, or many under `accelerate launch -m emozoo train ...` or torchrun."""
    from emozoo.recipe import load_recipe

    overrides = list(assignments or [])
    if data is not None:
        overrides.append(f"data.root='''{data.expanduser().resolve()}'''")
    loaded = load_recipe(recipe, overrides)
    folder = out or Path("runs") / loaded.name
    from emozoo.training.run import train as run

    run(loaded, folder, resume=resume, trackers=track or (), cpu=cpu)
    from accelerate import PartialState

    if PartialState().is_main_process:
        _say(folder)


def _say(folder: Path) -> None:
    from emozoo.cli.output import result_lines
    from emozoo.training.run import MODEL, VALIDATION, read_record

    record = read_record(folder)
    for line in result_lines(record["result"]):
        typer.echo(line)
    if record["selected_on"] == record["reported_on"]:
        typer.echo(VALIDATION)
    typer.echo(f"\nrun:    {folder}\nmodel:  {folder / MODEL}\nreport: {folder / 'report.html'}")
    typer.echo(f"next:   emozoo predict dir:{folder / MODEL} PHOTO...")
