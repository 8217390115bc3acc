"""What backbones, aggregators and heads have in common: modules whose outputs, gradients and state are checked."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from emozoo.model import EmotionModel
from emozoo.recipe import ModelConfig
from emozoo.testing.subject import Subject

Run = Callable[[Any, Tensor], Tensor]
"""How a module is called: (module, input of B samples) -> (B, K)."""

LABELS = ("happy", "sad", "neutral")
COMPANIONS: dict[str, Any] = {
    "labels": LABELS,
    "preprocess": {"size": 32, "crop": 32, "colour": "grey"},
    "backbone": {"name": "resnet18", "stem": "strided", "width": 4},
    "heads": {"companion": {"name": "classification"}},
}
"""The rest of the model that a part is saved and loaded in."""


def check_module(subject: Subject, module: Any, **attributes: type) -> None:
    """Check that a module was built, with the attributes that its kind declares."""
    subject.require(
        isinstance(module, nn.Module),
        f"it built a {type(module).__name__}, not a torch.nn.Module",
        "Derive the class from torch.nn.Module and call super().__init__() first",
    )
    for name, kind in attributes.items():
        value = getattr(module, name, None)
        subject.require(
            isinstance(value, kind) and isinstance(value, bool) == (kind is bool),
            f"{name} is {value!r}",
            f"Set self.{name} to a value of type {kind.__name__}; the model is composed by it",
        )


def check_shape(subject: Subject, value: Any, shape: tuple[int, ...], what: str) -> None:
    """Check that a result is a tensor of a shape."""
    found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
    subject.require(
        found == shape, f"{what} is {found}, not {shape}", "Return what the contract's docstring says"
    )


def check_evaluation(subject: Subject, module: Any, run: Run, x: Tensor) -> Tensor:
    """Check evaluation mode: finite, repeatable, each sample by itself, the input untouched. Returns the output."""
    module.eval()
    given = x.clone()
    with torch.no_grad(), subject.doing(f"input of shape {tuple(x.shape)} in evaluation mode"):
        first, second = run(module, x), run(module, x)
        alone = torch.cat([run(module, sample) for sample in x.split(1)])
    subject.require(
        torch.equal(x, given),
        "it changes its input",
        "Work on a copy: other parts of the model use the input too",
    )
    subject.require(
        first.isfinite().all(),
        "its output is not finite for plain random input",
        "Look for a division by zero",
    )
    subject.require(
        torch.equal(first, second),
        "the same input gives different outputs in evaluation mode",
        "Draw random numbers only while self.training",
    )
    subject.require(
        close(first, alone),
        "in evaluation mode a sample's output depends on the other samples of the batch",
        "Reduce over no batch axis, unless while self.training",
    )
    return first


def check_gradients(
    subject: Subject, module: Any, loss: Callable[[Any, Tensor], Tensor], x: Tensor | None
) -> None:
    """Check, in training mode, that a loss of the output reaches every parameter and, where given, the input."""
    module.train()
    module.zero_grad()
    wanted = None if x is None else x.clone().requires_grad_()
    with subject.doing("a training step"):
        loss(module, wanted if wanted is not None else torch.empty(0)).backward()
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            _check_gradient(subject, parameter.grad, f"parameter {name!r}")
    if wanted is not None:
        _check_gradient(subject, wanted.grad, "the input")
        subject.require(
            wanted.grad is not None and wanted.grad.any(),
            "the gradient of its input is zero",
            "Without it nothing before this component is trained: take out detach() and no_grad()",
        )


def _check_gradient(subject: Subject, gradient: Tensor | None, what: str) -> None:
    subject.require(
        gradient is not None,
        f"no gradient reaches {what}",
        "Use it in forward without detach() or no_grad(), or set requires_grad = False",
    )
    finite = gradient is not None and bool(gradient.isfinite().all())
    subject.require(
        finite, f"the gradient of {what} is not finite", "Look for a division by zero or a log of 0"
    )


def check_places(subject: Subject, module: Any, run: Run, x: Tensor, expected: Tensor) -> None:
    """Check that a module runs in mixed precision and, where there is a GPU, gives the same there."""
    module.eval()
    doing = subject.doing("mixed precision (bfloat16 autocast)")
    with torch.no_grad(), doing, torch.autocast("cpu", torch.bfloat16):
        mixed = run(module, x)
    check_shape(subject, mixed, tuple(expected.shape), "its output in mixed precision")
    if torch.cuda.is_available():
        with torch.no_grad(), subject.doing("running on a GPU", "Create tensors on the device of the input"):
            moved = run(module.to("cuda"), x.to("cuda"))
        module.to("cpu")
        subject.require(moved.is_cuda, "its output on a GPU is on the CPU", "Leave tensors where they are")
        subject.require(
            close(moved.cpu(), expected, 1e-2),
            "a GPU gives another output than the CPU",
            "Look for state that .to(device) does not move",
        )


def check_state(subject: Subject, module: Any) -> None:
    """Check that all of a module's tensors are parameters or saved buffers."""
    for name in _outside_state(module):
        subject.fail(
            f"tensor {name!r} would not be saved",
            "Make it a parameter or register_buffer(name, tensor), without persistent=False: a loaded model "
            "has what its weights file holds, and nothing else",
        )


def _outside_state(module: nn.Module) -> Iterator[str]:
    state = module.state_dict().keys()
    yield from (name for name, _ in module.named_buffers() if name not in state)
    for prefix, part in module.named_modules():
        yield from (
            f"{prefix}.{name}".strip(".") for name, value in vars(part).items() if isinstance(value, Tensor)
        )


def check_folder(subject: Subject, x: Tensor, part: str, **tables: Any) -> None:
    """Check that a model with the component, saved as a folder and loaded, is the same.

    Args:
        subject: the component.
        x: input of the model.
        part: where the model has it, "aggregator".
        tables: the tables of the model's config that differ from `COMPANIONS`.
    """
    model = EmotionModel(ModelConfig.model_validate({**COMPANIONS, **tables}))
    _unsettle(model.get_submodule(part))
    with subject.doing(
        "saving and loading a model with it",
        "It is rebuilt from its options on the meta device and given its weights: let the constructor look at "
        "no tensor's values, and keep all state in parameters and buffers",
    ):
        from emozoo.folder import load_model

        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder) / "model")
            loaded = load_model(Path(folder) / "model", "cpu")
        with torch.no_grad():
            outputs = model.eval()(x).heads, loaded(x).heads
    for name, value in outputs[0].items():
        subject.require(
            close(value, outputs[1][name], 1e-5),
            "a model with it gives other outputs after saving and loading",
            "Keep all that forward uses in options, parameters and buffers",
        )


def _unsettle(module: nn.Module) -> None:
    """Move every parameter a little, so that none is what the constructor makes of it."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))


def close(first: Tensor, second: Tensor, tolerance: float = 1e-3) -> bool:
    """Say whether two results agree but for rounding, such as that of sums in another order."""
    return first.shape == second.shape and torch.allclose(first, second, rtol=tolerance, atol=tolerance / 10)


def seeded(*shape: int) -> Tensor:
    """Return normal random numbers, the same ones every time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))
