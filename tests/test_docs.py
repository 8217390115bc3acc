"""The reference of recipes names every key there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from emozoo.options import option_names
from emozoo.recipe import Card, CostTerm, Data, Loss, ModelConfig, Part, Train
from emozoo_datasets.fer2013 import Fer2013

TEXT = (Path(__file__).parents[1] / "docs" / "recipe.md").read_text(encoding="utf-8")


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        nested: Any = field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel) and nested is not Part:
            yield from keys(nested, f"{prefix}{name}.")
        elif Loss in get_args(nested):
            yield f"{prefix}{name}.HEAD.weight"
        elif CostTerm in get_args(nested):
            yield from (prefix + name, *CostTerm.model_fields)
        elif name == "heads":
            yield "heads.NAME"
        else:
            yield prefix + name


@pytest.mark.parametrize("table", [ModelConfig, Data, Train, Card])
def test_the_reference_names_every_key(table: type[BaseModel]) -> None:
    named = set(re.findall(r"`([^`]+)`", TEXT))
    assert [key for key in keys(table) if key not in named] == []


def test_the_reference_names_every_option_of_fer2013() -> None:
    assert [name for name in option_names(Fer2013) if f"`{name}`" not in TEXT] == []


def test_the_reference_names_no_key_that_there_is_not() -> None:
    known = {key for table in (ModelConfig, Data, Train, Card) for key in keys(table)}
    known |= set(option_names(Fer2013))
    first_cells = re.findall(r"^\| (`[^|]+`) \|", TEXT, re.MULTILINE)
    named = [key for cell in first_cells for key in re.findall(r"`([^`]+)`", cell)]
    assert [key for key in named if key not in known] == []
