"""A Hub for each test, and a client that talks to it and to nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from server import HubServer

ALICE = "hf_alice_secret"


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
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", ALICE)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("EMOZOO_CACHE", str(tmp_path / "stamps"))
    yield server
    server.stop()
    assert not server.errors, server.errors[0]
