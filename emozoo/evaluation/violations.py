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
from emozoo.recipe import Part

VIOLATION = Part(name="step")
"""The consistency cost whose share of non-zero values is the violation rate."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules between the first classification head and the first VAD head of a model."""

    category: str
    regressor: str
    dimensions: tuple[str, ...]
    cost: Any
    options: dict[str, Any]

    def broken(self, logits: Tensor, vad: Tensor) -> Tensor:
        """Return bool (B, dimensions), where the value contradicts the most likely category."""
        return self.cost.per_dimension(logits, vad) > 0


def rules(model: EmotionModel) -> Rules | None:
    """Return a model's rules; None without both kinds of head, or where the labels have no rules."""
    heads: dict[str, Any] = {head.task: (name, head) for name, head in reversed(model.heads.items())}  # ty: ignore
    if not {"classification", "vad"} <= heads.keys():
        return None
    (category, _), (regressor, head) = heads["classification"], heads["vad"]
    part = registry.resolve("consistency", VIOLATION.name, VIOLATION.options, "violation")
    try:
        cost = part.build(model.labels, head.dimensions)
    except RecipeError:
        return None
    options = {key: value for key, value in part.plain.items() if key != "name"}
    return Rules(category, regressor, tuple(head.dimensions), cost, options)


def violations(model: EmotionModel, outputs: Mapping[str, Tensor], targets: Targets) -> dict[str, Any] | None:
    """Return how often predicted category and predicted VAD contradict each other, and how often the labels do.

    None for a model without both a classification and a VAD head, or whose labels have no rules.
    """
    found = rules(model)
    if found is None:
        return None
    broken = found.broken(outputs[found.category], outputs[found.regressor])
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
    logits, vad = outputs[found.category][known], outputs[found.regressor][known]
    classes = torch.eye(logits.shape[1]).log()
    each = torch.stack([found.broken(row.expand_as(logits), vad) for row in classes], 1).float()
    return (logits.softmax(1)[..., None] * each).sum(1), found.broken(label[known].log(), vad)
