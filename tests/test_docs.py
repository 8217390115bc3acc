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
from emozoo.training.sweep import Sweep, load_sweep, plan
from emozoo_datasets.fer2013 import Fer2013

TEXT = (Path(__file__).parents[1] / "docs" / "recipe.md").read_text(encoding="utf-8")
WORDS = re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL)


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


TABLES = [ModelConfig, Data, Train, Card, Sweep]


@pytest.mark.parametrize("table", TABLES)
def test_the_reference_names_every_key(table: type[BaseModel]) -> None:
    named = set(re.findall(r"`([^`]+)`", WORDS))
    assert [key for key in keys(table) if key not in named] == []


def test_the_reference_names_every_option_of_fer2013() -> None:
    assert [name for name in option_names(Fer2013) if f"`{name}`" not in TEXT] == []


def test_the_reference_names_no_key_that_there_is_not() -> None:
    known = {key for table in TABLES for key in keys(table)}
    known |= set(option_names(Fer2013))
    first_cells = re.findall(r"^\| (`[^|]+`) \|", TEXT, re.MULTILINE)
    named = [key for cell in first_cells for key in re.findall(r"`([^`]+)`", cell)]
    assert [key for key in named if key not in known] == []


def test_the_sweep_of_the_reference_is_one_that_runs(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(
        next(text for text in re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL) if "[[variant]]" in text)
    )
    sweep = load_sweep(path)
    assert len(plan(sweep, sweep.recipe, (), tmp_path)) == 4 * 3
