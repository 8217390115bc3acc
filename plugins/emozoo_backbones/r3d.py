"""torchvision's 18-layer video networks (Tran et al. 2018, arXiv:1711.11248), imported when one is built."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn


class VideoResNet(nn.Module):
    """Clips (N, C, T, H, W) to features (N, 512), by global average pooling of the last stage. Starts untrained.

    torchvision's parameter names follow `model.`, without its classifier `fc`; nothing is ever downloaded.

    Args:
        in_channels: 1 for grey frames, 3 for RGB.
        member: "r3d_18", 3-D convolutions throughout; "mc3_18", 3-D in the first stages and 2-D in the others;
            "r2plus1d_18", each 3-D convolution a 2-D and a 1-D one. `r3d/mc3_18` in a recipe.
    """

    input_kind: Literal["clips"] = "clips"

    def __init__(
        self, in_channels: int, *, member: Literal["r3d_18", "mc3_18", "r2plus1d_18"] = "r3d_18"
    ) -> None:
        super().__init__()
        from torchvision.models import video

        self.model = getattr(video, member)(weights=None)
        self.out_features = int(self.model.fc.in_features)
        self.model.fc = nn.Identity()
        if in_channels != 3:
            _set_in_channels(self.model.stem[0], in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map clips (N, C, T, H, W) to features (N, 512)."""
        return self.model(x)


def _set_in_channels(conv: nn.Conv3d, in_channels: int) -> None:
    """Give a convolution fresh weights for another number of input channels, drawn as torchvision does."""
    conv.in_channels = in_channels
    conv.weight = nn.Parameter(conv.weight.new_empty(conv.out_channels, in_channels, *conv.kernel_size))
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
