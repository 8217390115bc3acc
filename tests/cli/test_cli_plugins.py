"""`emozoo plugins list`, `new` and `doctor`, as their users call them."""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
from small import install
from typer.testing import CliRunner

from emozoo import doctor, registry
from emozoo.cli.app import app
from emozoo.errors import EmozooError, ScaffoldError, UnknownComponentError
from emozoo.scaffold import check_name, new_plugin


def invoke(*arguments: str, status: int = 0) -> str:
    done = CliRunner().invoke(app, ["plugins", *arguments], catch_exceptions=False)
    assert done.exit_code == status, done.output
    return done.output


def code_lines(text: str) -> int:
    """Count lines that are neither blank, imports, nor docstrings."""
    left = {number for number, line in enumerate(text.splitlines(), 1) if line.strip()}
    for node in ast.walk(ast.parse(text)):
        prose = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if prose or isinstance(node, ast.Import | ast.ImportFrom):
            left -= set(range(node.lineno, (node.end_lineno or 0) + 1))
    return len(left)


CALLED = {kind: kind.capitalize() for kind in registry.GROUPS} | {"consistency": "Cost", "dataset": "Reader"}


@pytest.mark.parametrize("kind", registry.GROUPS)
def test_new_writes_a_complete_package_with_less_than_thirty_lines_of_component(tmp_path, kind):
    said = invoke("new", "emozoo-My_Paper", "--kind", kind, "--out", str(tmp_path))
    folder = tmp_path / "emozoo-my-paper"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    component = "src/emozoo_my_paper/__init__.py"
    assert files == {"pyproject.toml", "README.md", ".gitignore", component, "tests/test_contract.py"}
    assert all(str(folder / name) in said for name in files)
    source = (folder / component).read_text()
    assert 10 < code_lines(source) < 30
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert (project["name"], project["dependencies"]) == ("emozoo-my-paper", ["emozoo>=0.1,<0.2"])
    assert project["entry-points"] == {
        registry.GROUPS[kind]: {"my-paper": f"emozoo_my_paper:MyPaper{CALLED[kind]}"}
    }
    assert '"emozoo-my-paper:my-paper"' in (folder / "README.md").read_text()
    assert f"check_{kind}(" in (folder / "tests" / "test_contract.py").read_text()
    assert not [name for name in files if "$" in (folder / name).read_text()]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("emozoo"):
            assert node.module in {"emozoo.contracts", "emozoo.labels", "emozoo.errors"}


def test_new_leaves_what_is_there_as_it_is(tmp_path):
    new_plugin("emozoo-mine", "head", tmp_path)
    component = tmp_path / "emozoo-mine" / "src" / "emozoo_mine" / "__init__.py"
    component.write_text("mine")
    with pytest.raises(
        ScaffoldError, match=r"emozoo-mine exists and is left as it is; give another NAME or --out"
    ):
        new_plugin("emozoo-mine", "backbone", tmp_path)
    assert component.read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "is no package name"),
        ("-mine", "is no package name: letters, digits, .* such as emozoo-mypaper"),
        ("mine!", "is no package name"),
        ("../mine", "is no package name"),
        ("mïne", "is no package name"),
        ("2fast", "no module can be called '2fast'; emozoo-2fast would do"),
        ("class", "no module can be called 'class'; emozoo-class would do"),
        ("emozoo", "there is a module 'emozoo' in this environment; choose another name"),
        ("Torch", "there is a module 'torch'"),
        ("emozoo.heads", "there is a module 'emozoo_heads'"),
    ],
)
def test_a_name_that_no_package_can_have_is_refused(tmp_path, name, message):
    with pytest.raises(ScaffoldError, match=message):
        new_plugin(name, "head", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_names_are_written_in_their_one_spelling():
    assert check_name("Emozoo__My.Paper") == "emozoo-my-paper"
    assert issubclass(ScaffoldError, EmozooError)


def test_a_kind_that_there_is_not_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(
        ScaffoldError, match=r"--kind agregator: .* Did you mean 'aggregator'\? Kinds: backbone, agg"
    ):
        new_plugin("emozoo-mine", "agregator", tmp_path)


def test_the_prefix_is_suggested_but_not_demanded(tmp_path):
    assert "note: people look for plugins by their prefix; emozoo-mine would be found" in invoke(
        "new", "mine", "--kind", "head", "--out", str(tmp_path)
    )
    assert "note:" not in invoke("new", "emozoo-mine", "--kind", "head", "--out", str(tmp_path / "other"))


@pytest.mark.parametrize("name", ["emozoo-2fast", "emozoo-x", "a-class", "emozoo-emozoo"])
def test_whatever_the_name_the_component_is_valid_python(tmp_path, name):
    folder = new_plugin(name, "aggregator", tmp_path)
    for path in folder.rglob("*.py"):
        compile(path.read_text(), str(path), "exec")
    (point,) = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["entry-points"].values()
    (target,) = point.values()
    assert (
        f"class {target.partition(':')[2]}("
        in (folder / "src" / name.replace("-", "_") / "__init__.py").read_text()
    )


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("backbone", "none true false literal field tensor backbone"),
        ("aggregator", "aggregated mean aggregator"),
        ("head", "targets criterion rate head strength"),
        ("consistency", "sequence annotated cost"),
        ("dataset", "image path sequence finding table dataset data-error reader"),
        ("detector", "faces auto none detector"),
    ],
)
def test_whatever_the_name_the_component_hides_nothing_that_its_module_imports(tmp_path, kind, words):
    for word in words.split():
        folder = new_plugin(f"emozoo-{word}", kind, tmp_path)
        for path in [*folder.glob("src/*/*.py"), *folder.glob("tests/*.py")]:
            nodes = list(ast.walk(ast.parse(path.read_text())))
            imports = [n for n in nodes if isinstance(n, ast.ImportFrom) and n.module != "datasets"]
            names = [alias.name for node in imports for alias in node.names]
            names += [node.name for node in nodes if isinstance(node, ast.ClassDef)]
            assert len({*names, "Dataset"}) == len(names) + 1, path


def test_a_class_is_called_by_its_kind_once(tmp_path):
    folder = new_plugin("emozoo-face-detector", "detector", tmp_path)
    assert "class FaceDetector:" in (folder / "src" / "emozoo_face_detector" / "__init__.py").read_text()


GOOD = "class Reader:\n    def __init__(self, root, *, size: int = 3): ...\n"


def reader(monkeypatch: pytest.MonkeyPatch, site: Path, name: str, code: str) -> None:
    """Install a dataset reader where processes that are started find it too."""
    install(monkeypatch, site, f"emozoo-{name}", "1.0", {f"datasets/{name}": "Reader"}, code)
    monkeypatch.setenv("PYTHONPATH", str(site))


def test_doctor_says_of_a_sound_component_how_long_its_import_takes(monkeypatch, tmp_path):
    reader(monkeypatch, tmp_path, "sound", GOOD)
    (found,) = doctor.examine(["sound"])
    assert (found.kind, found.distribution, found.target) == (
        "dataset",
        "emozoo-sound",
        "emozoo_sound:Reader",
    )
    assert (found.problems, found.notes, found.heavy) == ([], [], {})
    assert found.milliseconds is not None
    assert found.milliseconds < 100
    assert "emozoo_sound" not in sys.modules
    said = invoke("doctor", "emozoo-sound:sound")
    assert said.startswith("ok      dataset      emozoo-sound:sound  (")
    assert said.endswith("1 examined, 0 failed\n")


def test_doctor_names_what_makes_an_import_slow_and_does_not_count_what_everyone_imports(
    monkeypatch, tmp_path
):
    (tmp_path / "ballast.py").write_text("import time\ntime.sleep(0.25)\n")
    (tmp_path / "torch.py").write_text("import time, sys\nimport torchdeep\ntime.sleep(0.5)\n")
    (tmp_path / "torchdeep.py").write_text("import time\ntime.sleep(0.5)\n")
    reader(monkeypatch, tmp_path, "heavy", "import torch\nimport ballast\n" + GOOD)
    (found,) = doctor.examine(["heavy"])
    assert found.problems == []
    assert list(found.heavy) == ["ballast"]
    assert 250 <= found.heavy["ballast"] <= found.milliseconds < 900
    assert found.notes == [
        f"slow: its import takes {found.milliseconds} ms beside torch and numpy; "
        "import what is heavy where it is used, in a function"
    ]
    assert re.search(r"ms beside torch and numpy, ballast \d+ ms\)\n", invoke("doctor", "heavy"))


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import os\nos._exit(7)\n", r"^import: it ended the process with status 7$"),
        ("raise KeyboardInterrupt\n", r"^import: it ended the process with status"),
        (
            "while True:\n    pass\n",
            r'^import: not done after 1 s; it was at\nFile ".*emozoo_bad\.py", line [12] in',
        ),
        ("Reader = 5\n", r"names a int, which cannot be called"),
        ("class Reader:\n    def __init__(self, root, *, size=3): ...\n", r"no annotation for size"),
        ("x = 1\nx.y\n" + GOOD, r"^import: AttributeError: .*\nFile \".*emozoo_bad\.py\", line 2: x\.y$"),
        ("", r"^import: AttributeError: module 'emozoo_bad' has no attribute 'Reader'$"),
    ],
)
def test_doctor_tells_how_an_import_fails(monkeypatch, tmp_path, code, problem):
    reader(monkeypatch, tmp_path, "bad", code)
    (found,) = doctor.examine(["emozoo-bad"], limit=1)
    (said,) = found.problems
    assert re.search(problem, said), said
    assert found.milliseconds is None


def test_doctor_fails_when_anything_does_and_prints_json(monkeypatch, tmp_path):
    reader(monkeypatch, tmp_path, "bad", "1 / 0\n")
    said = invoke("doctor", "bad", status=1)
    assert "FAILED  dataset      emozoo-bad:bad\n          import: ZeroDivisionError" in said
    (row,) = json.loads(invoke("doctor", "bad", "--json", status=1))
    assert row["problems"][0].startswith("import: ZeroDivisionError: division by zero\nFile ")
    assert {
        "kind",
        "name",
        "distribution",
        "version",
        "target",
        "notes",
        "milliseconds",
        "heavy",
    } < row.keys()


def test_doctor_reads_requirements_and_their_markers(monkeypatch, tmp_path):
    reader(monkeypatch, tmp_path, "needy", GOOD)
    metadata = tmp_path / "emozoo_needy-1.0.dist-info" / "METADATA"
    needs = [
        "emozoo>=0.1", "numpy>=9999", "no-such-thing", 'no-such-extra; extra == "x"', 'no-windows; os_name == "dos"',
    ]  # fmt: skip
    metadata.write_text(metadata.read_text() + "".join(f"Requires-Dist: {line}\n" for line in needs))
    (found,) = doctor.examine(["needy"])
    first, second = found.problems
    assert first.startswith("needs numpy>=9999 (")
    assert second == 'needs no-such-thing (not installed): pip install "no-such-thing"'


def test_doctor_knows_no_component_of_a_name_that_is_not_installed():
    with pytest.raises(
        UnknownComponentError, match=r"no component, model or distribution is called 'resnet81'"
    ):
        doctor.examine(["resnet81"])
