"""ResNet-18 (He et al. 2015, arXiv:1512.03385) with timm's parameter names, for frames of any size.

Weights of timm's and torchvision's `resnet18` fit as they are, without their classifier `fc`, and the outputs
then equal timm's bit for bit. Having it here spares every model with this backbone the import of timm.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from emozoo.contracts import Size

STEMS = {"imagenet": (7, 2), "small": (3, 1), "strided": (3, 2)}
"""Kernel size and stride of the first convolution."""

Stride = Literal[1, 2]


class ResNet18(nn.Module):
    """Frames (N, C, H, W) to features (N, 8 * width), by global average pooling of the last stage.

    Convolutions start kaiming-normal (fan-out) and the last batch norm of each block at zero, so that every
    block begins as its shortcut (Goyal et al. 2017, arXiv:1706.02677), both as in timm.

    Args:
        in_channels: 1 for grey frames, 3 for RGB.
        stem: "imagenet" (7x7, stride 2, then max-pool) for large frames; "small" (3x3, stride 1, no max-pool)
            for frames of about 32 to 64 pixels; "strided" (3x3, stride 2, no max-pool) for those on a CPU.
        width: channels of the first stage; the others have 2, 4 and 8 times as many. Below 8 it is not to be trained on
            a processor without AVX-512: there torch's gradient of strided 1x1 convolutions of fewer than 8 channels
            writes beyond its memory (torch 2.13 to 2.15).
        strides: the stride of the first convolution of each stage. (1, 1, 2, 2) after a strided stem keeps the later
            stages as fine as a small stem does, without the cost of a first stage in full resolution.
    """

    input_kind: Literal["frames"] = "frames"

    def __init__(
        self,
        in_channels: int,
        *,
        stem: Literal["imagenet", "small", "strided"] = "imagenet",
        width: Size = 64,
        strides: tuple[Stride, Stride, Stride, Stride] = (1, 2, 2, 2),
    ) -> None:
        super().__init__()
        kernel, stride = STEMS[stem]
        self.out_features = 8 * width
        self.conv1 = nn.Conv2d(in_channels, width, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == "imagenet" else nn.Identity()
        self.layer1 = _stage(width, width, stride=strides[0])
        self.layer2 = _stage(width, 2 * width, stride=strides[1])
        self.layer3 = _stage(2 * width, 4 * width, stride=strides[2])
        self.layer4 = _stage(4 * width, 8 * width, stride=strides[3])
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, Block):
                nn.init.zeros_(module.bn2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map frames (N, C, H, W) to features (N, out_features)."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(x)), inplace=True))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return F.adaptive_avg_pool2d(x, 1).flatten(1)

    def orthogonal_convs(self) -> list[nn.Conv2d]:
        """Return the convolutions that orthogonal regularisation applies to (Wang et al. 2020).

        They are the first 3x3 convolution of each block and the 1x1 convolutions of the shortcuts.
        """
        blocks = [module for module in self.modules() if isinstance(module, Block)]
        shortcuts = [block.downsample[0] for block in blocks if block.downsample is not None]
        return [
            conv for conv in (*(block.conv1 for block in blocks), *shortcuts) if isinstance(conv, nn.Conv2d)
        ]


class Block(nn.Module):
    """Two 3x3 convolutions with a shortcut around them, a 1x1 convolution where the shape changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.bn2(self.conv2(x))
        x += shortcut
        return F.relu(x, inplace=True)


def _stage(in_channels: int, out_channels: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(Block(in_channels, out_channels, stride), Block(out_channels, out_channels, 1))
