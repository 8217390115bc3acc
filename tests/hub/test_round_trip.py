"""The whole way: a recipe is trained, pushed, and loaded elsewhere; the Hub shows of it what was measured."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import pytest
from askers import ALICE, same
from huggingface_hub import HfApi, ModelCard, constants
from PIL import Image
from small import RECIPE, photos

import emozoo
from emozoo.card_check import card_problems
from emozoo.errors import PushError
from emozoo.publish import push
from emozoo.recipe import override, parse_recipe
from emozoo.training.run import train

REPO = "alice/tiny"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a recipe that names no licence."""
    recipe = parse_recipe(override(tomllib.loads(RECIPE), ["train.epochs=1"]))
    return train(recipe, tmp_path_factory.mktemp("run") / "tiny", cpu=True)


@pytest.fixture
def folder(run: Path, tmp_path: Path) -> Path:
    """The run's model folder, its card with a licence that was written there by hand."""
    folder = shutil.copytree(run / "model", tmp_path / "model")
    card = folder / "README.md"
    card.write_text(card.read_text().replace("---\n", "---\nlicense: mit\n", 1))
    return folder


def test_what_was_trained_without_a_licence_is_not_pushed(hub, run):
    with pytest.raises(PushError, match=r"the header lacks `license`"):
        push(run / "model", REPO)
    assert hub.requests == []


def test_a_trained_model_is_the_same_model_elsewhere_by_tag_and_by_commit_and_then_offline(
    hub, folder, tmp_path, monkeypatch
):
    published = push(folder, REPO, tag="v1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    for name in (f"hub:{REPO}@v1", f"hub:{REPO}@{published.commit}"):
        assert same(emozoo.load(name, "cpu"), folder)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    photo = tmp_path / "photo.png"
    Image.fromarray(photos(1)[0]).save(photo)
    prediction = emozoo.load(f"hub:{REPO}@v1", "cpu").predict(photo, faces="none")
    assert prediction == emozoo.load(folder, "cpu").predict(photo, faces="none")


def test_what_the_hub_shows_of_a_model_is_what_was_measured(hub, folder, run, reload_here):
    push(folder, REPO, private=False)
    there = emozoo.load(f"hub:{REPO}", "cpu").source.folder
    text, record = (there / "README.md").read_text(), json.loads((run / "run.json").read_text())
    assert json.loads((there / "run.json").read_text()) == record
    assert card_problems(text, record) == []
    emotion, vad = (record["result"]["heads"][head]["metrics"] for head in ("emotion", "vad"))
    scores = {score.metric_name: score.metric_value for score in ModelCard(text).data.eval_results}
    assert scores["emotion: accuracy (WAR)"] == emotion["accuracy"]["value"]
    assert scores["vad: CCC, mean"] == vad["ccc"]["value"]
    assert f"{100 * emotion['uar']['value']:.2f} %" in text
    assert "valence, constant (" in text
    api = HfApi(hub.url, token=ALICE)
    for wanted in ({"filter": "emozoo"}, {"filter": "vad"}, {"pipeline_tag": "image-classification"}):
        assert [model.id for model in api.list_models(**wanted)] == [REPO]
    assert list(api.list_models(pipeline_tag="video-classification")) == []
