"""`emozoo predict`."""

from __future__ import annotations

from pathlib import Path

import typer


def predict(
    model: str = typer.Argument(help="A zoo name, or dir:FOLDER."),
    paths: list[str] = typer.Argument(help="Photos, folders, glob patterns."),
    form: str | None = typer.Option(
        None, "--format", help="table, jsonl, csv or parquet; else from --output."
    ),
    output: Path | None = typer.Option(None, "--output", help="Write to a file instead of the terminal."),
    tta: str = typer.Option("none", "--tta", help="Test-time augmentation: none, flip, ten-crop."),
    batch_size: int = typer.Option(32, "--batch-size", min=1, help="Images a forward pass."),
    device: str = typer.Option("auto", "--device", help="auto, cpu, cuda, cuda:1, ..."),
) -> None:
    """Predict photos. Files that cannot be read are listed at the end; the exit status is 1 then."""
    from emozoo.data.preprocess import check_tta
    from emozoo.errors import DataError
    from emozoo.predictions import FORMATS, Failure, expand, form_of, open_writer, stream
    from emozoo.zoo import load

    if form is not None and form not in FORMATS:
        raise DataError(f"--format {form}: choose one of {', '.join(FORMATS)}")
    if form == "parquet" and output is None:
        raise DataError("--format parquet needs --output FILE")
    chosen = form or (form_of(output) if output is not None else "table")
    media = [item for path in paths for item in (expand(path) or [path])]
    views = check_tta(tta)
    loaded = load(model, device)
    failures: list[Failure] = []
    with open_writer(output, chosen) as writer:
        for item in stream(loaded, media, tta=views, batch_size=batch_size):
            if isinstance(item, Failure):
                failures.append(item)
            else:
                writer.add(item)
    if output is not None:
        typer.echo(f"{len(media) - len(failures):,} predictions written to {output}", err=True)
    if failures:
        typer.echo(f"{len(failures):,} of {len(media):,} files could not be read:", err=True)
        for failure in failures:
            typer.echo(f"  {failure.reason}", err=True)
        raise typer.Exit(1)
