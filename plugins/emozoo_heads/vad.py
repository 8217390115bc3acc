"""Valence, arousal and dominance on the canonical scale [-1, 1], from partly missing labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from emozoo.contracts import Criterion, Fraction, NonNegative, Rate, Size, Targets
from emozoo.errors import ContractError, TrainingError
from emozoo.labels import DIMENSIONS
from emozoo_heads.mlp import Part, mlp, part_of

Dimension = Literal["valence", "arousal", "dominance"]


class VADHead(nn.Module):
    """Features (B, D) to values (B, d), one column a dimension.

    The buffer `train_mean` (d,) is the mean of each dimension over the training labels: what the constant
    predictor says, which every measurement stands beside. It is saved with the weights; until `criterion`
    sets it, it is 0, the middle of the scale.

    Args:
        in_features: D.
        labels: not used; every head is built from them.
        dimensions: which dimensions, in the order of the columns.
        bounded: how values come to lie in [-1, 1]: "tanh", or "clip", whose gradient is that of the unclipped
            value (a sample beyond the bound would otherwise teach nothing); "none" leaves them unbounded.
        dropout: rate before the last layer.
        hidden: sizes of hidden layers, each followed by ReLU; none is a single linear layer.
        part: [i, n], see the i-th of n equal parts of the features alone, counted from 1: the own copy of the
            backbone `separate`.
    """

    task = "vad"
    scale = "[-1, 1]"
    train_mean: Tensor

    def __init__(
        self,
        in_features: int,
        labels: Sequence[str],  # noqa: ARG002
        *,
        dimensions: tuple[Dimension, ...] = ("valence", "arousal", "dominance"),
        bounded: Literal["tanh", "clip", "none"] = "tanh",
        dropout: Rate = 0.0,
        hidden: tuple[Size, ...] = (),
        part: Part | None = None,
    ) -> None:
        super().__init__()
        if not dimensions or len(set(dimensions)) < len(dimensions):
            raise ValueError(
                f"dimensions {list(dimensions)}: name one or more of {', '.join(DIMENSIONS)}, each once"
            )
        self.dimensions = dimensions
        self.out_features = len(dimensions)
        self.bounded = bounded
        self.columns = [DIMENSIONS.index(name) for name in dimensions]
        self.part = part_of(in_features, part)
        self.layers = mlp(self.part.stop - self.part.start, hidden, self.out_features, dropout)
        self.register_buffer("train_mean", torch.zeros(self.out_features))

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, D) to values (B, d)."""
        values = self.layers(features[:, self.part])
        if self.bounded == "tanh":
            return values.tanh()
        if self.bounded == "clip":
            return values.detach().clamp(-1, 1) + (values - values.detach())
        return values

    def criterion(self, train: Targets, *, ccc: Fraction = 0.0, prior: NonNegative = 0.0) -> Criterion:
        """Return (1 - ccc) * MSE + ccc * (1 - mean CCC) over the labels of a batch; 0 where it has none.

        MSE is the mean over all present labels. CCC (Lin 1989) is taken over the batch, so small batches make
        it noisy, and averaged over the dimensions with two or more labels in it. Also sets `train_mean`.

        Of a part of a batch it is the part's share: the mean over all parts is the batch's MSE. The batch's CCC cannot
        be had so; each part's own counts by its labels.

        Args:
            train: all training targets.
            ccc: share of the CCC loss, from 0 to 1.
            prior: weight of another MSE, where a value is missing but a category known: against the mean of
                the category's annotated training samples (of a soft label, the expected one).

        Raises:
            TrainingError: a dimension has no label in all of the training data.
        """
        values = self._target(train.vad)
        empty = [
            name
            for name, missing in zip(self.dimensions, values.isnan().all(0).tolist(), strict=True)
            if missing
        ]
        if empty:
            raise TrainingError(
                f"the vad head has nothing to learn from: no training sample has {', '.join(empty)}. Leave "
                "that out of the head's dimensions, or train on data that has it."
            )
        self.train_mean.copy_(values.nanmean(0))
        means = self._target(train.category_means())

        def known(targets: Targets) -> Tensor:
            return ~self._target(targets.vad).isnan()

        def guessed(targets: Targets) -> Tensor:
            return ~(known(targets) | _expected(targets.label, means).isnan())

        def criterion(output: Tensor, targets: Targets) -> Tensor:
            target = self._target(targets.vad)
            if output.shape != target.shape:
                raise ContractError(
                    f"vad: output of shape {tuple(output.shape)} for targets of shape {tuple(target.shape)} "
                    f"({', '.join(self.dimensions)}); they must be equal, and are never broadcast"
                )
            output, target, batch, parts = output.float(), target.float(), targets.batch, targets.parts
            present, in_batch = known(targets), known(batch).sum(0)
            count = in_batch.sum().clamp(min=1) / parts
            loss = (1 - ccc) * _mean_squared_error(output, target.nan_to_num(), present, count)
            if prior:
                expected = _expected(targets.label, means).nan_to_num()
                count = guessed(batch).sum().clamp(min=1) / parts
                loss = loss + prior * _mean_squared_error(output, expected, guessed(targets), count)
            if ccc:
                loss = loss + ccc * _concordance_loss(output, target.nan_to_num(), present, in_batch, parts)
            return loss

        return criterion

    def _target(self, vad: Tensor) -> Tensor:
        """Return the columns (N, d) of this head's dimensions out of (N, 3)."""
        if vad.ndim != 2 or vad.shape[1] != len(DIMENSIONS):
            raise ContractError(f"vad: targets of shape {tuple(vad.shape)}, expected (N, {len(DIMENSIONS)})")
        return vad[:, self.columns]

    def decode(self, output: Tensor) -> list[dict[str, Any]]:
        """Return the value of each dimension, and the scale they are on, for each row of (B, d)."""
        return [
            {**dict(zip(self.dimensions, row, strict=True)), "scale": self.scale} for row in output.tolist()
        ]

    def measure(self, output: Tensor, targets: Targets, *, resamples: int = 0) -> dict[str, Any]:
        """Return metrics a dimension over the labels that are there, beside those of the training mean."""
        from emozoo.evaluation.metrics import vad_measure

        return vad_measure(
            output.float().cpu().numpy(),
            self._target(targets.vad).cpu().numpy(),
            self.dimensions,
            baseline=self.train_mean.cpu().numpy(),
            resamples=resamples,
        )


def _expected(label: Tensor, means: Tensor) -> Tensor:
    """Return label (B, C) @ means (C, d); NaN for an unlabelled row, and for a share of a category without a mean."""
    means = means.to(label)
    unknown = label @ means.isnan().to(label) > 0
    return (label @ means.nan_to_num()).masked_fill(unknown, float("nan"))


def _mean_squared_error(output: Tensor, target: Tensor, present: Tensor, count: Tensor) -> Tensor:
    return (output - target).masked_fill(~present, 0).square().sum() / count


def _concordance_loss(
    output: Tensor, target: Tensor, present: Tensor, in_batch: Tensor, parts: int
) -> Tensor:
    """Return 1 - CCC, averaged over the columns with two or more present values; population moments.

    In one of several parts of a batch a column counts by the share of its values, `in_batch` (columns,), that it has.
    """
    count = present.sum(0)
    output_mean, target_mean = (_column_mean(values, present, count) for values in (output, target))
    output_centred, target_centred = output - output_mean, target - target_mean
    covariance = _column_mean(output_centred * target_centred, present, count)
    spread = _column_mean(output_centred.square() + target_centred.square(), present, count)
    # Where both are constant and equal, 0 / 0 would be NaN, and so would the gradient.
    concordance = 2 * covariance / (spread + (output_mean - target_mean).square() + 1e-8)
    share = count * parts / in_batch.clamp(min=1)
    return ((1 - concordance) * share).masked_fill(count < 2, 0).sum() / (in_batch >= 2).sum().clamp(min=1)


def _column_mean(values: Tensor, present: Tensor, count: Tensor) -> Tensor:
    return values.masked_fill(~present, 0).sum(0) / count.clamp(min=1)
