"""What is attacked: saved models, and what a refusal is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small import photos

from emozoo.errors import CorruptModelError, EmozooError
from emozoo.folder import load_model, write_manifest
from emozoo.model import EmotionModel

COVERED = ("config.json", "model.safetensors", "golden.safetensors", "run.json")
FILES = (*COVERED, "manifest.json")
PIXELS = torch.from_numpy(photos(3))[:, None]


def same(model: EmotionModel, right: dict[str, torch.Tensor]) -> bool:
    """Say whether a model computes what the original does."""
    outputs = model.predict_outputs(PIXELS)
    return outputs.keys() == right.keys() and all(torch.equal(outputs[name], right[name]) for name in right)


def refused(folder: Path, message: str, error: type[EmozooError] = CorruptModelError) -> None:
    """Expect that a folder is not loaded, for this reason."""
    with pytest.raises(error, match=message):
        load_model(folder, "cpu")


def flipped(data: bytes, offset: int, mask: int) -> bytes:
    """Bytes with some bits of one of them turned."""
    return data[:offset] + bytes([data[offset] ^ mask]) + data[offset + 1 :]


def rewrite(folder: Path, name: str, data: bytes) -> None:
    """Write a file of a model folder, and the manifest that belongs to it."""
    (folder / name).write_bytes(data)
    write_manifest(folder)


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change config.json, and write the manifest that belongs to it."""
    tree = json.loads((folder / "config.json").read_text())
    change(tree)
    rewrite(folder, "config.json", json.dumps(tree).encode())
