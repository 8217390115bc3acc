"""Training every fold of a dataset: its runs are fold-1, fold-2, ... in one folder, with their summary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from emozoo.data.reading import folds, open_reader, read
from emozoo.errors import DataError, RecipeError
from emozoo.recipe import Data, load_recipe
from emozoo.training.runs import How, Planned, Report, run_and_summarise

Folds = Literal["all"] | Sequence[int]

SUMMARY = "folds"


def parse_folds(text: str) -> Folds:
    """Return the folds that "all" or "1,2,5" names.

    Raises:
        RecipeError: it is neither.
    """
    if text.strip() == "all":
        return "all"
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts) or len(set(parts)) < len(parts):
        raise RecipeError(f"--folds {text!r}: write all, or different numbers from 1 on, such as 1,2,5")
    return [int(part) for part in parts]


def choose_folds(data: Data, wanted: Folds) -> list[int]:
    """Return the wanted folds of a dataset, which is read for that.

    Raises:
        DataError: the dataset has no folds, or not that one.
    """
    known = folds(read(open_reader(data), data.name))
    if not known:
        raise DataError(f"dataset {data.name!r} has no folds: train without --fold and --folds")
    missing = [] if wanted == "all" else [fold for fold in wanted if fold not in known]
    if missing:
        raise DataError(
            f"dataset {data.name!r} has no fold {', '.join(map(str, missing))}; it has {', '.join(map(str, known))}"
        )
    return known if wanted == "all" else list(wanted)


def fold_folder(folder: Path, fold: int) -> Path:
    """Return the folder of one fold's run."""
    return folder / f"fold-{fold}"


def train_folds(
    source: str, overrides: Sequence[str], wanted: Folds, folder: Path | None, how: How
) -> dict[str, str]:
    """Train folds of a recipe into FOLDER/fold-K and summarise them; finished ones stay, others are resumed.

    Args:
        source: a recipe file or zoo name.
        overrides: assignments such as "train.epochs=3".
        wanted: which folds.
        folder: runs/NAME if None.
        how: how the runs are carried out.

    Returns:
        What went wrong, by run.

    Raises:
        RecipeError: the recipe is wrong.
        DataError: the dataset has not these folds.
    """
    recipe = load_recipe(source, overrides)
    place = folder or Path("runs") / recipe.name
    planned = []
    for fold in choose_folds(recipe.data, wanted):
        own = (*overrides, f"data.fold={fold}")
        planned.append(
            Planned(
                recipe.name, load_recipe(source, own), source, own, fold_folder(place, fold), f"fold-{fold}"
            )
        )
    return run_and_summarise(planned, Report(place, SUMMARY, f"{recipe.name}, fold by fold"), how)
