"""What the heads share: a small multi-layer perceptron, and the part of the features that they see."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from emozoo.contracts import Size

Part = tuple[Size, Size]


def part_of(in_features: int, part: Part | None) -> slice:
    """Return which of the features (B, in_features) a head sees: the i-th of n equal parts, from 1, or all.

    Raises:
        ValueError: there is no such part, or the features do not divide into so many.
    """
    number, of = part or (1, 1)
    if number > of or in_features % of:
        raise ValueError(
            f"part {[number, of]}: {in_features} features have no part {number} of {of} equal ones"
        )
    width = in_features // of
    return slice((number - 1) * width, number * width)


def mlp(in_features: int, hidden: Sequence[int], out_features: int, dropout: float) -> nn.Sequential:
    """Return linear layers with ReLU between them, and dropout before the last one.

    The dropout layer is there at rate 0 too, so that parameter names do not depend on the rate.
    """
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(in_features, size), nn.ReLU(inplace=True)]
        in_features = size
    return nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(in_features, out_features))
