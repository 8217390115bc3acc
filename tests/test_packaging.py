"""The wheel: what is in it, and that an installation of it, far from the checkout, lists and builds everything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from emozoo import registry, zoo

ROOT = Path(__file__).parents[1]

BUILD_EVERYTHING = """
import json, sys
import emozoo, torch
from emozoo import registry
from emozoo.resolve import resolve_recipe

labels = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
context = {
    "backbone": (1,),
    "aggregator": (8,),
    "head": (8, labels),
    "consistency": (labels, ("valence", "arousal", "dominance")),
}
options = {"timm": {"member": "resnet18"}}
built = []
for component in registry.discover():
    given = context.get(component.kind, ())
    with torch.device("meta" if component.kind in ("backbone", "head") else "cpu"):
        if component.kind in ("detector", "dataset"):  # which need files of their own
            cls = registry.load(component)
        else:
            given_options = options.get(component.name, {})
            cls = type(registry.build(component.kind, component.name, given_options, *given, where="here"))
    built.append([component.kind, component.name, component.status, sys.modules[cls.__module__].__file__])
recipes = {}
for row in emozoo.list_models():
    recipe = emozoo.load_recipe(row["name"])
    recipes[row["name"]] = resolve_recipe(recipe)["name"]
    with torch.device("meta"):
        emozoo.create(recipe)
print(json.dumps({"home": emozoo.__file__, "built": built, "recipes": recipes}))
"""


def _run(*command: str | Path, cwd: Path) -> str:
    hidden = ("PYTHONPATH", "PYTHONHOME", "EMOZOO_PLUGINS", "PIP_CONSTRAINT")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout without a network."""
    out = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", out, cwd=ROOT)
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment with the wheel, and this environment's packages for its dependencies.

    A line of a .pth file puts their folder on sys.path without reading the .pth files in it, so that an editable
    installation of the checkout is not seen.
    """
    home = tmp_path_factory.mktemp("environment")
    _run(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    _run(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=home
    )
    site = Path(
        _run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'), end='')", cwd=home)
    )
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "dependencies.pth").write_text("\n".join(sorted(paths)) + "\n")
    return python


def _expected() -> set[str]:
    """Every file of the packages and of the cards, by its name in the wheel."""
    trees = [(ROOT / "emozoo", "emozoo"), (ROOT / "cards", "emozoo/cards")]
    trees += [(path.parent, path.parent.name) for path in (ROOT / "plugins").glob("*/__init__.py")]
    return {
        f"{name}/{path.relative_to(tree).as_posix()}"
        for tree, name in trees
        for path in tree.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_every_file_of_the_packages_and_cards_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == _expected()
    assert {"emozoo/py.typed", "emozoo/card.md.jinja", "emozoo/cards/mini-fer2013/recipe.toml"} <= names
    assert "emozoo_consistency/data/tables/equations.toml" in names


def test_the_wheel_declares_licence_command_and_the_same_components_as_the_checkout(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (folder,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        metadata = Parser().parsestr(archive.read(f"{folder}/METADATA").decode())
        points = archive.read(f"{folder}/entry_points.txt").decode()
        assert f"{folder}/licenses/LICENSE" in archive.namelist()
    assert (metadata["Name"], metadata["License-Expression"]) == ("emozoo", "Apache-2.0")
    assert "emozoo = emozoo.cli:main" in points
    for component in registry.discover():
        assert f"{component.name} = {component.target}" in points


def test_an_installed_wheel_builds_every_component_and_recipe_from_outside_the_checkout(python, tmp_path):
    report = json.loads(_run(python, "-c", BUILD_EVERYTHING, cwd=tmp_path))
    home = python.parents[1]
    assert Path(report["home"]).is_relative_to(home)
    ours = [[c.kind, c.name] for c in registry.discover() if c.distribution == "emozoo"]
    assert [row[:2] for row in report["built"]] == ours
    for kind, name, status, file in report["built"]:
        assert status == "ok", (kind, name)
        assert Path(file).is_relative_to(home), (kind, name)
    assert list(report["recipes"]) == [entry.name for entry in zoo.entries()]


def test_the_installed_command_lists_zoo_and_plugins(python, tmp_path):
    command = python.with_name("emozoo")
    rows = json.loads(_run(command, "plugins", "list", "--json", cwd=tmp_path))
    assert {row["status"] for row in rows} == {"ok"}
    assert "mini-fer2013" in _run(command, "list", cwd=tmp_path)
    assert "resnet18" in _run(command, "recipe", "show", "mini-fer2013", cwd=tmp_path)
