"""Where predicted category and predicted valence, arousal and dominance contradict each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from emozoo import registry
from emozoo.contracts import Targets
from emozoo.errors import RecipeError
from emozoo.labels import DIMENSIONS
from emozoo.model import EmotionModel


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules between the first classification head of a model and the dimensions of its VAD heads.

    Attributes:
        category: the classification head.
        places: of each dimension, the first VAD head that predicts it and the column of its output.
        cost: what says where the two contradict each other.
        options: those of the cost.
    """

    category: str
    places: dict[str, tuple[str, int]]
    cost: Any
    options: dict[str, Any]

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The dimensions that there are rules for."""
        return tuple(self.places)

    def values(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """Return the predicted values (B, dimensions) out of the outputs of all heads."""
        return torch.stack([outputs[head][:, column] for head, column in self.places.values()], 1)

    def broken(self, logits: Tensor, vad: Tensor) -> Tensor:
        """Return bool (B, dimensions), where the value contradicts the most likely category."""
        return self.cost.per_dimension(logits, vad) > 0


def rules(model: EmotionModel) -> Rules | None:
    """Return a model's rules; None without both kinds of head, or where the labels have no rules."""
    category = next((name for name, head in model.heads.items() if head.task == "classification"), None)
    places: dict[str, tuple[str, int]] = {}
    for name, head in model.heads.items():
        for column, dimension in enumerate(head.dimensions if head.task == "vad" else ()):
            places.setdefault(dimension, (name, column))
    part = _measure()
    if category is None or not places or part is None:
        return None
    try:
        cost = part.build(model.labels, tuple(places))
    except RecipeError:
        return None
    options = {key: value for key, value in part.plain.items() if key != "name"}
    return Rules(category, places, cost, options)


def _measure() -> registry.Resolved | None:
    """Return the one of emozoo's own costs by which violations are measured, with its default options."""
    for found in registry.discover():
        own = found.kind == "consistency" and found.distribution == registry.HOME
        if own and getattr(registry.load(found), "measures", False):
            return registry.resolve("consistency", found.qualified, {}, "violation")
    return None


def violations(model: EmotionModel, outputs: Mapping[str, Tensor], targets: Targets) -> dict[str, Any] | None:
    """Return how often predicted category and predicted VAD contradict each other, and how often the labels do.

    None for a model without both a classification and a VAD head, or whose labels have no rules.
    """
    found = rules(model)
    if found is None:
        return None
    broken = found.broken(outputs[found.category], found.values(outputs))
    columns = [DIMENSIONS.index(name) for name in found.dimensions]
    label, vad = targets.label.cpu(), targets.vad.cpu()[:, columns]
    known = ~(label.isnan().any(1) | vad.isnan().any(1))
    annotated = found.broken(label[known].log(), vad[known])
    return {
        **found.options,
        "n": len(broken),
        "violation_rate": float(broken.any(1).float().mean()),
        "per_dimension": dict(zip(found.dimensions, broken.float().mean(0).tolist(), strict=True)),
        "annotation_n": int(known.sum()),
        "annotation_violation_rate": float(annotated.any(1).float().mean()) if known.any() else None,
    }


def expected_violations(
    model: EmotionModel, outputs: Mapping[str, Tensor], targets: Targets
) -> tuple[Tensor, Tensor] | None:
    """Return, for labelled samples and each dimension, how likely a contradiction is and whether there is one.

    The first (N, dimensions) is the probability, under the predicted class probabilities, that the predicted value
    contradicts the category; the second whether it contradicts the true category. None as `violations`.
    """
    found = rules(model)
    if found is None:
        return None
    label = targets.label.cpu()
    known = ~label.isnan().any(1)
    logits, vad = outputs[found.category][known], found.values(outputs)[known]
    classes = torch.eye(logits.shape[1]).log()
    each = torch.stack([found.broken(row.expand_as(logits), vad) for row in classes], 1).float()
    return (logits.softmax(1)[..., None] * each).sum(1), found.broken(label[known].log(), vad)
