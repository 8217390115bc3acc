"""`emozoo convert`."""

from __future__ import annotations

from pathlib import Path

import typer

from emozoo.cli.options import ASSIGNMENTS


def convert(
    file: Path = typer.Argument(metavar="FILE.pth.tar", help="A checkpoint of the authors' code."),
    to: str = typer.Option(help="ceflnet, fan, a zoo entry of that architecture, or a recipe file."),
    labels: str | None = typer.Option(
        None,
        "--labels",
        help="Categories in the order of the outputs: angry,disgust,... The recipe's if not given.",
    ),
    name: str | None = typer.Option(None, "--name", help="What to call it; the recipe's name if not given."),
    out: Path | None = typer.Option(None, "--out", help="The model folder; models/NAME if not given."),
    assignments: list[str] | None = ASSIGNMENTS,
) -> None:
    """Make a model folder of a checkpoint that the CEFLNet or FAN authors' code wrote. Nothing in it is run."""
    from emozoo.convert import convert as run

    names = None if labels is None else [label.strip() for label in labels.split(",")]
    done = run(file, to, labels=names, name=name, out=out, overrides=assignments or ())
    if done.dropped:
        typer.echo(f"left out, no output depends on it: {', '.join(done.dropped)}")
    origin = (
        "as given" if names else f"as in the recipe {done.recipe.name}; --labels if the file's are others"
    )
    typer.echo(f"labels: {', '.join(done.recipe.model.labels)} ({origin})")
    typer.echo(f"model:  {done.folder}")
    typer.echo(f"next:   emozoo eval dir:{done.folder} --data FOLDER")
