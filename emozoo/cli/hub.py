"""`emozoo push`, `emozoo download` and `emozoo cache`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from emozoo.publish import Plan, Published


def push(
    folder: str = typer.Argument(help="A model folder, such as runs/NAME/model."),
    repo: str = typer.Argument(metavar="ORG/NAME", help="Where on the Hub to."),
    private: bool = typer.Option(True, "--private/--public", help="What a repository that is made will be."),
    pr: bool = typer.Option(False, "--pr", help="Open a pull request."),
    tag: str | None = typer.Option(None, "--tag", help="A name for the commit: v1."),
    collection: str | None = typer.Option(
        None, "--collection", metavar="SLUG", help="Add it to a collection."
    ),
    gated: str | None = typer.Option(None, "--gated", help="auto or manual: only to those who ask."),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Check everything, change nothing, say what would be."
    ),
) -> None:
    """Publish a model folder on the Hugging Face Hub in one commit, once it has been proved that it loads.

    The token is that of `hf auth login`, or HF_TOKEN.
    """
    from emozoo import publish

    model, repo = Path(folder.removeprefix("dir:")).expanduser(), repo.removeprefix("hub:")
    step = publish.plan_push if dry_run else publish.push
    done = step(model, repo, private=private, pr=pr, tag=tag, collection=collection, gated=gated)
    if isinstance(done, publish.Plan):
        _show_plan(done)
    else:
        _show(done)


def _show_plan(plan: Plan) -> None:
    where = "a repository that would be made" if plan.head is None else f"on top of commit {plan.head}"
    typer.echo(f"{plan.repo}: {where}")
    for name, data in plan.files.items():
        size = len(data) if isinstance(data, bytes) else data.stat().st_size
        typer.echo(f"  {'write' if name in plan.changed else 'keep':<7} {name:<20} {size:>12,} bytes")
    for name in plan.removed:
        typer.echo(f"  remove  {name}")
    for note in plan.notes:
        typer.echo(f"note: {note}")
    typer.echo("nothing was changed (--dry-run)")


def _show(published: Published) -> None:
    for name, sha256 in published.sha256.items():
        typer.echo(f"{sha256}  {name}")
    for note in published.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"{'published' if published.new else 'nothing to publish, the Hub has it'}: {published.url}")
    if published.pull_request:
        state = "opened" if published.new else "open already, with the same files"
        typer.echo(f"pull request, {state}: {published.pull_request}")
    typer.echo(published.line)


def download(name: str = typer.Argument(help="A zoo name, or hub:ORG/NAME[@REVISION].")) -> None:
    """Bring a model into the cache, verified, so that it loads without a network."""
    from emozoo.folder import check_manifest
    from emozoo.zoo import model_folder

    folder = model_folder(name)
    check_manifest(folder)
    typer.echo(str(folder))


def cache(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """List the emozoo models in the Hub's cache; `hf cache rm` removes them."""
    from emozoo.cli.output import echo_json, table
    from emozoo.hub import cached_models

    rows = cached_models()
    if as_json:
        echo_json(rows)
        return
    shown = [{**r, "known_as": ", ".join(r["known_as"]) or "-", "bytes": f"{r['bytes']:,}"} for r in rows]
    for line in table(("name", "commit", "known_as", "bytes", "folder"), shown) if rows else []:
        typer.echo(line)
    typer.echo(f"{len(rows)} models, {sum(row['bytes'] for row in rows):,} bytes")
