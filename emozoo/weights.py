"""From a config and a file of weights to a model: built on the meta device, checked, weights mapped in."""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.overrides import TorchFunctionMode

from emozoo.errors import ContractError, CorruptModelError, PluginLoadError, UnknownComponentError
from emozoo.model import EmotionModel
from emozoo.recipe import ModelConfig

DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8",
    torch.bool: "BOOL",
}  # fmt: skip
"""Names of types in a safetensors header."""

Store = Literal["fp32", "fp16"]
"""What weights are stored as; a model that is loaded has the types it was built with, whatever its file holds."""

Header = Mapping[str, tuple[tuple[int, ...], str]]
"""Shape and type of each tensor."""


def assemble(config: ModelConfig, path: Path) -> tuple[EmotionModel, bool]:
    """Return the model of a config and a safetensors file, on the CPU, and whether these two say it all.

    They do not where a component has an option that the config does not name, or tensors outside its state,
    which its constructor alone can fill: then golden outputs must show that it is the model that was saved.

    Raises:
        CorruptModelError: the config cannot be built, or the file does not fit it; names every wrong tensor.
        UnknownComponentError: what the config names is not installed, or hidden by `EMOZOO_PLUGINS`.
    """
    model = build(config, "meta")
    exact = model.config == config
    state = model.state_dict()
    _check_header(state, path)
    if _has_more_than(model, state):
        model, exact = build(config, "cpu"), False
    stored = {name: value.to(state[name].dtype) for name, value in load_file(path).items()}
    _check_numbers(stored, path)
    model.load_state_dict(stored, assign=True)
    left = [name for name, value in _tensors(model) if value.is_meta]
    if left:
        raise CorruptModelError(f"{path} gave no values to {', '.join(left)}")
    return model, exact


def stored_weights(model: EmotionModel, store: Store = "fp32") -> dict[str, Tensor]:
    """Return a model's state as it is stored.

    In "fp16" matrices and kernels are rounded to half precision; vectors (biases, and the statistics of norms, which
    can exceed its range) are a hundredth of a model and stay as they are.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    halved = _halved(state) if store == "fp16" else []
    return state | {name: state[name].half() for name in halved}


def rounded(model: EmotionModel, store: Store) -> EmotionModel:
    """Return the model that will be loaded again: a copy with rounded weights, or the model itself."""
    if store == "fp32":
        return model
    twin = copy.deepcopy(model)
    state = twin.state_dict()  # its tensors are the model's own
    for name in _halved(state):
        state[name].copy_(state[name].half())
    return twin


def _halved(state: Mapping[str, Tensor]) -> list[str]:
    return [name for name, value in state.items() if value.dtype == torch.float32 and value.ndim > 1]


class _NoRandomNumbers(TorchFunctionMode):
    """Leaves out initial weights: meta tensors hold none, and what draws them takes seconds to import."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.Tensor.normal_, torch.Tensor.uniform_):
            return args[0]
        return func(*args, **(kwargs or {}))


PARTS = 20_000
"""Modules and parameters above which a config is refused; the largest models that there are have a quarter of it."""


@contextmanager
def _few_parts() -> Generator[None]:
    """Stop a constructor that would not end, whose options ask for layers without number.

    Raises:
        CorruptModelError: the model would have more than `PARTS` modules and parameters.
    """
    count, thread = itertools.count(1), threading.get_ident()

    def check(*_: object) -> None:
        if threading.get_ident() == thread and next(count) > PARTS:
            raise CorruptModelError(f"it would have more than {PARTS:,} modules and parameters")

    hooks = [
        register_module_module_registration_hook(check),
        register_module_parameter_registration_hook(check),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _check_numbers(stored: Mapping[str, Tensor], path: Path) -> None:
    """Refuse weights that are NaN: nothing that such a model says means anything.

    Without NaN a sum is none either, but of infinities, and takes a fraction of the time of looking at each value.
    """
    wrong = [name for name, value in stored.items() if value.sum().isnan() and value.isnan().any()]
    if wrong:
        raise CorruptModelError(f"{path} holds NaN in {', '.join(wrong[:5])}, as where training has diverged")


def build(config: ModelConfig, device: str) -> EmotionModel:
    """Return a config's model without its weights, on a device; raises as `assemble`."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device(device), _few_parts():
            if device != "meta":
                return EmotionModel(config)
            with _NoRandomNumbers():
                return EmotionModel(config)
    except (PluginLoadError, ContractError, UnknownComponentError):
        raise
    except Exception as error:  # whatever a constructor makes of the options that a file gives it
        raise CorruptModelError(f"the config does not describe a model that can be built: {error}") from error


def _tensors(model: EmotionModel) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _has_more_than(model: EmotionModel, state: Mapping[str, Tensor]) -> bool:
    """Say whether a model has buffers that are not saved, or tensors that are mere attributes."""
    attributes = (value for module in model.modules() for value in vars(module).values())
    return any(name not in state for name, _ in model.named_buffers()) or any(
        isinstance(value, Tensor) for value in attributes
    )


def _check_header(state: Mapping[str, Tensor], path: Path) -> None:
    """Compare names, shapes and types of a file with a model's before any tensor is read."""
    expected = {
        name: (tuple(value.shape), DTYPES.get(value.dtype, str(value.dtype))) for name, value in state.items()
    }
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            stored = {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}
    except (SafetensorError, OSError) as error:
        raise CorruptModelError(f"{path} is no safetensors file that can be read ({error})") from None
    problems = _differences(expected, stored)
    if problems:
        more = [f"  and {len(problems) - 20} more"] if len(problems) > 20 else []
        raise CorruptModelError(f"{path} does not fit the config:\n" + "\n".join(problems[:20] + more))


def _differences(expected: Header, stored: Header) -> list[str]:
    lines = [f"  missing: {name} {_shown(entry)}" for name, entry in expected.items() if name not in stored]
    lines += [
        f"  unexpected: {name} {_shown(entry)}" for name, entry in stored.items() if name not in expected
    ]
    return lines + [
        f"  {name}: stored {_shown(stored[name])}, the model has {_shown(entry)}"
        for name, entry in expected.items()
        if name in stored and not _fits(stored[name], entry)
    ]


def _fits(stored: tuple[tuple[int, ...], str], entry: tuple[tuple[int, ...], str]) -> bool:
    return stored == entry or (stored[0] == entry[0] and (stored[1], entry[1]) == ("F16", "F32"))


def _shown(entry: tuple[tuple[int, ...], str]) -> str:
    return f"{entry[1]} {entry[0]}"
