"""Recipes: what is accepted, what is said about what is not, overrides, and the fully resolved form."""

from __future__ import annotations

import copy
import datetime
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emozoo.errors import RecipeError, UnknownModelError
from emozoo.recipe import Recipe, Train, load_recipe, override, parse_recipe, recipe_path
from emozoo.records import recipe_record
from emozoo.resolve import resolve_recipe

ZOO = Path(__file__).parents[1] / "cards"
CARDS = sorted(ZOO.glob("*/recipe.toml"))

TEXT = """
name = "toy"
[model]
labels = ["happy", "sad"]
[model.backbone]
name = "resnet18"
width = 8
[model.heads.emotion]
name = "classification"
[model.heads.affect]
name = "vad"
[data]
name = "synthetic"
samples = 70
[train]
epochs = 2
[train.losses.emotion]
label_smoothing = 0.1
[[train.consistency]]
name = "graded"
weight = 0.5
"""
BASE = tomllib.loads(TEXT)


def _with(path: str, value: Any) -> dict[str, Any]:
    """The base recipe with one value changed, by the test's own walk."""
    tree = copy.deepcopy(BASE)
    *parents, last = path.split(".")
    node = tree
    for key in parents:
        node = node.setdefault(key, {}) if isinstance(node, dict) else node[int(key)]
    node[last] = value
    return tree


def _said(tree: dict[str, Any]) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(tree, where="toy.toml")
    first, *lines = str(caught.value).splitlines()
    assert first == "toy.toml:"
    return lines


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("train.epocs", 3, "train.epocs: unknown key. Did you mean 'epochs'? Allowed: epochs, batch_size, "),
        ("modle", {}, "modle: unknown key. Did you mean 'model'? Allowed: name, card, model, data, train."),
        ("model.preprocess", {"sise": 3}, "model.preprocess.sise: unknown key. Did you mean 'size'?"),
        ("train.augment", {"filp": 1}, "train.augment.filp: unknown key. Did you mean 'flip'?"),
        ("train.zzzzzz", 3, "train.zzzzzz: unknown key. Allowed: "),
        ("train.epochs", 0, "train.epochs: should be greater than 0 (given: 0)"),
        ("train.epochs", "3", "train.epochs: should be a valid integer (given: '3')"),
        ("train.epochs", 2.0, "train.epochs: should be a valid integer (given: 2.0)"),
        ("train.epochs", True, "train.epochs: should be a valid integer (given: True)"),
        ("train.epochs", {}, "train.epochs: should be a valid integer (given: a table)"),
        ("train.ema", 1, "train.ema: should be less than 1 (given: 1"),
        ("train.seed", 2**31, "train.seed: should be less than 2147483648 (given: 2147483648)"),
        ("train.optimizer", {"lr": -1}, "train.optimizer.lr: should be greater than 0 (given: -1"),
        ("train.augment", {"shift": 1}, "train.augment.shift: should be a valid boolean (given: 1)"),
        (
            "train.precision",
            "bf61",
            "train.precision: should be 'auto', 'fp32', 'bf16' or 'fp16' (given: 'bf61') Did you mean 'bf16'",
        ),
        (
            "train.consistency.0.weight",
            -1,
            "train.consistency.0.weight: should be greater than or equal to 0",
        ),
        ("train.consistency.0.name", 3, "train.consistency.0.name: should be a valid string (given: 3)"),
        ("train.consistency", {"name": "step"}, "train.consistency: should be a list (given: a table)"),
        ("model.backbone", "resnet18", "model.backbone: should be a table (given: 'resnet18')"),
        ("model.backbone", {"width": 3}, "model.backbone.name: missing; it is required"),
        ("model.heads", {}, "model.heads: a model needs at least one head"),
        ("model.heads", {"my head": {"name": "vad"}}, "model.heads: head name 'my head' must be a word"),
        ("model.heads", [], "model.heads: should be a table (given: [])"),
        ("model.labels", ["a", "a"], "model.labels: a label is listed twice"),
        ("model.labels", ["a"], "model.labels: one label alone tells nothing apart; give two or more"),
        ("model.labels", ["a", " "], "model.labels: a label is empty"),
        ("model.labels", "ab", "model.labels: should be a list (given: 'ab')"),
        ("model.labels", ["a", 1], "model.labels.1: should be a valid string (given: 1)"),
        ("model.preprocess", {"size": 40}, "model.preprocess: crop (44) is larger than size (40)"),
        ("model.preprocess", {"colour": "rgb"}, "model.preprocess: mean has 1 values, rgb needs 3"),
        (
            "model.preprocess",
            {"mean": [float("inf")]},
            "model.preprocess.mean.0: should be text, a finite number of 64 bits",
        ),
        ("name", "No Spaces", "name: String should match pattern"),
        ("data", {"root": "x"}, "data.name: missing; it is required"),
        ("data.holdout", 1.5, "data.holdout: should be less than 1 (given: 1.5)"),
        (
            "data.day",
            datetime.date(2020, 1, 2),
            "data.day: should be text, a finite number of 64 bits, true, false, a list or a table (given: datetime",
        ),
        (
            "train.losses.emotoin",
            {},
            "train.losses.emotoin: the model has no head 'emotoin'. Did you mean 'emotion'?",
        ),
        (
            "train.consistency.0.vad",
            "affekt",
            "train.consistency.0.vad: the model has no head 'affekt'. Did you mean",
        ),
        (
            "train.schedule",
            {"name": "step", "final": 0.1, "period_epochs": 9},
            "train.schedule: final, period_epochs: without effect on the schedule 'step'; leave it out",
        ),
        ("train.schedule", {"gamma": 0.5}, "train.schedule: gamma: without effect on the schedule 'cosine'"),
        ("train.schedule", {"name": "none", "start_epoch": 2}, "train.schedule: start_epoch: without effect"),
        ("train.augment", {"shift": False, "padding": 2}, "train.augment: padding: without effect if shift"),
        ("train.augment", {"saturation": 0.1}, "train.augment.saturation: without effect on grey images"),
        ("train.bn_per_frame", True, "train.bn_per_frame: without effect on a model of images"),
    ],
)
def test_an_error_names_the_path_what_was_given_what_is_allowed_and_the_nearest_spelling(path, value, line):
    lines = _said(_with(path, value))
    assert len(lines) == 1
    assert lines[0].startswith(f"  {line}")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("train.schedule", {"name": "step", "final": 0.0, "gamma": 0.5, "warmup_epochs": 1}),
        ("train.schedule", {"gamma": 0.1, "final": 0.5, "period_epochs": 9}),
        ("train.augment", {"shift": False, "padding": 0, "saturation": 0.0}),
        ("train.augment", {"padding": 2}),
        ("train.bn_per_frame", False),
    ],
)
def test_a_default_is_never_refused_for_its_lack_of_effect(path, value):
    shown = resolve_recipe(parse_recipe(_with(path, value)))
    assert resolve_recipe(parse_recipe(shown)) == shown


def test_all_errors_are_told_at_once():
    tree = _with("train.epochs", "x")
    tree["train"]["lerning"] = 1
    tree["model"]["backbone"].pop("name")
    tree["data"]["tta"] = "filp"
    del tree["name"]
    assert {line.split(":")[0].strip() for line in _said(tree)} == {
        "train.epochs",
        "train.lerning",
        "model.backbone.name",
        "data.tta",
        "name",
    }


def test_all_names_of_heads_that_do_not_exist_are_told_at_once():
    tree = _with("train.losses.emotoin", {})
    tree["train"]["consistency"][0] |= {"vad": "x", "classification": "y"}
    assert [line.split(":")[0].strip() for line in _said(tree)] == [
        "train.losses.emotoin",
        "train.consistency.0.classification",
        "train.consistency.0.vad",
    ]
    assert all("Allowed: emotion, affect." in line for line in _said(tree))


def test_a_long_value_is_shortened_in_the_message():
    (line,) = _said(_with("train.precision", "x" * 100_000))
    assert len(line) < 400


def test_wrong_options_of_all_components_are_told_at_once_with_their_paths():
    tree = _with("model.backbone.widht", 3)
    tree["model"]["heads"]["affect"]["dimensions"] = ["valence", "arousel"]
    tree["train"]["losses"]["emotion"]["label_smothing"] = 0.1
    tree["train"]["consistency"][0]["tabel"] = "x"
    tree["data"]["smaples"] = 7
    with pytest.raises(RecipeError) as caught:
        resolve_recipe(parse_recipe(tree))
    text = str(caught.value)
    for expected in (
        "model.backbone.widht: unknown key. Did you mean 'width'?",
        "model.heads.affect.dimensions.1: should be",
        "(given: 'arousel') Did you mean 'arousal'?",
        "train.losses.emotion.label_smothing: unknown key. Did you mean 'label_smoothing'?",
        "train.consistency.0.tabel: unknown key. Did you mean 'table'?",
        "data.smaples: unknown key. Did you mean 'samples'?",
    ):
        assert expected in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name = ", "is not valid TOML"),
        (b"a = 1\na = 2", "is not valid TOML"),
        (b"name = '\xff'", "is not valid TOML"),
        (b"a = " + b"[" * 100_000, "is not valid TOML"),
        (b"a = " + b"1" * 5000, "is not valid TOML"),
        (b"a = " + b"[" * 50 + b"]" * 50, "nested deeper than 32 levels"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_by_name(tmp_path, content, said):
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_a_recipe_is_found_as_a_file_a_folder_or_a_zoo_name(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(TEXT)
    expected = parse_recipe(BASE)
    assert load_recipe(path) == load_recipe(str(path)) == load_recipe(tmp_path) == expected
    assert (
        recipe_path("zoo:mini-fer2013") == recipe_path("mini-fer2013") == ZOO / "mini-fer2013" / "recipe.toml"
    )
    with pytest.raises(RecipeError, match=r"there is no recipe file .*none\.toml"):
        load_recipe(tmp_path / "none.toml")
    with pytest.raises(UnknownModelError, match="Did you mean 'mini-fer2013'"):
        load_recipe("mini-fer213")


def test_a_bare_word_is_never_taken_for_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "recipe.toml").write_text(TEXT)
    with pytest.raises(UnknownModelError, match="the zoo has no model 'toy'"):
        load_recipe("toy")
    assert load_recipe("./toy").name == "toy"


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("train.epochs=3", "train.epochs", 3),
        ("train.epochs = 3 ", "train.epochs", 3),
        ("train.optimizer.lr=1e-3", "train.optimizer.lr", 1e-3),
        ("train.augment.shift=false", "train.augment.shift", False),
        ("train.precision=fp32", "train.precision", "fp32"),
        ("train.precision = fp32 ", "train.precision", "fp32"),
        ('name="quoted text"', "name", "quoted text"),
        ("model.backbone.name=emozoo:resnet18", "model.backbone.name", "emozoo:resnet18"),
        ("model.labels=['a', 'b']", "model.labels", ["a", "b"]),
        ("train.losses={emotion = {weight = 2}}", "train.losses", {"emotion": {"weight": 2}}),
        ("train.consistency.0.weight=2", "train.consistency.0.weight", 2),
        ("train.consistency.0={name = 'step'}", "train.consistency.0", {"name": "step"}),
        ("train.schedule.name=step", "train.schedule.name", "step"),
        ("data.root=/a b/c=d", "data.root", "/a b/c=d"),
        ("data.root=2020-01-02", "data.root", "2020-01-02"),
        ("data.root=nan", "data.root", "nan"),
        ("data.root=1\nother = 2", "data.root", "1\nother = 2"),
        ("data.root=", "data.root", ""),
        ("train.init='null'", "train.init", "null"),
    ],
)
def test_an_override_takes_a_toml_value_or_else_text(assignment, path, value):
    changed = override(BASE, [assignment])
    node: Any = changed
    for key in path.split("."):
        node = node[int(key) if isinstance(node, list) else key]
    assert node == value
    assert type(node) is type(value)
    assert tomllib.loads(TEXT) == BASE, "the given tree has changed"


@pytest.mark.parametrize(
    ("assignment", "parent", "left"),
    [
        ("train.losses=null", "train", ["epochs", "consistency"]),
        ("train.epochs = null ", "train", ["losses", "consistency"]),
        ("train.consistency.0.weight=null", "train.consistency.0", ["name"]),
        ("train.consistency.0=null", "train.consistency", []),
        ("train.init=null", "train", ["epochs", "losses", "consistency"]),
        ("train.augment.flip=null", "train", ["epochs", "losses", "consistency"]),
    ],
)
def test_null_leaves_a_key_out_and_makes_no_table_on_the_way_to_it(assignment, parent, left):
    node: Any = override(BASE, [assignment])
    for key in parent.split("."):
        node = node[int(key) if isinstance(node, list) else key]
    assert sorted(node) == sorted(left)
    assert tomllib.loads(TEXT) == BASE, "the given tree has changed"


def test_what_is_left_out_of_a_recipe_has_its_default():
    recipe = parse_recipe(override(BASE, ["train.epochs=null", "train.losses.emotion=null"]))
    assert recipe.train.epochs == Train().epochs
    assert recipe.train.losses == {}


def test_overrides_are_made_in_order_and_leave_the_rest_alone():
    changed = override(BASE, ["train.epochs=3", "train.epochs=4", "train.schedule.name=none"])
    expected = copy.deepcopy(BASE)
    expected["train"] |= {"epochs": 4, "schedule": {"name": "none"}}
    assert changed == expected


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("train.epochs", "write KEY.PATH=VALUE, such as train.epochs=3"),
        ("=3", "write KEY.PATH=VALUE"),
        ("train..epochs=3", "write KEY.PATH=VALUE"),
        (".=3", "write KEY.PATH=VALUE"),
        ("train.epochs.deep=3", "'epochs' is a value, not a table"),
        ("train.epochs.deep=null", "'epochs' is a value, not a table"),
        ("train.consistency.1=null", "'1' is not an index of a list of 1"),
        ("train.consistency.1.weight=3", "'1' is not an index of a list of 1"),
        ("train.consistency.-1.weight=3", "'-1' is not an index of a list of 1"),
        ("train.consistency.²=3", "'²' is not an index of a list of 1"),
        ("train.consistency.weight=3", "'weight' is not an index of a list of 1"),
    ],
)
def test_an_override_that_makes_no_sense_is_quoted_and_explained(assignment, said):
    with pytest.raises(RecipeError) as caught:
        override(BASE, [assignment])
    assert str(caught.value).startswith(f"--set {assignment!r}: ")
    assert said in str(caught.value)


def test_an_override_is_checked_like_the_file_itself(tmp_path):
    path = tmp_path / "toy.toml"
    path.write_text(TEXT)
    assert load_recipe(path, ["train.epochs=7"]).train.epochs == 7
    with pytest.raises(RecipeError, match=r"train\.epochs: should be a valid integer \(given: 'seven'\)"):
        load_recipe(path, ["train.epochs=seven"])


def test_showing_a_recipe_fills_in_the_defaults_of_its_components_and_qualifies_their_names():
    shown = resolve_recipe(parse_recipe(BASE))
    backbone = {"name": "emozoo:resnet18", "stem": "imagenet", "width": 8, "strides": [1, 2, 2, 2]}
    assert shown["model"]["backbone"] == backbone
    assert shown["model"]["heads"]["affect"]["dimensions"] == ["valence", "arousal", "dominance"]
    assert shown["data"]["name"] == "emozoo:synthetic"
    assert shown["data"]["samples"] == 70
    assert "seed" in shown["data"]
    assert shown["train"]["batch_size"] == 64
    assert shown["train"]["losses"]["emotion"]["label_smoothing"] == 0.1
    assert shown["train"]["losses"]["affect"]["weight"] == 1.0
    assert shown["train"]["consistency"][0]["name"] == "emozoo:graded"


@pytest.mark.parametrize(
    ("optimizer", "momentum"),
    [({}, 0.9), ({"name": "sgd", "momentum": 0.5}, 0.5), ({"momentum": 0.0}, 0.0), ({"name": "adamw"}, None)],
)
def test_the_momentum_of_sgd_is_shown_and_on_record_and_other_optimisers_have_none(optimizer, momentum):
    recipe = parse_recipe(_with("train.optimizer", optimizer))
    for tree in (resolve_recipe(recipe), recipe_record(recipe)):
        assert tree["train"]["optimizer"].get("momentum") == momentum
    assert parse_recipe(BASE).resolved()["train"]["optimizer"]["momentum"] == 0.9


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.parent.name)
def test_what_is_shown_reads_back_as_the_same_recipe(path):
    shown = resolve_recipe(load_recipe(path))
    assert json.loads(json.dumps(shown)) == shown
    assert resolve_recipe(parse_recipe(shown)) == shown


def test_what_is_shown_reads_back_with_a_family_member_an_aggregator_and_costs():
    tree = _with("model.backbone", {"name": "timm/resnet34", "drop_path_rate": 0.1})
    tree["model"]["aggregator"] = {"name": "mean"}
    tree["train"]["losses"]["emotion"]["class_weights"] = [1.0, 2.0]
    shown = resolve_recipe(parse_recipe(tree))
    assert shown["model"]["backbone"]["name"] == "emozoo:timm/resnet34"
    assert shown["model"]["aggregator"] == {"name": "emozoo:mean"}
    assert shown["train"]["losses"]["emotion"]["class_weights"] == [1.0, 2.0]
    assert resolve_recipe(parse_recipe(shown)) == shown


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.parent.name)
def test_every_recipe_of_the_zoo_builds_and_is_called_like_its_folder(path):
    import torch

    from emozoo.model import EmotionModel

    recipe = load_recipe(path)
    assert recipe.name == path.parent.name
    with torch.device("meta"):
        model = EmotionModel(recipe.model)
    assert set(model.heads) == set(recipe.model.heads)
    assert model.config.model_dump(mode="json") == resolve_recipe(recipe)["model"]


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates()
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
PATHS = [
    "name", "model", "model.labels", "model.preprocess", "model.preprocess.size", "model.preprocess.mean",
    "model.backbone", "model.backbone.name", "model.backbone.width", "model.aggregator", "model.heads",
    "model.heads.emotion", "data", "data.name", "data.labels", "train", "train.epochs", "train.optimizer",
    "train.schedule.final", "train.augment", "train.losses", "train.losses.emotion", "train.consistency",
    "train.consistency.0", "train.consistency.0.vad", "card.title", "unknown", "unknown.deep",
]  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(st.text(max_size=8) | st.sampled_from(list(BASE)), TREES, max_size=5))
def test_any_tree_is_a_recipe_or_raises_a_recipe_error(tree):
    with pytest.raises(RecipeError, match=r"^recipe:\n"):
        parse_recipe(tree)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(PATHS), TREES), min_size=1, max_size=3))
def test_any_change_of_a_recipe_gives_one_that_reads_back_or_raises_a_recipe_error(changes):
    tree = copy.deepcopy(BASE)
    for path, value in changes:
        try:
            tree = override(tree, [f"{path}=x"])
        except RecipeError:
            continue
        *parents, last = path.split(".")
        node: Any = tree
        for key in parents:
            node = node[int(key) if isinstance(node, list) else key]
        node[int(last) if isinstance(node, list) else last] = value
    try:
        recipe = parse_recipe(tree)
    except RecipeError:
        return
    assert isinstance(recipe, Recipe)
    assert parse_recipe(recipe.resolved()) == recipe


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=30), st.text(max_size=30))
def test_any_assignment_is_made_or_raises_a_recipe_error(path, value):
    try:
        changed = override(BASE, [f"{path}={value}"])
    except RecipeError:
        return
    assert json.loads(json.dumps(changed)) == changed
