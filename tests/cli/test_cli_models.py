"""`emozoo list`, `info`, `verify`, `plugins list` and `recipe show`, and the zoo names behind them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import emozoo
from emozoo import registry, zoo
from emozoo.cli.app import app
from emozoo.errors import CorruptModelError, RecipeError, UnknownModelError, WeightsUnavailableError
from emozoo.recipe import load_recipe
from emozoo.resolve import resolve_recipe

TINY = """
name = "{name}"
[card]
dataset = "synthetic"
licence = "Apache-2.0"
[model.backbone]
name = "resnet18"
stem = "strided"
width = 8
[model.heads.emotion]
name = "classification"
[data]
name = "synthetic"
"""


@pytest.fixture
def own_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of the test's own: `bare` is a recipe only, `full` has weights and a record beside it."""
    for name in ("bare", "full"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.toml").write_text(TINY.format(name=name))
    full = emozoo.create(tmp_path / "full", seed=0).save(tmp_path / "saved")
    for file in full.iterdir():
        file.rename(tmp_path / "full" / file.name)
    measure = {"primary": "uar", "metrics": {"uar": {"value": 0.5, "interval": None}}, "n": 70}
    result = {"heads": {"emotion": measure}, "split": "test", "n": 70, "tta": "none"}
    (tmp_path / "full" / "run.json").write_text(json.dumps({"result": result}))
    monkeypatch.setattr(zoo, "cards_folder", lambda: tmp_path)
    return tmp_path


def _run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def _fails(*arguments: str) -> str:
    """Run a command as a user does; return what it says on stderr when it ends with status 1."""
    done = subprocess.run(
        [sys.executable, "-m", "emozoo", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr


def test_list_shows_every_entry_of_the_zoo_under_named_columns():
    header, *lines = _run("list").splitlines()
    assert header.split() == ["name", "task", "dataset", "backbone", "heads", "weights", "result"]
    assert [line.split()[0] for line in lines] == [entry.name for entry in zoo.entries()]
    assert {"mini-fer2013", "resnet18-fer2013"} <= {line.split()[0] for line in lines}
    for column in ("task", "backbone", "result"):
        start = header.index(column)
        assert all(line[start - 1] == " " and line[start] != " " for line in lines)


def test_list_as_json_is_what_the_api_returns():
    assert json.loads(_run("list", "--json")) == emozoo.list_models()
    assert json.loads(_run("list", "--json", "--dataset", "nothing")) == []


def test_list_shows_results_and_where_weights_are(own_zoo):
    _, bare, full = _run("list").splitlines()
    assert bare.split()[-5:] == ["not", "published", "not", "trained", "yet"]
    assert full.endswith("bundled        emotion.uar 0.5000 on test")


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        ({"task": "image"}, True),
        ({"task": "video"}, False),
        ({"dataset": "fer2013"}, True),
        ({"dataset": "dfew"}, False),
        ({"backbone": "resnet18", "head": "classification"}, True),
        ({"backbone": "resnet18", "head": "vad"}, False),
        ({"backbone": "timm"}, False),
    ],
)
def test_list_filters_by_task_dataset_backbone_and_head(wanted, kept):
    names = [row["name"] for row in emozoo.list_models(**wanted)]
    assert ("mini-fer2013" in names) == kept
    options = [text for key, value in wanted.items() for text in (f"--{key}", value)]
    assert [row["name"] for row in json.loads(_run("list", "--json", *options))] == names
    if not names:
        assert _run("list", *options).startswith("no model of the zoo fits\n")


def test_list_says_what_there_is_instead_of_a_value_that_no_model_has():
    said = _run("list", "--dataset", "fer", "--task", "image").splitlines()
    assert said[0] == "no model of the zoo fits"
    (line,) = said[1:]
    assert line.startswith("  --dataset fer: there is no such model. Did you mean 'fer2013'? There are: ")


def test_info_counts_parameters_and_multiplications_as_a_plain_sum_over_layers_does():
    import torch
    from torch import nn

    facts = json.loads(_run("info", "mini-fer2013", "--json"))
    model = emozoo.create("mini-fer2013").eval()
    assert facts["parameters"] == sum(p.numel() for p in model.parameters())
    macs = 0

    def count(module, given, output):
        nonlocal macs
        macs += output[0].numel() * module.weight[0].numel()

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        model(torch.zeros(1, 1, 44, 44))
    assert facts["macs"] == macs


def test_info_tells_terms_architecture_providers_and_where_the_weights_are():
    facts = json.loads(_run("info", "mini-fer2013", "--json"))
    assert facts["licence"] == "Apache-2.0"
    assert "FER2013" in facts["data_licence"]
    own = {"stem": "strided", "width": 32, "strides": [1, 1, 2, 2]}
    assert facts["backbone"] == {"name": "emozoo:resnet18", **own}
    assert facts["labels"].split(", ") == list(load_recipe("mini-fer2013").model.labels)
    assert facts["input"] == "44 px grey"
    version = emozoo.__version__
    assert facts["provider"] == {
        "backbone": f"emozoo {version} (emozoo_backbones.resnet:ResNet18)",
        "heads.emotion": f"emozoo {version} (emozoo_heads.classification:ClassificationHead)",
    }
    assert list(facts["requires"]) == ["emozoo"]
    assert Path(facts["recipe"]).is_file()
    lines = _run("info", "mini-fer2013").splitlines()
    assert [line.split()[0] for line in lines] == list(facts)
    assert f"parameters     {facts['parameters']:,}" in lines


def test_info_of_a_model_that_was_trained_and_not_published_leads_to_its_card():
    facts = json.loads(_run("info", "resnet18-fer2013", "--json"))
    assert facts["weights"].startswith("not published; ")
    assert facts["weights"].endswith("resnet18-fer2013/README.md tells how they were made")


def test_info_says_whether_the_weights_are_there_and_how_to_make_them(own_zoo):
    bare = json.loads(_run("info", "bare", "--json"))
    assert bare["weights"] == "not published; emozoo train bare makes them"
    assert bare["result"] == "not trained yet"
    full = json.loads(_run("info", "zoo:full", "--json"))
    assert full["weights"] == str(own_zoo / "full")
    assert full["result"] == {"emotion.uar": 0.5, "split": "test", "n": 70, "tta": "none"}
    assert full["parameters"] == bare["parameters"]


@pytest.mark.parametrize("form", ["dir:{}", "{}"])
def test_info_and_verify_take_a_model_folder(tmp_path, form):
    (tmp_path / "tiny.toml").write_text(TINY.format(name="tiny"))
    folder = emozoo.create(tmp_path / "tiny.toml", seed=0).save(tmp_path / "model")
    name = form.format(folder)
    facts = json.loads(_run("info", name, "--json"))
    assert (facts["weights"], facts["backbone"]["width"]) == (str(folder), 8)
    assert "golden outputs agree to 0.0e+00" in _run("verify", name)


def test_a_run_that_is_taken_for_its_model_is_told_from_it(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY.format(name="tiny"))
    folder = emozoo.create(tmp_path / "tiny.toml", seed=0).save(tmp_path / "run" / "model")
    done = CliRunner().invoke(app, ["verify", f"dir:{folder.parent}"])
    assert isinstance(done.exception, CorruptModelError)
    assert str(done.exception) == f"{folder.parent} is a run; its model is dir:{folder}"


def test_verify_of_a_damaged_folder_fails_and_says_what_is_wrong(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY.format(name="tiny"))
    folder = emozoo.create(tmp_path / "tiny.toml", seed=0).save(tmp_path / "model")
    with open(folder / "config.json", "a") as file:
        file.write(" ")
    said = _fails("verify", f"dir:{folder}")
    assert said.startswith(f"error: {folder / 'config.json'} has ")


def test_a_mistyped_zoo_name_is_answered_with_the_nearest():
    said = _fails("info", "mini-fer213")
    assert said.startswith("error: the zoo has no model 'mini-fer213'. Did you mean 'mini-fer2013'? It has: ")


def test_loading_an_entry_without_weights_names_the_ways_on(own_zoo):
    with pytest.raises(WeightsUnavailableError) as caught:
        emozoo.load("bare")
    text = str(caught.value)
    assert text.startswith("bare is in the zoo, but its weights are not published.")
    assert "emozoo train bare --data FOLDER" in text
    assert "emozoo.load('dir:PATH')" in text
    assert "emozoo.create('bare')" in text
    assert emozoo.create("bare").labels == load_recipe(own_zoo / "bare").model.labels


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dir:some/where", "some/where"),
        ("./x", "x"),
        ("/x/y", "/x/y"),
        ("~/x", Path.home() / "x"),
        ("dir:~/x", Path.home() / "x"),
        ("C:\\models", "C:\\models"),
        (Path("mini-fer2013"), "mini-fer2013"),
    ],
)
def test_a_path_means_a_folder_whether_or_not_it_exists(name, expected):
    assert zoo.locate(name) == Path(expected)


@pytest.mark.parametrize("name", ["mini-fer2013", "zoo:mini-fer2013"])
def test_a_bare_name_means_a_zoo_entry_even_beside_a_folder_of_that_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mini-fer2013").mkdir()
    found = zoo.locate(name)
    assert isinstance(found, zoo.Entry)
    assert found.name == "mini-fer2013"


@pytest.mark.parametrize("load", [emozoo.load, zoo.locate])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hub:emozoo", "a model of the Hub is hub:org/name or hub:org/name@revision"),
        ("hub:emozoo/../x", "a model of the Hub is hub:org/name or hub:org/name@revision"),
        ("someone/model", r"neither .* \(a model of the Hub is hub:someone/model\): .* a folder is dir:PATH"),
        ("ftp:x", "neither a zoo name nor a path"),
        ("dir:", "neither a zoo name nor a path"),
        ("hub:", "neither a zoo name nor a path"),
        ("", "the zoo has no model ''"),
        ("zoo:mini", "the zoo has no model 'mini'"),
    ],
)
def test_a_name_that_means_nothing_says_how_names_are_written(load, name, said):
    with pytest.raises(UnknownModelError, match=said):
        load(name)


def test_a_broken_recipe_in_the_zoo_is_named(own_zoo):
    (own_zoo / "bare" / "recipe.toml").write_text("name = ")
    with pytest.raises(RecipeError, match=r"bare/recipe\.toml is not valid TOML"):
        emozoo.list_models()
    (own_zoo / "bare" / "recipe.toml").write_text("[model]")
    with pytest.raises(
        RecipeError, match=r"bare/recipe\.toml cannot be read as a recipe .*: it lacks 'data'"
    ):
        emozoo.list_models()


def test_plugins_list_shows_every_component_in_aligned_columns():
    header, *lines = _run("plugins", "list").splitlines()
    assert header.split() == ["kind", "name", "distribution", "version", "target", "status"]
    rows = [line.split() for line in lines]
    expected = [[c.kind, c.name, c.distribution, c.version, c.target, c.status] for c in registry.discover()]
    assert rows == expected
    for index, column in enumerate(header.split()):
        start = header.index(column)
        assert all(line[start:].startswith(row[index]) for line, row in zip(lines, rows, strict=True))


def test_plugins_list_as_json_has_the_same_rows():
    rows = json.loads(_run("plugins", "list", "--json"))
    assert [row["target"] for row in rows] == [c.target for c in registry.discover()]
    assert set(rows[0]) == {"kind", "name", "distribution", "version", "target", "status"}


def test_recipe_show_prints_the_resolved_recipe_with_overrides():
    shown = json.loads(
        _run("recipe", "show", "mini-fer2013", "--set", "train.epochs=3", "--set", "data.tta=flip")
    )
    assert shown == resolve_recipe(load_recipe("mini-fer2013", ["train.epochs=3", "data.tta=flip"]))
    assert (shown["train"]["epochs"], shown["data"]["tta"]) == (3, "flip")


def test_recipe_show_ends_with_every_wrong_key_on_stderr():
    said = _fails("recipe", "show", "mini-fer2013", "--set", "train.epochs=x", "--set", "train.ema=2")
    assert "train.epochs: should be a valid integer (given: 'x')" in said
    assert "train.ema: should be less than 1" in said


def test_version_and_bare_call():
    assert _run("--version") == f"emozoo {emozoo.__version__}\n"
    done = CliRunner().invoke(app, [])
    assert "Usage:" in done.output
