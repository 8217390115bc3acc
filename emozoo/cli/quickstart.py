"""`emozoo quickstart`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from emozoo.model import EmotionModel
    from emozoo.recipe import Recipe

FACES = 24
"""Held-out faces that are predicted and shown."""


def quickstart(
    out: Path = typer.Option(Path("runs/quickstart"), "--out", help="Where everything goes."),
) -> None:
    """Train, evaluate, save, load and use a small model on drawn faces: a few minutes, no data, no network."""
    from emozoo.recipe import load_recipe
    from emozoo.training.run import MODEL, finished, train

    recipe = load_recipe("quickstart")
    typer.echo("1. Train: faces drawn by emozoo -> recipe cards/quickstart -> a model of categories and VAD")
    if finished(out):
        typer.echo(f"   {out} holds a finished run; going on with it (remove the folder to train anew)")
    train(recipe, out, resume=True)
    _evaluated(out)
    typer.echo(f"\n3. Load it back: emozoo.load('dir:{out / MODEL}'), verified file by file")
    from emozoo.folder import verify_golden
    from emozoo.zoo import load

    model = load(out / MODEL)
    typer.echo(f"   golden outputs agree to {verify_golden(model, out / MODEL):.0e}")
    _predict(model, recipe, out)
    _next(out)


def _evaluated(out: Path) -> None:
    from emozoo.cli.output import result_lines
    from emozoo.training.run import read_record

    record = read_record(out)
    typer.echo("\n2. Evaluate, on faces of people who are not in the training split")
    for line in result_lines(record["result"]):
        typer.echo(f"   {line}")


def _predict(model: EmotionModel, recipe: Recipe, out: Path) -> None:
    """Write held-out faces as photos, predict the folder, and draw them with what was said of them."""
    from emozoo.data.preprocess import open_image
    from emozoo.data.reading import open_reader, read
    from emozoo.evaluation.plots import face_grid

    rows = read(open_reader(recipe.data), recipe.data.name)
    held_out = rows.filter(lambda split: split == recipe.data.report, input_columns="split").select(
        range(FACES)
    )
    folder = out / "faces"
    folder.mkdir(exist_ok=True)
    for row in held_out:
        open_image(row["image"]["bytes"]).save(folder / f"{row['id']}.png")
    found: Any = model.predict(folder)
    truth = {str(folder / f"{row['id']}.png"): row for row in held_out}
    names = rows.features["label"].names
    right = [item.label == names[truth[item.source]["label"]] for item in found]
    captions = [
        f"{item.label} {item.probabilities[item.label]:.0%}\nV {item.vad['valence']:+.2f}" for item in found
    ]
    pixels = [model.preprocessor.decode(item.source).numpy() for item in found]
    face_grid(
        out / "faces.png", pixels, captions, correct=right, title="held-out faces and what the model says"
    )
    typer.echo(
        f"\n4. Use it: model.predict('{folder}') names {sum(right)} of {len(right)} held-out faces right, such as"
    )
    typer.echo(f"   {found[0].to_dict()}")


def _next(out: Path) -> None:
    typer.echo(f"\nLook at:  {out / 'report.html'}  {out / 'faces.png'}  {out / 'model' / 'README.md'}")
    typer.echo(
        "Next, with real data: get FER2013 (fer2013.csv, or any of its usual copies), then\n"
        "  emozoo data check FOLDER\n"
        "  emozoo train mini-fer2013 --data FOLDER      about an hour on two CPU cores\n"
        "  emozoo train resnet18-fer2013 --data FOLDER  for a GPU\n"
        "or your own photos in one folder a category: emozoo recipe show mini-fer2013, then --set data.name=folders"
    )
