"""Rules and prototypes as data: read by name or from a file, checked, and laid out for a model's labels.

A rule table says what a category costs where a dimension is > 0, = 0 and < 0; a prototype table says where a
category lies. Both map category -> dimension -> values; categories are matched by name, so a model's labels
may come in any order, lack some of the table's categories or have others.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor

from emozoo.errors import RecipeError, suggest
from emozoo.labels import CATEGORIES, DIMENSIONS, canonical

Source = str | dict[str, Any]
"""A shipped table's name, the path of a TOML or JSON file, or the table itself."""

_Cost = Annotated[float, Field(ge=0, le=1, strict=True)]
_Coordinate = Annotated[float, Field(ge=-1, le=1, strict=True)]
_RULES = TypeAdapter(dict[str, dict[str, tuple[_Cost, _Cost, _Cost]]])
_PROTOTYPES = TypeAdapter(dict[str, dict[str, _Coordinate]])


def rule_table(source: Source, labels: Sequence[str], dimensions: Sequence[str]) -> Tensor:
    """Return the costs (C, dimensions, 3) of a value > 0, = 0, < 0; what has no rule costs 0.

    Args:
        source: "equations", "table1", "released" (Huo & Ge 2024), "graded", a file, or a table.
        labels: the model's C labels.
        dimensions: the dimensions that the model predicts.

    Raises:
        RecipeError: there is no such table, it is not a table of costs in [0, 1], or it says nothing of these
            labels and dimensions.
    """
    table = _load(source, "tables", _RULES, labels)
    rows = [[table.get(canonical(label), {}).get(name) for name in dimensions] for label in labels]
    if not any(row for label in rows for row in label):
        raise _nothing_known(source, labels, dimensions, table)
    return torch.tensor([[row or (0.0, 0.0, 0.0) for row in label] for label in rows])


def prototype_points(source: Source, labels: Sequence[str], dimensions: Sequence[str]) -> Tensor:
    """Return where each label lies, (C, dimensions), in [-1, 1]; NaN for a label without a prototype.

    Args:
        source: "pad" (the norms of Russell & Mehrabian 1977), a file, or a table.
        labels: the model's C labels.
        dimensions: the dimensions that the model predicts.

    Raises:
        RecipeError: there is no such table, it is not a table of points, or it says nothing of these labels.
    """
    table = _load(source, "prototypes", _PROTOTYPES, labels)
    points = [table.get(canonical(label)) for label in labels]
    for label, point in zip(labels, points, strict=True):
        missing = [name for name in dimensions if point is not None and name not in point]
        if missing:
            raise RecipeError(
                f"{_name(source)}: {canonical(label)} has no {' and no '.join(missing)}; add it."
            )
    if not any(points):
        raise _nothing_known(source, labels, dimensions, table)
    return torch.tensor([[point[name] if point else float("nan") for name in dimensions] for point in points])


def _load(source: Source, folder: str, schema: TypeAdapter[Any], labels: Sequence[str]) -> dict[str, Any]:
    """Return a checked table under canonical category names."""
    tree = _read(source, folder) if isinstance(source, str) else source
    try:
        table = schema.validate_python(tree)
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, item['loc'])) or 'table'}: {item['msg']} (given: {item['input']!r})"
            for item in error.errors(include_url=False)
        ]
        raise RecipeError("\n".join([f"{_name(source)} is not a table of {folder}:", *lines])) from None
    problems = _misnamed(table, labels)
    if problems:
        raise RecipeError("\n".join([f"{_name(source)}:", *problems]))
    return {canonical(category): values for category, values in table.items()}


def _read(source: str, folder: str) -> Any:
    """Parse a shipped table by its name, or a file by its path."""
    shipped = files("emozoo_consistency") / "data" / folder
    path = Path(source).expanduser()
    if path.suffix not in (".toml", ".json"):
        path = shipped / f"{source}.toml"
        names = sorted(item.name.removesuffix(".toml") for item in shipped.iterdir())
        if source not in names:
            raise RecipeError(
                f"there is no {source!r} among the shipped {folder}: {', '.join(names)}."
                f"{suggest(source, names)} For your own, give the path of a .toml or .json file."
            )
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.name.endswith(".json") else tomllib.loads(text)
    except OSError as error:
        raise RecipeError(f"{source} cannot be read: {error.strerror}. Check the path.") from None
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{source} is not valid {path.name.rpartition('.')[2].upper()}: {error}") from None


def _misnamed(table: Mapping[str, Mapping[str, Any]], labels: Sequence[str]) -> list[str]:
    """Say which categories and dimensions of a table nobody knows, and which categories are there twice."""
    categories = list(
        dict.fromkeys([*map(canonical, labels), *CATEGORIES])
    )  # a table may name what the model lacks
    problems, seen = [], set()
    for category, values in table.items():
        name = canonical(category)
        if name not in categories:
            problems.append(
                f"  {category}: no such category.{suggest(name, categories)} Known: {', '.join(categories)}."
            )
        if name in seen:
            problems.append(f"  {category}: {name} is there twice; keep one.")
        seen.add(name)
        problems += [
            f"  {category}.{dimension}: no such dimension.{suggest(dimension, DIMENSIONS)} "
            f"Known: {', '.join(DIMENSIONS)}."
            for dimension in values
            if dimension not in DIMENSIONS
        ]
    return problems


def _nothing_known(
    source: Source, labels: Sequence[str], dimensions: Sequence[str], table: Mapping[str, Any]
) -> RecipeError:
    return RecipeError(
        f"{_name(source)} says nothing of {', '.join(dimensions)} of the labels {', '.join(labels)}; it has "
        f"{', '.join(table) or 'no category'}. Give a table that names the model's labels, or drop the cost."
    )


def _name(source: Source) -> str:
    return source if isinstance(source, str) else "the table in the recipe"
