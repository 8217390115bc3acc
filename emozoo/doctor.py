"""`emozoo plugins doctor`: what comes of importing each entry point, in a process of its own, under a time limit."""

from __future__ import annotations

import faulthandler
import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emozoo import registry
from emozoo.errors import EmozooError, PluginAPIError, UnknownComponentError, suggest

if TYPE_CHECKING:
    from emozoo.zoo import Entry

LIMIT = 30.0
"""Seconds an import may take."""

EXPECTED = ("torch", "numpy")
"""Packages that a plugin may import at once: whatever uses it imports them too."""

SLOW, HEAVY = 200, 50
"""Milliseconds from which an import, beside those, is called slow, and a package in it is named."""

TAIL = 4
"""Lines of a traceback that are shown."""

_STARTING = 120.0
"""Seconds, besides the limit, after which a process that says nothing is ended."""


@dataclass(frozen=True)
class Diagnosis:
    """What was found about one component, or one zoo entry of a plugin (kind "model").

    Attributes:
        problems: what keeps it from being used as it is; empty where there is nothing.
        notes: what its author should know.
        milliseconds: that its import took beside `EXPECTED`; None where it was not or could not be imported.
        heavy: other packages that it imports and the milliseconds they take, from `HEAVY` on.
    """

    kind: str
    name: str
    distribution: str
    version: str
    target: str
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    milliseconds: int | None = None
    heavy: dict[str, int] = field(default_factory=dict)


def examine(names: Sequence[str] = (), limit: float = LIMIT) -> list[Diagnosis]:
    """Examine every installed component and every zoo entry of plugins, or those of some names.

    Args:
        names: components, short or qualified, zoo entries, distributions; none: everything.
        limit: seconds an import may take.

    Raises:
        UnknownComponentError: nothing is called so.
    """
    from emozoo import zoo

    components = list(registry.discover())
    models = [model for model in zoo.entries() if model.provider != registry.HOME]
    known = [(c.name, c.distribution) for c in components] + [(m.folder.name, m.provider) for m in models]
    for name in names:
        if not any(_meant([name], *item) for item in known):
            raise UnknownComponentError(
                f"no component, model or distribution is called {name!r}."
                f"{suggest(name, {text for item in known for text in item})} "
                "`emozoo plugins list` and `emozoo list` show what is installed"
            )
    wanted = [c for c in components if _meant(names, c.name, c.distribution)]
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        found = list(pool.map(lambda component: _examine(component, limit), wanted))
    return found + [_examine_model(m) for m in models if _meant(names, m.folder.name, m.provider)]


def _meant(names: Sequence[str], short: str, distribution: str) -> bool:
    own = (short, f"{distribution}:{short}")
    return not names or any(name in own or registry.normalise(name) == distribution for name in names)


def _examine(component: registry.Component, limit: float) -> Diagnosis:
    found = Diagnosis(
        component.kind, component.name, component.distribution, component.version, component.target
    )
    try:
        registry.find(component.kind, component.qualified)
    except PluginAPIError as error:
        found.problems.append(str(error))
        return found
    if component.status == "shadowed":
        found.problems.append(f"clash: emozoo itself has this name; recipes must say {component.qualified!r}")
    if component.status == "ambiguous":
        others = [
            c.distribution
            for c in registry.discover()
            if (c.kind, c.name) == (component.kind, component.name)
        ]
        others = [other for other in others if other != component.distribution]
        found.problems.append(
            f"clash: {' and '.join(others)} provides this name too; recipes must say {component.qualified!r}"
        )
    found.problems.extend(_missing_requirements(component.distribution))
    return _with_import(found, component, limit)


def _missing_requirements(distribution: str) -> Iterator[str]:
    """Yield which requirements of a distribution the environment does not meet."""
    from importlib.metadata import requires

    from packaging.requirements import InvalidRequirement, Requirement

    for text in requires(distribution) or []:
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            yield f"its requirement {text!r} cannot be read"
            continue
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        if there := registry.unmet(wanted):
            needed = f"{wanted.name}{wanted.specifier}"
            yield f'needs {needed} ({there}): pip install "{needed}"'


def _with_import(found: Diagnosis, component: registry.Component, limit: float) -> Diagnosis:
    """Import a component in another process, and add what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "result.json"
        command = [sys.executable, "-P", "-X", "importtime", "-m", __name__]
        command += [component.kind, component.qualified, str(place), str(limit)]
        with open(Path(folder) / "stderr", "w+", encoding="utf-8", errors="replace") as errors:
            try:
                done = subprocess.run(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
                    timeout=limit + _STARTING, check=False,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                found.problems.append(f"import: not done after {limit:g} s, nor could it be interrupted")
                return found
            errors.seek(0)
            said = errors.read()
        result = json.loads(place.read_text()) if place.is_file() else {}
        hang = place.with_suffix(".hang")
        where = hang.read_text(errors="replace").splitlines() if hang.is_file() else []
    if where:
        lines = [line.strip() for line in where if line.strip().startswith("File")]
        found.problems.append("\n".join([f"import: not done after {limit:g} s; it was at", *lines[:TAIL]]))
    elif not result:
        found.problems.append(f"import: it ended the process with status {done.returncode}")
    elif result["error"]:
        found.problems.append(result["error"])
    else:
        return _with_times(found, said)
    return found


def _with_times(found: Diagnosis, said: str) -> Diagnosis:
    """Add how long the import took, and which packages took long, from what `-X importtime` says after the mark."""
    times: dict[str, float] = defaultdict(float)
    inside = None  # how deep the import of an expected package is that the line belongs to
    for line in reversed(said.partition(_MARK)[2].splitlines()):  # what a module imports stands before it
        match = _IMPORT.fullmatch(line)
        if match is None or (inside is not None and len(match["indent"]) > inside):
            continue
        package = match["module"].partition(".")[0]
        inside = len(match["indent"]) if package in EXPECTED else None
        if inside is None:
            times[package] += int(match["own"]) / 1000
    milliseconds = round(sum(times.values()))
    mine = {found.target.partition(":")[0].partition(".")[0], *sys.stdlib_module_names}
    heavy = {name: round(ms) for name, ms in times.items() if name not in mine and ms >= HEAVY}
    if milliseconds > SLOW:
        found.notes.append(
            f"slow: its import takes {milliseconds} ms beside {' and '.join(EXPECTED)}; "
            "import what is heavy where it is used, in a function"
        )
    return replace(found, milliseconds=milliseconds, heavy=heavy)


def _examine_model(model: Entry) -> Diagnosis:
    """Check that a zoo entry's recipe can be read, and that each component it names is installed."""
    from emozoo.recipe import load_recipe

    found = Diagnosis("model", model.folder.name, model.provider, "", str(model.folder))
    if model.name != model.folder.name:
        found.problems.append(
            f"clash: the zoo has another model of this name; it must be called {model.name!r}"
        )
    try:
        recipe = load_recipe(model.recipe_file)
        parts: list[tuple[str, Any]] = [("backbone", recipe.model.backbone), ("dataset", recipe.data)]
        parts += [("aggregator", recipe.model.aggregator)] if recipe.model.aggregator else []
        parts += [("head", part) for part in recipe.model.heads.values()]
        parts += [("consistency", term) for term in recipe.train.consistency]
        for kind, part in parts:
            registry.find(kind, part.name)
    except EmozooError as error:
        found.problems.append(f"recipe: {error}")
    return found


_MARK = "emozoo imports the component"
_IMPORT = re.compile(r"import time: +(?P<own>\d+) \| +\d+ \|(?P<indent> +)(?P<module>\S+)")


def import_one(kind: str, name: str, place: Path, limit: float) -> None:
    """Import a component in this process, and write what came of it.

    A process that is still at it when the time is up writes where it is, and ends.
    """
    from emozoo.options import option_names, options_schema

    component = registry.find(kind, name)
    options_schema(import_one)
    for expected in EXPECTED:  # their time is not the plugin's
        with suppress(ImportError):
            import_module(expected)
    result: dict[str, Any] = {"error": None}
    sys.stderr.write(f"\n{_MARK}\n")
    sys.stderr.flush()
    with open(place.with_suffix(".hang"), "w") as hang:
        faulthandler.dump_traceback_later(limit, exit=True, file=hang)
        try:
            option_names(registry.load(component))
        except EmozooError as error:
            result["error"] = _told(error)
        faulthandler.cancel_dump_traceback_later()
    place.write_text(json.dumps(result))


def _told(error: EmozooError) -> str:
    """Return what a failed import is to be blamed for, with the end of its traceback."""
    cause = error.__cause__
    if cause is None:
        return str(error)
    frames = [
        frame for frame in traceback.extract_tb(cause.__traceback__) if "importlib" not in frame.filename
    ]
    frames = [frame for frame in frames if Path(__file__).parent not in Path(frame.filename).parents]
    lines = [f'File "{frame.filename}", line {frame.lineno}: {frame.line}' for frame in frames[-TAIL:]]
    return "\n".join([f"import: {type(cause).__name__}: {cause}", *lines])


if __name__ == "__main__":
    import_one(sys.argv[1], sys.argv[2], Path(sys.argv[3]), float(sys.argv[4]))
