"""Several copies of a backbone, one for each head: the networks of a multi-task model that share nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from emozoo.contracts import Nested, Size
from emozoo.registry import build


class Separate(nn.Module):
    """Images (N, C, H, W) to the features of all copies beside each other, (N, copies * D).

    A head sees its own copy with the option `part = [i, copies]`. The networks of Huo & Ge (2024), one for the
    category and one for each of valence, arousal and dominance, are four copies. Each starts from weights of its own;
    with `train.init` all start from the same backbone.

    Args:
        in_channels: C.
        backbone: the component that is copied, with its options: { name = "resnet18", width = 32 }.
        copies: how many there are.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        backbone: Annotated[Mapping[str, Any], Nested("backbone")] = {"name": "resnet18"},
        copies: Size = 4,
    ) -> None:
        super().__init__()
        self.copies = nn.ModuleList(_copy(backbone, in_channels) for _ in range(copies))
        first: Any = self.copies[0]
        self.out_features = copies * first.out_features
        self.input_kind = first.input_kind

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to features (N, copies * D)."""
        return torch.cat([copy(x) for copy in self.copies], 1)

    def orthogonal_convs(self) -> list[nn.Conv2d]:
        """Return what is regularised in all of the copies; nothing where the component names nothing."""
        found: list[Any] = list(self.copies)
        return [
            conv for copy in found if hasattr(copy, "orthogonal_convs") for conv in copy.orthogonal_convs()
        ]


def _copy(backbone: Mapping[str, Any], in_channels: int) -> nn.Module:
    options = {key: value for key, value in backbone.items() if key != "name"}
    return build("backbone", backbone["name"], options, in_channels, where="model.backbone.backbone")
