"""`emozoo eval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from emozoo.cli.options import READER_OPTIONS

if TYPE_CHECKING:
    from emozoo.provenance import Source


def evaluate(
    model: str = typer.Argument(help="A zoo name, dir:FOLDER, or hub:ORG/NAME."),
    data: Path | None = typer.Option(None, "--data", help="Where the dataset lies."),
    split: str | None = typer.Option(
        None, "--split", help="Which split; may be left out where there is one, or with --fold."
    ),
    reader: str | None = typer.Option(None, "--reader", help="Dataset reader, where it is not recognised."),
    options: list[str] | None = READER_OPTIONS,
    tta: str = typer.Option("none", "--tta", help="Test-time augmentation: none, flip, ten-crop."),
    out: Path | None = typer.Option(
        None, "--out", help="Where the reports go; eval/MODEL-SPLIT[-fold-K][-Npx][-TTA] if not given."
    ),
    device: str = typer.Option("auto", "--device", help="auto, cpu, cuda, cuda:1, ..."),
    fold: int | None = typer.Option(None, "--fold", min=1, help="The fold that is the split test."),
    tsne: bool = typer.Option(
        False, "--tsne", help="Also draw the samples by their features (t-SNE; needs emozoo[tsne])."
    ),
    face_size: int | None = typer.Option(
        None, "--face-size", min=1, help="Measure as if each face had been so many pixels wide."
    ),
) -> None:
    """Measure a model on a split: metrics.json, predictions.parquet, report.md, report.html and pictures."""
    from emozoo.cli.output import result_lines
    from emozoo.data.preprocess import check_tta
    from emozoo.evaluation.evaluate import evaluate_on_disk
    from emozoo.zoo import called, load

    views, loaded = check_tta(tta), load(model, device)
    name = called(model, cast("Source", loaded.source).folder)
    part = split or "all" if fold is None else f"{split or 'test'}-fold-{fold}"
    part += (f"-{face_size}px" if face_size else "") + (f"-{views}" if views != "none" else "")
    folder = out or Path("eval") / f"{name}-{part}"
    result = evaluate_on_disk(
        loaded, data, folder,
        name=name, split=split, reader=reader, options=options or (), tta=views, fold=fold, tsne=tsne,
        face_size=face_size,
    )  # fmt: skip
    for line in result_lines(result):
        typer.echo(line)
    typer.echo(f"\nreport: {folder / 'report.html'}")
