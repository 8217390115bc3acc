"""A config that asks for more than anyone has, or for something else, is refused before it gets it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from attacked import edit, refused, rewrite
from safetensors.torch import load, load_file, save
from small import install, tiny_model

from emozoo import registry, weights
from emozoo.errors import CorruptModelError, EmozooError
from emozoo.folder import load_model, verify_golden
from emozoo.recipe import ModelConfig

NESTED: dict[str, Any] = {"name": "resnet18", "width": 2}
for _ in range(20):
    NESTED = {"name": "separate", "copies": 4, "backbone": NESTED}


def aggregated(tree: dict[str, Any], **options: Any) -> None:
    tree["aggregator"] = {"name": "emozoo:lstm", **options}


ENDLESS: dict[str, Callable[[dict[str, Any]], object]] = {
    "layers of an LSTM": lambda t: aggregated(t, layers=10**9),
    "more layers than 64 bits count": lambda t: aggregated(t, layers=2**62),
    "a wide LSTM": lambda t: aggregated(t, hidden=2**40, layers=3),
    "hidden layers of a head": lambda t: t["heads"]["vad"].update(hidden=[1] * 200_000),
    "heads": lambda t: t["heads"].update({f"h{n}": {"name": "emozoo:vad"} for n in range(5_000)}),
    "copies of a backbone": lambda t: t.update(
        backbone={"name": "separate", "copies": 10**9, "backbone": NESTED}
    ),
    "copies of copies": lambda t: t.update(backbone=NESTED),
    "labels": lambda t: t.update(labels=[f"l{n}" for n in range(60_000)]),
    "pixels": lambda t: t["preprocess"].update(size=2**40, crop=2**40),
    "parts of ViT": lambda t: t.update(backbone={"name": "timm/vit_tiny_patch16_224", "img_size": 2**40}),
    "windows of Swin": lambda t: t.update(
        backbone={"name": "timm/swin_tiny_patch4_window7_224", "img_size": 2**30}
    ),
}


@pytest.mark.parametrize("attack", ENDLESS)
def test_a_config_that_asks_for_parts_without_number_is_refused_in_no_time(
    folder: Path, attack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if attack != "hidden layers of a head":  # that one reaches the limit itself, in seconds
        monkeypatch.setattr(weights, "PARTS", 1_000)
    edit(folder, ENDLESS[attack])
    started = time.monotonic()
    refused(folder, ".", EmozooError)
    assert time.monotonic() - started < 20


def test_only_the_thread_that_loads_is_limited(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(weights, "PARTS", 10)
    with weights._few_parts():
        thread = threading.Thread(target=lambda: built.append(tiny_model()))
        built: list[object] = []
        thread.start()
        thread.join()
        assert built
        with pytest.raises(CorruptModelError, match="more than 10 modules"):
            tiny_model()
    tiny_model()
    refused(folder, "it would have more than 10 modules and parameters")


SAMPLING = {
    "clips": ("frames", "window", "clips", "length", "stride", "per_clip"),
    "thirds": ("parts", "cap"),
    "segments": ("segments", "length"),
    "uniform": ("frames",),
    "all": ("cap",),
    "sliding": ("length", "stride"),
}


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, keys in SAMPLING.items() for key in keys])
def test_samplers_take_no_more_frames_than_any_video_has(name: str, key: str) -> None:
    tree: dict[str, Any] = {
        "backbone": {"name": "x"},
        "aggregator": {"name": "mean"},
        "heads": {"a": {"name": "vad"}},
    }
    for number in (10**6, 2**62):
        with pytest.raises(ValueError, match="less than or equal to 10000"):
            ModelConfig.model_validate(tree | {"sampling": {"name": name, key: number}})


@pytest.mark.parametrize("value", [float("nan"), -float("nan")])
@pytest.mark.parametrize(
    "name", ["backbone.conv1.weight", "backbone.bn1.running_var", "heads.vad.layers.1.bias"]
)
def test_weights_that_are_no_numbers_are_not_loaded(folder: Path, name: str, value: float) -> None:
    data = (folder / "model.safetensors").read_bytes()
    for fill in (slice(None), slice(0, 1)):
        tensors = load(data)
        tensors[name].view(-1)[fill] = value
        rewrite(folder, "model.safetensors", save(tensors))
        refused(folder, f"holds NaN in {name}")


def test_infinities_of_both_signs_are_numbers(folder: Path) -> None:
    """As a component's masks may hold them; `verify` looks at what comes of them."""
    tensors = load_file(folder / "model.safetensors")
    tensors["backbone.bn1.running_mean"][:2] = torch.tensor([float("inf"), -float("inf")])
    rewrite(folder, "model.safetensors", save(tensors))
    model = load_model(folder, "cpu")
    with pytest.raises(CorruptModelError, match="not finite"):
        verify_golden(model, folder)


@pytest.mark.parametrize("change", ["no input", "another shape", "empty", "floating", "nothing", "videos"])
def test_golden_outputs_without_an_input_of_the_model_fail_verification(folder: Path, change: str) -> None:
    tensors = load_file(folder / "golden.safetensors")
    images = tensors.pop("input")
    if change == "nothing":
        tensors = {}
    elif change != "no input":
        tensors["input"] = {
            "another shape": images[..., :-1].contiguous(),
            "empty": images[:0],
            "floating": images.float(),
            "videos": images[None, None].contiguous(),
        }[change]
    rewrite(folder, "golden.safetensors", save(tensors))
    with pytest.raises(CorruptModelError, match=r"golden\.safetensors: "):
        verify_golden(load_model(folder, "cpu"), folder)


# --- plugins that would take the place of others ----------------------------------------------------------------

EVIL = """
import pathlib
pathlib.Path({mark!r}).touch()
class ResNet18:
    def __init__(self, in_channels: int, **options): raise RuntimeError("taken in")
"""


@pytest.mark.parametrize(
    ("distribution", "name"),
    [
        ("emozoo-evil", "resnet18"),
        ("Emozoo.Backbones", "resnet18"),
        ("emozoo-evil", "emozoo:resnet18"),
        ("emozoo-evil", "resnet18/member"),
        ("emozoo-evil", " resnet18"),
        ("aaa", "resnet18"),
    ],
)
def test_a_plugin_by_the_name_of_a_built_in_is_not_even_imported(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, distribution: str, name: str
) -> None:
    mark = tmp_path / "mark"
    code = EVIL.format(mark=str(mark))
    site = tmp_path / "site"
    site.mkdir()
    install(
        monkeypatch,
        site,
        distribution,
        "9.9",
        {f"backbones/{name}": "ResNet18", "heads/vad": "ResNet18"},
        code,
    )
    assert any(c.distribution != "emozoo" and "resnet18" in c.name for c in registry.discover())
    for own in ("resnet18", "emozoo:resnet18", "Emozoo:resnet18"):
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        copy = shutil.copytree(folder, tmp_path / "copy")
        edit(copy, lambda tree, own=own: tree["backbone"].update(name=own))
        load_model(copy, "cpu")
    assert not mark.exists()
