"""Starting a run from the weights of a model."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor

from emozoo.errors import EmozooWarning, TrainingError, WeightsUnavailableError
from emozoo.model import EmotionModel
from emozoo.recipe import Recipe
from emozoo.records import changes
from emozoo.selection import origin

NETWORK = re.compile(r"^backbone\.(copies\.\d+\.)?")
"""What the weights of a backbone, or of a copy in one of several, begin with."""


def initialise(model: EmotionModel, recipe: Recipe) -> dict[str, Any] | None:
    """Copy the weights that fit from the model folder of train.init, and return what the record says of it.

    Weights fit by name and shape; those of a head also need its labels or dimensions, in their order. What begins
    with random weights for all that is warned of.

    Raises:
        TrainingError: no weights fit.
        WeightsUnavailableError: the model of the zoo has none.
    """
    init = recipe.train.init
    if init is None:
        return None
    from emozoo.zoo import load

    try:
        source = load(init, "cpu")
    except WeightsUnavailableError as error:
        of_run = f"--set train.init=dir:runs/{init}/model"
        raise WeightsUnavailableError(f"train.init: {error}\n  or start from a run of it: {of_run}") from None
    own, others = model.state_dict(), _other_heads(source, model)
    left_out = tuple(f"heads.{name}." for name in others)
    fitting = _fitting(source.state_dict(), {n: v for n, v in own.items() if not n.startswith(left_out)})
    if not fitting:
        raise TrainingError(f"train.init: no tensor of {init} fits this model by name and shape")
    model.load_state_dict(fitting, strict=False)
    for note in (*others.values(), *_unfit(own, fitting), *_unlike(source, model)):
        warnings.warn(f"train.init: {init}: {note}", EmozooWarning, stacklevel=2)
    return {**origin(source.source), "tensors": len(fitting), "of": len(own)}


def _fitting(source: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the source's tensors that a model can take; each copy in a backbone of several can take the only one."""
    found = {name: source.get(name, source.get(NETWORK.sub("backbone.", name))) for name in own}
    return {
        name: value for name, value in found.items() if value is not None and own[name].shape == value.shape
    }


def _other_heads(source: EmotionModel, model: EmotionModel) -> dict[str, str]:
    """Return the heads whose outputs stand for something else in the model to start from, and what to say of each."""
    its, own = source.meanings(), model.meanings()
    return {
        name: f"head {name!r} begins with random weights: its outputs stand for the {_text(own[name])}; there they "
        f"stand for the {_text(its[name])}"
        for name in own
        if name in its and its[name] != own[name]
    }


def _text(meaning: tuple[str, tuple[str, ...]]) -> str:
    what, names = meaning
    return f"{what} {', '.join(names)}"


def _unfit(own: Iterable[str], fitting: Iterable[str]) -> Iterator[str]:
    """Say which backbone, or which of its copies, has no tensor of the model to start from."""
    for network in sorted(_networks(own) - _networks(fitting)):
        yield (
            f"none of its tensors fits {network} by name and shape, which begins with random weights; give "
            "model.backbone the options of the model to start from"
        )


def _networks(names: Iterable[str]) -> set[str]:
    """Return the backbone that tensors belong to, or those of its copies that they do."""
    return {match[0].rstrip(".") for name in names if (match := NETWORK.match(name))}


def _unlike(source: EmotionModel, model: EmotionModel) -> Iterator[str]:
    """Say in which options the backbones of two models differ, unless they are of different sorts."""
    before, now = (_one_backbone(each) for each in (source, model))
    lines = changes(before, now, "model.backbone") if before["name"] == now["name"] else []
    if lines:
        yield "its weights fit by name and shape, but are of another backbone:\n" + "\n".join(lines)


def _one_backbone(model: EmotionModel) -> dict[str, Any]:
    """Return what a model's backbone is, or each of its copies."""
    tree = model.config.model_dump(mode="json")["backbone"]
    return tree["backbone"] if isinstance(tree.get("backbone"), dict) else tree
