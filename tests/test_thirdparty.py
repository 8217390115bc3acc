"""Real third-party distributions, good and bad, installed together with emozoo into a fresh environment.

Their sources are in tests/thirdparty/; packages that `emozoo plugins new` writes are installed beside them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from environment import ROOT, build_wheels, call, environment, run
from PIL import Image

import emozoo
from emozoo import registry
from emozoo.errors import MissingPluginError
from emozoo.scaffold import new_plugin

THIRD_PARTY = sorted(path.parent for path in (ROOT / "tests" / "thirdparty").glob("*/pyproject.toml"))

MODULES = """
import sys
sys.argv = ["emozoo", *sys.argv[1:]]
from emozoo.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
sys.stderr.write("\\n".join(["modules", *sys.modules]))
"""

USE = """
import json, torch, emozoo
from emozoo import registry
said, built = {}, []
for kind, name in (("dataset", "raises"), ("head", "exits"), ("aggregator", "twin"), ("aggregator", "future"),
                   ("aggregator", "later"), ("consistency", "needy")):
    try:
        registry.resolve(kind, name, {}, kind)
    except Exception as error:
        said[name] = [type(error).__name__, str(error)]
for name in ("mean", "emozoo-clash-one:mean", "emozoo-clash-two:twin"):
    said[name] = type(registry.build("aggregator", name, {}, 8, where="a")).__name__
with torch.device("meta"):
    for row in emozoo.list_models():
        emozoo.create(row["name"])
        built.append([row["name"], row["provider"]])
print(json.dumps([said, built]))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("thirdparty")


@pytest.fixture(scope="module")
def generated(home: Path) -> list[Path]:
    """A package of each kind, as `emozoo plugins new` writes it."""
    return [new_plugin(f"emozoo-my-{kind}", kind, home / "generated") for kind in registry.GROUPS]


@pytest.fixture(scope="module")
def python(home: Path, generated: list[Path]) -> Path:
    """The Python of an environment with emozoo and all of the distributions."""
    for folder in ("wheels", "environment"):
        (home / folder).mkdir()
    wheels = build_wheels([ROOT, *THIRD_PARTY, *generated], home / "wheels")
    assert len(wheels) == 1 + len(THIRD_PARTY) + len(generated)
    return environment(home / "environment", wheels)


@pytest.fixture(scope="module")
def used(python: Path, home: Path) -> Any:
    """What came of using third-party components, and of building every model after that."""
    return json.loads(run(python, "-c", USE, cwd=home))


@pytest.fixture(scope="module")
def trained(python: Path, home: Path) -> Path:
    """The run of the good plugin's model, trained for a few steps."""
    out = home / "run"
    run(python.with_name("emozoo"), "train", "good-tiny", "--out", out, "--cpu", cwd=home)
    return out


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list"], ["plugins", "list"], ["recipe", "show", "quickstart"]], ids=" ".join
)
def test_what_needs_no_third_party_imports_none_however_broken(python, home, arguments):
    done = call(python, "-c", MODULES, *arguments, cwd=home, EMOZOO_TRACEBACK="1")
    assert done.returncode == 0, done.stderr
    modules = done.stderr.partition("modules\n")[2].split("\n")
    strangers = {path.name.replace("-", "_") for path in THIRD_PARTY}
    assert "emozoo.cli.app" in modules
    assert not [
        name for name in modules if name.partition(".")[0] in strangers or name.startswith("emozoo_my_")
    ]


def test_the_list_of_plugins_says_what_is_known_of_each_from_its_metadata(python, home):
    rows = json.loads(run(python.with_name("emozoo"), "plugins", "list", "--json", cwd=home))
    status = {f"{row['distribution']}:{row['name']}": row["status"] for row in rows}
    expected = {f"{c.distribution}:{c.name}": "ok" for c in registry.discover() if c.distribution == "emozoo"}
    expected |= {f"emozoo-my-{kind}:my-{kind}": "ok" for kind in registry.GROUPS}
    expected |= {f"emozoo-{name}:{name}": "ok" for name in ("raises", "exits", "sleeps", "future", "needy")}
    expected |= {
        "emozoo-good:softmax-pool": "ok",
        "emozoo-good:quadrant": "ok",
        "emozoo-later:later": "incompatible",
    }
    expected |= {"emozoo-clash-one:twin": "ambiguous", "emozoo-clash-two:twin": "ambiguous"}
    assert status == expected | {"emozoo-clash-one:mean": "shadowed"}


def test_every_model_of_the_zoo_is_built_those_of_plugins_too(used):
    _, built = used
    own = [[row["name"], "emozoo"] for row in emozoo.list_models()]
    assert built == [
        *own,
        ["emozoo-clash-one:twin", "emozoo-clash-one"],
        ["emozoo-clash-two:quickstart", "emozoo-clash-two"],
        ["emozoo-clash-two:twin", "emozoo-clash-two"],
        ["good-tiny", "emozoo-good"],
    ]


def test_a_component_that_is_used_fails_for_its_own_reason_and_takes_nothing_along(used):
    said, _ = used
    kinds = {name: value[0] for name, value in said.items() if isinstance(value, list)}
    assert kinds == {
        "raises": "PluginLoadError", "exits": "PluginLoadError", "needy": "PluginLoadError",
        "twin": "AmbiguousComponentError", "future": "PluginAPIError", "later": "PluginAPIError",
    }  # fmt: skip
    assert "RuntimeError: this plugin is broken. Everything else still works" in said["raises"][1]
    assert "SystemExit: 3" in said["exits"][1]
    assert "No module named 'emozoo_no_such_distribution'" in said["needy"][1]
    assert "written for plugin API 2, this emozoo has 1" in said["future"][1]
    assert "needs emozoo>=99, this is emozoo 0.1.0" in said["later"][1]
    assert said["twin"][1].endswith("write emozoo-clash-one:twin or emozoo-clash-two:twin")
    assert (said["mean"], said["emozoo-clash-one:mean"]) == ("MeanAggregator", "First")
    assert said["emozoo-clash-two:twin"] == "Last"


def test_a_broken_reader_does_not_keep_another_from_recognising_its_dataset(python, tmp_path):
    for label in ("angry", "happy"):
        (tmp_path / "faces" / "train" / label).mkdir(parents=True)
        Image.new("L", (48, 48)).save(tmp_path / "faces" / "train" / label / "a.png")
    done = call(python.with_name("emozoo"), "data", "check", "faces", cwd=tmp_path)
    assert "image folders (reader folders)" in done.stdout
    assert "reader emozoo-raises:raises is left out" in done.stderr


def test_a_model_of_a_plugin_is_trained_saved_and_loaded(python, home, trained):
    config = json.loads((trained / "model" / "config.json").read_text())
    assert config["aggregator"] == {"name": "emozoo-good:softmax-pool", "temperature": 0.5}
    assert config["requires"] == {"emozoo": ">=0.1.0,<0.2", "emozoo-good": ">=1.2,<2"}
    steps = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert any("quadrant" in key for row in steps for key in row)
    assert "golden outputs agree" in run(
        python.with_name("emozoo"), "verify", f"dir:{trained / 'model'}", cwd=home
    )


def test_without_the_plugin_its_model_says_what_to_install_before_anything_is_built(trained):
    with pytest.raises(
        MissingPluginError, match=r"needs emozoo-good>=1\.2,<2 .*pip install 'emozoo-good>=1\.2,<2'"
    ):
        emozoo.load(trained / "model")


def test_doctor_reports_each_for_what_it_is(python, home):
    command = (python.with_name("emozoo"), "plugins", "doctor", "--json")
    quick = [path.name for path in THIRD_PARTY if path.name != "emozoo-sleeps"]
    calls = [call(*command, *quick, cwd=home), call(*command, "emozoo-sleeps", "--limit", "1", cwd=home)]
    assert [done.returncode for done in calls] == [1, 1], [done.stderr for done in calls]
    rows = [row for done in calls for row in json.loads(done.stdout)]
    found: dict[str, Any] = {
        f"{row['distribution']}:{row['name']}": row for row in rows if row["name"] != "twin"
    }
    problems = {name: "\n".join(row["problems"]) for name, row in found.items()}
    assert {name for name, text in problems.items() if not text} == {
        "emozoo-good:softmax-pool", "emozoo-good:quadrant", "emozoo-good:good-tiny",
    }  # fmt: skip
    assert problems["emozoo-raises:raises"].startswith("import: RuntimeError: this plugin is broken\n")
    assert 'emozoo_raises/__init__.py", line 5: raise RuntimeError' in problems["emozoo-raises:raises"]
    assert problems["emozoo-exits:exits"].startswith("import: SystemExit: 3\n")
    assert problems["emozoo-sleeps:sleeps"].startswith("import: not done after 1 s; it was at\n")
    assert 'emozoo_sleeps/__init__.py", line 5' in problems["emozoo-sleeps:sleeps"]
    assert "written for plugin API 2, this emozoo has 1" in problems["emozoo-future:future"]
    assert "needs emozoo>=99, this is emozoo 0.1.0" in problems["emozoo-later:later"]
    needy = found["emozoo-needy:needy"]["problems"]
    assert needy[0].startswith("needs emozoo-no-such-distribution>=2 (not installed): pip install")
    assert needy[1].startswith("import: ModuleNotFoundError: No module named 'emozoo_no_such_distribution'")
    assert problems["emozoo-clash-one:mean"] == (
        "clash: emozoo itself has this name; recipes must say 'emozoo-clash-one:mean'"
    )
    assert found["emozoo-clash-two:quickstart"]["problems"] == [
        "clash: the zoo has another model of this name; it must be called 'emozoo-clash-two:quickstart'"
    ]
    assert [row["problems"][0] for row in rows if row["name"] == "twin"] == [
        "clash: emozoo-clash-two provides this name too; recipes must say 'emozoo-clash-one:twin'",
        "clash: emozoo-clash-one provides this name too; recipes must say 'emozoo-clash-two:twin'",
        "clash: the zoo has another model of this name; it must be called 'emozoo-clash-one:twin'",
        "clash: the zoo has another model of this name; it must be called 'emozoo-clash-two:twin'",
    ]
    assert isinstance(found["emozoo-good:softmax-pool"]["milliseconds"], int)


def test_the_packages_that_plugins_new_writes_pass_their_own_tests(python, generated, tmp_path):
    tests = [folder / "tests" for folder in generated]
    options = ("-q", "-p", "no:cacheprovider", "--import-mode=importlib", "--rootdir", tmp_path)
    said = run(python, "-m", "pytest", *options, *tests, cwd=tmp_path)
    assert f"{2 * len(generated)} passed" in said
