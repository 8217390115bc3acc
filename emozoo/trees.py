"""Trees of plain values: how one is read, how a recipe is overridden, and what is said about a wrong one."""

from __future__ import annotations

import json
import math
import os
import re
import reprlib
import tomllib
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args

from emozoo.errors import CorruptModelError, EmozooError, RecipeError, suggest

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

DEPTH = 32
"""Levels of nesting beyond which a tree is refused."""


LIMIT, RECORD_LIMIT = 1 << 20, 1 << 24
"""Bytes above which a file of a tree, and the record of a run, is refused unread."""


def read_tree(path: Path, error: type[EmozooError] = RecipeError, limit: int = LIMIT) -> dict[str, Any]:
    """Return what a JSON or TOML file holds, in plain values.

    Raises:
        error: there is no such file, it is larger than `limit` bytes, not valid, has a key twice in one table, or
            holds no table.
    """
    kind = "TOML" if path.suffix == ".toml" else "JSON"
    if not os.path.isfile(path):  # a pipe would be waited for, a device never end
        raise error(f"there is no file {path}")
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror or problem}") from None
    if len(data) > limit:
        raise error(f"{path} is larger than {limit >> 20} MiB, which no such file needs")
    try:
        text = data.decode()
        tree = plain(parse_toml(text) if kind == "TOML" else json.loads(text, object_pairs_hook=_table))
        json.dumps(tree, ensure_ascii=False).encode()  # half a surrogate pair could be written nowhere
    except (ValueError, RecursionError, RecipeError) as problem:
        raise error(f"{path} is not valid {kind} ({problem})") from None
    if not isinstance(tree, dict):
        raise error(f"{path} holds no table")
    return tree


def write_tree(path: Path, tree: Mapping[str, Any]) -> None:
    """Write a tree of plain values as a JSON file."""
    path.write_text(json.dumps(tree, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


_KEY = r"""(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_LONG_KEY = re.compile(rf"(?<![\w-]){_KEY}(?:[ \t]*+\.[ \t]*+{_KEY}){{{DEPTH},}}")


def parse_toml(text: str) -> dict[str, Any]:
    """Return what a text says in TOML.

    Raises:
        ValueError: it is not TOML, or a key has more steps than any tree: Python's reader takes gigabytes for it.
        RecursionError: it is nested too deeply.
    """
    if long := _LONG_KEY.search(text):
        raise ValueError(f"a key has more than {DEPTH} steps: {long[0][:40]}...")
    return tomllib.loads(text)


def toml(value: Any) -> str:
    """Return a value as TOML in a line; JSON is that but for tables. A key of a table without a value is left out."""
    if isinstance(value, Mapping):
        items = (f"{toml(key)} = {toml(item)}" for key, item in value.items() if item is not None)
        return "{ " + ", ".join(items) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML has no pairs of surrogates


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a key occurs twice in one table")
    return table


@contextmanager
def read_as(what: str, where: object, kind: type[EmozooError] = CorruptModelError) -> Generator[None]:
    """Name a file that turns out, while it is used, not to be built as emozoo writes it.

    Raises:
        kind: whatever went wrong is chained.
    """
    try:
        yield
    except EmozooError:
        raise
    except Exception as error:  # a tree of others may be wrong in any place
        reason = f"it lacks {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
        raise kind(f"{where} cannot be read as {what}: {reason}") from error


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
    """Return a copy of a tree with assignments such as `train.epochs=3` made.

    Values are TOML, `null` (the key is left out), or else text.

    Raises:
        RecipeError: an assignment has no "=", or its path leads through a value or past the end of a list.
    """
    result: dict[str, Any] = plain(tree)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        *parents, last = steps = path.strip().split(".")
        if not equals or not all(steps):
            raise RecipeError(f"--set {assignment!r}: write KEY.PATH=VALUE, such as train.epochs=3")
        if text.strip() == "null":
            _leave_out(result, steps, assignment)
            continue
        node: Any = result
        for key in parents:
            node = _child(node, key, assignment)
        node[_key(node, last, assignment)] = _value(text)
    return result


def _leave_out(node: Any, steps: Sequence[str], assignment: str) -> None:
    """Take a key out of a tree, or an item out of a list; what a missing table would hold is out already."""
    *parents, last = steps
    for key in parents:
        if isinstance(node, dict) and key not in node:
            return
        node = _child(node, key, assignment)
    if isinstance(node, list) or last in node:
        del node[_key(node, last, assignment)]


def _value(text: str) -> Any:
    """Return the TOML value that a text is, or the text itself."""
    try:
        table = plain(parse_toml(f"value = {text}"))
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


LISTED = 20
"""Wrong keys that are listed one by one; the rest are counted."""


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
    for path, items in islice(found.items(), LISTED):
        problem = _problem(items, model, also)
        lines.append(f"  {path}: {problem}" if path else f"  {problem}")
    if len(found) > LISTED:
        lines.append(f"  and {len(found) - LISTED:,} more")
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
    if isinstance(value, int) and value.bit_length() > 1000:  # Python refuses to write down long ones
        return f"an integer of {value.bit_length()} bits"
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
