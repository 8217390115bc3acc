"""`emozoo export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from emozoo.export.int8 import Change


def export(
    name: str = typer.Argument(help="A zoo name, hub:ORG/NAME[@REVISION], or dir:FOLDER."),
    form: str = typer.Option("onnx", "--format", help="onnx, torch-export or openvino."),
    out: Path | None = typer.Option(None, "--out", help="The file; NAME.onnx and the like if not given."),
    int8: Path | None = typer.Option(
        None,
        "--int8",
        metavar="IMAGES",
        help="Quantise to 8 bits, calibrated on a dataset or a folder of photos of faces.",
    ),
) -> None:
    """Write a model as one file that runs without emozoo; it is checked against the golden outputs first."""
    from emozoo.export import export_model

    done = export_model(name, form, out, int8)
    typer.echo(f"{done.path}: {done.size / 1e6:.1f} MB, {done.description['precision']}")
    for key, shape in done.description["inputs"].items():
        kind = "bool" if key == "mask" else "uint8"
        typer.echo(f"  input {key}: {kind} ({', '.join(map(str, shape))})")
    for key, head in done.description["heads"].items():
        typer.echo(f"  output {key}: {head.get('output', head['task'])}")
    typer.echo(
        f"  {'before quantising, the' if done.change else 'the'} golden outputs agree to {done.difference:.1e}"
    )
    if done.change is not None:
        for line in changes(done.change):
            typer.echo(f"  {line}")


def changes(change: Change) -> list[str]:
    """Return in a few lines what int8 changed."""
    old, new = change.milliseconds
    lines = [f"int8 against fp32, on {change.n:,} images that it was not calibrated on:"]
    for head, deviation in change.deviation.items():
        said = [f"  {head}: outputs deviate by {deviation:.1%} (root mean square)"]
        if head in change.agreement:
            said.append(f"{change.agreement[head]:.1%} get the same label")
        if head in change.accuracy:
            before, after = change.accuracy[head]
            said.append(f"accuracy {after:.2%}, was {before:.2%}")
        lines.append("; ".join(said))
    return [*lines, f"  one image on one thread: {new:.2f} ms, was {old:.2f} ms"]
