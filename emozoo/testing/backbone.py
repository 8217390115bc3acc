"""The contract of backbones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

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


def check_backbone(
    name: str, options: Mapping[str, Any] | None = None, *, size: int = 48, frames: int = 8
) -> None:
    """Check that a backbone keeps `emozoo.contracts.Backbone`, for grey and RGB input.

    Args:
        name: as recipes name it, "emozoo-mypaper:fan2".
        options: those that differ from the defaults; small ones keep the check quick.
        size: height and width of the frames, in pixels.
        frames: of a clip, for backbones whose `input_kind` is "clips".

    Raises:
        ContractError: it does not; says what, where, and how to mend it.
        EmozooError: there is no such component, or it does not take the options.
    """
    subject = Subject("backbone", name, options, 3)
    check_options(subject)
    for channels in (1, 3):
        module = subject.build(channels)
        check_module(subject, module, out_features=int, input_kind=str)
        subject.require(
            module.input_kind in ("frames", "clips"),
            f"input_kind is {module.input_kind!r}",
            "Set it to 'frames' for input (N, C, H, W), to 'clips' for (N, C, T, H, W)",
        )
        x = seeded(2, channels, *([frames] if module.input_kind == "clips" else []), size, size)
        output = check_evaluation(subject, module, _run, x)
        check_shape(subject, output, (2, module.out_features), f"the output for {tuple(x.shape)}")
    if module.input_kind == "clips":
        with subject.doing("a clip of one frame", "Clips of short videos may be as short as one frame"):
            check_shape(
                subject, _run(module, x[:, :, :1]), tuple(output.shape), "the output for a clip of one frame"
            )
    _check_layout(subject, module, x, output)
    check_places(subject, module, _run, x, output)
    check_gradients(subject, module, lambda built, _: _run(built, x).square().sum(), None)
    check_state(subject, module)
    _check_folder(subject, x)


def _check_folder(subject: Subject, x: Tensor) -> None:
    """Check saving and loading with RGB frames (N, 3, H, W), or clips (N, 3, T, H, W), which get an aggregator."""
    tables: dict[str, Any] = {"backbone": subject.table}
    size = x.shape[-1]
    tables["preprocess"] = {"size": size, "crop": size, "colour": "rgb", "mean": [0.5] * 3, "std": [0.25] * 3}
    if x.ndim == 5:
        x, tables["aggregator"] = x.transpose(1, 2).unsqueeze(1), {"name": "mean"}
    check_folder(subject, x, "backbone", **tables)


def _run(module: Any, x: Tensor) -> Tensor:
    return module(x)


def _check_layout(subject: Subject, module: Any, x: Tensor, expected: Tensor) -> None:
    """Check that input that lies in memory in the order in which models get it gives the same output."""
    if x.ndim == 4:
        laid_out, how = x.contiguous(memory_format=torch.channels_last), "in channels_last order"
    else:
        laid_out, how = x.transpose(1, 2).contiguous().transpose(1, 2), "that is not contiguous"
    with torch.no_grad(), subject.doing(f"input {how}", "Use reshape or flatten where there is view"):
        output = module(laid_out)
    subject.require(
        close(output, expected),
        f"input {how} gives another output",
        "Let no operation depend on how a tensor lies in memory",
    )
