"""Who asks the tests' Hub, and whether what comes back is what was pushed."""

from __future__ import annotations

from pathlib import Path

import torch
from small import photos

from emozoo.folder import load_model
from emozoo.model import EmotionModel

ALICE = "hf_alice_secret"


def same(model: EmotionModel, folder: Path) -> bool:
    """Say whether a model computes, bit by bit, what the one in a folder does."""
    pixels = torch.from_numpy(photos(2, model.preprocessor.config.size))[:, None]
    outputs, right = (m.predict_outputs(pixels) for m in (model, load_model(folder, "cpu")))
    return outputs.keys() == right.keys() and all(torch.equal(outputs[name], right[name]) for name in right)
