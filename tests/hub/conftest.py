"""A Hub for each test, a client that talks to it and to nothing else, and small models to push."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from askers import ALICE
from huggingface_hub import constants
from records import small_record
from server import HubServer
from small import tiny_model

from emozoo import proof
from emozoo.card import render_card
from emozoo.folder import load_model, save_model, verify_golden
from emozoo.publish import Published, push


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    """A Hub where the token ALICE may write as "alice"; the client is online, and its token is ALICE.

    The client reads most of its settings when it is imported, so that its constants are set, not the environment;
    large files go the LFS way.
    """
    server = HubServer()
    server.user("alice", ALICE)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    template = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", ALICE)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("EMOZOO_CACHE", str(tmp_path / "stamps"))
    yield server
    server.stop()
    assert not server.errors, server.errors[0]


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two saved models of one architecture, with a record and a card."""
    place = tmp_path_factory.mktemp("models")
    for seed in (1, 2):
        model = tiny_model(seed, backbone={"name": "resnet18", "stem": "strided", "width": 2})
        record = small_record(f"run-{seed}", seed, accuracy=0.6 + seed / 100)
        record["recipe"]["card"]["title"] = f"Model {seed}"
        save_model(model, place / str(seed), record, render_card(record))
    return place / "1", place / "2"


@pytest.fixture
def folders(originals: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """The two models in folders of the test's own."""
    first, second = (shutil.copytree(folder, tmp_path / f"model-{folder.name}") for folder in originals)
    return first, second


@pytest.fixture
def reload_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a push prove its folder in this process: a fresh one takes seconds, and has a test of its own."""
    monkeypatch.setattr(proof, "reload", lambda folder: verify_golden(load_model(folder, "cpu"), folder))


@pytest.fixture
def pushed(hub: HubServer, folders: tuple[Path, Path], reload_here: None) -> Published:
    """The first model, on the Hub as alice/faces; the list of requests starts anew."""
    published = push(folders[0], "alice/faces", private=False)
    hub.requests.clear()
    hub.authorisations.clear()
    return published
