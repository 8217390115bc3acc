"""Components by name: discovery from entry-point metadata, resolution, import on use.

Listing and finding read installed metadata only. A plugin's code runs when one of its components is used, and
what it raises then is reported as that plugin's failure and harms nothing else.
"""

from __future__ import annotations

import functools
import os
import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from emozoo.contracts import API_VERSION
from emozoo.errors import (
    AmbiguousComponentError,
    EmozooError,
    EmozooWarning,
    PluginAPIError,
    PluginLoadError,
    RecipeError,
    UnknownComponentError,
    suggest,
)
from emozoo.options import check_options, nested_kinds, option_names, plain_options

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

    from packaging.requirements import Requirement

HOME = "emozoo"
"""The distribution whose components are never shadowed."""

GROUPS = {
    "backbone": "emozoo.backbones",
    "aggregator": "emozoo.aggregators",
    "head": "emozoo.heads",
    "consistency": "emozoo.consistency",
    "dataset": "emozoo.datasets",
    "detector": "emozoo.detectors",
}
"""Component kinds and their entry-point groups."""

MODELS = "emozoo.models"
"""The entry-point group of packages that hold zoo entries."""

Status = Literal["ok", "shadowed", "ambiguous", "incompatible"]


@dataclass(frozen=True, slots=True)
class Component:
    """An entry point of a component kind, known from metadata; nothing of it has been imported."""

    kind: str
    name: str
    distribution: str
    version: str
    target: str
    status: Status
    requires: str
    """The range of emozoo versions that the distribution declares ("" when it declares none)."""
    entry_point: EntryPoint

    @property
    def qualified(self) -> str:
        """The name that stays unique: "distribution:name"."""
        return f"{self.distribution}:{self.name}"

    @property
    def origin(self) -> str:
        """What and whose it is, for error messages."""
        return f"{self.kind} {self.name!r} of {self.distribution} {self.version} (entry point {self.target})"


@functools.cache
def discover() -> tuple[Component, ...]:
    """Return every component of the allowed distributions, sorted by kind and name, from metadata alone.

    `EMOZOO_PLUGINS` limits third-party distributions: "none", or a comma-separated list of names. The filter
    applies before anything is imported. A distribution whose metadata is broken is left out with a warning.
    """
    components = [c for provided in _scan(_components).values() for c in provided]
    providers: dict[tuple[str, str], set[str]] = defaultdict(set)
    for component in components:
        providers[component.kind, component.name].add(component.distribution)
    judged = [replace(c, status=_status(c, providers[c.kind, c.name])) for c in components]
    return tuple(sorted(judged, key=lambda c: (list(GROUPS).index(c.kind), c.name, c.distribution)))


def model_packages() -> dict[str, list[str]]:
    """Return the packages that hold zoo entries, by distribution, from metadata alone (group `emozoo.models`).

    Distributions that need another version of emozoo are left out, as are those that `EMOZOO_PLUGINS` hides.
    """
    return {distribution: packages for distribution, packages in _scan(_model_packages).items() if packages}


def _scan(read: Callable[[Distribution, str], list[Any]]) -> dict[str, list[Any]]:
    """Return what can be read of every allowed distribution that has entry points of emozoo's groups."""
    from importlib.metadata import distributions

    found: dict[str, list[Any]] = {}
    for installed in distributions():
        try:
            if "emozoo." not in (installed.read_text("entry_points.txt") or ""):
                continue
            distribution = normalise(installed.name)
            if distribution not in found and _allowed(distribution):  # the first on sys.path is what imports
                found[distribution] = read(installed, distribution)
        except Exception as error:  # whatever the metadata of others may hold
            warnings.warn(
                f"a distribution in {installed.locate_file('')} is left out: broken metadata ({error!r})",
                EmozooWarning,
                stacklevel=3,
            )
    return found


def _model_packages(installed: Distribution, distribution: str) -> list[str]:
    if distribution != HOME and not _compatible(_required_emozoo(installed.requires or [])):
        return []
    return sorted({point.module for point in installed.entry_points if point.group == MODELS})


def _components(installed: Distribution, distribution: str) -> list[Component]:
    kinds = {group: kind for kind, group in GROUPS.items()}
    requires = "" if distribution == HOME else _required_emozoo(installed.requires or [])
    points = {
        (kinds[point.group], point.name): point for point in installed.entry_points if point.group in kinds
    }
    return [
        Component(kind, name, distribution, installed.version, point.value, "ok", requires, point)
        for (kind, name), point in points.items()
    ]


def _status(component: Component, providers: set[str]) -> Status:
    if not _compatible(component.requires):
        return "incompatible"
    if len(providers) == 1 or component.distribution == HOME:
        return "ok"
    return "shadowed" if HOME in providers else "ambiguous"


def normalise(distribution: str) -> str:
    """Return the one spelling of a distribution's name: "Emozoo_Toy.Extra" is "emozoo-toy-extra"."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _allowed(distribution: str) -> bool:
    wanted = os.environ.get("EMOZOO_PLUGINS")
    if wanted is None or distribution == HOME:
        return True
    return distribution in {normalise(name.strip()) for name in wanted.split(",")}


def _required_emozoo(requirements: list[str]) -> str:
    """Return the version range of emozoo that a distribution's requirements add up to."""
    ranges = []
    for text in requirements:
        if not text.lower().startswith(HOME):
            continue
        from packaging.requirements import Requirement

        requirement = Requirement(text)
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if normalise(requirement.name) == HOME and applies:
            ranges.append(str(requirement.specifier))
    return ",".join(filter(None, ranges))


def _compatible(requires: str) -> bool:
    if not requires:
        return True
    from packaging.specifiers import SpecifierSet

    from emozoo import __version__

    return SpecifierSet(requires).contains(__version__, prereleases=True)


def _split(name: str) -> tuple[str, str, str]:
    """Split "distribution:family/member"; the distribution and the member may be empty."""
    family, _, member = name.partition("/")
    distribution, _, short = family.rpartition(":")
    return normalise(distribution), short, member


def find(kind: str, name: str) -> Component:
    """Return the component that a short ("resnet18") or qualified ("emozoo:resnet18") name means.

    A name with a slash, "family/member", means the component "family", which is given the member.

    Raises:
        UnknownComponentError: nothing of that name is installed; the nearest name is suggested.
        AmbiguousComponentError: several distributions provide the short name.
        PluginAPIError: the provider needs another version of emozoo.
    """
    distribution, short, _ = _split(name)
    candidates = [c for c in discover() if c.kind == kind and c.name == short]
    if distribution:
        candidates = [c for c in candidates if c.distribution == distribution]
    else:
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
    distribution, short, _ = _split(name)
    foreign = distribution and distribution not in {c.distribution for c in discover()}
    provider = f" No component of a distribution {distribution!r} is installed." if foreign else ""
    limit = os.environ.get("EMOZOO_PLUGINS")
    limited = f" EMOZOO_PLUGINS={limit} hides all other plugins." if limit is not None else ""
    return (
        f"no {kind} is called {name!r}.{suggest(short, names)}{provider} "
        f"Installed: {', '.join(names) or 'none'}.{limited} `emozoo plugins list` shows their origins."
    )


def _incompatible(component: Component) -> str:
    from emozoo import __version__

    return (
        f"{component.kind} {component.qualified!r} needs emozoo{component.requires}, "
        f"this is emozoo {__version__}: pip install -U {component.distribution} emozoo"
    )


def load(component: Component) -> Callable[..., Any]:
    """Import what a component's entry point names.

    Raises:
        PluginLoadError: the import failed, or what it names cannot be called.
        PluginAPIError: the plugin was written for another version of the contracts; the attribute
            `__emozoo_api__` of the class or function says which.
    """
    try:
        factory = component.entry_point.load()
    except (Exception, SystemExit) as error:
        raise PluginLoadError(
            f"{component.origin} cannot be imported: {type(error).__name__}: {error}. "
            "Everything else still works; reinstall it, or leave it out with EMOZOO_PLUGINS."
        ) from error
    if not callable(factory):
        raise PluginLoadError(f"{component.origin} names a {type(factory).__name__}, which cannot be called")
    version = getattr(factory, "__emozoo_api__", API_VERSION)
    if version != API_VERSION:
        raise PluginAPIError(
            f"{component.origin} was written for plugin API {version}, this emozoo has {API_VERSION}: "
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
    nested: tuple[Resolved, ...] = ()
    """The components among its options, which `options` holds as tables."""

    @property
    def requires(self) -> dict[str, str]:
        """The distributions, and their version ranges, that a saved model needs for it and for what it is made of."""
        found = requirement_of(self.component)
        for part in self.nested:
            found |= part.requires
        return found

    @property
    def plain(self) -> dict[str, Any]:
        """The name and every option as JSON values, as config.json keeps them."""
        values = plain_options(self.options, self.where)
        if "/" in self.name:
            del values["member"]
        return {"name": self.name, **values}

    def build(self, *context: Any) -> Any:
        """Build the component from its kind's context (`in_channels`; `in_features` and `labels`; ...).

        Raises:
            RecipeError: the component refuses its options, with a ValueError that is chained.
            PluginLoadError: it fails in any other way that is not one of emozoo's own errors.
        """
        try:
            return self.factory(*context, **self.options)
        except EmozooError:
            raise
        except ValueError as error:
            raise RecipeError(f"{self.where}: {self.name}: {error}") from error
        except (Exception, SystemExit) as error:
            raise PluginLoadError(
                f"{self.where}: {self.component.origin} cannot be built: {type(error).__name__}: {error}"
            ) from error


def resolve(kind: str, name: str, options: Mapping[str, Any], where: str) -> Resolved:
    """Find and import a component, and check a recipe's options for it.

    Args:
        kind: a key of `GROUPS`.
        name: short or qualified, perhaps "family/member".
        options: the recipe's options, checked against the constructor's annotated keyword-only parameters.
        where: the recipe's path to this component, for error messages ("model.backbone").

    Raises:
        RecipeError: an option is unknown, missing or of the wrong type.
        UnknownComponentError, AmbiguousComponentError, PluginAPIError: see `find`.
        PluginLoadError: the plugin failed; its own error is chained.
    """
    component = find(kind, name)
    factory = load(component)
    _, _, member = _split(name)
    if member:
        if "member" not in option_names(factory):
            raise RecipeError(
                f"{where}.name: {component.qualified!r} has no members; leave out {'/' + member!r}"
            )
        if options.get("member", member) != member:
            raise RecipeError(
                f"{where}: the name {name!r} and the option member = {options['member']!r} disagree"
            )
        options = {**options, "member": member}
    checked = check_options(factory, options, where)
    nested = {
        option: _resolve_nested(inner, checked[option], f"{where}.{option}")
        for option, inner in nested_kinds(factory).items()
        if checked[option] is not None
    }
    checked |= {option: part.plain for option, part in nested.items()}
    named = checked.get("member")
    qualified = component.qualified + (f"/{named}" if named and isinstance(named, str) else "")
    return Resolved(component, factory, qualified, checked, where, tuple(nested.values()))


def _resolve_nested(kind: str, table: Any, where: str) -> Resolved:
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
        raise RecipeError(
            f"{where}: which {kind}? Write its name beside its options, {{ name = '...' }}; "
            "`emozoo plugins list` has the names"
        )
    options = {key: value for key, value in table.items() if key != "name"}
    return resolve(kind, table["name"], options, where)


def build(kind: str, name: str, options: Mapping[str, Any], *context: Any, where: str) -> Any:
    """Resolve and build a component in one go."""
    return resolve(kind, name, options, where).build(*context)


def requirement_of(component: Component) -> dict[str, str]:
    """Return the distribution and version range that a saved model needs for a component."""
    return {component.distribution: compatible_range(component.version)}


def compatible_range(version: str) -> str:
    """Return the range of versions from one on that are meant to work in its place: "0.1.2" -> ">=0.1.2,<0.2"."""
    from packaging.version import Version

    lowest = Version(version)
    upper = f"0.{lowest.minor + 1}" if lowest.major == 0 else f"{lowest.major + 1}"
    epoch = f"{lowest.epoch}!" if lowest.epoch else ""
    return f">={lowest.public},<{epoch}{upper}"


def unmet(wanted: Requirement) -> str | None:
    """Return what is there instead of what is required, a version or "not installed"; None where it is met."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        installed = version(wanted.name)
    except PackageNotFoundError:
        return "not installed"
    return None if wanted.specifier.contains(installed, prereleases=True) else installed
