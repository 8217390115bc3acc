"""`emozoo card`."""

from __future__ import annotations

from pathlib import Path

import typer

app = typer.Typer(help="Model cards.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def card() -> None:
    """Model cards."""


@app.command("write")
def write(
    folder: Path = typer.Argument(help="A zoo entry's folder: recipe.toml and, if there is one, card.md."),
    run: Path = typer.Option(help="The finished run that the figures come from."),
) -> None:
    """Take a run's record and pictures into a zoo entry, and render its card from them."""
    from emozoo.card import write_card

    typer.echo(f"written: {write_card(folder, run)}")
