"""Nothing computes on another device than its input's: run on a GPU that is not there.

PyTorch's fake tensors have a shape, a type and a device, and no content, so that a GPU is not needed to find a
tensor that was left on the CPU: an operation on tensors of two devices raises, as it would on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from emozoo.contracts import Targets
from emozoo.cost import input_shape
from emozoo.data.augment import Augmenter
from emozoo.data.preprocess import Preprocessor
from emozoo.model import EmotionModel
from emozoo.recipe import Recipe, load_recipe
from emozoo.training.objective import Learner
from emozoo.zoo import entries

BATCH = 2
NAMES = [
    entry.name for entry in entries() if entry.recipe["model"].get("aggregator", {}).get("name") != "lstm"
]
"""An LSTM's packed sequences have the shape that lengths, which are content, give them."""

GPU = "cuda"


@contextmanager
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compute with tensors that have no content; those that have some lie on the CPU."""
    tensor = torch.tensor

    def without_content(data: Any, *, device: Any = "cpu", **options: Any) -> torch.Tensor:
        made = tensor(data, **options)  # it has content: it could not be made on a GPU that is not there
        return torch.empty(made.shape, dtype=made.dtype, device=device)

    with monkeypatch.context() as patch, FakeTensorMode(allow_non_fake_inputs=True):
        patch.setattr(torch, "tensor", without_content)
        yield


def moved(module: Any) -> Any:
    """A module with all that `Module.to` moves on the GPU: parameters and buffers."""
    for part in module.modules():
        for name, value in part._parameters.items():
            if value is not None:
                place = torch.empty(value.shape, dtype=value.dtype, device=GPU)
                part._parameters[name] = nn.Parameter(place, value.requires_grad)
        for name, value in part._buffers.items():
            if value is not None:
                part._buffers[name] = torch.empty(value.shape, dtype=value.dtype, device=GPU)
    return module


def some_input(recipe: Recipe, device: str) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Input of a model as `forward` takes it, and a mask for videos."""
    shape = input_shape(recipe.model)
    x = torch.zeros(BATCH, *shape, device=device)
    return x, torch.ones(BATCH, *shape[:2], dtype=torch.bool, device=device) if len(shape) == 5 else None


def some_targets(recipe: Recipe, device: str) -> Targets:
    label = torch.ones(BATCH, len(recipe.model.labels), device=device) / len(recipe.model.labels)
    return Targets(label, torch.zeros(BATCH, 3, device=device))


def step(learner: Learner, recipe: Recipe) -> set[str]:
    """Compute the loss; return the devices of its parts. Gradients would want a real GPU."""
    x, _ = some_input(
        recipe, GPU
    )  # in training, the content of a mask says how many frames the backbone sees
    total, parts = moved(learner).train()(x, some_targets(recipe, GPU))
    return {value.device.type for value in (total, *parts.values())}


def learner_of(recipe: Recipe) -> Learner:
    return Learner(EmotionModel(recipe.model), recipe.train, some_targets(recipe, "cpu"))


def test_a_tensor_that_was_left_on_the_cpu_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    left = torch.zeros(2)
    with on_a_gpu(monkeypatch), pytest.raises(RuntimeError, match="same device"):
        torch.zeros(2, device=GPU) + left


@pytest.mark.parametrize("name", NAMES)
def test_a_model_of_the_zoo_runs_where_its_weights_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe(name)
    with on_a_gpu(monkeypatch):
        model, (x, mask) = moved(EmotionModel(recipe.model)).eval(), some_input(recipe, GPU)
        output = model(
            x, mask if model.input_kind == "frames" else None
        )  # a mask's content gives clips their length
    for value in (*output.heads.values(), output.features, output.clip_weights, output.frame_weights):
        assert value is None or value.device.type == GPU


@pytest.mark.parametrize("tta", ["none", "flip", "ten-crop"])
@pytest.mark.parametrize("name", ["vad-mini-fer2013", "ceflnet-planted"])
def test_decoded_pixels_are_taken_to_the_model(name: str, tta: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe(name)
    side = recipe.model.preprocess.size
    with on_a_gpu(monkeypatch):
        x, mask = some_input(recipe, "cpu")
        media = torch.zeros(*x.shape[:-2], side, side, dtype=torch.uint8)
        outputs = moved(EmotionModel(recipe.model)).predict_outputs(media, tta, mask)
    assert {value.device.type for value in outputs.values()} == {GPU}


@pytest.mark.parametrize("name", NAMES)
def test_a_step_of_every_recipe_of_the_zoo_is_computed_there(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(name)
    learner = learner_of(recipe)
    with on_a_gpu(monkeypatch):
        assert step(learner, recipe) == {GPU}


OBJECTIVES = {
    "expected-hinge": "train.consistency=[{name='expected-hinge'}]",
    "expected-cost": "train.consistency=[{name='expected-cost'}]",
    "straight-through": "train.consistency=[{name='straight-through'}]",
    "graded": "train.consistency=[{name='graded'}]",
    "prototype": "train.consistency=[{name='prototype'}]",
    "annotated prototypes": "train.consistency=[{name='prototype', prototypes='annotated'}]",
    "orthogonality": "train.orthogonal=0.1",
    "balanced classes": "train.losses.emotion={class_weights='balanced', label_smoothing=0.1}",
    "binary losses": "train.losses.emotion={loss='bce'}",
    "CCC": "train.losses.vad={ccc=0.5}",
    "prior VAD": "train.losses.vad={prior=0.5}",
}


@pytest.mark.parametrize("change", OBJECTIVES.values(), ids=OBJECTIVES)
def test_a_term_of_the_loss_is_computed_there(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe("vad-mini-fer2013", ["train.freeze=false", change])
    learner = learner_of(recipe)
    with on_a_gpu(monkeypatch):
        assert step(learner, recipe) == {GPU}


@pytest.mark.parametrize("colour", ["grey", "rgb"])
def test_images_change_where_they_are(colour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    channels = {"grey": [0.5], "rgb": [0.5] * 3}[colour]
    preprocess = f"model.preprocess={{size=48, crop=44, colour='{colour}', mean={channels}, std={channels}}}"
    saturation = {"grey": 0, "rgb": 0.2}[colour]
    changes = f"rotate=10, scale=0.1, brightness=0.2, contrast=0.2, saturation={saturation}, erase=0.5"
    recipe = load_recipe("mini-fer2013", [preprocess, f"train.augment={{{changes}}}"])
    augmenter = Augmenter(recipe.train.augment, Preprocessor(recipe.model.preprocess))
    with on_a_gpu(monkeypatch):
        images = torch.zeros(BATCH, recipe.model.preprocess.channels, 48, 48, dtype=torch.uint8, device=GPU)
        changed = augmenter(images, augmenter.draw(BATCH, np.random.default_rng(0)))
    assert changed.device.type == GPU
