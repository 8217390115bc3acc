"""The commands and their order in --help."""

from __future__ import annotations

import typer

from emozoo.cli import (
    bench,
    card,
    compare,
    convert,
    data,
    evaluate,
    export,
    extract,
    hub,
    models,
    plugins,
    predict,
    quickstart,
    recipe,
    sweep,
    train,
)

app = typer.Typer(
    name="emozoo",
    help="A zoo of facial-emotion models: compose, train, evaluate, save, load, predict.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("quickstart")(quickstart.quickstart)
app.command("train")(train.train)
app.command("extract")(extract.extract)
app.command("sweep")(sweep.sweep)
app.command("eval")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("compare")(compare.compare)
app.command("list")(models.list_models)
app.command("info")(models.info)
app.command("verify")(models.verify)
app.command("bench")(bench.bench)
app.command("export")(export.export)
app.command("convert")(convert.convert)
app.command("push")(hub.push)
app.command("download")(hub.download)
app.command("cache")(hub.cache)
app.add_typer(recipe.app, name="recipe")
app.add_typer(data.app, name="data")
app.add_typer(card.app, name="card")
app.add_typer(plugins.app, name="plugins")


@app.callback(invoke_without_command=True)
def version(
    show: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
) -> None:
    """A zoo of facial-emotion models: compose, train, evaluate, save, load, predict."""
    if show:
        from emozoo import __version__

        typer.echo(f"emozoo {__version__}")
        raise typer.Exit
