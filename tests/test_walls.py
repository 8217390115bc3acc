"""The walls of the house: plugins see the contracts and nothing else of the core; the core sees no plugin."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTRACTS = {
    "emozoo.contracts",
    "emozoo.labels",
    "emozoo.errors",
    "emozoo.evaluation.metrics",
    "emozoo.registry.build",  # of the registry this alone: a component made of others has them by name, as recipes do
}
PACKAGES = sorted(path.name for path in (ROOT / "plugins").iterdir() if (path / "__init__.py").is_file())
CORE = sorted((ROOT / "emozoo").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))


def _imports(source: str) -> Iterator[str]:
    """Yield what is imported absolutely: `package.module`, or `package.module.name` for a name from it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _within(name: str, modules: set[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def _ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_scan_sees_imports_inside_functions_and_names_taken_from_packages():
    source = (
        "import torch\ndef f():\n  from emozoo import registry\n  import emozoo.recipe as r\nfrom . import x"
    )
    assert sorted(_imports(source)) == ["emozoo.recipe", "emozoo.registry", "torch"]
    assert _within("emozoo.errors.DataError", CONTRACTS)
    assert not _within("emozoo.errorsome", CONTRACTS)
    assert not _within("emozoo.registry", CONTRACTS)
    assert not _within("emozoo.registry.load", CONTRACTS)


@pytest.mark.parametrize("path", PLUGINS, ids=_ids)
def test_a_plugin_imports_only_the_contracts_of_the_core_and_no_other_plugin(path):
    package = path.relative_to(ROOT / "plugins").parts[0]
    others = set(PACKAGES) - {package}
    wrong = [
        name
        for name in _imports(path.read_text(encoding="utf-8"))
        if _within(name, others) or (_within(name, {"emozoo"}) and not _within(name, CONTRACTS))
    ]
    assert not wrong


@pytest.mark.parametrize("path", CORE, ids=_ids)
def test_the_core_names_no_plugin_package(path):
    text = path.read_text(encoding="utf-8")
    assert not [package for package in PACKAGES if package in text]


def test_the_walls_stand_around_something():
    assert len(CORE) >= 5
    assert {"emozoo_backbones", "emozoo_heads", "emozoo_aggregators"} <= set(PACKAGES)
