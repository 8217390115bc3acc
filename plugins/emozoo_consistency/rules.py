"""Costs of a class that disagrees with the values, by a rule table (Huo & Ge 2024, eq. 5, 9, 13, 16).

A rule table T says what each class costs where a dimension is > 0, = 0 and < 0. The printed cost looks T up
at the most likely class and at the signs of the values: a step function, without gradient. The others relax
it, with the class probabilities p, and differ in what they put in place of the sign. The cost of a sample is
the sum over its dimensions.

With `zero_band` = b, a value counts as zero while |v| <= b. The paper's b = 0 makes a neutral face
inconsistent whatever is predicted, since no continuous output is ever 0; the default, 0.25, is half the
distance between two of the five levels of the published annotation (-2..2, here -1..1): a value is zero where
it rounds to level 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from emozoo.contracts import Rate
from emozoo.errors import ContractError, RecipeError
from emozoo_consistency.tables import Source, rule_table

Temperature = Annotated[float, Field(gt=0)]


class RuleCost(nn.Module):
    """Base of the costs with a rule table: the expected row of the table, weighted by the value's state.

    Attributes:
        differentiable: whether the cost carries a gradient.
        table: (C, dimensions, 3), the costs of a value > 0, = 0, < 0.
    """

    differentiable = True
    table: Tensor

    def __init__(self, labels: Sequence[str], dimensions: Sequence[str], table: Source) -> None:
        super().__init__()
        self.register_buffer("table", rule_table(table, labels, dimensions), persistent=False)

    def rows(self, logits: Tensor) -> Tensor:
        """Return the expected row of the table under the class probabilities, (B, dimensions, 3)."""
        return (logits.softmax(-1)[:, :, None, None] * self.table).sum(1)

    def states(self, vad: Tensor) -> Tensor:
        """Return how much each value counts as > 0, = 0 and < 0, (B, dimensions, 3)."""
        raise NotImplementedError

    def per_dimension(self, logits: Tensor, vad: Tensor) -> Tensor:
        """Return the cost of each dimension, (B, dimensions), of logits (B, C) and values (B, dimensions)."""
        logits, vad = check_inputs(logits, vad, self.table.shape[:2])
        return (self.rows(logits) * self.states(vad)).sum(-1)

    def forward(self, logits: Tensor, vad: Tensor) -> Tensor:
        """Return the cost (B,), the sum over the dimensions (eq. 16); NaN where an input is."""
        return self.per_dimension(logits, vad).sum(-1)


class StepCost(RuleCost):
    """The cost as printed (eq. 5, 9, 13): the table's entry at the most likely class and the value's sign.

    It is constant almost everywhere and trains nothing; it is the measure of violation. The paper's own is
    `zero_band` = 0.
    """

    differentiable = False
    measures = True

    def __init__(
        self,
        labels: Sequence[str],
        dimensions: Sequence[str],
        *,
        table: Source = "equations",
        zero_band: Rate = 0.25,
    ) -> None:
        super().__init__(labels, dimensions, table)
        self.zero_band = zero_band

    def rows(self, logits: Tensor) -> Tensor:
        """Return the row of the most likely class, (B, dimensions, 3)."""
        unknown = logits.isnan().any(-1)
        return self.table[logits.argmax(-1)].masked_fill(unknown[:, None, None], float("nan"))

    def states(self, vad: Tensor) -> Tensor:
        """Return the value's sign, one-hot over > 0, = 0, < 0."""
        signs = torch.stack([vad > self.zero_band, vad.abs() <= self.zero_band, vad < -self.zero_band], -1)
        return signs.to(vad.dtype).masked_fill(vad.isnan()[..., None], float("nan"))


class ExpectedCost(RuleCost):
    """The table's expected cost, the value's sign being blurred by a logistic of temperature t.

    P(> 0) = sigmoid((v - b) / t), P(< 0) = sigmoid((-v - b) / t), and zero has the rest. With b = `zero_band`
    = 0 this is sum_c p_c (T>0[c] sigmoid(v / t) + T<0[c] sigmoid(-v / t)), in which a rule "= 0" costs the
    same whatever the value. For a certain class it goes to the printed cost as t goes to 0.
    """

    def __init__(
        self,
        labels: Sequence[str],
        dimensions: Sequence[str],
        *,
        table: Source = "equations",
        zero_band: Rate = 0.25,
        temperature: Temperature = 0.25,
    ) -> None:
        super().__init__(labels, dimensions, table)
        self.zero_band = zero_band
        self.temperature = temperature

    def states(self, vad: Tensor) -> Tensor:
        """Return the probabilities that the blurred value is > 0, = 0, < 0."""
        positive = ((vad - self.zero_band) / self.temperature).sigmoid()
        negative = ((-vad - self.zero_band) / self.temperature).sigmoid()
        zero = (1 - positive - negative).clamp_min(0)  # rounding must not make a cost negative
        return torch.stack([positive, zero, negative], -1)


class GradedCost(RuleCost):
    """The expected cost of a table between 0 and 1, which changes evenly with the value.

    The entries of a row are the costs at v = 1, 0 and -1; in between the cost is linear. The table "graded"
    is derived from the PAD norms. Huo & Ge 2024 suggest graded costs in their discussion and give none.
    """

    def __init__(self, labels: Sequence[str], dimensions: Sequence[str], *, table: Source = "graded") -> None:
        super().__init__(labels, dimensions, table)

    def states(self, vad: Tensor) -> Tensor:
        """Return the shares of the entries at 1, 0 and -1."""
        vad = vad.clamp(-1, 1)
        return torch.stack([vad.relu(), 1 - vad.abs(), (-vad).relu()], -1)


class ExpectedHinge(RuleCost):
    """The expected distance of each value from where the rule wants it.

    A row of the table wants the signs that cost least in it:

    - only > 0: v >= margin, cost relu(margin - v); only < 0: v <= -margin, cost relu(margin + v);
    - only = 0: |v| <= zero_band, cost relu(|v| - zero_band);
    - = 0 and > 0: v >= -zero_band; = 0 and < 0: v <= zero_band; all three: anything, cost 0.

    The distance is scaled by what the sign on the wrong side costs more: by 1 in a table of 0 and 1. With
    `margin` = `zero_band`, the default, the hinge of a class is 0 exactly where its printed cost is least.

    Raises:
        RecipeError: a row forbids = 0 alone, which no hinge expresses.
    """

    lower: Tensor
    upper: Tensor
    slope: Tensor

    def __init__(
        self,
        labels: Sequence[str],
        dimensions: Sequence[str],
        *,
        table: Source = "equations",
        zero_band: Rate = 0.25,
        margin: Rate = 0.25,
    ) -> None:
        super().__init__(labels, dimensions, table)
        least = self.table.amin(-1, keepdim=True)
        positive, zero, negative = (self.table == least).unbind(-1)
        for label, dimension in (positive & negative & ~zero).nonzero().tolist():
            row = self.table[label, dimension].tolist()
            raise RecipeError(
                f"{labels[label]}.{dimensions[dimension]}: the costs {row} forbid = 0 alone, "
                "which no hinge expresses; use 'expected-cost', 'graded' or 'step', or change the row."
            )
        infinity = float("inf")
        at_zero = torch.where(zero, -zero_band, margin)  # how far beyond 0 a value must be
        self.register_buffer("lower", at_zero.masked_fill(negative, -infinity), persistent=False)
        self.register_buffer("upper", -at_zero.masked_fill(positive, -infinity), persistent=False)
        self.register_buffer("slope", self.table - least, persistent=False)

    def per_dimension(self, logits: Tensor, vad: Tensor) -> Tensor:
        """Return the cost of each dimension, (B, dimensions), of logits (B, C) and values (B, dimensions)."""
        logits, vad = check_inputs(logits, vad, self.table.shape[:2])
        value = vad[:, None]
        too_low = (self.lower - value).relu() * self.slope[..., 2]
        too_high = (value - self.upper).relu() * self.slope[..., 0]
        return (logits.softmax(-1)[..., None] * (too_low + too_high)).sum(1)


class StraightThrough(ExpectedHinge):
    """The printed cost forward, the gradient of `ExpectedHinge` backward."""

    def __init__(
        self,
        labels: Sequence[str],
        dimensions: Sequence[str],
        *,
        table: Source = "equations",
        zero_band: Rate = 0.25,
        margin: Rate = 0.25,
    ) -> None:
        super().__init__(labels, dimensions, table=table, zero_band=zero_band, margin=margin)
        self.step = StepCost(labels, dimensions, table=table, zero_band=zero_band)

    def per_dimension(self, logits: Tensor, vad: Tensor) -> Tensor:
        """Return the printed cost of each dimension, (B, dimensions), with the hinge's gradient."""
        hinge = super().per_dimension(logits, vad)
        # hinge - hinge is exactly 0, so the value is the printed cost to the last bit
        return self.step.per_dimension(logits, vad) + (hinge - hinge.detach())


def check_inputs(logits: Tensor, vad: Tensor, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return logits (B, C) and values (B, dimensions) in float32 or wider.

    Raises:
        ContractError: the shapes are not these; nothing is broadcast.
    """
    classes, dimensions = shape
    if logits.shape != (len(vad), classes) or vad.shape != (len(logits), dimensions):
        raise ContractError(
            f"a consistency cost of {classes} labels and {dimensions} dimension(s) needs logits "
            f"(B, {classes}) and values (B, {dimensions}); it was given {tuple(logits.shape)} and "
            f"{tuple(vad.shape)}"
        )
    dtype = torch.promote_types(torch.promote_types(logits.dtype, vad.dtype), torch.float32)
    return logits.to(dtype), vad.to(dtype)
