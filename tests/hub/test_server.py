"""The Hub of these tests does to the real client what the Hub does."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from askers import ALICE
from huggingface_hub import CommitOperationAdd, HfApi, get_session, snapshot_download
from huggingface_hub.errors import (
    BadRequestError,
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from server import HubServer

WEIGHTS = bytes(range(256)) * 40


@pytest.fixture
def api(hub: HubServer) -> HfApi:
    return HfApi(endpoint=hub.url, token=ALICE)


def push(api: HfApi, text: str = "hello", parent: str | None = None, **options) -> str:
    api.create_repo("alice/m", exist_ok=True)
    operations = [
        CommitOperationAdd("config.json", text.encode()),
        CommitOperationAdd("model.safetensors", WEIGHTS),
    ]
    return api.create_commit("alice/m", operations, commit_message="m", parent_commit=parent, **options).oid


def test_what_is_pushed_comes_back_as_it_was(hub, api, tmp_path):
    sha = push(api)
    folder = Path(snapshot_download("alice/m", endpoint=hub.url, token=ALICE, cache_dir=tmp_path))
    assert folder.name == sha
    assert (folder / "config.json").read_text() == "hello"
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert (folder / "model.safetensors").resolve().name == hashlib.sha256(WEIGHTS).hexdigest()
    files = {
        row.path: row for row in api.get_paths_info("alice/m", ["config.json", "model.safetensors", "no"])
    }
    assert files.keys() == {"config.json", "model.safetensors"}
    assert files["model.safetensors"].lfs.sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    assert files["config.json"].blob_id == hashlib.sha1(b"blob 5\0hello").hexdigest()
    assert {row.path for row in api.list_repo_tree("alice/m")} == {".gitattributes", *files}


def test_a_stale_parent_is_refused_and_the_same_files_make_no_new_commit(hub, api):
    first = push(api)
    second = push(api, "other", parent=first)
    with pytest.raises(HfHubHTTPError) as caught:
        push(api, "third", parent=first)
    assert caught.value.response.status_code == 412
    assert push(api, "other", parent=second) == second
    assert [commit.commit_id for commit in api.list_repo_commits("alice/m")][:2] == [second, first]


def test_tags_branches_and_pull_requests_stay_where_they_were_made(hub, api):
    first = push(api)
    api.create_tag("alice/m", tag="v1")
    api.create_branch("alice/m", branch="old")
    second = push(api, "other")
    pull = api.create_commit(
        "alice/m", [CommitOperationAdd("a.txt", b"a")], commit_message="a", create_pr=True
    )
    assert pull.pr_revision == "refs/pr/1"
    refs = api.list_repo_refs("alice/m", include_pull_requests=True)
    assert {ref.name: ref.target_commit for ref in refs.branches} == {"main": second, "old": first}
    assert {ref.name: ref.target_commit for ref in refs.tags} == {"v1": first}
    assert api.repo_info("alice/m", revision="refs/pr/1").sha == pull.oid
    assert api.repo_info("alice/m", revision="v1").sha == first
    with pytest.raises(HfHubHTTPError):
        api.create_tag("alice/m", tag="v1", exist_ok=False)


def test_what_one_may_not_see_is_not_there_and_what_is_gated_says_so(hub, api, tmp_path):
    api.create_repo("alice/m", private=True)
    push(api)
    hub.user("bob", "hf_bob")
    bob = HfApi(endpoint=hub.url, token="hf_bob")
    for stranger in (bob, HfApi(endpoint=hub.url, token=False)):
        with pytest.raises(RepositoryNotFoundError):
            stranger.repo_info("alice/m")
    api.update_repo_settings("alice/m", private=False, gated="auto")
    assert bob.repo_info("alice/m").gated == "auto"
    with pytest.raises(GatedRepoError):
        bob.hf_hub_download("alice/m", "config.json", cache_dir=tmp_path)
    hub.store.repos["alice/m"].granted.add("bob")
    assert Path(bob.hf_hub_download("alice/m", "config.json", cache_dir=tmp_path)).read_text() == "hello"
    with pytest.raises(HfHubHTTPError) as caught:
        bob.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id="alice/m")
    assert caught.value.response.status_code == 403


def test_what_does_not_exist_is_named_for_what_it_is(hub, api, tmp_path):
    push(api)
    with pytest.raises(RevisionNotFoundError):
        api.repo_info("alice/m", revision="v9")
    with pytest.raises(RemoteEntryNotFoundError):
        api.hf_hub_download("alice/m", "nothing.json", cache_dir=tmp_path)
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        HfApi(endpoint=hub.url, token="hf_wrong").whoami()
    assert api.whoami()["name"] == "alice"


def test_cards_are_checked_and_their_tags_can_be_searched_for(hub, api):
    push(api)
    card = b"---\nlibrary_name: emozoo\ntags: [vad]\npipeline_tag: image-classification\n---\n# Hi\n"
    api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id="alice/m")
    assert [model.id for model in api.list_models(filter=["emozoo", "vad"])] == ["alice/m"]
    assert [model.id for model in api.list_models(author="alice", search="m")] == ["alice/m"]
    assert not list(api.list_models(filter="other"))
    with pytest.raises((ValueError, BadRequestError), match="Invalid metadata"):
        api.upload_file(path_or_fileobj=b"---\na: [\n---\n", path_in_repo="README.md", repo_id="alice/m")


def test_faults_strike_the_requests_they_are_meant_for(hub, api, tmp_path):
    push(api)
    hub.fault("GET /cdn", wrong=True)
    path = Path(api.hf_hub_download("alice/m", "model.safetensors", cache_dir=tmp_path / "a"))
    assert path.stat().st_size == len(WEIGHTS)
    assert path.read_bytes() != WEIGHTS
    hub.fault("GET /cdn", reset=100)
    with pytest.raises(Exception, match="reset"):
        api.hf_hub_download("alice/m", "model.safetensors", cache_dir=tmp_path / "b")
    hub.fault("GET /cdn", cut=100)
    with pytest.raises(Exception, match=r"peer closed connection .*received 100 bytes, expected 10240"):
        get_session().get(f"{hub.url}/cdn/{hashlib.sha256(WEIGHTS).hexdigest()}")
    hub.fault("GET /api/models", status=503, after=1)
    api.repo_info("alice/m")
    with pytest.raises(HfHubHTTPError, match="503"):
        api.repo_info("alice/m")
