"""Saved models for every attack."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from attacked import PIXELS
from small import tiny_model

from emozoo.folder import load_model, save_model


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two saved models of the same architecture."""
    place = tmp_path_factory.mktemp("models")
    for seed in (1, 2):
        model = tiny_model(seed, backbone={"name": "resnet18", "stem": "strided", "width": 2})
        save_model(model, place / str(seed), {"name": f"run-{seed}"}, "# Card\n")
    return place / "1", place / "2"


@pytest.fixture(scope="session")
def right(originals: tuple[Path, Path]) -> dict[str, torch.Tensor]:
    """What the first of them gives."""
    return load_model(originals[0], "cpu").predict_outputs(PIXELS)


@pytest.fixture
def folder(originals: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the first, with no memory of what has been verified."""
    monkeypatch.setenv("EMOZOO_CACHE", str(tmp_path / "cache"))
    return shutil.copytree(originals[0], tmp_path / "m")
