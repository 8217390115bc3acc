"""`emozoo bench`."""

from __future__ import annotations

from pathlib import Path

import typer


def bench(
    names: list[str] = typer.Argument(
        metavar="NAME...", help="Zoo names, hub:ORG/NAME[@REVISION], dir:FOLDER."
    ),
    batch: list[int] = typer.Option(
        [1, 32], "--batch", min=1, help="Batch size; may be given several times."
    ),
    threads: int | None = typer.Option(None, "--threads", min=1, help="All cores if not given."),
    output: Path | None = typer.Option(None, "--output", help="Write what was measured to a JSON file."),
    plot: Path | None = typer.Option(None, "--plot", help="Draw a picture, a PNG file."),
) -> None:
    """Measure models on this machine's processor: size, latency, throughput and memory, in several ways of running."""
    from emozoo.bench import bench as measure
    from emozoo.bench import draw, rows
    from emozoo.cli.output import check_targets, table
    from emozoo.trees import write_tree

    check_targets({"--output": output, "--plot": plot})
    found = measure(names, batch, threads)
    machine = found["machine"]
    typer.echo(f"{machine['processor']}, {machine['cores']} cores, threads: {found['threads']}")
    for model in found["models"]:
        weights = "" if model["trained"] else "; random weights, which speed does not depend on"
        typer.echo(
            f"{model['name']}: {model['parameters']:,} parameters, {model['macs']:,} MACs, "
            f"{model['weights_bytes'] / 1e6:.1f} MB of weights, input {tuple(model['input'])}{weights}"
        )
    columns = ("model", "variant", "batch", "latency ms", "quartiles", "per second", "peak MiB")
    for line in table(columns, [dict.fromkeys(columns, "") | row for row in rows(found)]):
        typer.echo(line)
    if output is not None:
        write_tree(output, found)
    if plot is not None:
        draw(found, plot)
