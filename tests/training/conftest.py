"""A recipe small enough to train in a second, as an object."""

from __future__ import annotations

import tomllib
from collections.abc import Callable

import pytest
from small import RECIPE

from emozoo.recipe import Recipe, override, parse_recipe


@pytest.fixture(scope="session")
def tiny_recipe() -> Callable[..., Recipe]:
    """Return a function that makes the tiny recipe with overrides such as "train.epochs=1"."""

    def make(*overrides: str) -> Recipe:
        return parse_recipe(override(tomllib.loads(RECIPE), overrides))

    return make
