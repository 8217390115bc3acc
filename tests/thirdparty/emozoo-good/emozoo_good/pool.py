"""An aggregator with weights of its own."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from emozoo.contracts import Aggregated


class SoftmaxPool(nn.Module):
    """The mean of all real frames, weighted by a softmax over learned scores."""

    def __init__(self, in_features: int, *, temperature: Annotated[float, Field(gt=0)] = 1.0) -> None:
        super().__init__()
        self.out_features = in_features
        self.temperature = temperature
        self.score = nn.Linear(in_features, 1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Aggregated:
        """Map (B, clips, frames, D) to features (B, D) and frame weights."""
        scores = self.score(x).squeeze(-1) / self.temperature
        real = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask
        scores = scores.masked_fill(~real, torch.finfo(scores.dtype).min)
        weights = scores.flatten(1).softmax(1).view_as(scores) * real
        return Aggregated(torch.einsum("bcf,bcfd->bd", weights, x), frame_weights=weights)
