"""The contract of aggregators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from emozoo.contracts import Aggregated
from emozoo.testing.parts import (
    check_evaluation,
    check_folder,
    check_gradients,
    check_module,
    check_places,
    check_shape,
    check_state,
    close,
    seeded,
)
from emozoo.testing.subject import Subject, check_options

CLIPS, FRAMES = 2, 3


def check_aggregator(name: str, options: Mapping[str, Any] | None = None, *, in_features: int = 32) -> None:
    """Check that an aggregator keeps `emozoo.contracts.Aggregator`, padded videos and single images included.

    Args:
        name: as recipes name it, "emozoo-mypaper:fan2".
        options: those that differ from the defaults. Videos here have up to 3 clips of 5 frames.
        in_features: D, the size of the backbone's features; a multiple of 32.

    Raises:
        ContractError: it does not; says what, where, and how to mend it.
        EmozooError: there is no such component, or it does not take the options.
    """
    subject = Subject("aggregator", name, options, in_features)
    check_options(subject)
    module = subject.build()
    check_module(subject, module, out_features=int)
    x = seeded(3, CLIPS, FRAMES, in_features)
    for shape in ((CLIPS, FRAMES), (1, 1)):
        _check_result(subject, module, x[:, : shape[0], : shape[1]])
    output = check_evaluation(subject, module, _run, x)
    _check_padding(subject, module, x, output)
    check_places(subject, module, _run, x, output)
    check_gradients(subject, module, lambda built, videos: _run(built, videos).square().sum(), x)
    check_state(subject, module)
    width = in_features // 32 * 4
    backbone = {"name": "resnet18", "stem": "strided", "width": width}
    videos = seeded(2, CLIPS, FRAMES, 1, 32, 32)
    check_folder(subject, videos, "aggregator", backbone=backbone, aggregator=subject.table)


def _run(module: Any, x: Tensor) -> Tensor:
    return module(x).features


def _check_result(subject: Subject, module: Any, x: Tensor) -> None:
    """Check types and shapes of what comes of videos of one size, without a mask and with one that masks nothing."""
    module.eval()
    mask = torch.ones(x.shape[:3], dtype=torch.bool)
    with torch.no_grad(), subject.doing(f"features of shape {tuple(x.shape)}"):
        plain, masked = module(x), module(x, mask)
    for result in (plain, masked):
        subject.require(
            isinstance(result, Aggregated),
            f"it returns a {type(result).__name__}",
            "Return emozoo.contracts.Aggregated(features)",
        )
        check_shape(subject, result.features, (len(x), module.out_features), "features")
        for key, axes in (("clip_weights", 2), ("frame_weights", 3)):
            if getattr(result, key) is not None:
                check_shape(subject, getattr(result, key), tuple(x.shape[:axes]), key)
    subject.require(
        close(plain.features, masked.features),
        "a mask that is all True changes the result",
        "Treat mask=None as a mask of real frames only",
    )


def _check_padding(subject: Subject, module: Any, x: Tensor, expected: Tensor) -> None:
    """Check that neither padded frames nor padded clips change anything, whatever they hold, nor get any weight."""
    size = (len(x), CLIPS + 1, FRAMES + 2)
    mask = torch.zeros(size, dtype=torch.bool)
    mask[:, :CLIPS, :FRAMES] = True
    for filling in (0.0, 100.0):
        padded = torch.full((*size, x.shape[-1]), filling)
        padded[:, :CLIPS, :FRAMES] = x
        with torch.no_grad(), subject.doing(f"padded features of shape {tuple(padded.shape)}"):
            result = module(padded, mask)
        subject.require(
            close(result.features, expected),
            f"padded frames, filled with {filling}, change the result",
            "Leave out what the mask says is no real frame: zero it in sums, -inf before a softmax or maximum",
        )
        for weights, real in ((result.clip_weights, mask.any(2)), (result.frame_weights, mask)):
            subject.require(
                weights is None or not weights[~real].any(),
                "padded clips or frames have a weight",
                "Set the weights of what is masked to 0",
            )
    _check_gap(subject, module, x, mask)


def _check_gap(subject: Subject, module: Any, x: Tensor, mask: Tensor) -> None:
    """Check that a video without real frames spoils no other of its batch."""
    real = mask[:, :CLIPS, :FRAMES].clone()
    real[0] = False
    with torch.no_grad(), subject.doing("a batch in which one video has no real frame"):
        features = module(x, real).features
        others = module(x[1:]).features
    subject.require(
        close(features[1:], others),
        "a video without real frames changes the others of its batch",
        "Let each video be computed by itself",
    )
