"""The maximum over all frames, feature by feature."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn

from emozoo.contracts import Aggregated
from emozoo_aggregators.common import aggregated, checked, maximum


class MaxAggregator(nn.Module):
    """Take the greatest value of each feature over all real frames of a video.

    Args:
        in_features: D, the size of a frame's features.
    """

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.out_features = in_features

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Aggregated:
        """Map (B, clips, frames, D) to features (B, D), NaN for a video whose frames are all masked.

        Args:
            x: features (B, clips, frames, D); what masked frames hold never counts.
            mask: (B, clips, frames), True for real frames; None where all are.

        Raises:
            ContractError: the shapes do not fit.
        """
        x, mask = checked("max", self.out_features, x, mask)
        frames = rearrange(x, "b clips t d -> b (clips t) d")
        real = rearrange(mask, "b clips t -> b (clips t)")
        return aggregated(maximum(frames, real), mask)
