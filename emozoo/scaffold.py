"""`emozoo plugins new`: a complete package with one working component, made from the texts in `templates/`."""

from __future__ import annotations

import keyword
import re
from importlib.util import find_spec
from pathlib import Path
from string import Template

from emozoo import registry
from emozoo.errors import ScaffoldError, suggest

OPTIONS = {
    "backbone": '{"width": 8}',
    "aggregator": '{"temperature": 0.5}',
    "head": '{"dropout": 0.5}, loss={"beta": 0.1}',
    "consistency": '{"margin": 0.5}',
}
"""How the component of a template is called with other options than its defaults."""

USE = {
    "backbone": "[model]\nbackbone = { name = $name, width = 64 }",
    "aggregator": "[model]\naggregator = { name = $name, temperature = 0.5 }",
    "head": "[model.heads]\nstrength = { name = $name, dropout = 0.2 }",
    "consistency": "[train]\nconsistency = [{ name = $name, weight = 0.1 }]",
    "dataset": "[data]\nname = $name\nroot = $folder",
    "detector": "emozoo predict MODEL photo.jpg --faces $name",
}
"""What a recipe, or the command line, says to use it: by the full name, which stays unique."""


NOUN = {"consistency": "Cost", "dataset": "Reader"}
"""What a class of a kind is called last, where that is not the kind: then no name clashes with what it imports."""


def new_plugin(name: str, kind: str, out: Path) -> Path:
    """Write a package and return its folder, `out`/NAME.

    Args:
        name: the distribution's name, "emozoo-mypaper".
        kind: a kind of component, a key of `emozoo.registry.GROUPS`.
        out: the folder that the package's folder is made in.

    Raises:
        ScaffoldError: the name is none that a package can have, or the place is taken.
    """
    if kind not in registry.GROUPS:
        known = list(registry.GROUPS)
        raise ScaffoldError(
            f"--kind {kind}: there is no such kind.{suggest(kind, known)} Kinds: {', '.join(known)}"
        )
    distribution = check_name(name)
    target = out / distribution
    if target.exists():
        raise ScaffoldError(f"{target} exists and is left as it is; give another NAME or --out")
    values = _values(distribution, kind)
    for place, template in _files(values["module"], kind).items():
        path = target / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_render(template, values), encoding="utf-8")
    return target


def check_name(name: str) -> str:
    """Return the normalised name of a new distribution.

    Raises:
        ScaffoldError: it is no name (PEP 508), no module can be called so, or there is such a module already.
    """
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name):
        raise ScaffoldError(
            f"{name!r} is no package name: letters, digits, '-', '_' and '.', a letter or digit at both ends, "
            "such as emozoo-mypaper"
        )
    distribution = registry.normalise(name)
    module = distribution.replace("-", "_")
    if not module.isidentifier() or keyword.iskeyword(module):
        raise ScaffoldError(f"{name!r}: no module can be called {module!r}; emozoo-{distribution} would do")
    if find_spec(module) is not None:
        raise ScaffoldError(
            f"{name!r}: there is a module {module!r} in this environment; choose another name"
        )
    return distribution


def _values(distribution: str, kind: str) -> dict[str, str]:
    from emozoo import __version__

    short = distribution.removeprefix("emozoo-")
    words = [word for word in short.split("-") if word]
    series = ".".join(__version__.split(".")[:2])
    use = Template(USE[kind]).substitute(name=f'"{distribution}:{short}"', folder=f'"data/{short}"')
    noun = NOUN.get(kind, kind.capitalize())
    cls = "".join(word.capitalize() for word in words).removesuffix(noun) + noun
    return {
        "distribution": distribution,
        "module": distribution.replace("-", "_"),
        "short": short,
        "cls": cls if cls.isidentifier() else f"Model{cls}",
        "title": " ".join(words).capitalize(),
        "kind": kind,
        "article": "an" if kind == "aggregator" else "a",
        "group": registry.GROUPS[kind],
        "range": registry.compatible_range(series),
        "options": OPTIONS.get(kind, ""),
        "use": use,
        "language": "" if kind == "detector" else "toml",
    }


def _files(module: str, kind: str) -> dict[str, str]:
    """Return the template of each file."""
    return {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        ".gitignore": "gitignore",
        f"src/{module}/__init__.py": f"{kind}.py",
        "tests/test_contract.py": "test_contract.py" if kind in OPTIONS else f"test_{kind}.py",
    }


def _render(template: str, values: dict[str, str]) -> str:
    path = Path(__file__).parent / "templates" / f"{template}.txt"
    return Template(path.read_text(encoding="utf-8")).substitute(values)
