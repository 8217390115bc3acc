"""The distance of predicted values from where the predicted class lies in valence, arousal and dominance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from emozoo.contracts import Targets
from emozoo.errors import RecipeError
from emozoo.labels import DIMENSIONS
from emozoo_consistency.rules import check_inputs
from emozoo_consistency.tables import Source, prototype_points

ANNOTATED = "annotated"


class PrototypeCost(nn.Module):
    """The distance of the values from the mean of the classes' prototypes under the class probabilities.

    A label without a prototype takes no part: the mean runs over the others, and the distance is scaled by
    their probability, so a sample that is surely of such a label costs 0. Learned prototypes start at the
    given ones and are parameters of the cost, for the training's optimiser.

    The prototypes `annotated` are the means of the annotated training samples of each category; a category that
    none of them shows has no prototype. Until `prepare` has seen the samples, the cost is 0.

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
        self.labels, self.dimensions = tuple(labels), tuple(dimensions)
        self.annotated = prototypes == ANNOTATED
        unknown = torch.full((len(labels), len(dimensions)), float("nan"))
        points = unknown if self.annotated else prototype_points(prototypes, labels, dimensions)
        self.register_buffer("known", (~points.isnan().any(1)).to(points.dtype), persistent=False)
        points = points.nan_to_num(0.0)
        if learned:
            self.prototypes = nn.Parameter(points)
        else:
            self.register_buffer("prototypes", points, persistent=False)
        self.distance = distance

    def prepare(self, train: Targets) -> None:
        """Take the category means of the training targets as prototypes, where these were asked for.

        Raises:
            RecipeError: no training sample has a category and all of the values.
        """
        if not self.annotated:
            return
        points = train.category_means()[:, [DIMENSIONS.index(name) for name in self.dimensions]]
        known = ~points.isnan().any(1)
        if not known.any():
            raise RecipeError(
                f"prototypes = {ANNOTATED!r}: no training sample has a category and "
                f"{', '.join(self.dimensions)}; use prototypes = 'pad' or a table"
            )
        with torch.no_grad():
            self.prototypes.copy_(points.nan_to_num(0.0))
            self.known.copy_(known)

    def forward(self, logits: Tensor, vad: Tensor) -> Tensor:
        """Map logits (B, C) and values (B, dimensions) to the cost (B,); NaN where an input is."""
        logits, vad = check_inputs(logits, vad, self.prototypes.shape)
        weights = logits.softmax(-1) * self.known
        share = weights.sum(-1)
        mean = (weights[..., None] * self.prototypes).sum(1) / share.clamp_min(1e-12)[:, None]
        if self.distance == "squared":
            return share * (vad - mean).square().sum(-1)
        return share * torch.linalg.vector_norm(vad - mean, dim=-1)
