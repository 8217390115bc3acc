"""One multi-task training step (one backbone, a classifier, three VAD outputs, consistency; batch 16, 44 px) against
the published arrangement: four separate ResNet-18s and a consistency cost looked up image by image in Python."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
import torch.nn.functional as F

from benchmarks.measuring import Row, at_most, seconds
from emozoo import registry
from emozoo.contracts import Targets
from emozoo.model import EmotionModel
from emozoo.recipe import CostTerm, ModelConfig, Train
from emozoo.training.objective import Learner

BATCH, REPEATS = 16, 5


def measure() -> list[Row]:
    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(0)
    images = torch.randn(BATCH, 3, 44, 44)
    label, vad = torch.randint(0, 7, (BATCH,)), torch.rand(BATCH, 3) * 2 - 1
    rows = []
    for orthogonal, limit in ((0.0, 1 / 4), (0.5, 1 / 3)):
        candidates = {
            "shared": _shared(images, label, vad, orthogonal),
            "separate": _separate(images, label, vad, orthogonal),
        }
        taken = seconds(candidates, REPEATS)
        extra = "with" if orthogonal else "without"
        rows += [
            Row(f"four ResNet-18s, {extra} orthogonal regularisation", taken["separate"] * 1e3, "ms a step"),
            Row(f"emozoo, {extra} orthogonal regularisation", taken["shared"] * 1e3, "ms a step"),
            at_most(f"emozoo / four ResNet-18s, {extra}", taken["shared"] / taken["separate"], "x", limit),
        ]
    return rows


def _config(heads: dict[str, dict[str, object]]) -> ModelConfig:
    return ModelConfig.model_validate(
        {
            "preprocess": {"colour": "rgb", "mean": [0.5] * 3, "std": [0.25] * 3},
            "backbone": {"name": "resnet18", "stem": "small"},
            "heads": heads,
        }
    )


def _step(module: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> Callable[[], None]:
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)

    def step() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _shared(
    images: torch.Tensor, label: torch.Tensor, vad: torch.Tensor, orthogonal: float
) -> Callable[[], None]:
    model = EmotionModel(_config({"emotion": {"name": "classification"}, "vad": {"name": "vad"}}))
    targets = Targets(F.one_hot(label, 7).float(), vad)
    train = Train(consistency=(CostTerm(name="expected-hinge"),), orthogonal=orthogonal)
    learner = Learner(model.to(memory_format=torch.channels_last), train, targets).train()
    inputs = images.contiguous(memory_format=torch.channels_last)
    return _step(learner, lambda: learner(inputs, targets)[0])


def _separate(
    images: torch.Tensor, label: torch.Tensor, vad: torch.Tensor, orthogonal: float
) -> Callable[[], None]:
    nets = torch.nn.ModuleList(EmotionModel(_config({"out": _head(index)})) for index in range(4)).train()
    table = _table()

    def loss() -> torch.Tensor:
        outputs = [net(images).heads["out"] for net in nets]
        total = F.cross_entropy(outputs[0], label)
        for column in range(3):
            total = total + F.mse_loss(outputs[column + 1][:, 0], vad[:, column])
        total = total + _looked_up(outputs, table)
        if orthogonal:
            total = total + orthogonal * sum(_plain_orthogonality(net.backbone) for net in nets)
        return total

    return _step(nets, loss)


def _head(index: int) -> dict[str, object]:
    if index == 0:
        return {"name": "classification"}
    return {"name": "vad", "dimensions": [("valence", "arousal", "dominance")[index - 1]], "bounded": "none"}


def _table() -> list[list[list[float]]]:
    """Return costs [class][dimension][> 0, = 0, < 0] by asking the step cost."""
    names = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    cost = registry.build(
        "consistency", "step", {}, names, ("valence", "arousal", "dominance"), where="benchmark"
    )
    logits = torch.eye(7) * 10
    signs = [cost.per_dimension(logits, torch.full((7, 3), value)) for value in (1.0, 0.0, -1.0)]
    return torch.stack(signs, -1).tolist()


def _looked_up(outputs: list[torch.Tensor], table: list[list[list[float]]]) -> float:
    """The published way: detached predictions, one Python look-up an image and dimension."""
    total = 0.0
    for row in range(BATCH):
        predicted = int(outputs[0][row].data.argmax())
        for column in range(3):
            value = float(outputs[column + 1][row].data)
            total += table[predicted][column][0 if value > 0 else 1 if value == 0 else 2]
    return total


def _plain_orthogonality(backbone: torch.nn.Module) -> torch.Tensor:
    """Orthogonality by convolving each kernel with itself, as published."""
    total = torch.zeros(())
    for conv in backbone.orthogonal_convs():  # ty: ignore[call-non-callable]
        weight = conv.weight
        if conv.kernel_size == (1, 1):
            matrix = weight.flatten(1)
            gram = matrix @ matrix.T if len(matrix) < matrix.shape[1] else matrix.T @ matrix
            total = total + torch.linalg.norm(gram - torch.eye(len(gram)))
            continue
        output = F.conv2d(weight, weight, stride=conv.stride, padding=1)
        target = torch.zeros_like(output)
        centre = output.shape[-1] // 2
        target[:, :, centre, centre] = torch.eye(output.shape[0])
        total = total + torch.linalg.norm(output - target)
    return total
