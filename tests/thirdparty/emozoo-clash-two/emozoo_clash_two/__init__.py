"""A plugin whose aggregator is called as another plugin's is."""

from torch import Tensor, nn

from emozoo.contracts import Aggregated


class Last(nn.Module):
    """The last frame."""

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.out_features = in_features

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Aggregated:
        """Map (B, clips, frames, D) to the features of one frame (B, D)."""
        return Aggregated(x.flatten(1, 2)[:, -1])
