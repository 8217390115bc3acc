"""Optimisers by name, the learning rate as a function of the step, and the moving average of weights."""

from __future__ import annotations

import math
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from emozoo.errors import RecipeError
from emozoo.model import EmotionModel
from emozoo.recipe import Optimizer, Schedule

BUILT_IN: dict[str, Any] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def make_optimizer(
    config: Optimizer, model: nn.Module, costs: Iterable[nn.Module] = ()
) -> torch.optim.Optimizer:
    """Build an optimiser over the parameters of a model and of its consistency costs.

    Only the model's matrices and kernels are decayed: no bias, no weight of a normalisation, and nothing that a cost
    learns, such as places in VAD space, which decay would pull to the neutral point.

    Raises:
        RecipeError: neither torch nor timm has it, or it does not take an option.
    """
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    others += [p for cost in costs for p in cost.parameters() if p.requires_grad]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    try:
        if config.name in BUILT_IN:
            return BUILT_IN[config.name](groups, lr=config.lr, **config.options)
        from timm.optim import create_optimizer_v2

        return create_optimizer_v2(groups, opt=config.name, lr=config.lr, **config.options)
    except (TypeError, ValueError, AssertionError, KeyError) as error:
        raise RecipeError(
            f"train.optimizer: {config.name!r} cannot be built: {error}. "
            f"Built in: {', '.join(BUILT_IN)}; others by their timm names."
        ) from error


def learning_rate(config: Schedule, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Return the factor on the learning rate at a step: linear warm-up, then the schedule's curve."""
    epoch = step / steps_per_epoch
    warm = (step + 1) / (config.warmup_epochs * steps_per_epoch + 1) if epoch < config.warmup_epochs else 1.0
    if config.warmup_within:
        return warm * _curve(config, epoch, 0.0, epochs)
    return warm if warm < 1 else _curve(config, epoch, config.warmup_epochs, epochs)


def _curve(config: Schedule, epoch: float, begin: float, epochs: int) -> float:
    """Return the schedule's curve at an epoch; a cosine falls from the epoch `begin` on."""
    if config.name == "cosine":
        progress = (epoch - begin) / max((config.period_epochs or epochs) - begin, 1e-9)
        return config.final + (1 - config.final) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2
    if config.name == "step":
        drops = max(0, math.floor((epoch - config.start_epoch) / config.step_epochs))
        return config.gamma**drops
    return 1.0


class MovingAverage:
    """An exponential moving average of a model's weights and buffers, with a warm-up of its decay.

    It holds on to the model's tensors, so it is made once the model is where it is trained: after
    `Accelerator.prepare`, which gives a model new ones where several processes share a CPU.
    """

    def __init__(self, model: EmotionModel, decay: float) -> None:
        self.model = deepcopy(model).requires_grad_(False).eval()
        self.decay = decay
        pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))
        self.floating = [(average, value) for average, value in pairs if average.is_floating_point()]
        self.counters = [(average, value) for average, value in pairs if not average.is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the model's weights after a step (counted from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averages, values = zip(*self.floating, strict=True)
        torch._foreach_lerp_(averages, values, 1 - decay)
        for average, value in self.counters:
            average.copy_(value)
