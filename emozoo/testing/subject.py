"""The component under test: found by name as recipes find it, and blamed by name where it fails."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

import torch

from emozoo import registry
from emozoo.errors import ContractError, EmozooError, PluginLoadError
from emozoo.options import option_names

WHERE = {
    "backbone": "model.backbone",
    "aggregator": "model.aggregator",
    "head": "model.heads.tested",
    "consistency": "train.consistency.0",
    "dataset": "data",
    "detector": "faces",
}
"""A place in a recipe where a component of each kind stands; detectors stand in none."""

PROBES: tuple[Any, ...] = (-1, 0, 0.5, "no such value", True, [], {})
"""Values that every option is given in turn; no type takes all of them."""


class Subject:
    """A component of a kind, with options.

    Args:
        kind: a key of `emozoo.registry.GROUPS`.
        name: short ("fan2") or qualified ("emozoo-mypaper:fan2").
        options: as in a recipe; the others have their defaults.
        context: what a component of the kind is built from.

    Raises:
        EmozooError: nothing of that name is installed, or it cannot be imported, or it does not take the options.
    """

    def __init__(self, kind: str, name: str, options: Mapping[str, Any] | None, *context: Any) -> None:
        self.resolved = registry.resolve(kind, name, options or {}, WHERE[kind])
        self.kind, self.context = kind, context
        self.name = self.resolved.name

    @property
    def table(self) -> dict[str, Any]:
        """The component as a table of a recipe."""
        return self.resolved.plain

    def build(self, *context: Any) -> Any:
        """Build the component, from its own context if no other is given."""
        with self.doing("building it"):
            return self.resolved.build(*(context or self.context))

    def fail(self, problem: str, remedy: str) -> NoReturn:
        """Raise the ContractError that says what is wrong and how to mend it."""
        where = self.resolved.component.target
        raise ContractError(f"{self.kind} {self.name!r} ({where}): {problem}. {remedy}.")

    def require(self, kept: Any, problem: str, remedy: str) -> None:
        """Fail unless a promise is kept."""
        if not kept:
            self.fail(problem, remedy)

    @contextmanager
    def doing(
        self, what: str, remedy: str = "The contract allows this call; see emozoo.contracts"
    ) -> Generator:
        """Blame the component for whatever is raised meanwhile, an exit included."""
        try:
            yield
        except (Exception, SystemExit) as error:
            where = self.resolved.component.target
            raise ContractError(
                f"{self.kind} {self.name!r} ({where}): {what} raised {type(error).__name__}: {error}. {remedy}."
            ) from error


def check_options(subject: Subject) -> None:
    """Check that all options are keyword-only, typed and JSON-able, and that wrong values end in an EmozooError."""
    _check_signature(subject)
    try:
        table = subject.table
    except PluginLoadError as error:
        subject.fail(str(error), "A model is saved with all of its options: make the default a JSON value")
    options = {key: value for key, value in table.items() if key != "name"}
    again = registry.resolve(subject.kind, subject.name, options, WHERE[subject.kind])
    subject.require(
        again.plain == table,
        f"its options, saved and read back, are {again.plain}, not {table}",
        "Make every option a plain value that is read back as itself",
    )
    for name in option_names(subject.resolved.factory):
        refused = [value for value in PROBES if _refuses(subject, {**options, name: value}, name)]
        subject.require(
            refused,
            f"option {name!r} takes {', '.join(map(repr, PROBES))} alike",
            "Annotate it with the type that it has, so that a wrong value in a recipe is an error",
        )


def _check_signature(subject: Subject) -> None:
    parameters = list(inspect.signature(subject.resolved.factory).parameters.values())
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    for name in positional[len(subject.context) :]:
        subject.fail(f"recipes cannot set its parameter {name!r}", "Make it keyword-only: write it after a *")
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            subject.fail(f"it takes **{parameter.name}", "Name its options, each with its type and default")


def _refuses(subject: Subject, options: dict[str, Any], name: str) -> bool:
    """Say whether a value is refused as one of emozoo's errors; model parts are built on the meta device."""
    try:
        resolved = registry.resolve(subject.kind, subject.name, options, WHERE[subject.kind])
        with torch.device("cpu" if subject.kind in ("consistency", "dataset", "detector") else "meta"):
            resolved.build(*subject.context)
    except PluginLoadError as error:
        subject.fail(
            f"{name} = {options[name]!r} ends in {error.__cause__!r}",
            "Say in the option's type what it may be (Annotated[int, Field(gt=0)]), or raise a ValueError that says so",
        )
    except EmozooError:
        return True
    return False
