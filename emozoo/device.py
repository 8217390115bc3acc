"""Where a model computes, and in what precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from emozoo.errors import RecipeError

if TYPE_CHECKING:
    import torch

Dtype = Literal["fp32", "bf16", "fp16"]
"""The precision that a loaded model computes in; what it predicts are single-precision numbers in any case."""


def resolve_dtype(dtype: str) -> torch.dtype | None:
    """Return the type that the weights are turned into; None where they stay as the model was built.

    Raises:
        RecipeError: the name means nothing.
    """
    import torch

    known = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
    if dtype not in known:
        raise RecipeError(f"dtype {dtype!r}: write {', '.join(known)}")
    return known[dtype]


def resolve_device(device: str) -> torch.device:
    """Return the device that a name means; "auto" is a GPU where there is one.

    Raises:
        RecipeError: the name means nothing, or this machine has no such device.
    """
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
        if place.type == "meta":
            raise RuntimeError("nothing can be computed there")
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise RecipeError(f"device {device!r}: write auto, cpu, cuda or cuda:N ({reason})") from None
    return place
