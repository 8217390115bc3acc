"""The contract suite: every installed component passes it, and each check finds the fault that it is for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from emozoo import registry, testing

CHECKS = {
    "backbone": testing.check_backbone,
    "aggregator": testing.check_aggregator,
    "head": testing.check_head,
    "consistency": testing.check_consistency,
    "dataset": testing.check_dataset,
}

SMALL: dict[str, dict[str, Any]] = {
    "c3d": {"size": 16, "frames": 4},
    "r3d": {"size": 16, "frames": 4},
    "resnet18": {"options": {"width": 8}},
    "timm": {"options": {"member": "test_resnet"}},
    "lstm": {"options": {"hidden": 8}},
    "synthetic": {"options": {"samples": 14, "validation_samples": 7, "test_samples": 7, "size": 24}},
}
"""What keeps a check quick, by name."""


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    for split in ("train", "test"):
        for label in ("angry", "happy"):
            (tmp_path / split / label).mkdir(parents=True)
            Image.new("L", (48, 48)).save(tmp_path / split / label / f"{split}-{label}.png")
    return tmp_path


@pytest.mark.parametrize("component", registry.discover(), ids=lambda c: f"{c.kind}-{c.name}")
def test_every_installed_component_keeps_its_contract(component, faces):
    given = SMALL.get(component.name, {})
    if component.kind == "dataset" and component.name != "synthetic":
        given = {"root": faces}
    CHECKS[component.kind](component.qualified, **given)
