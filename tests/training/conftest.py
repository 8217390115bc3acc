"""A recipe small enough to train in a second."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emozoo.recipe import Recipe, override, parse_recipe

TINY = {
    "name": "tiny",
    "model": {
        "preprocess": {"size": 24, "crop": 20},
        "backbone": {"name": "resnet18", "stem": "strided", "width": 4},
        "heads": {"emotion": {"name": "classification", "dropout": 0.3}, "vad": {"name": "vad"}},
    },
    "data": {
        "name": "synthetic", "size": 24, "samples": 140, "validation_samples": 70, "test_samples": 70,
        "select": "validation", "report": "test",
    },
    "train": {"epochs": 2, "batch_size": 20, "precision": "fp32", "optimizer": {"name": "adamw", "lr": 0.01}},
}  # fmt: skip


@pytest.fixture(scope="session")
def tiny_recipe() -> Callable[..., Recipe]:
    """Return a function that makes the tiny recipe with overrides such as "train.epochs=1"."""

    def make(*overrides: str) -> Recipe:
        return parse_recipe(override(TINY, overrides))

    return make
