"""Sweeps: a recipe varied, over seeds and folds, from a TOML file to one table.

name = "consistency"
recipe = "mini-fer2013"                 # a recipe file (beside the sweep file, or from here) or a zoo name
seeds = [0, 1, 2]
folds = "all"                           # or [1, 2]; left out for a dataset without folds
metrics = ["emotion.accuracy", "vad.valence.mse"]
baseline = "none"                       # differences are taken from this variant, with the same seed and fold
set = ["train.epochs=10"]               # for all variants

[[variant]]
name = "none"
set = ["train.consistency=[]"]

[grid]                                  # every combination is one more variant, named after keys and values
"train.consistency.0.weight" = [0.1, 1.0]
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from emozoo.errors import RecipeError, suggest
from emozoo.evaluation.summary_report import Point
from emozoo.recipe import Recipe, load_recipe
from emozoo.schema import Positive, Schema
from emozoo.training.folds import choose_folds, fold_folder
from emozoo.training.runs import How, Planned, Report, run_and_summarise
from emozoo.trees import explain, read_tree, toml

SUMMARY = "sweep"

OWN = {"train.seed": "seeds", "data.fold": "folds"}
"""Keys of a recipe that a sweep sets itself, and the key of the sweep that says to what."""

MOST = 10_000
"""Variants of a sweep."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._=+,-]*$")]


class NamedVariant(Schema):
    """One way to change the recipe."""

    name: Name
    set: tuple[str, ...] = ()


class Sweep(Schema):
    """What a sweep file says."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    recipe: str
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(min_length=1)] = (0,)
    folds: Literal["all"] | tuple[Positive, ...] | None = None
    metrics: tuple[str, ...] = ()
    """Figures to show, "HEAD.METRIC"; without any, each head's main ones."""
    baseline: str | None = None
    """The variant that the others are compared with."""
    set: tuple[str, ...] = ()
    """Assignments for all variants."""
    variant: tuple[NamedVariant, ...] = ()
    grid: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """Values by key; every combination is a variant."""

    @field_validator("seeds", "folds", "metrics")
    @classmethod
    def _distinct(cls, values: Any) -> Any:
        if isinstance(values, tuple) and len(set(values)) < len(values):
            raise ValueError("a value is listed twice")
        return values

    @model_validator(mode="after")
    def _agree(self) -> Sweep:
        count = len(self.variant) + math.prod(map(len, self.grid.values())) * bool(self.grid)
        if count > MOST:
            raise ValueError(f"grid: that makes {count:,} variants, the limit is {MOST:,}")
        problems = [
            f"{path}: {key} is set by the sweep itself; use its key {OWN[key]!r}"
            for path, key in self._keys()
            if key in OWN
        ]
        names = [variant.name for variant in self.variants()]
        twice = {name for name in names if names.count(name) > 1}
        problems += [f"variant: two variants are called {name!r}" for name in sorted(twice)]
        if self.baseline is not None and self.baseline not in names:
            problems.append(
                f"baseline: there is no variant {self.baseline!r}.{suggest(self.baseline, names)} "
                f"Variants: {', '.join(names)}"
            )
        if problems:
            raise ValueError("\n  ".join(problems))
        return self

    def _keys(self) -> list[tuple[str, str]]:
        """Return where each key of a recipe is set, and which."""
        lists = {"set": self.set} | {f"variant.{i}.set": v.set for i, v in enumerate(self.variant)}
        keys = [
            (f"{path}.{index}", assignment.partition("=")[0].strip())
            for path, assignments in lists.items()
            for index, assignment in enumerate(assignments)
        ]
        return keys + [(f"grid.{key}", key) for key in self.grid]

    def variants(self) -> list[Variant]:
        """Return the named variants and then those of the grid; the recipe itself where there are none."""
        named = [Variant(variant.name, (*self.set, *variant.set)) for variant in self.variant]
        if self.grid:
            short = _short(list(self.grid))
            for values in itertools.product(*self.grid.values()):
                point = dict(zip(self.grid, values, strict=True))
                name = ",".join(f"{_slug(short[key])}={_slug(value)}" for key, value in point.items())
                assignments = (f"{key}={toml(value)}" for key, value in point.items())
                named.append(Variant(name, (*self.set, *assignments), point))
        return named or [Variant(self.name, self.set)]


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant: its name, its assignments, and its values of the grid's keys."""

    name: str
    overrides: tuple[str, ...]
    point: Point = field(default_factory=dict)


def load_sweep(path: Path) -> Sweep:
    """Read a sweep from a TOML file.

    Raises:
        RecipeError: no such file, broken TOML, or wrong keys and values, all of them listed.
    """
    tree = read_tree(path)
    try:
        return Sweep.model_validate_json(json.dumps(tree), strict=True)
    except ValidationError as error:
        raise RecipeError(f"{path}:\n{explain(error, Sweep, '', tree)}") from None


def run_sweep(path: Path, overrides: Sequence[str], folder: Path | None, how: How) -> dict[str, str]:
    """Carry a sweep out into FOLDER/VARIANT/seed-S[/fold-K] and summarise it; what is finished stays.

    Args:
        path: the sweep file.
        overrides: assignments for all variants, after those of the file.
        folder: sweeps/NAME if None.
        how: how the runs are carried out.

    Returns:
        What went wrong, by run.

    Raises:
        RecipeError: the sweep or a variant's recipe is wrong; no run was started.
        DataError: the dataset has not these folds.
    """
    sweep = load_sweep(path)
    place = folder or Path("sweeps") / sweep.name
    planned = plan(sweep, _source(sweep, path), overrides, place)
    points = {variant.name: variant.point for variant in sweep.variants()}
    report = Report(place, SUMMARY, sweep.name, sweep.metrics, sweep.baseline, points)
    return run_and_summarise(planned, report, how)


def plan(sweep: Sweep, source: str, overrides: Sequence[str], folder: Path) -> list[Planned]:
    """Return the runs of a sweep, fold by fold, so that those with the same data follow each other.

    Raises:
        RecipeError: recipes of variants are wrong, all of them listed, or a figure is of no head.
        DataError: the dataset has not these folds.
    """
    variants = sweep.variants()
    recipes = _recipes(variants, source, overrides)
    _check_metrics(sweep, recipes)
    folds: list[int | None] = [None]
    if sweep.folds is not None:
        folds = [*choose_folds(next(iter(recipes.values())).data, sweep.folds)]
    planned = []
    for fold, variant, seed in itertools.product(folds, variants, sweep.seeds):
        own = (*variant.overrides, *overrides, f"train.seed={seed}")
        place = folder / variant.name / f"seed-{seed}"
        if fold is not None:
            own, place = (*own, f"data.fold={fold}"), fold_folder(place, fold)
        name = place.relative_to(folder).as_posix()
        planned.append(Planned(variant.name, load_recipe(source, own), source, own, place, name))
    return planned


def _recipes(variants: Sequence[Variant], source: str, overrides: Sequence[str]) -> dict[str, Recipe]:
    recipes, problems = {}, []
    for variant in variants:
        try:
            recipes[variant.name] = load_recipe(source, (*variant.overrides, *overrides))
        except RecipeError as error:
            problems.append(f"variant {variant.name!r}: {error}")
    if problems:
        raise RecipeError("\n".join(problems))
    return recipes


def _check_metrics(sweep: Sweep, recipes: Mapping[str, Recipe]) -> None:
    """Refuse a figure of a head that no variant has, before anything is trained; the rest shows with the first run."""
    known = dict.fromkeys(
        [
            "consistency",
            "rich_clips",
            "model",
            "training",
            *(head for recipe in recipes.values() for head in recipe.model.heads),
        ]
    )
    for position, metric in enumerate(sweep.metrics):
        head = metric.partition(".")[0]
        if head not in known:
            raise RecipeError(
                f"metrics.{position}: {metric!r} is of no head of the model.{suggest(head, known)} "
                f"Write HEAD.METRIC, such as emotion.accuracy; it begins with one of {', '.join(known)}"
            )


def _source(sweep: Sweep, path: Path) -> str:
    """Return the recipe's file beside the sweep file, if it is there, else what the sweep says."""
    beside = path.parent / sweep.recipe
    is_path = "/" in sweep.recipe or sweep.recipe.endswith(".toml")
    return str(beside) if is_path and beside.exists() else sweep.recipe


def _slug(value: Any) -> str:
    """Return a value as part of a folder's name; a table is called by its name, if it has one."""
    if isinstance(value, Mapping) and "name" in value:
        value = value["name"]
    text = value if isinstance(value, str) else toml(value)
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", text).strip("_") or "empty"


def _short(keys: Sequence[str]) -> dict[str, str]:
    """Return for each key the shortest end of it, beginning with a word, that no other key has."""
    short = {}
    for key in keys:
        steps = key.split(".")
        ends = [".".join(steps[-n:]) for n in range(1, len(steps) + 1) if not steps[-n].isdecimal()]
        others = [f".{other}" for other in keys if other != key]
        short[key] = next((end for end in ends if not any(o.endswith(f".{end}") for o in others)), key)
    return short
