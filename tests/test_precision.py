"""Weights may be stored in half the bytes, and a model may compute in half the precision; numbers stay numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small import photos, tiny_model

import emozoo
from emozoo.errors import ContractError, RecipeError
from emozoo.folder import load_model, verify_golden
from emozoo.model import EmotionModel

PIXELS = torch.from_numpy(photos(6))[:, None]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def scaled(model: EmotionModel) -> EmotionModel:
    """Return the model with weights as a trained network has them: its features stay near 1."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim > 1:
                value.mul_(5 / value[0].numel() ** 0.5)
            elif name.endswith("weight"):
                value.fill_(1)
    return model


def test_halved_weights_take_half_the_bytes_and_are_the_nearest_halves_of_the_matrices(
    tmp_path: Path,
) -> None:
    model = tiny_model(backbone={"name": "resnet18", "stem": "strided", "width": 16})
    whole, half = model.save(tmp_path / "whole"), model.save(tmp_path / "half", store="fp16")
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (whole, half)]
    assert 0.5 < sizes[1] / sizes[0] < 0.56
    stored, state = load_file(half / "model.safetensors"), model.state_dict()
    assert stored.keys() == state.keys()
    for name, value in state.items():
        expected = value.to(torch.float16) if value.ndim > 1 else value
        assert stored[name].dtype == expected.dtype
        assert torch.equal(stored[name], expected)


def test_halved_weights_compute_in_single_precision_and_verify_exactly(tmp_path: Path) -> None:
    folder = tiny_model().save(tmp_path / "half", store="fp16")
    loaded = emozoo.load(folder, "cpu")
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}
    assert verify_golden(loaded, folder) == 0
    rounded = tiny_model()
    with torch.no_grad():
        for value in rounded.parameters():
            if value.ndim > 1:
                value.copy_(value.half().float())
    for name, value in rounded.predict_outputs(PIXELS).items():
        assert torch.equal(loaded.predict_outputs(PIXELS)[name], value)


def test_saving_leaves_the_model_as_it_is_and_saving_what_was_loaded_gives_the_same_bytes(
    tmp_path: Path,
) -> None:
    model = tiny_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    folder = model.save(tmp_path / "first", store="fp16")
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    again = load_model(folder, "cpu").save(tmp_path / "second", store="fp16")
    assert bytes_of(folder) == bytes_of(again)
    whole = load_model(folder, "cpu").save(tmp_path / "third")
    assert verify_golden(load_model(folder, "cpu"), whole) == 0


def test_numbers_that_half_precision_cannot_hold_are_not_stored_in_it(tmp_path: Path) -> None:
    model = tiny_model()
    with torch.no_grad():
        model.backbone.conv1.weight[0, 0, 0, 0] = 1e5
    with pytest.raises(ContractError, match="golden output"):
        model.save(tmp_path / "half", store="fp16")
    assert list(tmp_path.iterdir()) == []
    model = tiny_model()
    model.state_dict()["backbone.bn1.running_var"].fill_(1e6)  # a vector: it stays in single precision
    model.save(tmp_path / "half", store="fp16")


def test_weights_are_stored_in_a_known_way_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="store is 'bf16': weights are stored in fp32 or fp16"):
        tiny_model().save(tmp_path / "m", store="bf16")


@pytest.mark.parametrize("store", ["fp32", "fp16"])
@pytest.mark.parametrize(("dtype", "digits"), [("bf16", 0.05), ("fp16", 0.005)])
@pytest.mark.parametrize(
    "changes", [{}, {"aggregator": {"name": "mean"}}, {"backbone": {"name": "timm/test_resnet"}}], ids=str
)
def test_a_model_in_reduced_precision_predicts_nearly_the_same_in_single_precision_numbers(
    tmp_path: Path, dtype: str, digits: float, store: str, changes: dict
) -> None:
    folder = scaled(tiny_model(**changes)).save(tmp_path / "m", store=store)
    model, right = emozoo.load(folder, "cpu", dtype=dtype), emozoo.load(folder, "cpu").predict_outputs(PIXELS)
    wanted = {"bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
    assert {value.dtype for value in model.parameters()} == {wanted}
    for name, value in model.predict_outputs(PIXELS, "flip").items():
        assert value.dtype == torch.float32
        assert value.shape == right[name].shape
    for name, value in model.predict_outputs(PIXELS).items():
        assert not torch.equal(value, right[name])
        assert (value - right[name]).abs().max() < digits * right[name].abs().max()
    prediction = model.predict(photos(1)[0], faces="none")
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("aggregator", ["mean", "max", "lstm", "fan", "ceflnet"])
@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_every_aggregator_computes_in_reduced_precision(tmp_path: Path, aggregator: str, dtype: str) -> None:
    folder = tiny_model(aggregator={"name": aggregator}).save(tmp_path / "m")
    videos, mask = PIXELS[None, :, None].expand(2, 6, 3, 1, 48, 48), torch.ones(2, 6, 3, dtype=torch.bool)
    mask[0, 1:] = False
    for value in emozoo.load(folder, "cpu", dtype=dtype).predict_outputs(videos, mask=mask).values():
        assert value.dtype == torch.float32
        assert value.isfinite().all()


def test_a_model_loaded_in_reduced_precision_is_not_saved_as_if_it_were_whole(tmp_path: Path) -> None:
    folder = tiny_model().save(tmp_path / "m")
    for dtype in ("bf16", "fp16"):
        with pytest.raises(ContractError, match=r"save a model that was loaded with dtype=\"fp32\""):
            emozoo.load(folder, "cpu", dtype=dtype).save(tmp_path / "again")


@pytest.mark.parametrize("dtype", ["fp8", "float32", "", "BF16"])
def test_a_precision_that_there_is_not_is_refused_with_those_that_there_are(
    tmp_path: Path, dtype: str
) -> None:
    folder = tiny_model().save(tmp_path / "m")
    with pytest.raises(RecipeError, match=f"dtype '{dtype}': write fp32, bf16, fp16"):
        emozoo.load(folder, "cpu", dtype=dtype)
