"""`emozoo plugins doctor`: what comes of importing each entry point, in a process of its own, under a time limit."""

from __future__ import annotations

import faulthandler
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emozoo import registry
from emozoo.errors import EmozooError, PluginAPIError, UnknownComponentError, suggest

if TYPE_CHECKING:
    from emozoo.zoo import Entry

LIMIT = 30.0
"""Seconds an import may take."""

SLOW, HEAVY = 200, 50
"""Milliseconds above which an import, not counting torch, is called slow, and a package in it is named."""

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
        milliseconds: that its import took beside torch's; None where it was not or could not be imported.
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


def examine(name: str | None = None, limit: float = LIMIT) -> list[Diagnosis]:
    """Examine every installed component and every zoo entry of plugins, or those of a name.

    Args:
        name: a component, short or qualified, a zoo entry, or a distribution; None: everything.
        limit: seconds an import may take.

    Raises:
        UnknownComponentError: nothing is called so.
    """
    from emozoo import zoo

    components = [c for c in registry.discover() if _meant(name, c.name, c.distribution)]
    models = [m for m in zoo.entries() if m.provider != registry.HOME]
    models = [m for m in models if _meant(name, m.folder.name, m.provider)]
    if name is not None and not components and not models:
        known = {c.name for c in registry.discover()} | {c.distribution for c in registry.discover()}
        raise UnknownComponentError(
            f"no component, model or distribution is called {name!r}.{suggest(name, known)} "
            "`emozoo plugins list` shows what is installed"
        )
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        found = list(pool.map(lambda component: _examine(component, limit), components))
    return found + [_examine_model(model) for model in models]


def _meant(name: str | None, short: str, distribution: str) -> bool:
    return (
        name is None or name in (short, f"{distribution}:{short}") or registry.normalise(name) == distribution
    )


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
        found.problems.append(
            f"clash: emozoo has a {component.kind} of this name; recipes must say {component.qualified!r}"
        )
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
    from importlib.metadata import PackageNotFoundError, requires, version

    from packaging.requirements import InvalidRequirement, Requirement

    for text in requires(distribution) or []:
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            yield f"its requirement {text!r} cannot be read"
            continue
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(wanted.name)
        except PackageNotFoundError:
            installed = None
        if installed is None or not wanted.specifier.contains(installed, prereleases=True):
            needed = f"{wanted.name}{wanted.specifier}"
            yield f'needs {needed} ({installed or "not installed"}): pip install "{needed}"'


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
        return _with_times(found, result["milliseconds"], said)
    return found


def _with_times(found: Diagnosis, milliseconds: int, said: str) -> Diagnosis:
    """Add how long the import took, and which packages took long, from what `-X importtime` says after the mark."""
    times: dict[str, float] = defaultdict(float)
    for line in said.partition(_MARK)[2].splitlines():
        own, _, rest = line.removeprefix("import time:").partition("|")
        package = rest.rpartition("|")[2].strip().partition(".")[0]
        if line.startswith("import time:") and own.strip().isdecimal():
            times[package] += int(own) / 1000
    mine = found.target.partition(":")[0].partition(".")[0]
    others = {name: ms for name, ms in times.items() if name != mine and name not in sys.stdlib_module_names}
    heavy = {name: round(ms) for name, ms in sorted(others.items(), key=lambda item: -item[1]) if ms >= HEAVY}
    notes = list(found.notes)
    if milliseconds > SLOW:
        named = ", ".join(f"{name} {ms} ms" for name, ms in heavy.items())
        because = f", of which {named}" if named else ""
        notes.append(
            f"slow: its import takes {milliseconds} ms{because}; import what is heavy where it is used, in a function"
        )
    return replace(found, notes=notes, milliseconds=milliseconds, heavy=heavy)


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


def import_one(kind: str, name: str, place: Path, limit: float) -> None:
    """Import a component in this process, and write what came of it; what it needs anyway is imported before.

    A process that is still at it when the time is up writes where it is, and ends.
    """
    from emozoo.options import option_names, options_schema

    component = registry.find(kind, name)
    import numpy  # noqa: F401

    if kind != "dataset":
        import torch  # noqa: F401 - every other kind is made of it
    options_schema(import_one)
    result: dict[str, Any] = {"error": None}
    sys.stderr.write(f"\n{_MARK}\n")
    sys.stderr.flush()
    with open(place.with_suffix(".hang"), "w") as hang:
        faulthandler.dump_traceback_later(limit, exit=True, file=hang)
        started = time.perf_counter()
        try:
            factory = registry.load(component)
            result["milliseconds"] = round(1000 * (time.perf_counter() - started))
            option_names(factory)
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
    frames = [frame for frame in frames if not frame.filename.startswith(str(Path(__file__).parent))]
    lines = [f'File "{frame.filename}", line {frame.lineno}: {frame.line}' for frame in frames[-TAIL:]]
    return "\n".join([f"import: {type(cause).__name__}: {cause}", *lines])


if __name__ == "__main__":
    import_one(sys.argv[1], sys.argv[2], Path(sys.argv[3]), float(sys.argv[4]))
