"""Runs with heads of others: what keeps the contract is trained, measured, drawn and recorded to the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from small import install

from emozoo import testing
from emozoo.recipe import Recipe
from emozoo.records import read_record
from emozoo.training.run import train

CODE = """
import torch.nn.functional as F
from torch import nn
from emozoo.evaluation.metrics import classification_measure, vad_measure
from emozoo.labels import DIMENSIONS

class Pleasure(nn.Module):
    task, dimensions, out_features = "vad", ("dominance", "valence"), 2
    def __init__(self, in_features, labels):
        super().__init__()
        self.linear = nn.Linear(in_features, self.out_features)
    def forward(self, features): return self.linear(features).tanh()
    def wanted(self, targets): return targets.vad[:, [DIMENSIONS.index(name) for name in self.dimensions]]
    def criterion(self, train):
        def loss(output, targets):
            wanted = self.wanted(targets)
            error = (output - wanted.nan_to_num()).square().where(~wanted.isnan(), 0)
            return error.sum() / (~wanted.isnan()).sum().clamp(min=1)
        return loss
    def decode(self, output):
        return [dict(zip(self.dimensions, row)) for row in output.tolist()]
    def measure(self, output, targets, *, resamples=0):
        return vad_measure(output, self.wanted(targets), self.dimensions, resamples=resamples)

class Category(nn.Module):
    task = "classification"
    def __init__(self, in_features, labels):
        super().__init__()
        self.labels, self.out_features = labels, len(labels)
        self.linear = nn.Linear(in_features, self.out_features)
    def forward(self, features): return self.linear(features)
    def known(self, targets): return ~targets.label.isnan().any(1)
    def criterion(self, train):
        def loss(output, targets):
            rows = self.known(targets)
            each = -(output.log_softmax(1) * targets.label.nan_to_num()).sum(1)
            return each.where(rows, 0).sum() / rows.sum().clamp(min=1)
        return loss
    def decode(self, output):
        rows = output.softmax(1)
        return [{"label": self.labels[int(row.argmax())], "probabilities": dict(zip(self.labels, row.tolist()))}
                for row in rows]
    def measure(self, output, targets, *, resamples=0):
        rows = self.known(targets)
        return classification_measure(
            output[rows].softmax(1), targets.label[rows].argmax(1), self.labels, resamples=resamples)

class Terse(Category):
    def measure(self, output, targets, *, resamples=0):
        measured = super().measure(output, targets)
        return {"n": measured["n"], "primary": "accuracy", "metrics": {"accuracy": measured["metrics"]["accuracy"]}}

class Word(Category):
    task = "word"
"""
"""Two heads for emozoo's own tasks; one that says of categories less than the contract asks; one for another task."""


@pytest.fixture
def heads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = {f"heads/{name.lower()}": name for name in ("Pleasure", "Category", "Terse", "Word")}
    install(monkeypatch, tmp_path, "emozoo-others", "1.0", names, CODE)


@pytest.mark.usefixtures("heads")
@pytest.mark.parametrize("name", ["pleasure", "category", "word"])
def test_a_run_with_a_head_that_keeps_the_contract_ends_with_a_record_and_its_pictures(
    name: str, tiny_recipe, tmp_path: Path
) -> None:
    testing.check_head(name)
    folder = train(_of(tiny_recipe, name), tmp_path / "run", cpu=True)
    assert read_record(folder)["result"]["heads"]["own"]["n"] == 70
    drawn = {"pleasure": {"own_scatter.png"}}.get(name, {"own_confusion.png", "own_reliability.png"})
    assert drawn <= {path.name for path in folder.iterdir()}


@pytest.mark.usefixtures("heads")
def test_a_head_that_measures_less_than_the_contract_asks_loses_no_run(tiny_recipe, tmp_path: Path) -> None:
    from emozoo.cli.output import result_lines

    result = read_record(train(_of(tiny_recipe, "terse"), tmp_path / "run", cpu=True))["result"]
    assert list(result["heads"]["own"]["metrics"]) == ["accuracy"]
    assert any("accuracy" in line for line in result_lines(result))


def _of(tiny_recipe: Callable[..., Recipe], name: str) -> Recipe:
    return tiny_recipe("train.epochs=1", f"model.heads={{own={{name='{name}'}}}}")
