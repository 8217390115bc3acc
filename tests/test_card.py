"""Cards say what the record says, and nothing that is not in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from emozoo.card import BEGIN, END, render_card
from emozoo.zoo import entries

TRAINED = [entry for entry in entries() if entry.record is not None]


@pytest.mark.parametrize("entry", TRAINED, ids=[entry.name for entry in TRAINED])
def test_every_committed_card_is_what_its_record_renders_to(entry) -> None:
    written = entry.folder / "card.md"
    pictures = tuple(f"pictures/{path.name}" for path in sorted((entry.folder / "pictures").glob("*.png")))
    text = render_card(entry.record, written.read_text() if written.exists() else "", pictures)
    assert (entry.folder / "README.md").read_text() == text


@pytest.mark.parametrize("entry", TRAINED, ids=[entry.name for entry in TRAINED])
def test_every_committed_record_belongs_to_the_committed_recipe(entry) -> None:
    from emozoo.recipe import load_recipe
    from emozoo.training.record import recipe_record

    assert entry.record["recipe"] == recipe_record(load_recipe(entry.recipe_file))


@pytest.mark.parametrize("entry", TRAINED, ids=[entry.name for entry in TRAINED])
def test_every_committed_record_names_no_machine(entry) -> None:
    text = json.dumps(entry.record)
    assert "/home/" not in text
    assert "/tmp/" not in text
    assert entry.record["recipe"]["data"]["root"] is None


@pytest.mark.parametrize("entry", TRAINED, ids=[entry.name for entry in TRAINED])
def test_a_cards_header_is_yaml_with_library_split_and_value(entry) -> None:
    text = (entry.folder / "README.md").read_text()
    header = yaml.safe_load(text.split("---\n")[1])
    assert header["library_name"] == "emozoo"
    result = header["model-index"][0]["results"][0]
    assert result["dataset"]["split"] == entry.record["result"]["split"]
    assert {"accuracy"} <= {metric["type"] for metric in result["metrics"]}
    assert text.count(BEGIN) == text.count(END) == 1


def test_figures_of_the_split_that_chose_the_checkpoint_are_called_validation_figures() -> None:
    entry = next(entry for entry in TRAINED if entry.record["selected_on"] == entry.record["reported_on"])
    assert "**These figures are validation figures:**" in (entry.folder / "README.md").read_text()


def test_the_hub_reads_the_header() -> None:
    from huggingface_hub import ModelCard

    card = ModelCard((TRAINED[0].folder / "README.md").read_text(), ignore_metadata_errors=False)
    assert card.data.library_name == "emozoo"
    assert card.data.eval_results


def test_nothing_is_left_to_fill_in() -> None:
    for path in (Path(entry.folder) / "README.md" for entry in TRAINED):
        text = path.read_text()
        assert not [word for word in ("TODO", "More Information Needed", "None", "nan") if word in text]
