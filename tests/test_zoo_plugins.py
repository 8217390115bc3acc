"""Zoo entries of plugins: found without importing anything, and never in the way of emozoo's own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import emozoo
from emozoo import zoo
from emozoo.cli.app import app
from emozoo.errors import AmbiguousComponentError, EmozooWarning, UnknownModelError, WeightsUnavailableError

RECIPE = """
name = "{name}"
[model.backbone]
name = "resnet18"
width = 4
[model.heads.emotion]
name = "classification"
[data]
name = "synthetic"
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def plugin(
    site: Path, name: str, *models: str, package: str = "", cards: str = "cards", needs: str = ""
) -> Path:
    """Install a distribution with zoo entries, whose package cannot be imported; return their folder."""
    module = name.lower().replace("-", "_").replace(".", "_")
    folder = site / module / cards
    for model in models:
        (folder / model).mkdir(parents=True)
        (folder / model / "recipe.toml").write_text(RECIPE.format(name=model))
    (site / module / "__init__.py").write_text("raise RuntimeError('imported')")
    info = site / f"{module}-1.5.dist-info"
    info.mkdir()
    requires = f"Requires-Dist: {needs}\n" if needs else ""
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n{requires}")
    (info / "entry_points.txt").write_text(f"[emozoo.models]\nmodels = {package or module}\n")
    return folder


def names() -> list[str]:
    return [item.name for item in zoo.entries()]


@pytest.mark.parametrize(("package", "cards"), [("", "cards"), ("", "."), ("emozoo_mine.zoo", "zoo")])
def test_entries_lie_in_the_package_that_is_named_or_in_its_folder_cards(site, package, cards):
    own = names()
    plugin(site, "emozoo-mine", "mine-a", "mine-b", package=package, cards=cards)
    assert names() == [*own, "mine-a", "mine-b"]
    row = next(row for row in emozoo.list_models() if row["name"] == "mine-a")
    assert (row["provider"], row["backbone"], row["weights"]) == ("emozoo-mine", "resnet18", "not published")
    assert "emozoo_mine" not in sys.modules


def test_an_entry_of_a_plugin_is_a_model_like_any_other(site):
    folder = plugin(site, "Emozoo.Mine", "mine")
    for name in ("mine", "zoo:mine", "emozoo-mine:mine", "zoo:emozoo-mine:mine", "emozoo.mine:mine"):
        assert zoo.locate(name) == zoo.entry("mine")
        assert emozoo.load_recipe(name).name == "mine"
    assert zoo.entry("mine").folder == folder / "mine"
    with pytest.raises(WeightsUnavailableError, match="emozoo train mine --data"):
        emozoo.load("mine")
    emozoo.create("mine", seed=0).save(site / "saved")
    for file in (site / "saved").iterdir():
        file.rename(folder / "mine" / file.name)
    assert emozoo.load("emozoo-mine:mine", device="cpu").labels == emozoo.load_recipe("mine").model.labels


def test_emozoo_s_own_entry_wins_and_the_other_goes_by_its_full_name(site):
    own = zoo.entry("quickstart")
    plugin(site, "emozoo-mine", "quickstart")
    assert zoo.entry("quickstart") == zoo.entry("emozoo:quickstart") == zoo.locate("emozoo:quickstart") == own
    assert names()[-1] == "emozoo-mine:quickstart"
    assert zoo.locate("emozoo-mine:quickstart").provider == "emozoo-mine"


def test_a_name_that_two_plugins_provide_must_be_said_in_full(site):
    plugin(site, "emozoo-one", "twin")
    plugin(site, "emozoo-two", "twin")
    assert names()[-2:] == ["emozoo-one:twin", "emozoo-two:twin"]
    with pytest.raises(
        AmbiguousComponentError,
        match=r"^model 'twin' is provided by emozoo-one and emozoo-two; write emozoo-one:twin or emozoo-two:twin$",
    ):
        emozoo.load("twin")
    assert zoo.locate("emozoo-two:twin").provider == "emozoo-two"


def test_list_names_the_provider_once_there_is_more_than_one(site):
    assert "provider" not in CliRunner().invoke(app, ["list"]).output
    plugin(site, "emozoo-mine", "mine")
    header, *lines = CliRunner().invoke(app, ["list"]).output.splitlines()
    assert header.split()[:2] == ["name", "provider"]
    assert lines[-1].split()[:2] == ["mine", "emozoo-mine"]
    assert lines[0].split()[1] == "emozoo"


def test_a_broken_entry_of_a_plugin_is_left_out_with_a_warning_and_harms_no_other(site):
    folder = plugin(site, "emozoo-mine", "broken", "good")
    (folder / "broken" / "recipe.toml").write_text("name = [")
    with pytest.warns(
        EmozooWarning, match="model 'broken' of emozoo-mine is left out: RecipeError: .*not valid TOML"
    ):
        rows = emozoo.list_models()
    assert [row["name"] for row in rows][-1] == "good"


@pytest.mark.parametrize(("limit", "shown"), [("none", False), ("emozoo-mine", True), ("other", False)])
def test_the_filter_of_plugins_hides_their_models_too(site, monkeypatch, limit, shown):
    plugin(site, "emozoo-mine", "mine")
    monkeypatch.setenv("EMOZOO_PLUGINS", limit)
    assert ("mine" in names()) == shown
    if not shown:
        with pytest.raises(UnknownModelError, match="neither a zoo name nor a path"):
            zoo.locate("emozoo-mine:mine")


def test_models_for_another_emozoo_and_packages_that_are_not_there_are_left_out(site):
    own = names()
    plugin(site, "emozoo-later", "later", needs="emozoo>=99")
    plugin(site, "emozoo-gone", "gone", package="emozoo_nowhere")
    assert names() == own
