"""A model's figures are validation figures too where the reported split chose a model that it comes from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from emozoo.cli.train import _say
from emozoo.folder import load_model, write_manifest
from emozoo.recipe import Distillation
from emozoo.records import read_record
from emozoo.selection import chosen_by_report, inherited, origin
from emozoo.training.distillation import Teachers
from emozoo.training.run import train

NOTE = (
    "These are validation figures: the split that they are measured on also chose the checkpoint of first, "
    "which this model comes from."
)


@pytest.fixture(scope="module")
def first(tiny_recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of a run whose checkpoint was chosen on the split test."""
    recipe = tiny_recipe("name=first", "train.epochs=1", "data.select=test", "data.report=null")
    return train(recipe, tmp_path_factory.mktemp("first") / "run", cpu=True) / "model"


@pytest.fixture
def choice(first: Path) -> dict[str, str]:
    """What chose the first model, as records of the models that come from it keep it."""
    chosen = read_record(first)["data"]["roles"]["select"]["fingerprint"]
    return {"model": "first", "dataset": "Synthetic faces", "split": "test", "fingerprint": chosen}


def test_a_run_that_keeps_its_last_epoch_reports_validation_figures_where_its_start_was_chosen_on_them(
    tiny_recipe, first: Path, choice, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny_recipe("train.epochs=1", "train.select_by=last", f"train.init='dir:{first}'")
    folder = train(recipe, tmp_path / "run", cpu=True)
    assert read_record(folder)["init"]["choices"] == [choice]
    assert NOTE in (folder / "report.md").read_text()
    _say(folder)
    assert NOTE in capsys.readouterr().out
    card = (folder / "model" / "README.md").read_text()
    assert "the one that chose the checkpoint of first, which this model comes from, so they" in card
    assert "| comes from | first, whose checkpoint was chosen on `test` of Synthetic faces |" in card
    assert "nothing was chosen" not in card
    assert origin(load_model(folder / "model", "cpu").source)["choices"] == [choice], "it is handed on"


def test_a_teacher_hands_on_what_it_was_chosen_on(first: Path, choice) -> None:
    taught = Distillation(teachers=[f"dir:{first}"])
    teachers = Teachers(taught, load_model(first, "cpu"), torch.device("cpu"))
    assert inherited({"init": None, "teachers": teachers.record()}) == [choice]


@pytest.mark.parametrize(
    "content",
    [None, "{}", '{"selected_on": "test", "data": 3}', '{"selected_on": null, "teachers": [{}]}',
     '{"selected_on": null, "init": {"choices": [{"model": "a", "split": 3}]}}'],
    ids=["none", "empty", "no data", "no source", "no name of a split"],
)  # fmt: skip
def test_of_a_model_without_a_record_that_says_it_no_choice_is_known(
    first: Path, tmp_path: Path, content
) -> None:
    start = tmp_path / "start"
    shutil.copytree(first, start)
    (start / "run.json").unlink() if content is None else (start / "run.json").write_text(content)
    write_manifest(start)
    assert origin(load_model(start, "cpu").source)["choices"] == [{"model": "start"}]


def test_a_split_of_the_same_name_in_another_dataset_has_chosen_nothing_here(first: Path, choice) -> None:
    record = json.loads((first / "run.json").read_text()) | {"selected_on": "validation"}
    record["init"] = {"source": "first", "choices": [choice | {"dataset": "Drawings"}]}
    assert chosen_by_report(record) == ""
    record["init"]["choices"].append(choice)
    assert chosen_by_report(record) == "the checkpoint of first, which this model comes from"
