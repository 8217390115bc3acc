"""The loss of a recipe: each head's own, its teachers', consistency costs between heads, orthogonality."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from emozoo import registry
from emozoo.contracts import Targets
from emozoo.errors import ContractError, EmozooWarning, RecipeError
from emozoo.labels import DIMENSIONS
from emozoo.model import EmotionModel
from emozoo.recipe import CostTerm, Loss, Train
from emozoo.training.distillation import Teachers
from emozoo.training.orthogonal import orthogonal_convs, orthogonality


class Learner(nn.Module):
    """A model together with its objective: one module, so that one wrapper distributes both.

    Attributes:
        model: the model that is trained.
        costs: consistency costs, which may have parameters of their own (learned prototypes); never saved with
            the model, always with a checkpoint.
        teachers: trained models that it learns from besides the targets; no part of its state.
    """

    def __init__(
        self, model: EmotionModel, train: Train, targets: Targets, teachers: Teachers | None = None
    ) -> None:
        super().__init__()
        if train.bn_per_frame and model.input_kind == "clips":
            raise RecipeError(
                "train.bn_per_frame: without effect on a backbone that sees clips whole; leave it out"
            )
        self.model = model
        self.teachers = teachers
        self.weights = {name: train.losses.get(name, Loss()).weight for name in model.heads}
        self.criteria = {name: _criterion(model, name, train, targets) for name in model.heads}
        self.terms = [_term(model, index, term, targets) for index, term in enumerate(train.consistency)]
        self.costs = nn.ModuleList(cost for cost, _, _, _ in self.terms)
        self.bn_per_frame = train.bn_per_frame
        self.orthogonal = train.orthogonal
        self.orthogonal_convs = orthogonal_convs(model.backbone) if train.orthogonal else []

    def forward(
        self, x: Tensor, targets: Targets, mask: Tensor | None = None, *, features: bool = False
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the total loss and its parts, before weighting; NaN for a head that the batch has no target for.

        Args:
            x: images (B, C, crop, crop), videos (B, clips, frames, C, crop, crop), or the backbone's features.
            targets: what is known of the samples.
            mask: which frames are there (B, clips, frames); None for images.
            features: whether `x` is features.
        """
        if features:
            outputs = self.model.aggregate(x, mask).heads
        else:
            outputs = self.model(x, mask, bn_per_frame=self.bn_per_frame).heads
        answers = self.teachers.answers(x, mask) if self.teachers else None
        with torch.autocast(x.device.type, enabled=False):
            return self.loss({name: value.float() for name, value in outputs.items()}, targets, answers)

    def loss(
        self, outputs: dict[str, Tensor], targets: Targets, answers: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the total loss and its parts for the heads' outputs (B, K) and the batch's targets.

        A head that the teachers have answers for has their share of its loss from them; without any, all of it is
        the targets'.
        """
        parts: dict[str, Tensor] = {}
        total = torch.zeros((), device=targets.label.device)
        for name, criterion in self.criteria.items():
            loss = _scalar(criterion(outputs[name], targets), f"the loss of head {name!r}")
            parts[name] = _of_something(loss, self.model.heads[name], targets.batch)
            if self.teachers and answers and name in answers:
                taught = self.teachers.loss(name, outputs[name], answers[name])
                loss = (1 - self.teachers.weight) * loss + self.teachers.weight * taught
                parts[f"{name}.distillation"] = taught
            total = total + self.weights[name] * loss
        for index, (cost, category, regressor, term) in enumerate(self.terms):
            value = cost(outputs[category], outputs[regressor])
            if tuple(value.shape) != (len(targets),):
                raise ContractError(
                    f"cost {term.name!r} returned {tuple(value.shape)}, not ({len(targets)},)"
                )
            parts[key := _free(term.name, parts, index)] = value.mean()
            total = total + term.weight * parts[key]
        if self.orthogonal_convs:
            parts[key := _free("orthogonal", parts, "convolutions")] = orthogonality(self.orthogonal_convs)
            total = total + self.orthogonal * parts[key]
        return total, {name: value.detach() for name, value in parts.items()}


def _free(name: str, parts: Mapping[str, Tensor], suffix: object) -> str:
    """Return the name of a part, with a suffix where a head or an earlier cost is called so."""
    return name if name not in parts else f"{name}.{suffix}"


def _of_something(loss: Tensor, head: Any, targets: Targets) -> Tensor:
    """Return a head's loss as it is recorded: NaN where the batch has no target for it, which 0 would not tell."""
    known = targets.label
    if head.task == "vad":
        known = targets.vad[:, [DIMENSIONS.index(name) for name in head.dimensions]]
    return torch.where((loss == 0) & known.isnan().all(), torch.nan, loss)


def _scalar(value: Tensor, what: str) -> Tensor:
    if value.ndim != 0:
        raise ContractError(f"{what} has shape {tuple(value.shape)}; a loss is a scalar")
    return value


def _criterion(model: EmotionModel, name: str, train: Train, targets: Targets) -> Any:
    head = model.heads[name]
    if not callable(getattr(type(head), "criterion", None)):
        raise ContractError(
            f"head {name!r} ({type(head).__module__}.{type(head).__qualname__}) has no method criterion: it cannot be "
            "trained (emozoo.contracts.Head says what it returns)"
        )
    options = train.losses.get(name, Loss()).options
    checked = registry.check_options(type(head).criterion, options, f"train.losses.{name}")
    return head.criterion(targets, **checked)


def _term(
    model: EmotionModel, index: int, term: CostTerm, targets: Targets
) -> tuple[nn.Module, str, str, CostTerm]:
    where = f"train.consistency.{index}"
    category = _head_of(model, "classification", term.classification, where)
    regressor = _head_of(model, "vad", term.vad, where)
    dimensions = model.heads[regressor].dimensions
    cost = registry.build("consistency", term.name, term.options, model.labels, dimensions, where=where)
    if hasattr(cost, "prepare"):
        cost.prepare(targets)
    if not cost.differentiable and term.weight:
        warnings.warn(
            f"{where}: cost {term.name!r} carries no gradient: it is logged, but trains nothing. "
            "Use one of its relaxations to train on it.",
            EmozooWarning,
            stacklevel=4,
        )
    return cost, category, regressor, term


def _head_of(model: EmotionModel, task: str, named: str | None, where: str) -> str:
    """Return the head that a consistency cost uses: the named one, or the only one of the task."""
    of_task = [name for name, head in model.heads.items() if head.task == task]
    if named is not None:
        if named not in of_task:
            raise RecipeError(
                f"{where}.{task}: head {named!r} is no {task} head; there are: {', '.join(of_task) or 'none'}"
            )
        return named
    if len(of_task) != 1:
        raise RecipeError(
            f"{where}: the model has {len(of_task)} {task} heads ({', '.join(of_task) or 'none'}); "
            f'a consistency cost needs one: name it with `{task} = "..."`'
        )
    return of_task[0]
