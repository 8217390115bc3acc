"""Models come back from the Hub as they were pushed, with as few requests as can be, or by a named error."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from askers import ALICE, same
from huggingface_hub import CommitOperationAdd, HfApi, constants
from PIL import Image
from small import photos
from typer.testing import CliRunner

import emozoo
from emozoo import zoo
from emozoo.cli.app import app
from emozoo.errors import (
    CorruptModelError,
    GatedModelError,
    HubError,
    MissingPluginError,
    ModelNotFoundError,
    OfflineError,
    UnknownModelError,
)
from emozoo.folder import write_manifest
from emozoo.hashing import sha256 as sha256_of
from emozoo.hub import cached_models, parse, read_pin
from emozoo.publish import push

NAME = "hub:alice/faces"


def files_asked_for(hub) -> set[str]:
    return {line.rpartition("/")[2] for line in hub.requests if "/resolve/" in line}


def test_a_pushed_model_loads_from_an_empty_cache_and_predicts_the_same(hub, pushed, folders, tmp_path):
    model = emozoo.load(NAME, "cpu")
    assert same(model, folders[0])
    photo = tmp_path / "photo.png"
    Image.fromarray(photos(1)[0]).save(photo)
    same_again = emozoo.load(folders[0], "cpu").predict(photo, faces="none")
    assert model.predict(photo, faces="none").label == same_again.label


def test_a_model_knows_the_commit_that_its_name_meant_and_the_weights_that_it_has(hub, pushed, folders):
    sha256 = pushed.sha256["model.safetensors"]
    model = emozoo.load(NAME, "cpu")
    assert model.source.record() == {
        "name": NAME, "repo": "alice/faces", "commit": pushed.commit, "sha256": sha256
    }  # fmt: skip
    assert f"source: {NAME} (hub:alice/faces@{pushed.commit}), weights sha256 {sha256}" in repr(model)
    assert emozoo.load(f"{NAME}@{pushed.commit}", "cpu").source.commit == pushed.commit
    shown = CliRunner().invoke(app, ["info", NAME, "--json"], catch_exceptions=False).stdout
    assert json.loads(shown)["source"] == model.source.record()
    assert pushed.commit in CliRunner().invoke(app, ["verify", NAME], catch_exceptions=False).stdout


def test_a_model_of_a_folder_knows_its_weights_and_no_record_of_it_holds_a_path(folders):
    source = emozoo.load(folders[0], "cpu").source
    assert source.folder == folders[0]
    assert source.record() == {
        "name": folders[0].name, "sha256": sha256_of(folders[0] / "model.safetensors")
    }  # fmt: skip
    assert emozoo.create("mini-fer2013").source is None


def test_every_way_to_name_a_revision_means_it_and_releases_stay_what_they_were(hub, pushed, folders):
    HfApi(hub.url, token=ALICE).create_tag("alice/faces", tag="v1")
    push(folders[1], "alice/faces", private=False)
    for name, options, folder in (
        (NAME, {}, folders[1]),
        (f"{NAME}@main", {}, folders[1]),
        (f"{NAME}@v1", {}, folders[0]),
        (NAME, {"revision": "v1"}, folders[0]),
        (f"{NAME}@{pushed.commit}", {}, folders[0]),
        (NAME, {"revision": pushed.commit}, folders[0]),
    ):
        assert same(emozoo.load(name, "cpu", **options), folder)


def test_only_the_files_of_a_model_are_fetched_and_each_of_them_once(hub, pushed):
    HfApi(hub.url, token=ALICE).create_commit(
        "alice/faces", [CommitOperationAdd("pytorch_model.bin", b"x")], commit_message="more"
    )
    hub.requests.clear()
    emozoo.load(NAME, "cpu")
    assert files_asked_for(hub) == {
        "config.json", "model.safetensors", "golden.safetensors", "manifest.json", "run.json", "README.md"
    }  # fmt: skip
    assert len([line for line in hub.requests if line.startswith("GET /cdn")]) == 2
    assert len([line for line in hub.requests if line.startswith("GET /api/models")]) == 1


def test_a_cached_model_costs_one_request_by_branch_and_none_by_commit(hub, pushed):
    emozoo.load(NAME, "cpu")
    hub.requests.clear()
    emozoo.load(NAME, "cpu")
    assert hub.requests == ["GET /api/models/alice/faces/revision/main"]
    hub.requests.clear()
    emozoo.load(f"{NAME}@{pushed.commit}", "cpu")
    assert hub.requests == []


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_what_was_loaded_once_loads_offline_by_the_names_that_were_used(hub, pushed, how, monkeypatch):
    emozoo.load(NAME, "cpu")
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", how == "environment")
    for name in (NAME, f"{NAME}@{pushed.commit}"):
        emozoo.load(name, "cpu", local_files_only=how == "argument")
    with pytest.raises(OfflineError, match=r"hub:alice/faces@v1 is not in the cache, and offline mode is on"):
        emozoo.load(f"{NAME}@v1", "cpu", local_files_only=how == "argument")
    assert hub.requests == []


@pytest.mark.parametrize("revision", [None, "1" * 40])
@pytest.mark.parametrize("down", [True, False])
def test_an_uncached_name_fails_at_once_when_offline_and_names_three_ways_on(hub, down, revision):
    if down:
        hub.stop()
    started = time.monotonic()
    with pytest.raises(OfflineError) as caught:
        emozoo.load(NAME, "cpu", revision=revision, local_files_only=not down)
    assert time.monotonic() - started < 2
    said = str(caught.value)
    assert "go online" in said
    assert f"emozoo download {parse('alice/faces', revision)}" in said
    assert "emozoo.load('dir:PATH')" in said
    assert hub.requests == []


def test_a_cached_model_is_used_with_a_warning_when_the_hub_is_down(hub, pushed, folders):
    emozoo.load(NAME, "cpu")
    hub.stop()
    with pytest.warns(emozoo.errors.EmozooWarning, match=f"cannot be reached.*{pushed.commit} is used"):
        assert same(emozoo.load(NAME, "cpu"), folders[0])


def test_a_private_model_is_for_its_owner_and_for_others_it_is_not_there(hub, folders, reload_here):
    push(folders[0], "alice/secret")
    hub.user("bob", "hf_bob_secret")
    for token in ("hf_bob_secret", False):
        with pytest.raises(ModelNotFoundError, match="or it is private and your token does not reach it"):
            emozoo.load("hub:alice/secret", "cpu", token=token)
    assert same(emozoo.load("hub:alice/secret", "cpu", token=ALICE), folders[0])


@pytest.mark.parametrize("token", ["hf_bob_secret", False])
def test_a_gated_model_says_where_to_ask_and_loads_once_access_is_given(hub, pushed, token):
    hub.user("bob", "hf_bob_secret")
    hub.store.repos["alice/faces"].gated = "auto"
    with pytest.raises(GatedModelError, match=f"is gated: ask for access at {hub.url}/alice/faces, log in"):
        emozoo.load(NAME, "cpu", token=token)
    hub.store.repos["alice/faces"].granted.add("bob")
    emozoo.load(NAME, "cpu", token="hf_bob_secret")


def test_losing_access_does_not_lose_a_pinned_cached_model(hub, pushed):
    emozoo.load(NAME, "cpu")
    hub.store.repos.clear()
    emozoo.load(f"{NAME}@{pushed.commit}", "cpu")
    with pytest.raises(ModelNotFoundError):
        emozoo.load(NAME, "cpu")


@pytest.mark.parametrize("token", ["hf_wrong_secret", "hf_alice_secret\n"])
def test_a_wrong_token_is_said_to_be_wrong_and_never_shown(hub, pushed, token):
    with pytest.raises(HubError) as caught:
        emozoo.load(NAME, "cpu", token=token)
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_what_the_hub_does_not_have_is_named(hub, pushed):
    with pytest.raises(ModelNotFoundError, match=f"alice/none: there is no {hub.url}/alice/none"):
        emozoo.load("hub:alice/none", "cpu")
    with pytest.raises(ModelNotFoundError, match=r"alice/faces@v9: there is no such revision"):
        emozoo.load(f"{NAME}@v9", "cpu")
    with pytest.raises(ModelNotFoundError, match="no such revision"):
        emozoo.load(f"{NAME}@{'0' * 40}", "cpu")


def test_a_model_whose_plugin_is_not_installed_says_how_to_install_it(hub, folders, api_of_alice):
    config = json.loads((folders[0] / "config.json").read_text())
    config["requires"]["emozoo-faraway"] = ">=2"
    (folders[0] / "config.json").write_text(json.dumps(config))
    write_manifest(folders[0])
    api_of_alice.create_repo("alice/needy")
    api_of_alice.upload_folder(repo_id="alice/needy", folder_path=folders[0])
    with pytest.raises(MissingPluginError, match=r"pip install 'emozoo-faraway>=2'"):
        emozoo.load("hub:alice/needy", "cpu")


def test_a_repository_of_something_else_is_refused_before_anything_is_downloaded(hub, pushed):
    api = HfApi(hub.url, token=ALICE)
    api.create_repo("alice/other")
    api.upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id="alice/other")
    hub.requests.clear()
    with pytest.raises(
        CorruptModelError, match=r"holds no golden\.safetensors, manifest\.json, model\.safetensors"
    ):
        emozoo.load("hub:alice/other", "cpu")
    assert not files_asked_for(hub)


def test_tokens_go_to_the_hub_and_to_no_other_host(hub, pushed):
    emozoo.load(NAME, "cpu")
    sent = dict(zip(hub.requests, hub.authorisations, strict=True))
    assert {key for key, value in sent.items() if value is None} == {key for key in sent if "/cdn/" in key}


@pytest.mark.parametrize("endpoint", ["http://hub.example.org", "ftp://x"])
def test_an_address_that_is_not_encrypted_is_refused(endpoint, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(HubError, match=f"HF_ENDPOINT is {endpoint}: tokens are sent to https addresses only"):
        emozoo.load(NAME, "cpu")


def test_a_link_out_of_the_cache_is_not_followed(hub, pushed, folders, tmp_path):
    emozoo.load(NAME, "cpu")
    link = tmp_path / "hf" / "models--alice--faces" / "snapshots" / pushed.commit / "model.safetensors"
    link.unlink()
    link.symlink_to(folders[0] / "model.safetensors")
    with pytest.raises(HubError, match="is a link out of the cache"):
        emozoo.load(f"{NAME}@{pushed.commit}", "cpu")
    assert (folders[0] / "model.safetensors").exists()


def test_many_loads_at_once_into_one_cache_are_all_right(hub, pushed, folders):
    with ThreadPoolExecutor(8) as pool:
        models = list(pool.map(lambda _: emozoo.load(NAME, "cpu"), range(8)))
    assert all(same(model, folders[0]) for model in models)


def test_many_processes_at_once_fetch_each_large_file_once_or_wait_for_the_other(hub, pushed, tmp_path):
    settings = {
        "HF_ENDPOINT": hub.url, "HF_TOKEN": ALICE, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "emozoo", "verify", NAME]
    started = [
        subprocess.Popen(command, env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in started:
        assert "golden outputs agree to 0.0e+00" in process.communicate(timeout=120)[0]
    assert len([line for line in hub.requests if line.startswith("GET /cdn")]) == 2


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "a/b/c",
        "../a",
        "a/..",
        "a/b@",
        "a/b@../x",
        "a/b@x..y",
        "a--b/c",
        "a/b@x y",
        "a/b@-x",
        "/b",
        "a/",
        "a/b-",
        "a/b.",
        "a-/b",
        "a/b.git",
        "a/b.git@v1",
        f"a/{'b' * 97}",
        "a/na\u00efve",
    ],
)
def test_a_name_that_is_none_is_refused_before_any_request(hub, name):
    with pytest.raises(
        UnknownModelError, match="a model of the Hub is hub:org/name or hub:org/name@revision"
    ):
        emozoo.load(f"hub:{name}")
    assert hub.requests == []


def test_a_revision_is_for_models_of_the_hub_and_is_given_once():
    with pytest.raises(UnknownModelError, match=r"mini-fer2013 has no revision 'v1'"):
        emozoo.load("mini-fer2013", revision="v1")
    for name, revision in ((f"{NAME}@v1", "v2"), (NAME, "v/../v2")):
        with pytest.raises(UnknownModelError, match=f"and revision '{revision}'"):
            emozoo.load(name, revision=revision)


@pytest.mark.parametrize("name", [f"a/{'b' * 96}", "A-b.c_d/e_", "a/b.gitx", "0/1"])
def test_a_name_that_the_hub_can_have_is_looked_up_there(hub, name):
    with pytest.raises(ModelNotFoundError, match="there is no"):
        emozoo.load(f"hub:{name}")


@pytest.fixture
def api_of_alice(hub) -> HfApi:
    return HfApi(hub.url, token=ALICE)


@pytest.fixture
def pin(hub, pushed, tmp_path, monkeypatch) -> Path:
    """The pin.json of a zoo entry "faces" that names what was pushed."""
    entry = tmp_path / "cards" / "faces"
    shutil.copytree(zoo.cards_folder() / "quickstart", entry)
    monkeypatch.setattr(zoo, "cards_folder", lambda: tmp_path / "cards")
    pin = {"repo": "alice/faces", "revision": pushed.commit, "sha256": dict(pushed.sha256)}
    for name in ("manifest.json", "README.md"):
        del pin["sha256"][name]
    (entry / "pin.json").write_text(json.dumps(pin))
    return entry / "pin.json"


def test_a_pinned_zoo_name_loads_from_the_hub_and_then_with_no_request(hub, pushed, pin, folders):
    push(folders[1], "alice/faces", private=False)
    assert same(emozoo.load("faces", "cpu"), folders[0])
    hub.requests.clear()
    assert same(emozoo.load("zoo:faces", "cpu"), folders[0])
    assert hub.requests == []
    assert zoo.list_models()[0]["weights"] == f"{NAME}@{pushed.commit}"
    source = emozoo.load("faces", "cpu").source
    assert (source.name, source.repo, source.commit) == ("faces", "alice/faces", pushed.commit)


def test_files_that_are_not_the_pinned_ones_are_refused(hub, pin):
    tree = json.loads(pin.read_text())
    tree["sha256"]["model.safetensors"] = "0" * 64
    pin.write_text(json.dumps(tree))
    with pytest.raises(CorruptModelError, match=r"model\.safetensors is not the file that the zoo pins"):
        emozoo.load("faces", "cpu")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "holds no table"),
        ("{", "is not"),
        ('{"repo": "a/b", "revision": "main", "sha256": {}}', "revision 'main' is not a commit"),
        ('{"repo": "../b", "revision": "main", "sha256": {}}', "a model of the Hub is hub:org/name"),
        ('{"repo": "a/b", "sha256": {}}', "'revision'"),
    ],
)
def test_a_pin_that_is_none_says_what_is_wrong(text, said, tmp_path):
    (tmp_path / "pin.json").write_text(text)
    with pytest.raises(CorruptModelError, match=re.escape(said)):
        read_pin(tmp_path)


def test_a_download_of_a_folder_says_whether_it_is_a_model(folders, tmp_path):
    assert CliRunner().invoke(app, ["download", f"dir:{folders[0]}"]).output.strip() == str(folders[0])
    (folders[1] / "config.json").write_text("{}")
    for folder in (folders[1], tmp_path / "none"):
        done = CliRunner().invoke(app, ["download", f"dir:{folder}"])
        assert done.exit_code == 1
        assert str(folder) not in done.stdout


def test_download_and_cache_show_what_is_there_and_loading_needs_no_network_then(hub, pushed, monkeypatch):
    assert cached_models() == []
    done = CliRunner().invoke(app, ["download", f"{NAME}@main"], catch_exceptions=False)
    assert Path(done.output.strip()).name == pushed.commit
    HfApi(hub.url, token=ALICE).hf_hub_download("alice/faces", ".gitattributes")  # not a whole model
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    [row] = cached_models()
    assert (row["name"], row["commit"], row["known_as"]) == (NAME, pushed.commit, ["main"])
    shown = CliRunner().invoke(app, ["cache"], catch_exceptions=False).output
    assert pushed.commit in shown
    assert f"1 models, {row['bytes']:,} bytes" in shown
    assert json.loads(CliRunner().invoke(app, ["cache", "--json"]).output) == [row]
    emozoo.load(NAME, "cpu")
