"""One of C emotion categories: linear layer or MLP, softmax cross entropy with soft labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from emozoo.contracts import Criterion, Fraction, Rate, Size, Targets
from emozoo.errors import ContractError, RecipeError, TrainingError
from emozoo_heads.mlp import Part, mlp, part_of


class ClassificationHead(nn.Module):
    """Features (B, D) to logits (B, C) over the model's labels.

    Args:
        in_features: D.
        labels: the C category names, in the order of the logits.
        dropout: rate before the last layer.
        hidden: sizes of hidden layers, each followed by ReLU; none is a single linear layer.
        part: [i, n], see the i-th of n equal parts of the features alone, counted from 1: the own copy of the
            backbone `separate`.
    """

    task = "classification"

    def __init__(
        self,
        in_features: int,
        labels: Sequence[str],
        *,
        dropout: Rate = 0.0,
        hidden: tuple[Size, ...] = (),
        part: Part | None = None,
    ) -> None:
        super().__init__()
        self.labels = tuple(labels)
        self.out_features = len(self.labels)
        self.part = part_of(in_features, part)
        self.layers = mlp(self.part.stop - self.part.start, hidden, self.out_features, dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, D) to logits (B, C)."""
        return self.layers(features[:, self.part])

    def criterion(
        self,
        train: Targets,
        *,
        loss: Literal["ce", "bce"] = "ce",
        label_smoothing: Fraction = 0.0,
        class_weights: Literal["none", "balanced"] | tuple[float, ...] = "none",
    ) -> Criterion:
        """Return the mean loss over a batch's labelled rows; 0, with a gradient of 0, where there are none.

        Of a part of a batch it is the part's share: the mean over all parts is the loss of the batch.

        Weights, smoothing and soft labels combine as in `torch.nn.functional.cross_entropy` on probabilities:
        each row's loss is sum_c weight_c * target_c * -log p_c, and rows are averaged unweighted.

        Args:
            train: all training targets, which "balanced" counts.
            loss: "ce", or "bce": every class's softmax probability is right or wrong by itself, the loss of
                CEFLNet (Liu et al. 2022, eq. 11): target_c * -log p_c + (1 - target_c) * -log(1 - p_c).
            label_smoothing: share of each target that is spread evenly over all classes.
            class_weights: one weight a label; "balanced" is N / (classes present * samples of the class), and
                0 for a class without samples.

        Raises:
            TrainingError: no training sample has a label.
            RecipeError: the weights are not one a label, or one is negative or infinite.
        """
        weights = self._weights(train.label[_labelled(self._target(train.label))], class_weights)

        def criterion(output: Tensor, targets: Targets) -> Tensor:
            if output.shape != targets.label.shape:
                raise ContractError(
                    f"classification: output of shape {tuple(output.shape)} for labels of shape "
                    f"{tuple(targets.label.shape)}; both must be (B, {self.out_features})"
                )
            rows = _labelled(targets.label)
            target = targets.label.float().masked_fill(~rows.unsqueeze(1), 0)
            target = target * (1 - label_smoothing) + label_smoothing / self.out_features
            each = (_cost(output.float(), target, loss) * weights.to(output.device)).sum(1)
            count = _labelled(targets.batch.label).sum().clamp(min=1) / targets.parts
            return each.masked_fill(~rows, 0).sum() / count

        return criterion

    def _weights(self, labelled: Tensor, given: str | tuple[float, ...]) -> Tensor:
        """Return (C,) class weights from labelled training rows (N, C)."""
        if len(labelled) == 0:
            raise TrainingError(
                "the classification head has nothing to learn from: no training sample has a label. Leave it "
                "out of model.heads, or train on a split with labels."
            )
        if given == "none":
            return torch.ones(self.out_features)
        if given == "balanced":
            counts = labelled.float().sum(0)
            weights = len(labelled) / ((counts > 0).sum() * counts)
            return weights.masked_fill(counts == 0, 0)
        weights = torch.tensor(given, dtype=torch.float32)
        if len(weights) != self.out_features or not (weights.isfinite() & (weights >= 0)).all():
            raise RecipeError(
                f"class_weights: {len(weights)} values {list(given)}, but the model has {self.out_features} "
                f"labels ({', '.join(self.labels)}): give each label one weight, 0 or more, in this order"
            )
        return weights

    def _target(self, label: Tensor) -> Tensor:
        if label.ndim != 2 or label.shape[1] != self.out_features:
            raise ContractError(
                f"classification: targets of shape {tuple(label.shape)}, expected (N, {self.out_features})"
            )
        return label

    def decode(self, output: Tensor) -> list[dict[str, Any]]:
        """Return label and probabilities of each row of logits (B, C)."""
        return [
            {
                "label": self.labels[max(range(len(row)), key=row.__getitem__)],
                "probabilities": dict(zip(self.labels, row, strict=True)),
            }
            for row in output.float().softmax(1).tolist()
        ]

    def measure(self, output: Tensor, targets: Targets, *, resamples: int = 0) -> dict[str, Any]:
        """Return metrics over labelled rows; a soft label counts as its most probable category."""
        from emozoo.evaluation.metrics import classification_measure

        rows = _labelled(self._target(targets.label))
        return classification_measure(
            output[rows].float().softmax(1).cpu().numpy(),
            targets.category[rows].cpu().numpy(),
            self.labels,
            resamples=resamples,
        )


def _labelled(label: Tensor) -> Tensor:
    return ~label.isnan().any(1)


def _cost(logits: Tensor, target: Tensor, loss: Literal["ce", "bce"]) -> Tensor:
    """Return what each class of each row (B, C) costs."""
    cost = -target * logits.log_softmax(1)
    return cost if loss == "ce" else cost - (1 - target) * _log_complement(logits)


def _log_complement(logits: Tensor) -> Tensor:
    """Return log(1 - softmax) (B, C) without cancellation, from the log-sum of each class's rivals."""
    own = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
    rivals = logits.unsqueeze(1).masked_fill(own, -torch.inf).logsumexp(2)
    return rivals - logits.logsumexp(1, keepdim=True)
