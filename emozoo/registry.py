"""Components by name: discovery from entry-point metadata, resolution, import on use.

Listing and resolving read installed metadata only. A plugin's code runs when one of its components is built, and
what it raises then is reported as that plugin's failure and harms nothing else.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

from emozoo.contracts import API_VERSION
from emozoo.errors import (
    AmbiguousComponentError,
    PluginAPIError,
    PluginLoadError,
    RecipeError,
    UnknownComponentError,
    suggest,
)

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

HOME = "emozoo"
"""The distribution whose components are never shadowed."""

GROUPS = {
    "backbone": "emozoo.backbones",
    "aggregator": "emozoo.aggregators",
    "head": "emozoo.heads",
    "consistency": "emozoo.consistency",
    "dataset": "emozoo.datasets",
}
"""Component kinds and their entry-point groups."""


@dataclass(frozen=True, slots=True)
class Component:
    """An entry point of a component kind, known from metadata; nothing of it has been imported."""

    kind: str
    name: str
    distribution: str
    version: str
    target: str
    status: Literal["ok", "shadowed", "ambiguous", "incompatible"]
    requires: str
    """The range of emozoo versions that the distribution declares ("" when it declares none)."""
    entry_point: EntryPoint

    @property
    def qualified(self) -> str:
        """The name that stays unique: "distribution:name"."""
        return f"{self.distribution}:{self.name}"


@functools.cache
def discover() -> tuple[Component, ...]:
    """Return every component of the allowed distributions, sorted by kind and name, from metadata alone.

    `EMOZOO_PLUGINS` limits third-party distributions: "none", or a comma-separated list of names. The filter
    applies before anything is imported.
    """
    from importlib.metadata import distributions

    kinds = {group: kind for kind, group in GROUPS.items()}
    found: dict[str, dict[tuple[str, str], EntryPoint]] = {}
    for installed in distributions():
        if "emozoo." not in (installed.read_text("entry_points.txt") or ""):
            continue
        distribution = _normalise(installed.name)
        if distribution not in found and _allowed(distribution):  # the first on sys.path is the one that imports
            points = [point for point in installed.entry_points if point.group in kinds]
            found[distribution] = {(kinds[point.group], point.name): point for point in points}
    providers: dict[tuple[str, str], list[str]] = defaultdict(list)
    for distribution, points in found.items():
        for key in points:
            providers[key].append(distribution)
    components = [
        _component(key[0], point, distribution, providers[key])
        for distribution, points in found.items()
        for key, point in points.items()
    ]
    return tuple(sorted(components, key=lambda c: (list(GROUPS).index(c.kind), c.name, c.distribution)))


def _component(kind: str, point: EntryPoint, distribution: str, providers: list[str]) -> Component:
    assert point.dist is not None
    requires = _required_emozoo(point.dist.requires or []) if distribution != HOME else ""
    status: Literal["ok", "shadowed", "ambiguous", "incompatible"] = "ok"
    if not _compatible(requires):
        status = "incompatible"
    elif len(providers) > 1 and distribution != HOME:
        status = "shadowed" if HOME in providers else "ambiguous"
    return Component(
        kind, point.name, distribution, point.dist.version, point.value, status, requires, point
    )


def _normalise(distribution: str) -> str:
    return distribution.lower().replace("_", "-").replace(".", "-")


def _allowed(distribution: str) -> bool:
    wanted = os.environ.get("EMOZOO_PLUGINS")
    if wanted is None or distribution == HOME:
        return True
    return distribution in {_normalise(name.strip()) for name in wanted.split(",")}


def _required_emozoo(requirements: list[str]) -> str:
    for text in requirements:
        if not text.lower().startswith(HOME):
            continue
        from packaging.requirements import Requirement

        requirement = Requirement(text)
        if requirement.name == HOME and requirement.marker is None:
            return str(requirement.specifier)
    return ""


def _compatible(requires: str) -> bool:
    if not requires:
        return True
    from packaging.specifiers import SpecifierSet

    from emozoo import __version__

    return SpecifierSet(requires).contains(__version__, prereleases=True)


def find(kind: str, name: str) -> Component:
    """Return the component that a short ("resnet18") or qualified ("emozoo:resnet18") name means.

    A name with a slash, "family/member", means the component "family", which is given the member.

    Raises:
        UnknownComponentError: nothing of that name is installed; the nearest name is suggested.
        AmbiguousComponentError: several distributions provide the short name.
        PluginAPIError: the provider needs another version of emozoo.
    """
    distribution, _, short = name.rpartition(":")
    short = short.partition("/")[0]
    candidates = [c for c in discover() if c.kind == kind and c.name == short]
    if distribution:
        candidates = [c for c in candidates if c.distribution == _normalise(distribution)]
    elif len(candidates) > 1:
        candidates = [c for c in candidates if c.distribution == HOME] or candidates
    if not candidates:
        raise UnknownComponentError(_unknown(kind, name))
    if len(candidates) > 1:
        providers = " and ".join(f"{c.distribution} {c.version}" for c in candidates)
        choices = " or ".join(c.qualified for c in candidates)
        raise AmbiguousComponentError(f"{kind} {short!r} is provided by {providers}; write {choices}")
    if candidates[0].status == "incompatible":
        raise PluginAPIError(_incompatible(candidates[0]))
    return candidates[0]


def _unknown(kind: str, name: str) -> str:
    known = [c for c in discover() if c.kind == kind]
    names = sorted({c.name for c in known} | {c.qualified for c in known if c.distribution != HOME})
    provider = f" No installed distribution {name.partition(':')[0]!r} provides it." if ":" in name else ""
    return (
        f"no {kind} is called {name!r}.{suggest(name, names)}{provider} "
        f"Installed: {', '.join(names) or 'none'}. `emozoo plugins list` shows where each comes from."
    )


def _incompatible(component: Component) -> str:
    from emozoo import __version__

    return (
        f"{component.kind} {component.qualified!r} needs emozoo{component.requires}, this is emozoo {__version__}: "
        f"pip install -U {component.distribution} emozoo"
    )


def load(component: Component) -> Callable[..., Any]:
    """Import what a component's entry point names.

    Raises:
        PluginLoadError: the import failed, or what it names cannot be called.
        PluginAPIError: the plugin was written for another version of the contracts.
    """
    origin = (
        f"{component.kind} {component.name!r} of {component.distribution} {component.version} "
        f"(entry point {component.target})"
    )
    try:
        factory = component.entry_point.load()
    except (Exception, SystemExit) as error:
        raise PluginLoadError(
            f"{origin} cannot be imported: {type(error).__name__}: {error}. Everything else still works; "
            f"reinstall it, or leave it out with EMOZOO_PLUGINS."
        ) from error
    if not callable(factory):
        raise PluginLoadError(f"{origin} names a {type(factory).__name__}, which cannot be called")
    version = getattr(factory, "__emozoo_api__", API_VERSION)
    if version != API_VERSION:
        raise PluginAPIError(
            f"{origin} was written for plugin API {version}, this emozoo has {API_VERSION}: "
            f"pip install -U {component.distribution} emozoo"
        )
    return factory


@dataclass(frozen=True, slots=True)
class Resolved:
    """A component that has been imported, with its options checked and complete; ready to be built."""

    component: Component
    factory: Callable[..., Any]
    name: str
    """Qualified, with the member where there is one."""
    options: dict[str, Any]
    where: str

    @property
    def plain(self) -> dict[str, Any]:
        """The name and every option as JSON values, as config.json keeps them."""
        from pydantic import TypeAdapter

        values = TypeAdapter(dict[str, Any]).dump_python(self.options, mode="json")
        return {"name": self.name, **{key: value for key, value in values.items() if key != "member"}}

    def build(self, *context: Any) -> Any:
        """Build the component from what its kind is built from (`in_channels`; `in_features` and `labels`; ...)."""
        try:
            return self.factory(*context, **self.options)
        except ValueError as error:
            raise RecipeError(f"{self.where}: {self.name}: {error}") from error


def resolve(kind: str, name: str, options: Mapping[str, Any], where: str) -> Resolved:
    """Find and import a component, and check a recipe's options for it.

    Args:
        kind: a key of `GROUPS`.
        name: short or qualified, perhaps "family/member".
        options: the recipe's options, checked against the constructor's annotated keyword-only parameters.
        where: the recipe's path to this component, for error messages ("model.backbone").

    Raises:
        RecipeError: an option is unknown, missing or of the wrong type.
        PluginLoadError: the plugin failed; its own error is chained.
    """
    component = find(kind, name)
    factory = load(component)
    member = name.rpartition(":")[2].partition("/")[2] or options.get("member")
    given = {**options, "member": member} if member else dict(options)
    qualified = component.qualified + (f"/{member}" if member else "")
    return Resolved(component, factory, qualified, check_options(factory, given, where), where)


def build(kind: str, name: str, options: Mapping[str, Any], *context: Any, where: str) -> Any:
    """Resolve and build a component in one go."""
    return resolve(kind, name, options, where).build(*context)


def check_options(function: Callable[..., Any], options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check options against the annotated keyword-only parameters of a constructor or function.

    Raises:
        RecipeError: lists every option that is unknown, missing or of the wrong type, with its path.
    """
    from pydantic import ValidationError

    try:
        checked = options_schema(function)(**options)
    except ValidationError as error:
        from emozoo.recipe import explain

        raise RecipeError(explain(error, options_schema(function), where)) from None
    return {name: getattr(checked, name) for name in type(checked).model_fields}


@functools.cache
def options_schema(function: Callable[..., Any]) -> Any:
    """Return a pydantic model of a callable's keyword-only parameters, its defaults and types."""
    from typing import get_type_hints

    from pydantic import ConfigDict, create_model

    target: Any = function.__init__ if inspect.isclass(function) else function
    options = {
        name: parameter
        for name, parameter in inspect.signature(target).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    annotations = {name: parameter.annotation for name, parameter in options.items()}
    hints = get_type_hints(SimpleNamespace(__annotations__=annotations), target.__globals__, include_extras=True)
    fields: dict[str, Any] = {
        name: (hints[name], ... if parameter.default is parameter.empty else parameter.default)
        for name, parameter in options.items()
    }
    return create_model("Options", __config__=ConfigDict(extra="forbid", protected_namespaces=()), **fields)


def requirement_of(component: Component) -> dict[str, str]:
    """Return the distribution and version range that a saved model needs for a component."""
    major, minor = (component.version.split(".") + ["0"])[:2]
    upper = f"0.{int(minor) + 1}" if major == "0" else str(int(major) + 1)
    return {component.distribution: f">={component.version},<{upper}"}
