"""C3D (Tran et al. 2015, arXiv:1412.0767) with batch norm: the 3-D baseline of the DFEW benchmark."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from emozoo.contracts import Rate

STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))
"""Channels of the convolutions of each stage; a max-pool ends each."""


class C3D(nn.Module):
    """Clips (N, C, T, H, W) to features (N, 4096): eight 3x3x3 convolutions and two linear layers.

    Made for 16 frames of 112x112. Max-pooling rounds up, so that shorter clips pass too (at 16x112 it has nothing
    to round), and clips that leave more or less than 1x4x4 places after the last stage are max-pooled to that.

    Args:
        in_channels: 1 for grey frames, 3 for RGB.
        dropout: rate after each of the two linear layers.
    """

    input_kind: Literal["clips"] = "clips"
    out_features = 4096

    def __init__(self, in_channels: int, *, dropout: Rate = 0.5) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, stage in enumerate(STAGES):
            for channels in stage:
                # no bias: the batch norm that follows would take it away
                layers += [
                    nn.Conv3d(in_channels, channels, 3, padding=1, bias=False),
                    nn.BatchNorm3d(channels),
                ]
                layers += [nn.ReLU(inplace=True)]
                in_channels = channels
            kernel = (1, 2, 2) if number == 0 else (2, 2, 2)
            padding = (0, 1, 1) if number == len(STAGES) - 1 else 0
            layers += [nn.MaxPool3d(kernel, padding=padding, ceil_mode=True)]
        self.features = nn.Sequential(*layers)
        self.fc6 = nn.Linear(in_channels * 4 * 4, self.out_features)
        self.fc7 = nn.Linear(self.out_features, self.out_features)
        self.dropout = nn.Dropout(dropout)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map clips (N, C, T, H, W) to features (N, 4096)."""
        x = F.adaptive_max_pool3d(self.features(x), (1, 4, 4)).flatten(1)
        x = self.dropout(F.relu(self.fc6(x)))
        return self.dropout(F.relu(self.fc7(x)))
