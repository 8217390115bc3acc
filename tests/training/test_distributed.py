"""Two processes do what one does."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small import RECIPE

import emozoo
from emozoo.model import EmotionModel
from emozoo.records import read_record
from emozoo.training import checkpoint

OPTIONS = (
    "model.preprocess={size=32, crop=32}",
    "model.backbone={name='timm/test_vit', img_size=32}",
    "model.heads.emotion.dropout=0",
    "data.size=32",
    "train.ema=0.5",
    "train.optimizer.lr=0.001",
    "train.augment={rotate=10, erase=0.3}",
)
"""Nothing that depends on the batch of one process: no batch norm, no dropout."""


ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


def launcher(processes: int) -> list[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes),
        "--master-addr", "127.0.0.1", "--master-port", str(port),
    ]  # fmt: skip


def training(recipe: Path, out: Path) -> list[str]:
    options = [word for option in OPTIONS for word in ("--set", option)]
    return ["-m", "emozoo", "train", str(recipe), "--out", str(out), "--cpu", *options]


def launch(recipe: Path, out: Path, processes: int) -> None:
    command = [*launcher(processes), *training(recipe, out)]
    done = subprocess.run(command, capture_output=True, text=True, env=ONE_THREAD)
    assert done.returncode == 0, done.stderr[-3000:]


def distance(one: EmotionModel, other: EmotionModel) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return sum(float((a - b).detach().square().sum()) for a, b in pairs) ** 0.5


def test_two_processes_give_the_metrics_of_one_on_the_same_batches(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    launch(recipe, tmp_path / "one", 1)
    launch(recipe, tmp_path / "two", 2)
    one, two = (read_record(tmp_path / name) for name in ("one", "two"))
    assert (one["hardware"]["processes"], two["hardware"]["processes"]) == (1, 2)
    assert one["result"]["n"] == two["result"]["n"] == 70
    for first, second in zip(one["history"], two["history"], strict=True):
        for key in ("loss", "emotion", "vad", "select.loss", "select.vad.rmse", "lr"):
            assert first[key] == pytest.approx(second[key], rel=2e-3), key
    metrics = [record["result"]["heads"]["vad"]["metrics"]["rmse"]["value"] for record in (one, two)]
    assert metrics[0] == pytest.approx(metrics[1], rel=2e-3)
    start = emozoo.create(recipe, OPTIONS, seed=0)
    one, two = (emozoo.load(tmp_path / name / "model") for name in ("one", "two"))
    moved, apart = distance(start, one), distance(one, two)
    assert apart < 0.05 * moved, "the moving average that is kept has moved as far, and to the same place"


def test_a_signal_to_two_processes_ends_both_with_a_checkpoint(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    command = [*launcher(2), *training(recipe, tmp_path / "run"), "--set", "train.epochs=5000"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ONE_THREAD)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "run" / "checkpoints").glob("last-*")) and process.poll() is None:
        assert time.monotonic() < deadline, "no checkpoint was written"
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert "interrupted at step" in error
    assert checkpoint.latest(tmp_path / "run" / "checkpoints") is not None
