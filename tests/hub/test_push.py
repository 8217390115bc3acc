"""A push puts a proved model on the Hub in one commit, or changes nothing and says what to do."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from askers import ALICE, same
from huggingface_hub import HfApi, ModelCard, constants
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import emozoo
from emozoo import zoo
from emozoo.card_check import folder_problems
from emozoo.cli.app import app
from emozoo.errors import (
    CorruptModelError,
    EmozooError,
    HubUnavailableError,
    ModelNotFoundError,
    OfflineError,
    PushError,
    UnknownModelError,
)
from emozoo.folder import write_manifest
from emozoo.hashing import sha256
from emozoo.publish import Published, plan_push, push

NAME = "alice/faces"
PLAIN = "---\nlibrary_name: emozoo\nlicense: mit\ndata_license: drawn\n---\n# A model of which nothing was measured\n"


@pytest.fixture
def api(hub) -> HfApi:
    return HfApi(hub.url, token=ALICE)


def commits(hub) -> list[str]:
    return list(hub.store.repos[NAME].commits)


def card_of(hub) -> str:
    """Return the card on the Hub's main branch."""
    repo = hub.store.repos[NAME]
    return repo.commits[repo.branches["main"]].files["README.md"].data.decode()


def test_a_model_that_a_fresh_process_finds_changed_is_not_pushed(hub, folders):
    golden = load_file(folders[0] / "golden.safetensors")
    save_file({**golden, "output.emotion": golden["output.emotion"] + 1}, folders[0] / "golden.safetensors")
    write_manifest(folders[0])
    with pytest.raises(PushError, match=r"(?s)a fresh process does not load it.*golden outputs differ by"):
        push(folders[0], NAME)
    assert hub.requests == []


def test_a_proved_model_is_published_and_the_line_that_is_given_loads_it(hub, folders):
    published = push(folders[0], NAME, tag="v1")
    assert published.new
    assert hub.store.repos[NAME].private
    assert commits(hub)[1:] == [published.commit]
    assert published.url == f"{hub.url}/{NAME}/commit/{published.commit}"
    assert published.sha256 == {path.name: sha256(path) for path in folders[0].iterdir()} | {
        "README.md": hashlib.sha256(card_of(hub).encode()).hexdigest()
    }
    assert hub.store.repos[NAME].tags == {"v1": published.commit}
    assert published.line == f'emozoo.load("hub:{NAME}@{published.commit}")'
    assert same(eval(published.line, {"emozoo": emozoo}), folders[0])


def test_a_push_that_landed_is_not_made_again(hub, pushed, folders):
    again = push(folders[0], NAME, private=False, tag="v1")
    assert (again.new, again.commit) == (False, pushed.commit)
    assert not [line for line in hub.requests if "/commit/" in line or "lfs" in line]
    assert hub.store.repos[NAME].tags == {"v1": pushed.commit}
    assert push(folders[0], NAME, private=False, tag="v1").commit == pushed.commit


def test_a_second_model_is_one_more_commit_of_what_has_changed(hub, pushed, folders):
    published = push(folders[1], NAME, private=False)
    assert commits(hub)[1:] == [pushed.commit, published.commit]
    assert hub.store.repos[NAME].commits[published.commit].parent == pushed.commit
    assert len([line for line in hub.requests if line.startswith("PUT /lfs/")]) == 2
    assert same(emozoo.load(f"hub:{NAME}", "cpu"), folders[1])


def test_a_record_that_the_new_model_lacks_is_removed(hub, pushed, folders):
    (folders[1] / "run.json").unlink()
    (folders[1] / "README.md").write_text(PLAIN)
    write_manifest(folders[1])
    assert plan_push(folders[1], NAME).removed == ("run.json",)
    push(folders[1], NAME)
    assert same(emozoo.load(f"hub:{NAME}", "cpu"), folders[1])


def test_planning_changes_nothing_and_tells_what_a_push_would_do(hub, folders, reload_here):
    plan = plan_push(folders[0], NAME)
    assert plan.head is None
    assert set(plan.changed) == {path.name for path in folders[0].iterdir()}
    push(folders[0], NAME)
    plan = plan_push(folders[1], NAME)
    assert "config.json" not in plan.changed
    assert {"model.safetensors", "golden.safetensors", "manifest.json", "README.md"} <= set(plan.changed)
    assert len(commits(hub)) == 2


@pytest.mark.parametrize("card", [None, "# no header\n", "---\na: [\n---\n", "---\nlicense: mit\n---\n"])
def test_a_card_that_is_missing_or_not_what_the_hub_reads_stops_a_push(hub, folders, reload_here, card):
    (folders[0] / "README.md").unlink()
    if card is not None:
        (folders[0] / "README.md").write_text(card)
    with pytest.raises(PushError, match=r"has no README\.md|YAML|library_name"):
        push(folders[0], NAME)
    assert hub.requests == []


def test_a_card_with_results_that_the_hub_would_refuse_stops_a_push(hub, folders, reload_here):
    (folders[0] / "README.md").write_text("---\nlibrary_name: emozoo\nmodel-index: [{results: 3}]\n---\n")
    with pytest.raises(PushError, match="the card's header is not what the Hub reads"):
        push(folders[0], NAME)


def test_a_damaged_folder_is_not_pushed(hub, folders):
    (folders[0] / "config.json").write_text("{}")
    with pytest.raises(CorruptModelError, match=r"config\.json"):
        push(folders[0], NAME)


def test_what_was_written_on_the_hub_by_hand_stays(hub, pushed, folders, api):
    card = (folders[0] / "README.md").read_text()
    edited = card.replace('license: "mit"', "license: cc-by-4.0\nlanguage: en  # spoken") + "\n## By hand\n"
    api.upload_file(path_or_fileobj=edited.encode(), path_in_repo="README.md", repo_id=NAME)
    push(folders[1], NAME, private=False)
    there = card_of(hub)
    assert "# Model 2" in there
    assert "# Model 1" not in there
    assert there.endswith("\n## By hand\n")
    assert "language: en  # spoken" in there
    assert 'license: "mit"' in there
    assert "cc-by" not in there
    count = len(commits(hub))
    assert not push(folders[1], NAME, private=False).new
    assert len(commits(hub)) == count


def test_what_is_written_around_a_card_here_is_published_where_nobody_edited_it_on_the_hub(
    hub, folders, reload_here
):
    for folder, text in ((folders[0], "first"), (folders[0], "second"), (folders[1], "## People\n\nthird")):
        with open(folder / "README.md", "a") as card:
            card.write(f"\n{text}\n")
        published = push(folder, NAME)
        assert (published.new, published.notes) == (True, ())
        assert card_of(hub).endswith(f"\n{text}\n")
    assert "first" not in card_of(hub)


def test_a_text_that_is_not_published_since_the_hubs_was_edited_too_is_said_not_to_be(
    hub, pushed, folders, api
):
    edited = card_of(hub) + "\nedited there\n"
    api.upload_file(path_or_fileobj=edited.encode(), path_in_repo="README.md", repo_id=NAME)
    with open(folders[1] / "README.md", "a") as card:
        card.write("\nedited here\n")
    [note] = push(folders[1], NAME, private=False).notes
    assert "is not published: that of the Hub's card was edited there, and stays" in note
    assert f"{hub.url}/{NAME}/edit/main/README.md" in note
    assert card_of(hub).endswith("\nedited there\n")
    assert "# Model 2" in card_of(hub)


def test_a_figure_that_was_written_on_the_hub_and_that_no_record_of_the_new_model_backs_stops_a_push(
    hub, pushed, folders, api
):
    edited = card_of(hub) + "\nRight in 93.4 % of cases.\n"
    api.upload_file(path_or_fileobj=edited.encode(), path_in_repo="README.md", repo_id=NAME)
    count = len(commits(hub))
    for step in (plan_push, push):
        with pytest.raises(
            PushError, match=rf"(?s)Correct it at {hub.url}/{NAME}/edit/main/README\.md.*no record .*93\.4 %"
        ):
            step(folders[1], NAME, private=False)
    assert len(commits(hub)) == count


def test_records_and_pictures_of_an_older_model_do_not_stay_but_those_that_the_hubs_text_shows(
    hub, folders, reload_here, api
):
    for place in ("records", "pictures"):
        (folders[0] / place).mkdir()
    (folders[0] / "records" / "photos.json").write_text(json.dumps({"accuracy": 0.934, "n": 500}))
    (folders[0] / "pictures" / "curves.png").write_bytes(b"\x89PNG")
    with open(folders[0] / "README.md", "a") as card:
        card.write("\nRight in 93.4 % of cases.\n\n![curves](pictures/curves.png)\n")
    push(folders[0], NAME, private=False)
    shown = CliRunner().invoke(app, ["push", str(folders[1]), NAME, "--public", "--dry-run"]).output
    for name in ("records/photos.json", "pictures/curves.png"):
        assert f"remove  {name}\n" in shown
    push(folders[1], NAME, private=False)
    fetched = zoo.model_folder(f"hub:{NAME}")
    assert not list(fetched.glob("*/*"))
    assert folder_problems(fetched) == []
    api.upload_file(path_or_fileobj=b"\x89PNG", path_in_repo="pictures/mine.png", repo_id=NAME)
    edited = card_of(hub) + "\n![mine](pictures/mine.png)\n"
    api.upload_file(path_or_fileobj=edited.encode(), path_in_repo="README.md", repo_id=NAME)
    assert plan_push(folders[0], NAME, private=False).removed == ()


def test_a_record_that_would_not_be_fetched_by_its_name_is_not_pushed(hub, folders, reload_here):
    (folders[0] / "records").mkdir()
    (folders[0] / "records" / "ferplus v2.json").write_text("{}")
    with pytest.raises(PushError, match=r"ferplus v2\.json would not be fetched with the model: rename it"):
        push(folders[0], NAME)
    assert hub.requests == []


def test_a_published_card_names_its_repository_where_the_one_at_home_names_its_folder(
    hub, folders, reload_here
):
    at_home = (folders[0] / "README.md").read_text()
    assert 'emozoo.load("dir:.")' in at_home
    commit = push(folders[0], NAME).commit
    there = card_of(hub)
    assert f'model = emozoo.load("hub:{NAME}")\n' in there
    [results] = ModelCard(there).data.to_dict()["model-index"]
    assert results["results"][0]["source"]["url"] == f"{hub.url}/{NAME}/blob/main/run.json"
    assert (folders[0] / "README.md").read_text() == at_home
    assert push(folders[0], NAME).commit == commit


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("license", "lacks `license`, the licence of the weights: set card.licence in the recipe, or write"),
        ("data_license", "lacks `data_license`, the terms of the training data: write `data_license: ...`"),
        ("library_name", "lacks `library_name: emozoo`"),
    ],
)
def test_a_card_without_a_licence_is_not_pushed_and_what_to_write_is_said(hub, folders, line, said):
    card = folders[0] / "README.md"
    card.write_text("".join(row for row in card.open() if not row.startswith(f"{line}:")))
    with pytest.raises(
        PushError, match=f"(?s)is not pushed; its card is not ready.*emozoo card check dir:.*{said}"
    ):
        push(folders[0], NAME)
    assert hub.requests == []
    assert CliRunner().invoke(app, ["push", str(folders[0]), NAME]).exit_code == 1


def test_a_figure_that_no_record_backs_is_not_pushed(hub, folders, reload_here):
    with open(folders[0] / "README.md", "a") as card:
        card.write("\nOn our own photos it is right in 93.4 % of cases.\n")
    with pytest.raises(PushError, match=r"no record backs the figure 93\.4 %; .* needs a record in records/"):
        push(folders[0], NAME)
    assert hub.requests == []
    (folders[0] / "records").mkdir()
    (folders[0] / "records" / "photos.json").write_text(json.dumps({"accuracy": 0.934, "n": 500}))
    commit = push(folders[0], NAME).commit
    assert "records/photos.json" in hub.store.repos[NAME].commits[commit].files


def test_pictures_that_the_card_shows_go_with_it_and_nothing_else_of_the_folder_does(
    hub, folders, reload_here
):
    (folders[0] / "pictures").mkdir()
    for name in ("curves", "unused"):
        (folders[0] / "pictures" / f"{name}.png").write_bytes(b"\x89PNG")
    (folders[0] / "notes.txt").write_text("mine")
    with open(folders[0] / "README.md", "a") as card:
        card.write("\n![curves](pictures/curves.png)\n![x](../../secret.png) ![x](pictures/none.png)\n")
    commit = push(folders[0], NAME).commit
    assert set(hub.store.repos[NAME].commits[commit].files) == {
        ".gitattributes", "README.md", "config.json", "golden.safetensors", "manifest.json", "model.safetensors",
        "pictures/curves.png", "run.json",
    }  # fmt: skip
    assert same(emozoo.load(f"hub:{NAME}", "cpu"), folders[0])


def test_what_a_card_refers_to_comes_back_with_it_so_that_it_can_be_checked_and_pushed_again(
    hub, folders, reload_here
):
    (folders[0] / "records").mkdir()
    (folders[0] / "records" / "photos.json").write_text(json.dumps({"accuracy": 0.934, "n": 500}))
    (folders[0] / "pictures").mkdir()
    (folders[0] / "pictures" / "curves.png").write_bytes(b"\x89PNG")
    with open(folders[0] / "README.md", "a") as card:
        card.write("\nRight in 93.4 % of cases.\n\n![curves](pictures/curves.png)\n")
    push(folders[0], NAME)
    fetched = zoo.model_folder(f"hub:{NAME}")
    assert (fetched / "records" / "photos.json").is_file()
    assert (fetched / "pictures" / "curves.png").is_file()
    assert folder_problems(fetched) == []
    assert not push(fetched, NAME).new, "the Hub has all of it"


@pytest.mark.parametrize(
    ("folder", "repo"), [("dir:{}", NAME), ("{}", f"hub:{NAME}"), ("dir:~/model-1", NAME)]
)
def test_a_push_takes_names_as_other_commands_write_them(
    hub, folders, reload_here, folder, repo, monkeypatch
):
    monkeypatch.setenv("HOME", str(folders[0].parent))
    words = ["push", folder.format(folders[0]), repo]
    CliRunner().invoke(app, words, catch_exceptions=False)
    assert len(commits(hub)) == 2, "that of the repository's making, and the model's"


def test_what_is_published_is_what_was_proved_though_the_folder_changes_meanwhile(hub, folders, reload_here):
    weights = folders[0] / "model.safetensors"
    proved = sha256(weights)
    hub.fault("POST /api/repos/create", before=lambda: weights.write_bytes(b"something else"))
    assert push(folders[0], NAME).sha256["model.safetensors"] == proved
    emozoo.load(f"hub:{NAME}", "cpu")


def test_a_card_that_the_hub_does_not_take_is_said_and_nothing_is_published(hub, pushed, folders):
    hub.fault(
        "POST /api/validate-yaml", status=400, body={"errors": [{"message": '"license" must be one of'}]}
    )
    with pytest.raises(PushError, match=r'does not take the card: [\s\S]*"license" must be one of'):
        push(folders[1], NAME, private=False)
    assert len(commits(hub)) == 2


def test_a_card_that_arrives_damaged_is_not_merged(hub, pushed, folders):
    hub.fault("GET /api/resolve-cache/.*README.md", wrong=True)
    with pytest.raises(EmozooError, match="the card on the Hub arrived damaged; nothing was changed"):
        push(folders[1], NAME)
    assert len(commits(hub)) == 2


def test_a_branch_that_moves_stops_a_push_and_repeating_it_succeeds(hub, pushed, folders, api):
    def move() -> None:
        api.upload_file(path_or_fileobj=b"new", path_in_repo="notes.txt", repo_id=NAME)

    hub.fault("POST .*/commit/main", before=move)
    with pytest.raises(PushError, match=r"has changed while this was pushed; .* Repeat the same command"):
        push(folders[1], NAME, private=False)
    published = push(folders[1], NAME, private=False)
    assert "notes.txt" in hub.store.repos[NAME].commits[published.commit].files


@pytest.mark.parametrize("user", [{"name": "bob"}, {"name": "alice", "writes": False}], ids=["bob", "reader"])
def test_a_missing_right_is_said_and_nothing_is_changed(hub, pushed, folders, user):
    token = hub.user(token="hf_other_secret", **user)
    with pytest.raises(PushError, match=r"your token may not do that at .* \(HTTP 403\).*--pr") as caught:
        push(folders[1], NAME, private=False, token=token)
    assert "secret" not in str(caught.value)
    assert list(hub.store.repos) == [NAME]
    assert len(commits(hub)) == 2


@pytest.mark.parametrize("step", [plan_push, push])
@pytest.mark.parametrize(
    ("user", "said"),
    [
        ({"name": "bob"}, "not for your token, which is bob's and may not make it"),
        ({"name": "alice", "writes": False}, "which is alice's, for reading, and may not make it"),
        (None, "making it needs a token: log in"),
    ],
    ids=["bob", "reader", "nobody"],
)
def test_a_repository_that_the_token_may_not_make_is_not_even_planned(
    hub, folders, reload_here, step, user, said
):
    token = hub.user(token="hf_other_secret", **user) if user else False
    with pytest.raises(PushError, match=f"{hub.url}/alice/new is not there.*{said}") as caught:
        step(folders[0], "alice/new", token=token)
    assert "secret" not in str(caught.value)
    assert not hub.store.repos


def test_a_repository_of_an_organisation_is_made_by_its_members(hub, folders, reload_here):
    token = hub.user("carol", "hf_carol_secret", orgs=("Faces",))
    push(folders[0], "Faces/first", token=token)
    assert list(hub.store.repos) == ["Faces/first"]


@pytest.mark.parametrize(
    "options", [{"pr": True, "tag": "v1"}, {"pr": True, "gated": "auto"}, {"gated": "foo"}, {"pr": True}]
)
def test_a_plan_refuses_what_a_push_would(hub, folders, reload_here, options):
    words = [f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items()]
    with pytest.raises(EmozooError) as caught:
        push(folders[0], NAME, **options)
    with pytest.raises(EmozooError) as planned:
        plan_push(folders[0], NAME, **options)
    assert str(planned.value) == str(caught.value)
    assert CliRunner().invoke(app, ["push", str(folders[0]), NAME, *words, "--dry-run"]).exit_code == 1


@pytest.mark.parametrize(
    "tag",
    ["", "a b", "v1..2", "v1.lock", "v1/", ".v1", "v1.", "-v1", "v1~", "ü", "main", "0" * 40, "a/.b", "a//b"],
)
def test_a_tag_that_no_model_can_have_is_refused_before_anything_is_published(hub, folders, tag):
    for step in (push, plan_push):
        with pytest.raises(PushError, match="the Hub cannot have a tag"):
            step(folders[0], NAME, tag=tag)
    assert not hub.store.repos


def test_a_commit_whose_answer_is_lost_is_found_to_have_landed(hub, pushed, folders):
    hub.fault("POST .*/commit/main", lost=True)
    published = push(folders[1], NAME, private=False)
    assert published.new
    assert commits(hub)[1:] == [pushed.commit, published.commit]
    assert same(emozoo.load(f"hub:{NAME}@{published.commit}", "cpu"), folders[1])


@pytest.mark.parametrize(
    "request_line", ["POST .*/preupload/", "POST .*/objects/batch", "POST .*/commit/main"]
)
def test_a_push_that_breaks_leaves_the_branch_alone_and_can_be_repeated(
    hub, pushed, folders, request_line, monkeypatch
):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.fault(request_line, status=503, times=6 if "commit" not in request_line else 1)
    with pytest.raises(PushError, match=r"did not answer \(HTTP 503\).*Repeat the same command"):
        push(folders[1], NAME, private=False)
    assert len(commits(hub)) == 2
    assert same(emozoo.load(f"hub:{NAME}", "cpu"), folders[0])
    assert same(emozoo.load(push(folders[1], NAME, private=False).line[13:-2], "cpu"), folders[1])


def test_an_upload_that_is_cut_off_leaves_the_branch_alone(hub, pushed, folders, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.fault("PUT /lfs/", times=100, lost=True)
    with pytest.raises(PushError, match=r"did not answer .*Repeat the same command"):
        push(folders[1], NAME, private=False)
    assert len(commits(hub)) == 2


def test_a_hub_that_holds_something_else_than_was_sent_is_found_out(hub, pushed, folders):
    def swap() -> None:
        files = hub.store.repos[NAME].commits[commits(hub)[-1]].files
        files["model.safetensors"] = hub.store.repos[NAME].commits[pushed.commit].files["model.safetensors"]

    hub.fault("POST .*/paths-info/", before=swap)
    with pytest.raises(PushError, match=r"does not hold what was pushed: model\.safetensors\. Do not use"):
        push(folders[1], NAME, private=False)


def test_a_tag_that_is_another_commit_stops_a_push_and_its_plan(hub, pushed, folders):
    push(folders[0], NAME, private=False, tag="v1")
    assert plan_push(folders[0], NAME, private=False, tag="v1").changed == ()
    for step in (plan_push, push):
        with pytest.raises(
            PushError, match=f"a tag v1 already, commit {pushed.commit}; nothing was published"
        ):
            step(folders[1], NAME, private=False, tag="v1")
    assert commits(hub)[1:] == [pushed.commit]


def test_a_tag_that_is_taken_meanwhile_is_said_after_the_model_is_published(hub, pushed, folders, api):
    def take() -> None:
        api.create_tag(NAME, tag="v1", revision=pushed.commit)

    hub.fault("POST .*/commit/main", before=take)
    with pytest.raises(PushError, match=f"not tagged v1: that tag is commit {pushed.commit}"):
        push(folders[1], NAME, private=False, tag="v1")
    assert same(emozoo.load(f"hub:{NAME}", "cpu"), folders[1])
    assert same(emozoo.load(f"hub:{NAME}@v1", "cpu"), folders[0])


def test_a_stranger_offers_a_model_by_a_pull_request(hub, pushed, folders):
    token = hub.user("bob", "hf_bob_secret")
    published = push(folders[1], NAME, private=False, pr=True, token=token)
    assert published.pull_request == f"{hub.url}/{NAME}/discussions/1"
    assert same(emozoo.load(f"hub:{NAME}", "cpu"), folders[0])
    assert same(emozoo.load(f"hub:{NAME}@refs/pr/1", "cpu"), folders[1])
    again = push(folders[1], NAME, private=False, pr=True, token=token)
    assert (again.new, again.commit) == (False, published.commit)
    assert again.pull_request == published.pull_request
    assert list(hub.store.repos[NAME].pulls) == ["refs/pr/1"]
    with pytest.raises(ModelNotFoundError, match="that a pull request could go to"):
        push(folders[1], "alice/none", pr=True, token=token)
    with pytest.raises(PushError, match="a pull request is not the model yet"):
        push(folders[1], NAME, pr=True, tag="v1")


def test_a_pull_request_that_is_closed_or_holds_something_else_is_not_taken_for_this_one(
    hub, pushed, folders
):
    def offer(folder: Path) -> Published:
        return push(folder, NAME, private=False, pr=True, message="a better model")

    first = offer(folders[1])
    card = folders[1] / "README.md"
    for line in ("one", "two", "three"):
        card.write_text(card.read_text() + f"\n{line}\n")
        assert offer(folders[1]).new
    assert len(hub.store.repos[NAME].pulls) == 4
    assert not offer(folders[1]).new
    hub.store.repos[NAME].closed.update(hub.store.repos[NAME].pulls)
    again = offer(folders[1])
    assert again.new
    assert again.pull_request != first.pull_request


def test_a_pull_request_whose_answer_is_lost_is_found_and_not_opened_twice(hub, pushed, folders):
    hub.fault("POST .*/commit/main", lost=True)
    published = push(folders[1], NAME, private=False, pr=True)
    assert published.new
    assert published.pull_request == f"{hub.url}/{NAME}/discussions/1"
    assert not push(folders[1], NAME, private=False, pr=True).new
    assert list(hub.store.repos[NAME].pulls) == ["refs/pr/1"]


def test_gating_comes_before_the_files_and_the_collection_after(hub, folders, reload_here):
    hub.store.collections["alice/emotion-1"] = []
    push(folders[0], NAME, private=False, gated="manual", collection="alice/emotion-1")
    assert hub.store.repos[NAME].gated == "manual"
    assert hub.store.collections["alice/emotion-1"] == [NAME]
    lines = [line.partition("?")[0] for line in hub.requests]
    assert lines.index(f"PUT /api/models/{NAME}/settings") < lines.index(
        f"POST /api/models/{NAME}/commit/main"
    )
    push(folders[0], NAME, private=False, gated="manual", collection="alice/emotion-1")
    assert hub.store.collections["alice/emotion-1"] == [NAME]
    with pytest.raises(PushError, match=r"is published, but not added to the collection x/y \(HTTP 404\)"):
        push(folders[0], NAME, private=False, collection="x/y")
    with pytest.raises(PushError, match="gated is 'yes': write auto or manual"):
        push(folders[0], NAME, gated="yes")


def test_a_repository_that_exists_keeps_its_visibility_and_that_is_said(hub, pushed, folders):
    published = push(folders[1], NAME, private=True)
    assert not hub.store.repos[NAME].private
    assert published.notes == (f"{hub.url}/{NAME} exists and stays public; its settings page changes that",)


def test_the_same_model_pushed_by_many_at_once_is_one_commit(hub, folders, reload_here):
    with ThreadPoolExecutor(4) as pool:
        published = list(pool.map(lambda _: push(folders[0], NAME), range(4)))
    assert {item.commit for item in published} == {commits(hub)[-1]}
    assert len(commits(hub)) == 2


def test_different_models_pushed_at_once_are_each_whole_or_not_there(hub, pushed, folders):
    def attempt(index: int) -> str:
        try:
            return push(folders[index % 2], NAME, private=False).commit
        except PushError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        ends = list(pool.map(attempt, range(4)))
    assert set(ends) & set(commits(hub))
    assert all(end in commits(hub) or "has changed while this was pushed" in end for end in ends)
    for commit in commits(hub)[1:]:
        emozoo.load(f"hub:{NAME}@{commit}", "cpu")


def test_where_the_hub_is_out_of_reach_a_push_says_so(hub, folders, reload_here, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(OfflineError, match="pushing needs the Hub, and offline mode is on"):
        push(folders[0], NAME)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.fault("GET /api/models", status=503, times=3)
    with pytest.raises(HubUnavailableError, match="HTTP 503"):
        push(folders[0], NAME)
    hub.stop()
    with pytest.raises(OfflineError, match="cannot be reached"):
        push(folders[0], NAME)


@pytest.mark.parametrize(
    "repo", ["faces", "alice/faces@v1", "alice/faces@main", "hub:alice/faces", "../faces", "alice/faces-"]
)
def test_a_target_that_is_no_repository_is_refused_before_anything_is_done(hub, folders, repo):
    with pytest.raises((PushError, UnknownModelError), match="org/name"):
        push(folders[0], repo)
    assert hub.requests == []


def test_the_command_shows_what_it_would_do_and_then_what_it_did_and_no_token(hub, folders, reload_here):
    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["push", str(folders[0]), NAME, *arguments], catch_exceptions=False)
        assert done.exit_code == 0
        assert "secret" not in done.output
        return done.stdout

    shown = run("--dry-run")
    assert "a repository that would be made" in shown
    assert f"{Path(folders[0] / 'model.safetensors').stat().st_size:,} bytes" in shown
    assert "nothing was changed" in shown
    assert NAME not in hub.store.repos
    shown = run("--public", "--tag", "v1")
    commit = commits(hub)[-1]
    assert f"published: {hub.url}/{NAME}/commit/{commit}" in shown
    assert f"{sha256(folders[0] / 'model.safetensors')}  model.safetensors" in shown
    assert shown.endswith(f'emozoo.load("hub:{NAME}@{commit}")\n')
    assert not hub.store.repos[NAME].private
    assert "nothing to publish, the Hub has it" in run("--public")
    assert "keep    model.safetensors" in run("--dry-run")


def test_the_commands_work_in_processes_of_their_own_with_what_the_environment_says(hub, folders, tmp_path):
    settings = {
        "HF_ENDPOINT": hub.url, "HF_TOKEN": ALICE, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
    }  # fmt: skip

    def run(*arguments: str, **changes: str) -> str:
        command = [sys.executable, "-m", "emozoo", *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, **settings, **changes}, check=False
        )
        assert "secret" not in done.stdout + done.stderr
        assert done.returncode == 0, done.stderr
        return done.stdout

    line = run("push", str(folders[0]), NAME).splitlines()[-1]
    name = line.partition('"')[2].partition('"')[0]
    folder = Path(run("download", name).strip())
    assert folder.is_relative_to(tmp_path / "home")
    hub.stop()
    assert "golden outputs agree" in run("verify", name)
    assert "1 models" in run("cache", HF_HUB_OFFLINE="1")
