"""Records of runs: how one is read, what is recorded of a recipe, and in which keys two of them differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emozoo.errors import CorruptModelError, ResumeError
from emozoo.layout import RUN
from emozoo.trees import RECORD_LIMIT, read_tree

if TYPE_CHECKING:
    from emozoo.recipe import Recipe

Difference = tuple[str, Any, Any]
"""A key, and its value before and now."""


def read_record(folder: Path) -> dict[str, Any]:
    """Return the record of a finished run or of a model folder.

    Raises:
        ResumeError: there is none.
        CorruptModelError: it cannot be read.
    """
    path = folder / RUN if folder.is_dir() else folder
    if not path.is_file():
        raise ResumeError(
            f"{folder} holds no {RUN}: no run has finished there; name the folder of one, or go on with --resume"
        )
    return read_tree(path, CorruptModelError, RECORD_LIMIT)


def find_record(folder: Path) -> dict[str, Any] | None:
    """Return the record in a folder; None where there is none.

    Raises:
        CorruptModelError: it cannot be read.
    """
    path = folder / RUN
    return read_tree(path, CorruptModelError, RECORD_LIMIT) if path.exists() else None


def recipe_record(recipe: Recipe) -> dict[str, Any]:
    """Return the resolved recipe without the places where data and cache lay, which say nothing about the run."""
    tree = recipe.resolved()
    tree["data"] |= {"root": None, "cache": None}
    if (tree["data"]["detector"] or {}).get("file"):
        tree["data"]["detector"]["file"] = Path(tree["data"]["detector"]["file"]).name
    if tree["train"]["init"] is not None:
        tree["train"]["init"] = _without_place(tree["train"]["init"])
    if (distillation := tree["train"]["distillation"]) is not None:
        distillation["teachers"] = [_without_place(name) for name in distillation["teachers"]]
    return tree


def _without_place(source: str) -> str:
    """Return what a model is called; of a folder, its last name alone."""
    from emozoo.zoo import locate  # which reads records

    found = locate(source)
    return f"dir:{found.name}" if isinstance(found, Path) else source


def recipe_changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """List the keys in which two recorded recipes train differently, a line each."""
    return _lines(recipe_differences(before, now))


def recipe_differences(before: dict[str, Any], now: dict[str, Any]) -> list[Difference]:
    """List the keys in which two recorded recipes train differently; a card's words train nothing."""
    return differences({**before, "card": None}, {**now, "card": None})


def changes(before: Any, now: Any, path: str = "") -> list[str]:
    """List the keys in which two JSON values differ: a line each."""
    return _lines(differences(before, now, path))


def _lines(rows: list[Difference]) -> list[str]:
    return [f"  {key}: was {json.dumps(old)}, is {json.dumps(new)}" for key, old, new in rows]


def differences(before: Any, now: Any, path: str = "") -> list[Difference]:
    """List the keys in which two JSON values differ, each with both its values."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [*before, *(key for key in now if key not in before)]
        rows = [differences(before.get(key), now.get(key), f"{path}.{key}" if path else key) for key in keys]
        return [row for group in rows for row in group]
    return [] if before == now else [(path, before, now)]
