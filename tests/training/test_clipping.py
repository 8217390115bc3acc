"""What gradients are after clipping, whatever the precision."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from emozoo.model import EmotionModel
from emozoo.training.data import load_training_data
from emozoo.training.trainer import Trainer


@pytest.mark.parametrize("half", [False, True], ids=["single precision", "half precision, scaled"])
@pytest.mark.parametrize(
    ("norm", "value"), [(0, 0), (1, 0), (0, 0.01), (1, 0.01)], ids=["neither", "norm", "value", "both"]
)
def test_the_norm_of_all_gradients_is_clipped_and_then_each_value(
    tiny_recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, half: bool, norm: float, value: float
) -> None:
    recipe = tiny_recipe(f"train.clip_norm={norm}", f"train.clip_value={value}")
    model, accelerator = EmotionModel(recipe.model), Accelerator(cpu=True)
    trainer = Trainer(recipe, load_training_data(recipe, model), model, accelerator, tmp_path)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024, enabled=half)
    if half:  # as accelerate sets it up on a GPU
        monkeypatch.setattr(Accelerator, "mixed_precision", "fp16")
        monkeypatch.setattr(accelerator, "native_amp", True)
        monkeypatch.setattr(accelerator, "scaler", scaler)
    parameters = list(trainer.learner.parameters())
    scaler.scale(sum((p * torch.randn_like(p)).sum() for p in parameters)).backward()
    scale = 1024 if half and (norm or value) else 1
    expected = [p.grad / scale for p in parameters]
    length = torch.cat([each.flatten() for each in expected]).norm()
    assert length > 100
    expected = [each / length * norm if norm else each for each in expected]
    expected = [each.clamp(-value, value) if value else each for each in expected]
    trainer._clip()
    torch.testing.assert_close([p.grad for p in parameters], expected, rtol=1e-4, atol=1e-7)
