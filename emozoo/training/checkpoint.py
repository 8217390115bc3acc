"""Checkpoints: written beside, then renamed, so that one is whole or absent; tensors and JSON, no pickle."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from emozoo.errors import ResumeError

STATE = "state.json"

GROUP = "group-"
"""What stands before the number of a group of parameters in the names of an optimiser's state."""


def write(
    folder: Path, kind: str, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Any
) -> Path:
    """Write checkpoint `kind-step` and then remove older ones of its kind.

    Args:
        folder: the run's checkpoint folder.
        kind: "last" or "best".
        step: optimiser steps done.
        tensors: file stem -> tensors.
        state: everything else, as JSON values.
    """
    folder.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
    for stem, values in tensors.items():
        save_file(
            {name: value.detach().cpu().contiguous() for name, value in values.items()},
            staging / f"{stem}.safetensors",
        )
    (staging / STATE).write_text(json.dumps(state), encoding="utf-8")
    target = folder / f"{kind}-{step:08d}"
    shutil.rmtree(target, ignore_errors=True)
    os.replace(staging, target)
    for other in folder.glob(f"{kind}-*"):
        if other != target:
            shutil.rmtree(other, ignore_errors=True)
    return target


def latest(folder: Path, kind: str = "last") -> Path | None:
    """Return the newest whole checkpoint of a kind, and clear away what an interrupted write left."""
    for leftover in folder.glob(".writing-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    found = sorted(folder.glob(f"{kind}-*"))
    return found[-1] if found else None


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Return the JSON part of a checkpoint."""
    try:
        return json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ResumeError(
            f"{checkpoint / STATE} cannot be read ({error}); remove {checkpoint} to start anew"
        ) from None


def read_tensors(checkpoint: Path, stem: str) -> dict[str, Tensor]:
    """Return the tensors of one file of a checkpoint."""
    try:
        return load_file(checkpoint / f"{stem}.safetensors")
    except (OSError, SafetensorError) as error:
        raise ResumeError(
            f"{checkpoint / stem}.safetensors cannot be read ({error}); remove {checkpoint}"
        ) from None


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return an optimiser's state as named tensors, and what is not a tensor as JSON values.

    Some optimisers keep a part of it, such as the number of steps, beside the options of a group of parameters.
    """
    tree = optimizer.state_dict()
    kept = {f"{GROUP}{number}": _counted(group) for number, group in enumerate(tree["param_groups"])}
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for index, values in {**tree["state"], **kept}.items():
        for key, value in values.items():
            target = tensors if isinstance(value, Tensor) else plain
            target[f"{index}.{key}"] = value
    return tensors, plain


def _counted(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return what may change in a group as an optimiser steps; the schedule sets `lr`, other kinds are options."""
    return {
        key: value for key, value in group.items() if key != "lr" and isinstance(value, int | float | Tensor)
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]
) -> None:
    """Give an optimiser the state that `flatten_optimizer` returned; options of its groups stay as built."""
    state: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, value in {**plain, **tensors}.items():
        index, key = name.split(".", 1)
        state[index][key] = value
    groups = optimizer.state_dict()["param_groups"]
    for number, group in enumerate(groups):
        group |= state.pop(f"{GROUP}{number}", {})
    found = {int(index): values for index, values in state.items()}
    optimizer.load_state_dict({"state": found, "param_groups": groups})
