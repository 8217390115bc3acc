"""The file that a face detector needs comes from the Hub once, as pinned, or by a named error."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, constants
from server import HubServer
from small import install

from emozoo.errors import ContractError, CorruptModelError, DetectorUnavailableError
from emozoo.prediction.faces import open_detector

WEIGHTS = bytes(range(256)) * 40

CODE = """
from emozoo.contracts import DetectorFile
class Pinned:
    needs = DetectorFile("w.onnx", {sha256!r}, "example.org", {hub!r})
    def __init__(self, *, file: str):
        self.file = file
"""


@pytest.fixture
def commit(hub: HubServer) -> str:
    """The commit of alice/detectors that has the file."""
    api = HfApi(hub.url)
    api.create_repo("alice/detectors")
    made = api.create_commit("alice/detectors", [CommitOperationAdd("w.onnx", WEIGHTS)], commit_message="w")
    api.create_commit("alice/detectors", [CommitOperationAdd("w.onnx", b"later")], commit_message="later")
    hub.requests.clear()
    return made.oid


@pytest.fixture
def pinned(monkeypatch, tmp_path, commit, request) -> str:
    """A detector of a name of its own (modules stay imported), which needs the file of that commit."""
    name = f"pinned{abs(hash(request.node.name))}"
    code = CODE.format(sha256=hashlib.sha256(WEIGHTS).hexdigest(), hub=f"alice/detectors@{commit}")
    install(monkeypatch, tmp_path, f"emozoo-{name}", "1.0", {f"detectors/{name}": "Pinned"}, code)
    return name


def downloads(hub: HubServer) -> list[str]:
    return [line for line in hub.requests if line.startswith("GET") and "w.onnx" in line]


def test_the_file_is_fetched_once_from_its_commit_and_then_used_without_a_request(hub, pinned, commit):
    path = Path(open_detector(pinned).detector.file)
    assert path.read_bytes() == WEIGHTS
    assert commit in path.parts
    assert len(downloads(hub)) == 1
    hub.requests.clear()
    assert Path(open_detector(pinned).detector.file) == path
    assert hub.requests == []


def test_what_was_fetched_is_there_offline(hub, pinned, monkeypatch):
    path = open_detector(pinned).detector.file
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert open_detector(pinned).detector.file == path


@pytest.mark.parametrize("how", ["down", "offline"])
def test_a_file_that_cannot_be_fetched_ends_in_an_error_with_the_ways_on(hub, pinned, how, monkeypatch):
    if how == "down":
        hub.stop()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", how == "offline")
    with pytest.raises(DetectorUnavailableError) as caught:
        open_detector(pinned)
    said = str(caught.value)
    assert ("cannot be reached" if how == "down" else "offline mode is on") in said
    assert f"{pinned} needs w.onnx" in said
    assert "get it from example.org" in said
    assert "--faces-file PATH" in said


def test_a_download_that_is_damaged_once_is_repeated(hub, pinned):
    hub.fault(r"GET .*w\.onnx", wrong=True)
    assert Path(open_detector(pinned).detector.file).read_bytes() == WEIGHTS
    assert len(downloads(hub)) == 2


def test_a_file_that_is_wrong_twice_is_not_kept(hub, pinned, tmp_path):
    hub.fault(r"GET .*w\.onnx", wrong=True, times=2)
    with pytest.raises(
        CorruptModelError, match=r"w\.onnx of hub:alice/detectors@\w{40} was fetched twice, and is not"
    ):
        open_detector(pinned)
    assert not list((tmp_path / "hf").rglob("w.onnx"))
    assert Path(open_detector(pinned).detector.file).read_bytes() == WEIGHTS


def test_a_cached_file_that_was_changed_is_fetched_anew(hub, pinned):
    path = Path(open_detector(pinned).detector.file)
    path.resolve().write_bytes(WEIGHTS[::-1])
    assert Path(open_detector(pinned).detector.file).read_bytes() == WEIGHTS


def test_a_link_in_the_cache_costs_no_file_outside_of_it(hub, pinned, tmp_path):
    path = Path(open_detector(pinned).detector.file)
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    path.unlink()
    os.symlink(precious, path)
    assert Path(open_detector(pinned).detector.file).read_bytes() == WEIGHTS
    assert precious.read_bytes() == b"mine"


def test_a_file_must_be_pinned_to_a_commit(hub, monkeypatch, tmp_path):
    code = CODE.format(sha256="0" * 64, hub="alice/detectors@main")
    install(monkeypatch, tmp_path, "emozoo-loose", "1.0", {"detectors/loose": "Pinned"}, code)
    with pytest.raises(
        ContractError, match=r"detector 'loose': needs\.hub is 'alice/detectors@main', without a commit"
    ):
        open_detector("loose")
    assert hub.requests == []
