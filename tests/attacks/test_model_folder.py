"""Whatever is done to the files of a model folder, loading gives the model that was saved, or an error by name.

Here the manifest is left alone, or is what is attacked: every change is found when the model is loaded.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import pytest
import torch
from attacked import COVERED, FILES, flipped, refused, same
from small import tiny_model

from emozoo.errors import CorruptModelError
from emozoo.folder import load_model

# --- without the manifest: every change is found --------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 0.5, -1])
def test_a_truncated_file_is_refused_by_name(folder: Path, name: str, length: float) -> None:
    data = (folder / name).read_bytes()
    end = int(len(data) * length) if isinstance(length, float) else length % len(data)
    (folder / name).write_bytes(data[:end])
    if name == "manifest.json" and json_equal(data, data[:end]):
        load_model(folder, "cpu")  # the last newline was cut off
    else:
        refused(folder, name.replace(".", r"\."))


def json_equal(first: bytes, second: bytes) -> bool:
    try:
        return json.loads(first) == json.loads(second)
    except ValueError:
        return False


@pytest.mark.parametrize("name", COVERED)
def test_a_single_flipped_bit_anywhere_is_refused_by_name(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    rng = random.Random(name)
    for offset in {*range(10), len(data) - 1, *(rng.randrange(len(data)) for _ in range(40))}:
        if offset < len(data):
            (folder / name).write_bytes(flipped(data, offset, 1 << rng.randrange(8)))
            refused(folder, name.replace(".", r"\."))


def test_a_flipped_bit_of_the_manifest_is_refused_or_changes_nothing(
    folder: Path, right: dict[str, torch.Tensor]
) -> None:
    path = folder / "manifest.json"
    data = path.read_bytes()
    rng = random.Random(5)
    for offset in rng.sample(range(len(data)), 150):
        changed = flipped(data, offset, 1 << rng.randrange(8))
        path.write_bytes(changed)
        try:
            model = load_model(folder, "cpu")
        except CorruptModelError:
            continue
        assert same(model, right)
        assert json_equal(data, changed), "only white space may change unnoticed"


@pytest.mark.parametrize("name", COVERED)
@pytest.mark.parametrize("way", ["missing", "empty", "a folder", "a pipe", "longer", "dangling link"])
def test_a_file_that_is_not_there_or_no_file_is_refused_by_name(folder: Path, name: str, way: str) -> None:
    data = (folder / name).read_bytes()
    (folder / name).unlink()
    if way == "a folder":
        (folder / name).mkdir()
    elif way == "a pipe":
        os.mkfifo(folder / name)
    elif way == "dangling link":
        (folder / name).symlink_to("nowhere")
    elif way != "missing":
        (folder / name).write_bytes(b"" if way == "empty" else data + b"\0")
    refused(folder, name.replace(".", r"\."))


@pytest.mark.parametrize(
    "names", [("config.json",), ("model.safetensors",), ("golden.safetensors",), COVERED, FILES[-1:]]
)
def test_files_of_two_models_do_not_mix(
    originals: tuple[Path, Path], folder: Path, names: tuple[str, ...]
) -> None:
    wide = tiny_model(3)
    other = wide.save(folder.parent / "other") if names == ("config.json",) else originals[1]
    for name in names:
        shutil.copy(other / name, folder / name)
    refused(folder, "the manifest")


def test_the_card_is_not_covered_and_does_not_matter(folder: Path, right: dict[str, torch.Tensor]) -> None:
    for text in (b"\xff\xfe", b"", b"#" * 5_000_000):
        (folder / "README.md").write_bytes(text)
        assert same(load_model(folder, "cpu"), right)
    (folder / "README.md").unlink()
    assert same(load_model(folder, "cpu"), right)


def test_a_link_to_the_right_content_is_followed_and_to_other_content_refused(
    originals: tuple[Path, Path], folder: Path, right: dict[str, torch.Tensor]
) -> None:
    weights = folder / "model.safetensors"
    shutil.move(weights, folder.parent / "blob")
    weights.symlink_to(folder.parent / "blob")  # as in the Hub's cache
    assert same(load_model(folder, "cpu"), right)
    for target in (originals[1] / "model.safetensors", Path("/dev/zero"), weights):
        weights.unlink()
        weights.symlink_to(target)
        refused(folder, r"model\.safetensors")


@pytest.mark.parametrize(
    "text", ["", "{}", "null", "[]", "3", '{"files": []}', '{"files": {"config.json": 3}}']
)
def test_a_manifest_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    refused(folder, r"manifest\.json")


@pytest.mark.parametrize("name", COVERED)
def test_a_manifest_that_does_not_list_a_file_of_the_folder_is_refused(folder: Path, name: str) -> None:
    tree = json.loads((folder / "manifest.json").read_text())
    del tree["files"][name]
    (folder / "manifest.json").write_text(json.dumps(tree))
    refused(folder, rf"manifest\.json does not list {name}")


@pytest.mark.parametrize(
    "name",
    ["../secret", "/etc/passwd", "..\\secret", "C:\\secret", "sub/../../secret", "extra.py", "README.md", ""],
)
def test_a_manifest_names_the_files_of_a_model_folder_and_no_others(folder: Path, name: str) -> None:
    (folder.parent / "secret").write_text("secret")
    tree = json.loads((folder / "manifest.json").read_text())
    tree["files"][name] = {"size": 6, "sha256": "0" * 64}
    (folder / "manifest.json").write_text(json.dumps(tree))
    refused(folder, "lists .*, which no model folder holds")
