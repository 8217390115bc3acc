"""`emozoo extract`."""

from __future__ import annotations

from pathlib import Path

import typer

from emozoo.cli.options import ASSIGNMENTS, data_root


def extract(
    recipe: str = typer.Argument(help="A recipe file, or a zoo name."),
    cache: Path = typer.Option(..., "--cache", help="The folder that keeps features (data.cache)."),
    data: Path | None = typer.Option(None, "--data", help="Where the dataset lies (data.root)."),
    assignments: list[str] | None = ASSIGNMENTS,
) -> None:
    """Run a recipe's backbone over all frames of its videos once, for runs with `train.freeze` to start from.

    Such a run does it itself where the cache lacks them; doing it first lets several runs share the work. What the
    recipe says of training the backbone itself, [train.augment] above all, is left aside.
    """
    import torch

    from emozoo.model import EmotionModel
    from emozoo.recipe import load_recipe
    from emozoo.training.data import load_training_data
    from emozoo.training.init import initialise

    left_out = [f"train.{key}=null" for key in ("augment", "orthogonal", "bn_per_frame", "distillation")]
    overrides = [*left_out, "train.freeze=true", f"data.cache='''{cache.expanduser().resolve()}'''"]
    loaded = load_recipe(recipe, [*(assignments or []), *overrides, *data_root(data)])
    torch.manual_seed(loaded.train.seed)  # as a run does: what begins at random then begins alike
    model = EmotionModel(loaded.model)
    initialise(model, loaded)
    found = load_training_data(loaded, model)
    count = len(found.train) + len(found.select)
    if loaded.data.report is not None:
        count += len(found.report(loaded, model))
    typer.echo(f"features of {count:,} samples are in {cache}")
