"""The distance of predicted values from where the predicted class lies in valence, arousal and dominance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from emozoo_consistency.rules import check_inputs
from emozoo_consistency.tables import Source, prototype_points


class PrototypeCost(nn.Module):
    """The distance of the values from the mean of the classes' prototypes under the class probabilities.

    A label without a prototype takes no part: the mean runs over the others, and the distance is scaled by
    their probability, so a sample that is surely of such a label costs 0. Learned prototypes start at the
    given ones and are parameters of the cost, for the training's optimiser.

    Attributes:
        differentiable: True.
        prototypes: (C, dimensions), in [-1, 1] at the start.
        known: (C,), 1 for a label with a prototype, else 0.
    """

    differentiable = True
    prototypes: Tensor
    known: Tensor

    def __init__(
        self,
        labels: Sequence[str],
        dimensions: Sequence[str],
        *,
        prototypes: Source = "pad",
        learned: bool = False,
        distance: Literal["squared", "euclidean"] = "squared",
    ) -> None:
        super().__init__()
        points = prototype_points(prototypes, labels, dimensions)
        self.register_buffer("known", (~points.isnan().any(1)).to(points.dtype), persistent=False)
        points = points.nan_to_num(0.0)
        if learned:
            self.prototypes = nn.Parameter(points)
        else:
            self.register_buffer("prototypes", points, persistent=False)
        self.distance = distance

    def forward(self, logits: Tensor, vad: Tensor) -> Tensor:
        """Map logits (B, C) and values (B, dimensions) to the cost (B,); NaN where an input is."""
        logits, vad = check_inputs(logits, vad, self.prototypes.shape)
        weights = logits.softmax(-1) * self.known
        share = weights.sum(-1)
        mean = (weights[..., None] * self.prototypes).sum(1) / share.clamp_min(1e-12)[:, None]
        if self.distance == "squared":
            return share * (vad - mean).square().sum(-1)
        return share * torch.linalg.vector_norm(vad - mean, dim=-1)
