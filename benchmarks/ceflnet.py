"""CEFLNet, 2 videos of 7 clips of 5 frames of 224x224: all frames in one pass, channels-last, against a plain fp32
loop over single frames; forward passes and training steps, with bf16 where the hardware computes in it, and compiled.
Two threads. The goals of bf16 were set on a processor with AMX; others compute at most twice as fast as in fp32."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.measuring import Row, at_most, seconds
from emozoo.bench import unavailable
from emozoo.model import EmotionModel, create
from emozoo.recipe import ModelConfig
from emozoo.training.run import resolve_precision

BATCH, LABELS = 2, 7
CONFIG = ModelConfig.model_validate(
    {
        "preprocess": {"size": 224, "crop": 224, "colour": "rgb", "mean": [0.0] * 3, "std": [1.0] * 3},
        "sampling": {"name": "clips"},
        "backbone": {"name": "resnet18", "stem": "imagenet"},
        "aggregator": {"name": "ceflnet"},
        "heads": {"emotion": {"name": "classification", "hidden": [256, 128], "dropout": 0.4}},
    }
)


def measure() -> list[Row]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        return [*_measure("forward", _forward, 0.92, 0.30), *_measure("training step", _step, 0.85, 0.28)]
    finally:
        torch.set_num_threads(threads)


def _measure(what: str, work: Callable[..., Callable[[], object]], fp32: float, bf16: float) -> list[Row]:
    videos = torch.rand(BATCH, 7, 5, 3, 224, 224)
    plain, batched = (create(CONFIG, seed=0) for _ in range(2))
    batched = batched.to(memory_format=torch.channels_last)
    candidates = {"loop": work(plain, videos, loop=True), "fp32": work(batched, videos)}
    if resolve_precision("auto", cpu=True) == "bf16":
        candidates["bf16"] = work(batched, videos, dtype=torch.bfloat16)
        if unavailable("compiled") is None:
            compiled: Any = torch.compile(copy.deepcopy(batched))
            candidates["bf16, compiled"] = work(compiled, videos, dtype=torch.bfloat16)
    times = seconds(candidates, repeats=5)
    goals = {"fp32": fp32, "bf16": bf16}
    rows = [Row(f"{what}, fp32, frame after frame", times.pop("loop"), "s")]
    for way, time in times.items():
        name, ratio, goal = f"{what}, {way}, one pass / loop", time / rows[0].value, goals.get(way)
        rows.append(Row(name, ratio, "x") if goal is None else at_most(name, ratio, "x", goal))
    return rows


def _logits(model: EmotionModel, videos: torch.Tensor, loop: bool) -> torch.Tensor:
    if not loop:
        return model(videos).heads["emotion"]
    frames = [model.backbone(frame[None]) for frame in videos.flatten(0, 2)]
    return model.aggregate(torch.cat(frames).unflatten(0, videos.shape[:3])).heads["emotion"]


def _forward(
    model: EmotionModel, videos: torch.Tensor, loop: bool = False, dtype: torch.dtype = torch.float32
) -> Callable[[], object]:
    model.eval()

    def work() -> None:
        model.eval()
        with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            _logits(model, videos, loop)

    return work


def _step(
    model: EmotionModel, videos: torch.Tensor, loop: bool = False, dtype: torch.dtype = torch.float32
) -> Callable[[], object]:
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    labels = torch.arange(len(videos)) % LABELS

    def work() -> None:
        model.train()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            logits = _logits(model, videos, loop)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return work
