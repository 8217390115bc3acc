"""`emozoo card`."""

from __future__ import annotations

from pathlib import Path

import typer

app = typer.Typer(help="Model cards.", no_args_is_help=True, rich_markup_mode=None)


@app.command("write")
def write(
    folder: Path = typer.Argument(help="A zoo entry's folder: recipe.toml and, if there is one, card.md."),
    run: Path | None = typer.Option(
        None,
        help="The finished run that the figures come from; if left out, what the entry holds is rendered anew.",
    ),
    weights: bool = typer.Option(
        False, "--weights", help="Bundle the run's model too, its weights in half precision."
    ),
) -> None:
    """Take a run's record and pictures into a zoo entry, and render its card from them."""
    from emozoo.card import write_card
    from emozoo.errors import DataError

    if weights and run is None:
        raise DataError("--weights bundles the model of a run: name it with --run")
    typer.echo(f"written: {write_card(folder, run, weights=weights)}")


@app.command("check")
def check(
    name: str | None = typer.Argument(
        None, metavar="[PATH|NAME]", help="A zoo name or dir:FOLDER; every entry of the zoo if left out."
    ),
) -> None:
    """Find what a card lacks (licences, split, n, seed, versions) and every figure in it that no record backs."""
    from emozoo.card_check import entry_problems, folder_problems
    from emozoo.zoo import Entry, entries, locate, model_folder

    found = list(entries()) if name is None else [locate(name)]
    problems = [
        problem
        for item in found
        for problem in (
            entry_problems(item) if isinstance(item, Entry) else folder_problems(model_folder(str(name)))
        )
    ]
    for problem in problems:
        typer.echo(problem)
    typer.echo(f"{len(found)} checked, {len(problems)} problems")
    if problems:
        raise typer.Exit(1)
