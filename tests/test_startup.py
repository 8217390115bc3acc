"""What starting up does not import; `python -m benchmarks startup` measures what it costs."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

import emozoo
from emozoo.zoo import entry

HEAVY = {
    "torch",
    "timm",
    "datasets",
    "rich",
    "huggingface_hub",
    "matplotlib",
    "numpy",
    "accelerate",
    "PIL",
    "jinja2",
}

RUN = """
import sys
sys.argv = ["emozoo", *sys.argv[1:]]
from emozoo.cli import main
try:
    main()
except SystemExit as end:
    status = end.code
sys.stderr.write("\\n".join(["status", str(status or 0), *sys.modules]))
"""


def _modules(code: str, *arguments: str) -> tuple[int, set[str]]:
    """Run code in a process of its own; return its exit status and the modules it has imported."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    _, _, report = done.stderr.partition("status\n")
    status, *modules = report.split("\n")
    return int(status), set(modules)


def test_importing_emozoo_imports_neither_a_heavy_library_nor_the_command_line_nor_a_plugin():
    code = "import emozoo, sys; sys.stderr.write('\\n'.join(['status', '0', *sys.modules]))"
    _, modules = _modules(code)
    assert "emozoo" in modules
    assert not modules & {
        *HEAVY,
        "typer",
        "pydantic",
        "importlib.metadata",
        "emozoo_backbones",
        "emozoo_heads",
    }


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["list"], ["list", "--json"], ["plugins", "list"], ["plugins", "--help"]],
)
def test_the_commands_that_only_look_import_no_heavy_library_and_no_plugin(arguments):
    status, modules = _modules(RUN, *arguments)
    assert status == 0
    assert "emozoo.cli.app" in modules
    assert not modules & HEAVY
    assert not [name for name in modules if name.startswith("emozoo_")]


def test_showing_a_recipe_of_the_zoo_imports_the_plugins_it_names_and_no_others():
    status, modules = _modules(RUN, "recipe", "show", "mini-fer2013")
    assert status == 0
    assert {"emozoo_backbones.resnet", "emozoo_heads.classification"} <= modules
    assert not modules & {"timm", "emozoo_consistency", "emozoo_aggregators", "matplotlib"}


def test_rendering_a_card_anew_reads_a_record_and_does_without_torch(tmp_path):
    folder = tmp_path / "mini-fer2013"
    shutil.copytree(entry("mini-fer2013").folder, folder)
    status, modules = _modules(RUN, "card", "write", str(folder))
    assert status == 0
    assert not modules & {"torch", "accelerate", "timm", "emozoo.training.run"}


def test_the_public_names_are_listed_and_each_is_there():
    assert set(dir(emozoo)) == set(emozoo.__all__)
    for name in emozoo.__all__:
        assert getattr(emozoo, name) is not None


def test_a_name_that_emozoo_does_not_have_is_an_attribute_error_that_python_can_explain():
    with pytest.raises(AttributeError, match="module 'emozoo' has no attribute 'laod'") as caught:
        _ = emozoo.laod
    assert (caught.value.name, caught.value.obj) == ("laod", emozoo)
    assert not hasattr(emozoo, "nosuch")


LOAD = """
import sys
import emozoo
try:
    emozoo.load(sys.argv[1])
except emozoo.errors.EmozooError:
    sys.stderr.write("\\n".join(["status", "0", *sys.modules]))
"""


@pytest.mark.parametrize("name", ["hub:alice/never-fetched", "ceflnet-dfew", "no-such-model"])
def test_a_model_that_cannot_be_had_is_said_to_be_so_before_torch_is_imported(name, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    _, modules = _modules(LOAD, name)
    assert "emozoo.zoo" in modules
    assert "torch" not in modules


@pytest.mark.parametrize("name", ["hub:alice/never-fetched", "ceflnet-dfew", "no-such-model"])
def test_so_it_is_by_emozoo_predict(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    status, modules = _modules(RUN, "predict", name, str(tmp_path / "photo.jpg"))
    assert status != 0
    assert "emozoo.cli.predict" in modules
    assert "torch" not in modules
