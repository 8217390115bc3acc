"""The plain mean over all frames: the baseline of every video model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from emozoo.contracts import Aggregated
from emozoo.errors import ContractError


class MeanAggregator(nn.Module):
    """Average the features of all real frames of a video, every frame counting the same.

    Args:
        in_features: D, the size of a frame's features.
    """

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.out_features = in_features

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Aggregated:
        """Map (B, clips, frames, D) to features (B, D).

        What masked frames hold, NaN included, never counts. A video whose frames are all masked has no mean:
        its features are NaN, which training stops at.

        Args:
            x: features (B, clips, frames, D).
            mask: (B, clips, frames), True for real frames; None where all are.

        Raises:
            ContractError: the shapes do not fit.
        """
        if x.ndim != 4 or x.shape[-1] != self.out_features:
            raise ContractError(
                f"mean: expected features (B, clips, frames, {self.out_features}), got {tuple(x.shape)}"
            )
        if mask is None:
            return Aggregated(x.mean((1, 2)))
        if mask.shape != x.shape[:3] or mask.dtype != torch.bool:
            raise ContractError(
                f"mean: expected a boolean mask {tuple(x.shape[:3])} for features {tuple(x.shape)}, "
                f"got {mask.dtype} {tuple(mask.shape)}"
            )
        real = mask.unsqueeze(-1)
        return Aggregated(x.masked_fill(~real, 0).sum((1, 2)) / real.sum((1, 2)))
