"""Models small enough to build in milliseconds, and plugins made up on the spot."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from emozoo import registry
from emozoo.model import EmotionModel, create
from emozoo.recipe import ModelConfig

RECIPE = """
name = "tiny"
[model]
preprocess = { size = 24, crop = 20 }
backbone = { name = "resnet18", stem = "strided", width = 8 }
heads = { emotion = { name = "classification", dropout = 0.3 }, vad = { name = "vad" } }
[data]
name = "synthetic"
size = 24
samples = 140
validation_samples = 70
test_samples = 70
select = "validation"
report = "test"
[train]
epochs = 2
batch_size = 20
precision = "fp32"
optimizer = { name = "adamw", lr = 0.01 }
"""
"""A recipe that trains in a second."""

BACKBONE = {"name": "resnet18", "stem": "strided", "width": 8}
HEADS = {"emotion": {"name": "classification"}, "vad": {"name": "vad"}}


def tiny_config(**changes: Any) -> ModelConfig:
    """A ResNet-18 of width 8 with both heads, for grey 48-pixel images; `changes` replace tables of it."""
    return ModelConfig.model_validate({"backbone": BACKBONE, "heads": HEADS, **changes})


def tiny_model(seed: int = 0, **changes: Any) -> EmotionModel:
    """A tiny model in evaluation mode whose every tensor is random, so that none goes unnoticed."""
    model = create(tiny_config(**changes), seed=seed).eval()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                value.uniform_(0.5, 1.5) if name.endswith("running_var") else value.normal_(0, 0.2)
    return model


def photos(count: int, side: int = 48, seed: int = 0) -> np.ndarray:
    """Grey noise, uint8 (count, side, side)."""
    return np.random.default_rng(seed).integers(0, 256, (count, side, side), np.uint8)


def install(
    monkeypatch: pytest.MonkeyPatch, site: Path, name: str, version: str, points: dict[str, str], code: str
) -> None:
    """Put a plugin distribution on the path: `points` maps "group/name" to an attribute of its one module."""
    module = name.replace("-", "_")
    (site / f"{module}.py").write_text(code)
    info = site / f"{module}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = []
    for point, attribute in points.items():
        group, _, short = point.partition("/")
        lines.append(f"[emozoo.{group}]\n{short} = {module}:{attribute}\n")
    (info / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(site))
    refresh(monkeypatch)


def refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the registry look again at what is installed, for the length of a test."""
    monkeypatch.setattr(registry, "discover", functools.cache(registry.discover.__wrapped__))
