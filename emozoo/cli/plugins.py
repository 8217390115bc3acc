"""`emozoo plugins`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import typer

from emozoo.cli.output import echo_json, table

app = typer.Typer(
    help="Installed components and where they come from.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("list")
def list_plugins(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """List every component from metadata alone; nothing is imported."""
    from emozoo.registry import discover

    fields = ("kind", "name", "distribution", "version", "target", "status")
    rows = [{field: getattr(component, field) for field in fields} for component in discover()]
    if as_json:
        echo_json(rows)
        return
    for line in table(fields, rows):
        typer.echo(line)


@app.command("new")
def new(
    name: str = typer.Argument(help="The package's name, such as emozoo-mypaper."),
    kind: str = typer.Option(help="backbone, aggregator, head, consistency, dataset or detector."),
    out: Path = typer.Option(Path("."), "--out", help="The folder that the package's folder is made in."),
) -> None:
    """Write a complete package with one working component, its tests and its README."""
    from emozoo.scaffold import new_plugin

    folder = new_plugin(name, kind, out)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            typer.echo(path)
    if not folder.name.startswith("emozoo-"):
        typer.echo(f"note: people look for plugins by their prefix; emozoo-{folder.name} would be found")
    typer.echo(f'next: pip install -e "{folder}[test]" && pytest {folder}')


@app.command("doctor")
def doctor(
    names: list[str] | None = typer.Argument(
        None, metavar="[NAME]...", help="Components, models or distributions; everything if left out."
    ),
    limit: float = typer.Option(30.0, "--limit", min=0.1, help="Seconds an import may take."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Import each component in a process of its own and say what is wrong; the exit status is 1 then."""
    from emozoo.doctor import examine

    found = examine(names or (), limit)
    failed = [item for item in found if item.problems]
    if as_json:
        echo_json([asdict(item) for item in found])
    else:
        for item in found:
            mark = "FAILED" if item.problems else "ok"
            heavy = "".join(f", {package} {ms} ms" for package, ms in item.heavy.items())
            took = (
                ""
                if item.milliseconds is None
                else f"  ({item.milliseconds} ms beside torch and numpy{heavy})"
            )
            typer.echo(f"{mark:<7} {item.kind:<12} {item.distribution}:{item.name}{took}")
            for text in (*item.problems, *item.notes):
                typer.echo("          " + text.replace("\n", "\n            "))
        typer.echo(f"{len(found)} examined, {len(failed)} failed")
    if failed:
        raise typer.Exit(1)
