"""The contract of consistency costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from emozoo.contracts import Targets
from emozoo.errors import EmozooError, PluginLoadError
from emozoo.labels import DIMENSIONS, FER2013_LABELS
from emozoo.testing.head import some_targets
from emozoo.testing.parts import check_gradients, check_module, check_shape, close, seeded
from emozoo.testing.subject import Subject, check_options

SAMPLES = 24


def check_consistency(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    labels: Sequence[str] = FER2013_LABELS,
    dimensions: Sequence[str] = DIMENSIONS,
) -> None:
    """Check that a cost keeps `emozoo.contracts.ConsistencyCost`.

    Args:
        name: as recipes name it, "emozoo-mypaper:quadrant".
        options: those that differ from the defaults.
        labels: the model's labels.
        dimensions: those of the VAD head, in the order of its outputs.

    Raises:
        ContractError: it does not; says what, where, and how to mend it.
        EmozooError: there is no such component, or it does not take the options.
    """
    subject = Subject("consistency", name, options, tuple(labels), tuple(dimensions))
    check_options(subject)
    cost = subject.build()
    with subject.doing("prepare(train) with some targets missing"):
        _prepare(cost, _train(len(labels)))
    check_module(subject, cost, differentiable=bool)
    logits, vad = 3 * seeded(SAMPLES, len(labels)), seeded(SAMPLES, len(dimensions) + 1)[:, 1:].tanh()
    values = _check_values(subject, cost, logits, vad)
    _check_dimensions(subject, cost, logits, vad, values)
    _check_gradient(subject, cost, logits, vad)
    _check_order(subject, cost, logits, vad, values)
    _check_gpu(subject, cost, logits, vad, values)
    _check_state(subject, cost, logits, vad, values)


def _train(classes: int) -> Targets:
    """Return training targets, of some of which the label or the values are not known."""
    targets = some_targets(SAMPLES, classes)
    targets.label[::7] = torch.nan
    targets.vad[::5] = torch.nan
    return targets


def _prepare(cost: Any, train: Targets) -> None:
    """Show a cost the training targets where it wants to see them, as training does with each that it builds."""
    if hasattr(cost, "prepare"):
        cost.prepare(train)


def _check_gpu(subject: Subject, cost: Any, logits: Tensor, vad: Tensor, expected: Tensor) -> None:
    """Check that a cost is the same on a GPU, where there is one."""
    if not torch.cuda.is_available():
        return
    with torch.no_grad(), subject.doing("running on a GPU", "Keep tensors in buffers and parameters"):
        moved = cost.to("cuda")(logits.to("cuda"), vad.to("cuda")).cpu()
    cost.to("cpu")
    subject.require(
        close(moved, expected),
        "a GPU gives other costs than the CPU",
        "Look for state that .to(device) does not move",
    )


def _check_values(subject: Subject, cost: Any, logits: Tensor, vad: Tensor) -> Tensor:
    """Check shape, sign and finiteness of costs, for certain predictions too, and that each sample is by itself."""
    cost.eval()
    with torch.no_grad(), subject.doing(f"logits {tuple(logits.shape)} and values {tuple(vad.shape)}"):
        values, again, certain = cost(logits, vad), cost(logits, vad), cost(100 * logits, vad.sign())
        alone = torch.cat([cost(*pair) for pair in zip(logits.split(1), vad.split(1), strict=True)])
    check_shape(subject, values, (SAMPLES,), "the cost")
    for found in (values, certain):
        subject.require(
            found.isfinite().all() and (found >= 0).all(),
            f"costs lie between {found.min().item():.6g} and {found.max().item():.6g}",
            "A cost is finite and never negative, also for logits of several hundred: use softmax or log_softmax",
        )
    subject.require(
        torch.equal(values, again), "the same input gives different costs", "Draw no random numbers"
    )
    subject.require(
        close(values, alone),
        "a sample's cost depends on the other samples of the batch",
        "Reduce over no batch axis; training takes the mean",
    )
    return values


def _check_dimensions(subject: Subject, cost: Any, logits: Tensor, vad: Tensor, values: Tensor) -> None:
    """Check that a cost that can be told by dimension is the sum of what these cost."""
    if not hasattr(cost, "per_dimension"):
        subject.require(
            not getattr(cost, "measures", False),
            "measures is True, but there is no per_dimension",
            "Add per_dimension, by which violations are counted, or leave measures out",
        )
        return
    with torch.no_grad(), subject.doing("per_dimension(logits, vad)"):
        each = cost.per_dimension(logits, vad)
    check_shape(subject, each, (SAMPLES, vad.shape[1]), "the cost per dimension")
    subject.require(
        bool((each >= 0).all()) and close(each.sum(1), values),
        "the costs of the dimensions are negative, or do not add up to the cost",
        "Return how much of each sample's cost is each dimension's",
    )


def _check_gradient(subject: Subject, cost: Any, logits: Tensor, vad: Tensor) -> None:
    """Check that `differentiable` is true to its word."""
    inputs = logits.clone().requires_grad_(), vad.clone().requires_grad_()
    with subject.doing("the backward pass"):
        total = cost(*inputs).sum()
        found = torch.autograd.grad(total, inputs, allow_unused=True) if total.requires_grad else (None, None)
    gradients = [gradient for gradient in found if gradient is not None]
    carried = any(bool(gradient.any()) for gradient in gradients)
    subject.require(
        all(bool(gradient.isfinite().all()) for gradient in gradients),
        "its gradient is not finite",
        "Look for a division by zero, or the root or log of 0",
    )
    subject.require(
        carried or not cost.differentiable,
        "differentiable is True, but no gradient reaches logits or values",
        "Say differentiable = False: training warns then; or leave out argmax, sign and comparisons",
    )
    subject.require(
        not carried or cost.differentiable,
        "differentiable is False, but a gradient reaches logits or values",
        "Say differentiable = True, or detach the inputs",
    )
    if list(cost.parameters()):
        check_gradients(subject, cost, lambda built, _: built(logits, vad).sum(), None)


def _check_order(subject: Subject, cost: Any, logits: Tensor, vad: Tensor, expected: Tensor) -> None:
    """Check that labels and dimensions are told by their names; a cost may refuse some with an EmozooError."""
    labels, dimensions = subject.context
    if list(cost.parameters()):
        return
    with subject.doing("building it for labels and dimensions in another order"):
        other = subject.resolved.build(labels[::-1], dimensions[::-1])
        train = _train(len(labels))
        _prepare(other, Targets(train.label.flip(1), train.vad))
        turned = other.eval()(logits.flip(1), vad.flip(1)).detach()
    subject.require(
        close(turned, expected),
        "labels and dimensions in another order have other costs",
        "Find labels and dimensions by their names, never by their position",
    )
    try:
        subject.resolved.build(labels, dimensions[:1])
    except EmozooError as error:
        subject.require(
            not isinstance(error, PluginLoadError),
            f"for the dimension {dimensions[0]!r} alone it ends in {error.__cause__!r}",
            "Compute the cost of the dimensions there are, or raise a ValueError that says what it needs",
        )


def _check_state(subject: Subject, cost: Any, logits: Tensor, vad: Tensor, expected: Tensor) -> None:
    """Check that a checkpoint brings it back: built anew, prepared and given its state, it is the same."""
    with torch.no_grad():
        for parameter in cost.parameters():
            parameter.add_(0.1)
        expected = cost(logits, vad) if list(cost.parameters()) else expected
    with (
        torch.no_grad(),
        subject.doing("loading its state into a new one", "Keep all state in parameters and buffers"),
    ):
        again = subject.build()
        _prepare(again, _train(logits.shape[1]))
        again.load_state_dict(cost.state_dict())
        values = again.eval()(logits, vad)
    subject.require(
        torch.equal(values, expected),
        "built anew and given its state, it has other costs",
        "Keep all that forward uses in options, parameters and buffers, or make it in prepare",
    )
