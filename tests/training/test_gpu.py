"""On a GPU: runs train, resume and say so, and models answer as they do on the CPU."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

import emozoo
from emozoo.cost import input_shape
from emozoo.errors import Interrupted
from emozoo.records import read_record
from emozoo.training.data import load_training_data
from emozoo.training.init import initialise
from emozoo.training.run import train
from emozoo.training.trainer import Trainer

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no GPU here: what a GPU does is not tested"
)

AUGMENT = "train.augment={rotate=10, brightness=0.2, erase=0.3, mixup=0.2}"


def history(run: Path) -> list[float]:
    """The training loss of each epoch."""
    return [row["loss"] for row in read_record(run)["history"]]


@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16", "fp16"])
def test_a_run_learns_in_every_precision_and_its_record_names_the_gpu(
    tiny_recipe, tmp_path: Path, precision: str
) -> None:
    recipe = tiny_recipe(f"train.precision={precision}", "train.epochs=4", "train.ema=0.9", AUGMENT)
    run = train(recipe, tmp_path / "run")
    losses = history(run)
    assert losses[-1] < 0.97 * losses[0]
    record = read_record(run)
    assert record["hardware"]["device"] == "cuda"
    assert record["hardware"]["gpu"] == torch.cuda.get_device_name()
    automatic = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    assert record["precision"] == (automatic if precision == "auto" else precision)


@pytest.mark.parametrize(
    "changes",
    [
        ["train.consistency=[{name='prototype', weight=0.1}]", "train.orthogonal=0.1"],
        ["train.freeze=true"],
        ["train.distillation={teachers=['dir:TEACHER']}"],
        ["train.precision=fp16", "train.clip_norm=5", "train.clip_value=0.5"],
    ],
    ids=["costs", "frozen", "taught", "clipped"],
)
def test_every_way_of_training_runs_there(tiny_recipe, tmp_path: Path, changes: list[str]) -> None:
    teacher = emozoo.create(tiny_recipe(), seed=1).save(tmp_path / "teacher")
    changes = [change.replace("TEACHER", str(teacher)) for change in changes]
    losses = history(train(tiny_recipe("train.epochs=3", *changes), tmp_path / "run"))
    assert losses[-1] < losses[0]


def test_a_run_that_was_stopped_and_resumed_ends_where_one_does_that_was_not(
    tiny_recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, step = tiny_recipe("train.precision=fp32", AUGMENT), Trainer._step

    def stopped(self: Trainer, pieces: object) -> object:
        self.signal = signal.SIGTERM if self.progress.step == 9 else self.signal
        return step(self, pieces)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", stopped)
        with pytest.raises(Interrupted):
            train(recipe, tmp_path / "stopped")
    train(recipe, tmp_path / "stopped", resume=True)
    # Kernels of a GPU may sum in any order.
    assert history(tmp_path / "stopped") == pytest.approx(
        history(train(recipe, tmp_path / "whole")), rel=0.02
    )


def test_images_that_fit_are_kept_on_the_gpu(tiny_recipe) -> None:
    recipe = tiny_recipe()
    model = emozoo.create(recipe, seed=0).to("cuda")
    initialise(model, recipe)
    data = load_training_data(recipe, model).to(torch.device("cuda"))
    assert data.train.fetch(torch.arange(4)).x.device.type == "cuda"


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("name", ["vad-mini-fer2013", "ceflnet-planted"])
def test_a_model_answers_there_as_on_the_cpu(name: str, dtype: Any) -> None:
    here, there = emozoo.load(name, "cpu"), emozoo.load(name, "cuda", dtype=dtype)
    size = here.config.preprocess.size
    shape = (4, *input_shape(here.config)[:-2], size, size)
    media = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(shape[:3], dtype=torch.bool) if len(shape) == 6 else None
    expected, found = (model.predict_outputs(media, "flip", mask) for model in (here, there))
    near = 0.01 if dtype == "fp32" else 0.15
    for head, value in found.items():
        assert value.device.type == "cuda"
        torch.testing.assert_close(value.cpu(), expected[head], rtol=near, atol=near)
