"""The plain mean over all frames: the baseline of every video model."""

from __future__ import annotations

from torch import Tensor, nn

from emozoo.contracts import Aggregated
from emozoo_aggregators.common import aggregated, checked


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
        x, mask = checked("mean", self.out_features, x, mask)
        return aggregated(x.sum((1, 2)) / mask.sum((1, 2)).unsqueeze(1), mask)
