"""The zoo's video systems: recipes that can be built, of the published sizes, with the literature's figures as such."""

from __future__ import annotations

import json
import re

import pytest
import torch
from typer.testing import CliRunner

import emozoo
from emozoo import zoo
from emozoo.card import render_card
from emozoo.cli.app import app
from emozoo.cost import count_macs, count_parameters
from emozoo.errors import WeightsUnavailableError
from emozoo.recipe import load_recipe

READERS = {
    "ceflnet-dfew": "dfew", "ceflnet-afew": "afew", "ceflnet-mmi": "mmi", "ceflnet-bu3dfe": "bu4dfe",
    "fan-dfew": "dfew", "fan-afew": "afew", "lstm-dfew": "dfew", "resnet18-dfew": "dfew",
    "c3d-dfew": "dfew", "c3d-lstm-dfew": "dfew", "r3d18-dfew": "dfew",
}  # fmt: skip
UNTRAINED = [name for name in READERS if zoo.entry(name).record is None]


def parameters(name: str, *overrides: str) -> int:
    with torch.device("meta"):
        return count_parameters(emozoo.create(name, overrides))


@pytest.mark.parametrize("name", READERS)
def test_each_is_a_video_model_of_its_dataset_with_a_sampler_and_no_fold_chosen(name):
    recipe = load_recipe(name)
    assert recipe.name == recipe.card.title == name
    assert recipe.card.task == "video"
    assert recipe.card.dataset == recipe.data.name == READERS[name]
    assert recipe.card.data_licence.endswith("emozoo ships none of it")
    assert recipe.model.sampling is not None
    assert recipe.data.fold is None
    assert recipe.data.select is None, "the split that is reported chooses nothing"
    with torch.device("meta"):
        assert emozoo.create(name).labels == recipe.model.labels


@pytest.mark.parametrize(
    ("name", "millions", "source"),
    [
        ("ceflnet-mmi", 12.92, "the parts of the published code for 6 categories"),
        ("ceflnet-bu3dfe", 12.92, "the same"),
        ("c3d-dfew", 78.03, "the DFEW authors' code"),
        ("r3d18-dfew", 33.17, "the DFEW authors' code"),
    ],
)
def test_parameters_are_as_many_as_published(name, millions, source):
    assert round(parameters(name) / 1e6, 2) == millions, source


@pytest.mark.parametrize("name", ["ceflnet-dfew", "ceflnet-afew"])
def test_ceflnet_has_what_the_published_code_has_but_its_layer_that_never_runs(name):
    assert parameters(name) + 2048 * 512 + 512 == 13_968_712


@pytest.mark.parametrize("name", ["fan-dfew", "fan-afew"])
def test_fan_has_what_the_published_code_has_but_its_other_classifier(name):
    assert parameters(name) + 512 * 7 + 7 == 11_188_816


@pytest.mark.parametrize(
    ("name", "billions"), [("ceflnet-bu3dfe", 63.80), ("c3d-dfew", 38.6), ("r3d18-dfew", 40.7)]
)
def test_a_video_costs_the_multiply_accumulates_that_are_published_within_a_hundredth(name, billions):
    assert count_macs(emozoo.create(name).config) / 1e9 == pytest.approx(billions, rel=0.01)


def test_the_c3d_lstm_says_in_its_card_what_it_has_and_that_the_papers_has_more():
    text = " ".join((zoo.entry("c3d-lstm-dfew").folder / "card.md").read_text().split())
    found = f"this one has {parameters('c3d-lstm-dfew') / 1e6:.2f} M and "
    found += f"{count_macs(load_recipe('c3d-lstm-dfew').model) / 1e9:.2f} billion"
    assert f"110.24 M parameters and 282.26 billion multiply-accumulates; {found}." in text


def test_the_lstm_on_the_backbone_of_the_dfew_authors_code_has_its_size():
    assert round(parameters("lstm-dfew", "model.backbone.name=timm/resnet26") / 1e6, 2) == 17.39


def test_the_frame_mean_differs_from_ceflnet_in_the_aggregator_alone():
    ours, theirs = (load_recipe(name).resolved() for name in ("resnet18-dfew", "ceflnet-dfew"))
    assert ours["model"].pop("aggregator") != theirs["model"].pop("aggregator")
    assert [ours[key] for key in ("model", "data", "train")] == [
        theirs[key] for key in ("model", "data", "train")
    ]


@pytest.mark.parametrize("name", UNTRAINED)
def test_loading_one_names_the_ways_on(name):
    with pytest.raises(WeightsUnavailableError) as caught:
        emozoo.load(name)
    text = str(caught.value)
    assert text.startswith(f"{name} is in the zoo, but its weights are not published. Ways on:\n")
    assert f"emozoo train {name} --data FOLDER   ({READERS[name]}: " in text
    assert load_recipe(name).card.data_licence in text
    assert "emozoo.load('dir:PATH') or emozoo.load('hub:ORG/NAME')" in text
    convertible = name.startswith(("ceflnet-", "fan-"))
    assert (f"emozoo convert FILE.pth.tar --to {name}\n" in text) == convertible


def test_info_gives_the_papers_figure_as_the_papers_and_no_result():
    run = CliRunner()
    facts = json.loads(run.invoke(app, ["info", "ceflnet-dfew", "--json"]).output)
    assert facts["result"] == "not trained yet"
    assert facts["literature"][0] == {
        "metric": "accuracy",
        "value": 0.6535,
        "protocol": "DFEW, mean of 5 folds (standard deviation 1.13 points)",
        "source": "Liu et al. 2022 (CEFLNet), Table 5",
    }
    lines = run.invoke(app, ["info", "ceflnet-dfew"]).output.splitlines()
    assert (
        "literature     accuracy 65.35% reported by Liu et al. 2022 (CEFLNet), Table 5, not by emozoo: DFEW, mean of 5 "
        "folds (standard deviation 1.13 points)"
    ) in lines
    assert "literature" not in json.loads(run.invoke(app, ["info", "mini-fer2013", "--json"]).output)


@pytest.mark.parametrize("name", READERS)
def test_the_cards_own_text_gives_exactly_the_recipes_figures_and_calls_them_theirs(name):
    text = " ".join((zoo.entry(name).folder / "card.md").read_text().split())
    figures = load_recipe(name).card.literature
    section = re.search(r"## Figures (.*?) ## ", text)
    assert section is not None
    assert set(re.findall(r"(\d+\.\d\d) %", section[1])) == {
        f"{100 * figure.value:.2f}" for figure in figures
    }
    assert ("emozoo has not measured" in section[1]) == bool(figures)
    assert f"emozoo train {name} --data FOLDER" in text


def test_a_card_of_a_trained_entry_keeps_the_literatures_figures_apart():
    record = json.loads(json.dumps(zoo.entry("mini-fer2013").record))
    plain = render_card(record)
    assert "What others report" not in plain
    figure = {"metric": "uar", "value": 0.5, "protocol": "DFEW, 5 folds", "source": "Someone 2020, Table 1"}
    record["recipe"]["card"]["literature"] = [figure]
    section = (
        "### What others report\n\nFigures of their sources, as these give them; emozoo has not measured them.\n\n"
        "| metric | value | measured on | source |\n|---|---|---|---|\n"
        "| uar | 50.00 % | DFEW, 5 folds | Someone 2020, Table 1 |\n\n"
    )
    assert render_card(record).replace(section, "") == plain
    del record["recipe"]["card"]["literature"]
    assert render_card(record) == plain, "records from before there were such figures still make a card"
