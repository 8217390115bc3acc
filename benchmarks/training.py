"""Training throughput on FER2013: `emozoo train`'s loop against a bare PyTorch loop with the same model, the same
augmentation and the same precision."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.measuring import Row, at_least, seconds
from emozoo.data.augment import Augmenter
from emozoo.model import EmotionModel
from emozoo.recipe import Recipe, load_recipe
from emozoo.training.data import TrainingData, load_training_data
from emozoo.training.run import _accelerator, resolve_precision
from emozoo.training.trainer import Trainer

STEPS, REPEATS = 12, 15


def measure() -> list[Row]:
    torch.set_num_threads(os.cpu_count() or 1)
    cuda = torch.cuda.is_available()
    name = "resnet18-fer2013" if cuda else "mini-fer2013"
    overrides = [f"data.root='{_data()}'"] if _data() else []
    recipe = load_recipe(name, ["train.ema=0.0", *overrides])
    if not _data():
        recipe = _on_synthetic(recipe)
    with tempfile.TemporaryDirectory() as folder:
        accelerator = _accelerator(recipe.train, Path(folder), (), cpu=not cuda)
        model = EmotionModel(recipe.model)
        data = load_training_data(recipe, model).to(accelerator.device)
        trainer = Trainer(recipe, data, model, accelerator, Path(folder))
        own = _own_steps(trainer)
        bare = _bare_steps(recipe, data, accelerator.device)
        taken = seconds({"emozoo": own, "bare": bare}, REPEATS)
    images = STEPS * recipe.train.batch_size
    images_of = "FER2013" if _data() else "synthetic faces"
    where = f"{name}, {images_of}, {accelerator.device.type}, {accelerator.mixed_precision}"
    rows = [
        Row(f"bare loop ({where})", images / taken["bare"], "images/s"),
        Row("emozoo", images / taken["emozoo"], "images/s"),
        at_least("emozoo / bare loop", taken["bare"] / taken["emozoo"], "x", 0.97),
    ]
    if cuda:
        from emozoo.cost import count_macs

        flops = 6 * count_macs(recipe.model) * images / taken["emozoo"]
        rows.append(
            Row("share of 989 TFLOP/s (dense bf16 peak of an H100 or H200)", 100 * flops / 989e12, "%")
        )
    return rows


def _data() -> str | None:
    root = os.environ.get("EMOZOO_DATA")
    return str(Path(root) / "fer2013") if root else None


def _on_synthetic(recipe: Recipe) -> Recipe:
    data: dict[str, Any] = {"name": "synthetic", "select": "validation"}
    return recipe.model_copy(update={"data": recipe.data.model_validate(data)})


def _own_steps(trainer: Trainer) -> Any:
    class NoBar:
        def update(self) -> None: ...

    def steps() -> None:
        trainer.progress.step = 0
        trainer.steps_per_epoch, kept = STEPS, trainer.steps_per_epoch
        trainer._epoch(NoBar())
        trainer.steps_per_epoch = kept
        _wait(trainer.device)

    return steps


def _bare_steps(recipe: Recipe, data: TrainingData, device: torch.device) -> Any:
    """The loop one would write by hand: no accelerate, no targets but class indices, no checks."""
    train = recipe.train
    model = EmotionModel(recipe.model).to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(
        model.parameters(),
        train.optimizer.lr,
        momentum=0.9,
        nesterov=True,
        weight_decay=train.optimizer.weight_decay,
    )
    augmenter = Augmenter(train.augment, model.preprocessor)
    images = data.train.media.pixels
    assert images is not None
    labels = data.train.targets.label.argmax(1)
    rng = np.random.default_rng(0)
    precision = resolve_precision(train.precision, device.type == "cpu")
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision]

    def steps() -> None:
        for batch in (
            torch.from_numpy(rng.permutation(len(labels))).to(device).split(train.batch_size)[:STEPS]
        ):
            augmented = augmenter(images[batch], augmenter.draw(len(batch), rng))
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                logits = model(augmented.contiguous(memory_format=torch.channels_last)).heads["emotion"]
            loss = F.cross_entropy(logits.float(), labels[batch], label_smoothing=0.1)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        _wait(device)

    return steps


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
