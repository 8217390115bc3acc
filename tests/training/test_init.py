"""Which weights a run takes from the model that it starts from, and what is said of those that it does not take."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from emozoo.errors import EmozooWarning
from emozoo.model import EmotionModel
from emozoo.recipe import Recipe
from emozoo.training.init import initialise

Make = Callable[..., Recipe]


def separate(copies: int = 2) -> list[str]:
    """Settings of a model with a network for each head."""
    one = "{name='resnet18', stem='strided', width=8}"
    return [
        f"model.backbone={{name='separate', copies={copies}, backbone={one}}}",
        f"model.heads.emotion.part=[1, {copies}]",
        f"model.heads.vad.part=[2, {copies}]",
    ]


def started(make: Make, folder: Path, before: list[str], now: list[str]) -> tuple[EmotionModel, EmotionModel]:
    """Return a saved model, and another that starts from it."""
    torch.manual_seed(0)
    source = EmotionModel(make(*before).model)
    source.save(folder)
    recipe = make(*now, f"train.init='dir:{folder}'")
    torch.manual_seed(1)
    model = EmotionModel(recipe.model)
    initialise(model, recipe)
    return source, model


def same(one: EmotionModel, other: EmotionModel) -> dict[str, bool]:
    """Return whether two models have equal values of each tensor."""
    mine, its = one.state_dict(), other.state_dict()
    return {name: name in its and torch.equal(mine[name], its[name]) for name in mine}


def test_a_model_of_several_networks_starts_from_those_of_another(tiny_recipe: Make, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source, model = started(tiny_recipe, tmp_path / "m", separate(), separate())
    assert all(same(source, model).values())


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (separate(), [], "fits backbone by name"),
        (separate(2), separate(3), r"fits backbone\.copies\.2 by name"),
        ([], ["model.backbone={name='c3d'}", "model.aggregator={name='mean'}"], "fits backbone by name"),
    ],
    ids=["one from several", "more than there were", "another kind"],
)
def test_a_backbone_that_nothing_fits_is_warned_of(
    tiny_recipe: Make, tmp_path: Path, before: list[str], now: list[str], said: str
) -> None:
    head = ["model.heads.extra.name=vad", "model.heads.extra.hidden=[4, 4]"]  # one whose tensors fit
    with pytest.warns(EmozooWarning, match=f"train.init: dir:.*: none of its tensors {said}"):
        started(tiny_recipe, tmp_path / "m", before + head, now + head)


def test_the_copies_of_a_start_may_be_of_other_options_too_and_that_is_warned_of(
    tiny_recipe: Make, tmp_path: Path
) -> None:
    strides = "model.backbone.backbone.strides=[1, 1, 2, 2]"
    with pytest.warns(EmozooWarning, match=r"model\.backbone\.strides: was"):
        started(tiny_recipe, tmp_path / "m", separate(), [*separate(), strides])


@pytest.mark.parametrize(
    ("before", "now", "head", "said"),
    [
        (
            "model.labels=['angry', 'happy', 'sad']",
            "model.labels=['happy', 'sad', 'angry']",
            "emotion",
            "the labels happy, sad, angry; there they stand for the labels angry, happy, sad",
        ),
        (
            "model.labels=['angry', 'happy', 'sad']",
            "model.labels=['angry', 'happy', 'fear']",
            "emotion",
            "the labels angry, happy, fear; there they stand for the labels angry, happy, sad",
        ),
        (
            "model.heads.vad.dimensions=['arousal', 'valence']",
            "model.heads.vad.dimensions=['valence', 'arousal']",
            "vad",
            "the dimensions valence, arousal; there they stand for the dimensions arousal, valence",
        ),
        (
            "model.heads={emotion={name='classification'}, vad={name='vad'}, other={name='classification'}}",
            "model.heads={emotion={name='classification'}, vad={name='vad'}, other={name='vad'}}",
            "other",
            "the dimensions valence, arousal, dominance; there they stand for the labels angry, disgust",
        ),
    ],
    ids=["order", "names", "dimensions", "tasks"],
)
def test_a_head_whose_outputs_mean_something_else_than_those_of_the_start_begins_anew(
    tiny_recipe: Make, tmp_path: Path, before: str, now: str, head: str, said: str
) -> None:
    said = f"head {head!r} begins with random weights: its outputs stand for {said}"
    with pytest.warns(EmozooWarning, match=said):
        source, model = started(tiny_recipe, tmp_path / "m", [before], [now])
    fits = same(model, source)
    assert not any(equal for name, equal in fits.items() if name.startswith(f"heads.{head}.layers"))
    assert all(equal for name, equal in fits.items() if not name.startswith(f"heads.{head}."))
