"""Trees of plain values: what a recipe holds, how one is overridden, and what is said about a wrong one."""

from __future__ import annotations

import math
import reprlib
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args

from emozoo.errors import RecipeError, suggest

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

DEPTH = 32
"""Levels of nesting beyond which a tree is refused."""


def plain(value: Any, path: str = "", depth: int = 0) -> Any:
    """Return a copy of a tree in the values that TOML and JSON share: tables, lists, text, numbers, booleans.

    Raises:
        RecipeError: a value is of another kind, not finite, beyond 64 bits, or nested too deeply.
    """
    if depth > DEPTH:
        raise RecipeError(f"{path}: nested deeper than {DEPTH} levels")
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{path}.{key}".strip("."), depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{path}.{index}".strip("."), depth + 1) for index, item in enumerate(value)]
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise RecipeError(
        f"{path or 'recipe'}: should be text, a finite number of 64 bits, true, false, a list or a table "
        f"(given: {_shown(value)})"
    )


def override(tree: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Return a copy of a tree with assignments such as `train.epochs=3` made; values are TOML, or else text.

    Raises:
        RecipeError: an assignment has no "=", or its path leads through a value or past the end of a list.
    """
    result: dict[str, Any] = plain(tree)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        *parents, last = steps = path.strip().split(".")
        if not equals or not all(steps):
            raise RecipeError(f"--set {assignment!r}: write KEY.PATH=VALUE, such as train.epochs=3")
        node: Any = result
        for key in parents:
            node = _child(node, key, assignment)
        node[_key(node, last, assignment)] = _value(text)
    return result


def _value(text: str) -> Any:
    """Return the TOML value that a text is, or the text itself."""
    try:
        table = plain(tomllib.loads(f"value = {text}"))
    except (ValueError, RecursionError, RecipeError):
        return text.strip()
    return table["value"] if len(table) == 1 else text.strip()


def _child(node: Any, key: str, assignment: str) -> Any:
    step = _key(node, key, assignment)
    if isinstance(node, dict) and node.get(step) is None:
        node[step] = {}
    if not isinstance(node[step], dict | list):
        raise RecipeError(f"--set {assignment!r}: {key!r} is a value, not a table")
    return node[step]


def _key(node: dict[str, Any] | list[Any], key: str, assignment: str) -> Any:
    if isinstance(node, dict):
        return key
    if not key.isdecimal() or int(key) >= len(node):
        raise RecipeError(f"--set {assignment!r}: {key!r} is not an index of a list of {len(node)}")
    return int(key)


def explain(
    error: ValidationError, model: type[BaseModel], prefix: str, tree: Any = None, also: Sequence[str] = ()
) -> str:
    """Say what is wrong with a tree, a line a key: its path, what was given, what is allowed and nearest.

    Args:
        error: what pydantic found.
        model: what the tree was checked against.
        prefix: path of the tree itself, "" for a whole recipe.
        tree: the tree; with it, paths are free of pydantic's names for the alternatives of a union.
        also: further keys that are allowed beside the model's own.
    """
    found: dict[str, list[Any]] = defaultdict(list)
    for item in error.errors(include_url=False):
        steps = _steps(item, tree, model)
        found[".".join([prefix] * bool(prefix) + steps)].append(item)
    lines = []
    for path, items in found.items():
        problem = _problem(items, model, also)
        lines.append(f"  {path}: {problem}" if path else f"  {problem}")
    return "\n".join(lines)


def _steps(item: Any, tree: Any, model: type[BaseModel]) -> list[str]:
    """Return the steps of an error's location that are keys and indices of the tree."""
    if tree is None:
        return [str(step) for step in item["loc"]]
    steps, node, current = [], tree, model
    for step in item["loc"]:
        chosen = _named(current, step)
        current = _annotation(current, step)
        if chosen is not None:  # a table's name, which may also be one of its keys
            continue
        inside = (isinstance(node, dict) and step in node) or (
            isinstance(node, list) and isinstance(step, int) and step < len(node)
        )
        if inside:
            node = node[step]
        if inside or (item["type"] == "missing" and step == item["loc"][-1]):
            steps.append(str(step))
    return steps


_KINDS = {
    "dict_type": "should be a table",
    "model_type": "should be a table",
    "model_attributes_type": "should be a table",
    "tuple_type": "should be a list",
    "list_type": "should be a list",
}


def _problem(items: list[Any], model: type[BaseModel], also: Sequence[str]) -> str:
    """Say what is wrong with one key; several items are the alternatives of a union, none of which fits."""
    first = items[0]
    if first["type"] == "missing":
        return "missing; it is required"
    if first["type"] == "extra_forbidden":
        own = keys_at(model, first["loc"][:-1])
        known = own + (list(also) if len(first["loc"]) == 1 else [])
        allowed = f" Allowed: {', '.join(known)}." if own else " It takes no options."
        return f"unknown key.{suggest(str(first['loc'][-1]), known)}{allowed}"
    texts = [
        _KINDS.get(item["type"], item["msg"].removeprefix("Value error, ").removeprefix("Input "))
        for item in items
    ]
    if first["type"] == "union_tag_invalid":
        expected, name = first["ctx"]["expected_tags"], first["ctx"]["tag"]
        return f"name should be one of {expected} (given: {_shown(name)}){suggest(name, _words(expected))}"
    if first["type"] == "union_tag_not_found":
        return "name is missing; it is required"
    about_table = first["type"] == "value_error" and isinstance(first["input"], dict)
    given = "" if about_table else f" (given: {_shown(first['input'])})"
    return " or ".join(dict.fromkeys(texts)) + given + "".join(map(_nearest, items))


def _shown(value: Any) -> str:
    return "a table" if isinstance(value, dict) else _SHORT.repr(value)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 120
_SHORT.maxlist = _SHORT.maxtuple = 12


def _nearest(item: Any) -> str:
    """Suggest the nearest of the values that are listed as allowed."""
    if item["type"] != "literal_error" or not isinstance(item["input"], str):
        return ""
    return suggest(item["input"], _words(item["ctx"]["expected"]))


def _words(listing: str) -> list[str]:
    """Return the values of a listing as pydantic writes it: 'a', 'b' or 'c'."""
    return listing.replace("'", "").replace(" or ", ", ").split(", ")


def keys_at(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """Return the keys that a model allows at a location; none where it has no table."""
    current: Any = model
    for step in location:
        current = _annotation(current, step)
    return list(_fields(current))


def _fields(annotation: Any) -> dict[str, Any]:
    """Return a table's annotations by key."""
    fields = getattr(annotation, "model_fields", {})
    return {field.alias or name: field.annotation for name, field in fields.items()}


def _annotation(current: Any, step: int | str) -> Any:
    """Return the type under a table's key, or under any key of a list or dictionary; None without one."""
    inner = [argument for argument in get_args(current) if argument is not Ellipsis]
    found = _named(current, step) or (inner[-1] if inner else _fields(current).get(str(step)))
    options = [argument for argument in get_args(found) if argument is not NoneType]
    return options[0] if NoneType in get_args(found) and len(options) == 1 else found


def _named(current: Any, name: int | str) -> Any:
    """Return the one of alternative tables that has a name, where there are such alternatives; else None."""
    tables = current.__origin__ if hasattr(current, "__metadata__") else current
    return next((table for table in get_args(tables) if name in get_args(_fields(table).get("name"))), None)
