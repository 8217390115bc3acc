"""The page on the Hub names every parameter, option and error that there is."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import typer

import emozoo
from emozoo import errors
from emozoo.cli.app import app

TEXT = (Path(__file__).parents[1] / "docs" / "hub.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([^`\n]+)`", TEXT))


def test_every_parameter_of_load_is_explained() -> None:
    parameters = set(inspect.signature(emozoo.load).parameters) - {"source"}
    rows = set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE))
    assert parameters <= rows


def test_every_option_of_push_is_explained() -> None:
    command = typer.main.get_command(app).commands["push"]
    options = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    assert {name for name in options if name.startswith("--")} <= NAMED | {"--help"}


@pytest.mark.parametrize(
    "error",
    [errors.HubError, *errors.HubError.__subclasses__(), *errors.HubUnavailableError.__subclasses__()],
)
def test_every_error_of_loading_is_explained(error) -> None:
    assert error.__name__ in NAMED or error in (errors.HubError, errors.PushError)


def test_every_name_that_looks_like_an_error_is_one() -> None:
    for name in re.findall(r"`(\w+Error)`", TEXT):
        assert issubclass(getattr(errors, name), errors.EmozooError)
