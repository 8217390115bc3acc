"""Two processes do what one does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from small import RECIPE

from emozoo.training.run import read_record

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


def launch(recipe: Path, out: Path, processes: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes),
        "--master-addr", "127.0.0.1", "--master-port", str(port),
        "-m", "emozoo", "train", str(recipe), "--out", str(out), "--cpu",
        *(word for option in OPTIONS for word in ("--set", option)),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]


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
    assert (tmp_path / "two" / "model" / "model.safetensors").exists()
