"""A consistency cost with an option."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from emozoo.labels import canonical


class QuadrantCost(nn.Module):
    """A happy face has positive valence: p(happy) times how far the valence is below a margin."""

    differentiable = True

    def __init__(
        self,
        labels: Sequence[str],
        dimensions: Sequence[str],
        *,
        margin: Annotated[float, Field(ge=0, le=1)] = 0.25,
    ) -> None:
        super().__init__()
        names = [canonical(label) for label in labels]
        if "happy" not in names or "valence" not in dimensions:
            raise ValueError("it needs the label happy and the dimension valence")
        self.happy, self.valence = names.index("happy"), list(dimensions).index("valence")
        self.margin = margin

    def forward(self, logits: Tensor, vad: Tensor) -> Tensor:
        """Map logits (B, C) and values (B, dimensions) to costs (B,)."""
        return logits.softmax(1)[:, self.happy] * (self.margin - vad[:, self.valence]).relu()
