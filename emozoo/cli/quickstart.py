"""`emozoo quickstart`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from emozoo.layout import MODEL

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
    from emozoo.training.run import finished, train

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
    from emozoo.records import read_record

    record = read_record(out)
    typer.echo("\n2. Evaluate, on faces of people who are not in the training split")
    for line in result_lines(record["result"]):
        typer.echo(f"   {line}")


def _predict(model: EmotionModel, recipe: Recipe, out: Path) -> None:
    """Write held-out faces as photos, predict the folder, and draw them with what was said of them."""
    from emozoo.evaluation.plots import face_grid

    truth = _held_out(recipe, out / "faces")
    found: Any = model.predict([out / "faces" / name for name in truth], faces="none")
    right = [item.label == truth[Path(item.source).name] for item in found]
    captions = [
        f"{item.label} {item.confidence:.0%}\n"
        + " ".join(f"{k[0].upper()}{v:+.1f}" for k, v in item.vad.items())
        for item in found
    ]
    pixels = [model.preprocessor.decode(item.source).numpy() for item in found]
    title = "held-out faces and what the model says (valence, arousal, dominance)"
    face_grid(out / "faces.png", pixels, captions, correct=right, title=title)
    typer.echo(f"\n4. Use it: model.predict('{out / 'faces'}', faces='none')")
    for item in found[:4]:
        typer.echo(f"   {item.to_lines()[0]}")
    typer.echo(f"   {sum(right)} of {len(right)} held-out faces are named right")


def _held_out(recipe: Recipe, folder: Path) -> dict[str, str]:
    """Write faces of the reported split to a folder; return the category of each file."""
    from emozoo.data.preprocess import open_image
    from emozoo.data.reading import open_reader, read

    rows = read(open_reader(recipe.data), recipe.data.name)
    names = rows.features["label"].names
    test = [index for index, split in enumerate(rows["split"]) if split == recipe.data.report]
    folder.mkdir(exist_ok=True)
    truth = {}
    for row in rows.select(test[:: len(test) // FACES][:FACES]):
        file = f"{row['id']}.png"
        open_image(row["image"]["bytes"]).save(folder / file)
        truth[file] = names[row["label"]]
    return truth


def _next(out: Path) -> None:
    typer.echo(f"\nLook at:  {out / 'report.html'}  {out / 'faces.png'}  {out / 'model' / 'README.md'}")
    typer.echo(
        "Next, with real data: get FER2013 (fer2013.csv, or any of its usual copies), FER+'s votes "
        "(fer2013new.csv) beside it, then\n"
        "  emozoo data check FOLDER\n"
        "  emozoo train mini-fer2013 --data FOLDER      one to four hours on two CPU cores\n"
        "  emozoo train resnet18-fer2013 --data FOLDER  for a GPU\n"
        "or your own photos of faces, a folder for each of angry, disgust, fear, happy, sad, surprise, neutral:\n"
        "  emozoo train mini-fer2013 --data PHOTOS --set \"data={name='folders'}\""
    )
