"""What holds of any recipe, config, header and image: they are what they say, through every form, or are refused."""

from __future__ import annotations

import json
import math
import string
import struct
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
import torch
from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from safetensors.torch import load, save
from targets import TARGETS, take

from emozoo.errors import EmozooError, RecipeError
from emozoo.folder import config_text
from emozoo.recipe import ModelConfig, Recipe, parse_recipe
from emozoo.training.sweep import toml
from emozoo.trees import parse_toml, plain

QUICK = settings(max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck))
WORDS = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
ANYTHING = st.recursive(
    PLAIN | st.integers() | st.floats() | st.text() | st.binary(max_size=3) | st.just(object()) | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


# --- recipes, drawn from their own types ------------------------------------------------------------------------


def values(kind: Any, limits: tuple[Any, ...] = ()) -> st.SearchStrategy[Any]:
    """Return a strategy for what a type of a recipe's key allows."""
    if get_origin(kind) is Annotated:
        inner, *more = get_args(kind)
        return values(inner, (*limits, *more))
    limits = tuple(
        x for limit in limits for x in (limit.metadata if isinstance(limit, FieldInfo) else [limit])
    )
    if get_origin(kind) in (Union, types.UnionType):
        return st.one_of([values(option) for option in get_args(kind)])
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return tables(kind)
    found = {type(limit): limit for limit in limits}
    if get_origin(kind) in (tuple, list):
        least, most = getattr(found.get(MinLen), "min_length", 0), getattr(found.get(MaxLen), "max_length", 3)
        return st.lists(values(get_args(kind)[0]), min_size=least, max_size=min(3, most))
    if get_origin(kind) is dict:
        return st.dictionaries(WORDS.filter(str.isidentifier), values(get_args(kind)[1]), max_size=2)
    if kind in (int, float):
        return numbers(kind, found)
    return {bool: st.booleans(), str: WORDS, types.NoneType: st.none(), Any: PLAIN}[kind]


def numbers(kind: type, found: dict[type, Any]) -> st.SearchStrategy[Any]:
    low = getattr(found.get(Ge), "ge", getattr(found.get(Gt), "gt", None))
    high = getattr(found.get(Le), "le", getattr(found.get(Lt), "lt", None))
    if kind is int:
        low = None if low is None else low + (Gt in found)
        return st.integers(
            -(2**63) if low is None else low, 2**63 - 1 if high is None else high - (Lt in found)
        )
    return st.floats(
        low, high, exclude_min=Gt in found, exclude_max=Lt in found, allow_nan=False, allow_infinity=False
    )


def tables(model: type[BaseModel]) -> st.SearchStrategy[Any]:
    """Return a strategy for a table: what it needs, some of what it allows, and options where it takes any."""
    fields = {
        name: values(field.annotation, tuple(field.metadata)) for name, field in model.model_fields.items()
    }
    needed = {name for name, field in model.model_fields.items() if field.is_required()}
    drawn = st.fixed_dictionaries(
        {name: fields[name] for name in needed},
        optional={name: strategy for name, strategy in fields.items() if name not in needed},
    )
    if model.model_config.get("extra") != "allow":
        return drawn
    return st.builds(lambda options, table: options | table, st.dictionaries(TEXT, PLAIN, max_size=2), drawn)


def leaves(tree: Any) -> Iterator[Any]:
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else None
    if children is None:
        yield tree
    else:
        for child in children:
            yield from leaves(child)


def test_recipes_are_drawn_from_all_their_keys() -> None:
    """A new key of a type that nothing is drawn for fails here, and not in silence."""
    hints = typing.get_type_hints(Recipe, include_extras=True)
    assert {"name", "card", "model", "data", "train"} <= hints.keys()
    tables(Recipe)


read = []


@QUICK
@given(tables(Recipe))
def test_a_recipe_says_the_same_once_its_defaults_are_written_down(tree: Any) -> None:
    try:
        recipe = parse_recipe(tree)
    except RecipeError:  # keys that do not go together
        return
    read.append(recipe)
    whole = json.loads(json.dumps(recipe.resolved()))
    again = parse_recipe(whole)
    assert again == recipe or recipe.train.freeze  # which leaves augmentations out
    assert again.resolved() == whole
    assert all(isinstance(leaf, str | int | float | bool | types.NoneType) for leaf in leaves(whole))


def test_enough_of_the_recipes_that_were_drawn_are_recipes() -> None:
    if not read:
        pytest.skip("it counts what the test before it read")
    assert len(read) > 5


@QUICK
@given(tables(ModelConfig))
def test_a_config_comes_back_from_its_json_as_it_went(tree: Any) -> None:
    try:
        config = ModelConfig.model_validate_json(json.dumps(tree), strict=True)
    except ValueError:
        return
    written = json.loads(config_text(config, {}, "1"))
    for key in ("format", "emozoo_version", "requires"):
        del written[key]
    assert ModelConfig.model_validate_json(json.dumps(written), strict=True) == config


@QUICK
@given(PLAIN.map(lambda value: {"a": value}).filter(lambda tree: None not in leaves(tree)))
def test_a_tree_comes_back_from_toml_as_it_went(tree: Any) -> None:
    text = f"a = {toml(tree['a'])}"
    if "\x7f" not in text:  # which TOML wants escaped
        assert plain(parse_toml(text)) == tree


@QUICK
@given(ANYTHING)
def test_whatever_is_no_recipe_is_refused_as_none(tree: Any) -> None:
    with pytest.raises(RecipeError):
        parse_recipe(tree if isinstance(tree, dict) else {"name": tree})


@QUICK
@given(tables(Recipe), st.data())
def test_a_recipe_with_anything_in_any_place_is_a_recipe_or_refused(tree: Any, data: Any) -> None:
    node = tree
    for _ in range(data.draw(st.integers(0, 4))):
        inside = [value for value in node.values() if isinstance(value, dict)]
        node = data.draw(st.sampled_from(inside)) if inside else node
    node[data.draw(st.sampled_from(sorted(node)) if node else TEXT)] = data.draw(ANYTHING)
    try:
        parse_recipe(tree)
    except RecipeError as error:
        assert str(error)  # noqa: PT017


# --- headers ----------------------------------------------------------------------------------------------------

ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "F16", "I64", "U8", "BOOL", "F8_E4M3", "", "f32", 3]),
        "shape": st.lists(st.integers(-1, 4) | st.integers(), max_size=3),
        "data_offsets": st.lists(st.integers(-1, 64) | st.integers(), min_size=1, max_size=3),
        "extra": PLAIN,
    },
)
NAMES = (
    st.sampled_from(["heads.vad.layers.1.weight", "heads.vad.layers.1.bias", "__metadata__", "a", ""])
    | st.text()
)


@QUICK
@given(
    st.dictionaries(NAMES, ENTRY | PLAIN, max_size=4),
    st.binary(max_size=64),
)
def test_a_header_of_any_json_is_refused_or_is_that_of_the_model(tree: Any, body: bytes) -> None:
    text = json.dumps(tree, default=str).encode("utf-8", "replace")
    assert take("header", struct.pack("<Q", len(text)) + text + body) is not None


@QUICK
@given(
    st.dictionaries(
        TEXT.filter(len),
        st.integers(0, 5),
        max_size=4,
    ),
    st.sampled_from([torch.float32, torch.float16, torch.int64, torch.bool]),
)
def test_tensors_come_back_from_safetensors_as_they_went(shapes: dict[str, int], kind: torch.dtype) -> None:
    tensors = {name: torch.ones(size, 2).to(kind) for name, size in shapes.items()}
    back = load(save(tensors))
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], value) for name, value in tensors.items())


# --- every target -----------------------------------------------------------------------------------------------

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*/*"))


@pytest.mark.parametrize("name", TARGETS)
def test_every_kept_input_is_taken_or_refused_by_name(name: str) -> None:
    kept = [path for path in CORPUS if path.parent.name == name]
    assert kept
    for path in kept:
        take(name, path.read_bytes())


def test_the_kept_inputs_are_few_and_small_and_each_belongs_to_a_target() -> None:
    assert {path.parent.name for path in CORPUS} == set(TARGETS)
    assert sum(path.stat().st_size for path in CORPUS) < 200_000


@QUICK
@given(name=st.sampled_from([name for name in TARGETS if name != "video"]), data=st.binary(max_size=300))
def test_any_bytes_are_taken_or_refused_by_name(name: str, data: bytes) -> None:
    found = take(name, data)
    assert found is None or issubclass(found, EmozooError)
    assert not (found is None and name in ("config", "manifest", "header", "pin")), "that is a find"


@pytest.mark.parametrize("name", [name for name in TARGETS if name != "video"])
def test_kept_inputs_with_anything_in_their_midst_are_taken_or_refused_by_name(name: str) -> None:
    kept = [path.read_bytes() for path in CORPUS if path.parent.name == name]

    @settings(QUICK, max_examples=25)
    @given(st.sampled_from(kept), st.floats(0, 1), st.integers(0, 40), st.binary(max_size=8))
    def spoil(data: bytes, place: float, gone: int, put: bytes) -> None:
        start = math.floor(place * len(data))
        take(name, data[:start] + put + data[start + gone :])

    spoil()
