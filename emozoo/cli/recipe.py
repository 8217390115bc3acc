"""`emozoo recipe`."""

from __future__ import annotations

import typer

from emozoo.cli.options import ASSIGNMENTS
from emozoo.cli.output import echo_json

app = typer.Typer(
    help="Recipes: what a model is made of and how it is trained.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def recipe() -> None:
    """Recipes: what a model is made of and how it is trained."""


@app.command("show")
def show(
    source: str = typer.Argument(help="A recipe file, or a zoo name."),
    assignments: list[str] | None = ASSIGNMENTS,
) -> None:
    """Print a recipe as JSON, with every default filled in and every component's options checked."""
    from emozoo.recipe import load_recipe
    from emozoo.resolve import resolve_recipe

    echo_json(resolve_recipe(load_recipe(source, assignments or ())))
