"""A model on the Hub made to do harm: nothing outside the cache is written or removed, and it ends in a named error."""

from __future__ import annotations

import json

import pytest
from conftest import ALICE
from huggingface_hub import CommitOperationAdd, HfApi

import emozoo
from emozoo.errors import CorruptModelError

NAME = "hub:alice/faces"


@pytest.mark.parametrize("way", ["absolute", "up", "a manifest of nothing else"])
def test_a_manifest_that_names_files_elsewhere_makes_nobody_remove_them(hub, pushed, folders, tmp_path, way):
    precious = tmp_path / "precious"
    precious.write_text("years of work")
    cached = tmp_path / "hf" / "models--alice--faces" / "snapshots" / ("0" * 40)
    name = (
        str(precious) if way != "up" else "/".join([*[".."] * (len(cached.parts) - 1), *precious.parts[1:]])
    )
    tree = json.loads((folders[0] / "manifest.json").read_text())
    rows = {name: {"size": 0, "sha256": "0" * 64}}
    tree["files"] = rows if way.startswith("a ") else tree["files"] | rows
    manifest = CommitOperationAdd("manifest.json", json.dumps(tree).encode())
    HfApi(hub.url, token=ALICE).create_commit("alice/faces", [manifest], commit_message="mine")
    with pytest.raises(CorruptModelError) as refusal:
        emozoo.load(NAME, "cpu")
    assert precious.is_file(), "removed!"
    assert "which no model folder holds" in str(refusal.value)
