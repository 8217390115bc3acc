"""What the heads share: a small multi-layer perceptron and the types of its options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import nn

Fraction = Annotated[float, Field(ge=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Size = Annotated[int, Field(gt=0)]


def mlp(in_features: int, hidden: Sequence[int], out_features: int, dropout: float) -> nn.Sequential:
    """Return linear layers with ReLU between them, and dropout before the last one.

    The dropout layer is there at rate 0 too, so that parameter names do not depend on the rate.
    """
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(in_features, size), nn.ReLU(inplace=True)]
        in_features = size
    return nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(in_features, out_features))
