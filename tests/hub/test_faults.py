"""Whatever goes wrong between the Hub and the disk, a load gives the right model or an error by name."""

from __future__ import annotations

import dataclasses
import time
import warnings
from contextlib import suppress
from pathlib import Path

import pytest
from askers import ALICE, same
from huggingface_hub import CommitOperationAdd, HfApi

import emozoo
from emozoo.errors import CorruptModelError, EmozooWarning, HubError, HubUnavailableError
from emozoo.hub import cached_models
from emozoo.publish import push

NAME = "hub:alice/faces"
SENT = {
    "config.json": "GET /api/resolve-cache/.*config.json",
    "manifest.json": "GET /api/resolve-cache/.*manifest.json",
    "run.json": "GET /api/resolve-cache/.*run.json",
    "model.safetensors": "GET /cdn/{model}",
    "golden.safetensors": "GET /cdn/{golden}",
}


def request_for(name: str, pushed) -> str:
    """Return the pattern of the request whose answer is a file's bytes."""
    model, golden = (pushed.sha256[f"{part}.safetensors"] for part in ("model", "golden"))
    return SENT[name].format(model=model, golden=golden)


def cached_file(pushed, tmp_path: Path, name: str) -> Path:
    return tmp_path / "hf" / "models--alice--faces" / "snapshots" / pushed.commit / name


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's own waits are seconds; nothing here depends on them."""
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.05)))


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
@pytest.mark.parametrize("request_line", ["GET /api/models", "HEAD .*config.json", "GET /cdn/"])
def test_two_server_errors_in_a_row_are_outlasted(hub, pushed, folders, request_line, status):
    hub.fault(request_line, status=status, times=2)
    assert same(emozoo.load(NAME, "cpu"), folders[0])


@pytest.mark.parametrize("status", [503, 429])
def test_whichever_request_of_a_load_fails_it_is_made_again(hub, pushed, folders, tmp_path, status):
    emozoo.load(NAME, "cpu")
    count = len(hub.requests)
    assert count > 10
    for place in range(count):
        hub.faults.clear()
        fault = hub.fault("", status=status, after=place)
        model = emozoo.load(NAME, "cpu", cache_dir=tmp_path / f"cache-{place}")
        assert fault.times == 0
        assert same(model, folders[0])


def test_whichever_request_of_a_push_fails_what_is_there_is_whole_and_a_repetition_lands(
    hub, pushed, folders, reload_here
):
    store, repo = hub.store, hub.store.repos["alice/faces"]
    start = (dict(repo.commits), dict(repo.branches), dict(store.large))
    push(folders[1], "alice/other", private=False)
    for place in range(len(hub.requests)):
        repo.commits, repo.branches, store.large = (dict(was) for was in start)
        hub.faults.clear()
        hub.fault("", status=500, after=place)
        with suppress(HubError):
            push(folders[1], "alice/faces", private=False)
        hub.faults.clear()
        there = emozoo.load(NAME, "cpu")
        assert same(there, folders[0]) or same(there, folders[1])
        push(folders[1], "alice/faces", private=False)
        assert same(emozoo.load(NAME, "cpu"), folders[1])
        assert len(repo.commits) == len(start[0]) + 1


@pytest.mark.parametrize("name", SENT)
@pytest.mark.parametrize("how", ["cut", "reset", "short"])
def test_a_connection_that_breaks_in_the_middle_of_a_file_is_outlasted(hub, pushed, folders, name, how):
    hub.fault(request_for(name, pushed), **{how: 10})
    assert same(emozoo.load(NAME, "cpu"), folders[0])


@pytest.mark.parametrize(
    "fault",
    [{"status": 503}, {"reset": 100}, {"short": 100}, {"lost": True}],
    ids=["503", "reset", "short", "unanswered"],
)
def test_a_file_that_cannot_be_had_is_an_error_and_leaves_nothing_half(hub, pushed, tmp_path, fault):
    hub.fault("GET /cdn/", times=100, **fault)
    with pytest.raises(HubUnavailableError, match=r"does not answer as it should .*; try again later"):
        emozoo.load(NAME, "cpu")
    assert not cached_file(pushed, tmp_path, "model.safetensors").exists()
    assert cached_models() == []


@pytest.mark.parametrize("name", ["README.md", "run.json"])
def test_a_download_that_broke_off_at_the_card_is_completed_by_the_next_load(hub, pushed, tmp_path, name):
    pinned = f"{NAME}@{pushed.commit}"
    hub.fault(f"GET /api/resolve-cache/.*{name}", status=503, times=100)
    with pytest.raises(HubUnavailableError, match=r"\(HTTP 503\)"):
        emozoo.load(pinned, "cpu")
    hub.faults.clear()
    emozoo.load(pinned, "cpu")
    assert cached_file(pushed, tmp_path, name).exists()


def test_an_answer_that_is_not_the_hubs_is_said_to_be_none(hub, pushed):
    hub.fault("GET /api/models", wrong=True)
    with pytest.raises(HubUnavailableError, match=r"does not answer as it should \(JSONDecodeError\)"):
        emozoo.load(NAME, "cpu")


def test_a_hub_in_trouble_is_said_to_be_and_the_cached_copy_is_used(hub, pushed, folders):
    hub.fault("GET /api/models", status=503, times=3)
    with pytest.raises(HubUnavailableError, match=r"\(HTTP 503\)"):
        emozoo.load(NAME, "cpu")
    emozoo.load(NAME, "cpu")
    hub.fault("GET /api/models", status=503, times=3)
    with pytest.warns(EmozooWarning, match=f"HTTP 503.*the cached copy of commit {pushed.commit} is used"):
        assert same(emozoo.load(NAME, "cpu"), folders[0])


@pytest.mark.parametrize("request_line", ["GET /cdn/", "HEAD .*config.json"])
def test_where_a_branch_has_moved_to_files_that_cannot_be_had_the_copy_before_is_used(
    hub, pushed, request_line
):
    emozoo.load(NAME, "cpu")
    moved = CommitOperationAdd("config.json", b"{}"), CommitOperationAdd("model.safetensors", b"other")
    made = HfApi(hub.url, token=ALICE).create_commit("alice/faces", moved, commit_message="moved")
    hub.fault(request_line, status=503, times=100)
    with pytest.warns(EmozooWarning, match=f"HTTP 503.*the cached copy of commit {pushed.commit} is used"):
        assert emozoo.load(NAME, "cpu").source.commit == pushed.commit
    with pytest.raises(HubUnavailableError, match=r"\(HTTP 503\)"):
        emozoo.load(f"{NAME}@{made.oid}", "cpu")


@pytest.mark.parametrize("name", SENT)
def test_wrong_bytes_of_the_right_length_are_found_and_the_file_is_fetched_once_more(
    hub, pushed, folders, name
):
    hub.fault(request_for(name, pushed), wrong=True)
    assert same(emozoo.load(NAME, "cpu"), folders[0])
    hub.requests.clear()
    assert same(emozoo.load(f"{NAME}@{pushed.commit}", "cpu"), folders[0])
    assert hub.requests == []


def test_bytes_that_are_wrong_twice_are_an_error_and_are_not_kept(hub, pushed, folders, tmp_path):
    hub.fault("GET /cdn/" + pushed.sha256["model.safetensors"], wrong=True, times=2)
    with pytest.raises(CorruptModelError, match=r"was fetched twice.*model\.safetensors is damaged"):
        emozoo.load(NAME, "cpu")
    blobs = tmp_path / "hf" / "models--alice--faces" / "blobs"
    assert pushed.sha256["model.safetensors"] not in {path.name for path in blobs.iterdir()}
    assert same(emozoo.load(NAME, "cpu"), folders[0])


@pytest.mark.parametrize("name", [*SENT, "blob of weights"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "gone"])
def test_damage_in_the_cache_is_found_at_load_and_mended(hub, pushed, folders, tmp_path, name, damage):
    emozoo.load(NAME, "cpu")
    path = cached_file(pushed, tmp_path, "model.safetensors" if name not in SENT else name)
    path = path.resolve() if name not in SENT else path
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]) if damage == "flipped" else data[: len(data) // 2])
    hub.requests.clear()
    assert same(emozoo.load(f"{NAME}@{pushed.commit}", "cpu"), folders[0])
    assert path.read_bytes() == data
    assert hub.requests


def test_damage_in_the_cache_is_an_error_offline_and_nothing_is_removed(hub, pushed, tmp_path):
    emozoo.load(NAME, "cpu")
    path = cached_file(pushed, tmp_path, "model.safetensors")
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(
        CorruptModelError, match=r"is damaged.*It is fetched anew when hub:alice/faces is loaded"
    ):
        emozoo.load(NAME, "cpu", local_files_only=True)
    assert path.exists()


def test_a_branch_that_moves_during_a_download_does_not_mix_two_releases(hub, pushed, folders):
    hub.fault("GET .*config.json", before=lambda: push(folders[1], "alice/faces", private=False))
    assert same(emozoo.load(NAME, "cpu"), folders[0])
    assert same(emozoo.load(NAME, "cpu"), folders[1])


def test_a_file_of_another_model_with_its_manifest_left_alone_is_refused(hub, pushed, folders):
    weights = CommitOperationAdd("model.safetensors", folders[1] / "model.safetensors")
    HfApi(hub.url, token=ALICE).create_commit("alice/faces", [weights], commit_message="swap")
    with pytest.raises(CorruptModelError, match=r"was fetched twice.*model\.safetensors is damaged"):
        emozoo.load(NAME, "cpu")


def test_a_healthy_load_warns_of_nothing(hub, pushed):
    with warnings.catch_warnings():
        warnings.simplefilter("error", EmozooWarning)
        emozoo.load(NAME, "cpu")


@pytest.mark.parametrize("header", ["X-Linked-Etag", "X-Repo-Commit"])
@pytest.mark.parametrize(
    "value", ["../../../../escaped", "/etc/escaped", "..\\..\\escaped", "C:escaped", ".."]
)
def test_an_answer_that_would_be_written_elsewhere_is_refused(hub, pushed, tmp_path, header, value):
    before = {path for path in tmp_path.rglob("*") if "escaped" in path.name}
    hub.fault("HEAD .*", times=100, headers={header: f'"{value}"' if "tag" in header else value})
    with pytest.raises(HubError, match=f"127.0.0.1 sent a {header.lower()} that is no hash; is that a Hub?"):
        emozoo.load(NAME, "cpu")
    assert {path for path in tmp_path.rglob("*") if "escaped" in path.name} == before == set()


@pytest.mark.parametrize("sha", ["../../../x", "main", "0" * 39, ""])
def test_a_hub_that_names_no_commit_is_refused(hub, pushed, tmp_path, sha):
    repo = hub.store.repos["alice/faces"]
    commit = repo.commits[repo.branches["main"]]
    repo.commits[commit.sha] = dataclasses.replace(commit, sha=sha)
    with pytest.raises(CorruptModelError, match="names no commit of it; is that a Hub"):
        emozoo.load(NAME, "cpu")
    assert not (tmp_path / "hf" / "models--alice--faces").exists()
