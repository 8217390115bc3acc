"""What the aggregators have in common: the check of their input, and masks.

No aggregator branches on what a mask holds: masked frames become zeros and leave every softmax, sum and maximum.
A clip without any real frame would leave nothing to work on; it is worked on as if all of its (zero) frames
were real, and its result is left out afterwards.
"""

from __future__ import annotations

import torch
from torch import Tensor

from emozoo.contracts import Aggregated
from emozoo.errors import ContractError


def checked(who: str, in_features: int, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the features with zeros in masked frames, whatever was there, and a mask that is always a tensor.

    Args:
        who: the aggregator's name, for error messages.
        in_features: D.
        x: features (B, clips, frames, D).
        mask: (B, clips, frames), True for real frames; None where all are.

    Raises:
        ContractError: the shapes do not fit, or the mask is not boolean.
    """
    if x.ndim != 4 or x.shape[-1] != in_features:
        raise ContractError(
            f"{who}: expected features (B, clips, frames, {in_features}), got {tuple(x.shape)}"
        )
    if mask is None:
        return x, torch.ones(x.shape[:3], dtype=torch.bool, device=x.device)
    if mask.shape != x.shape[:3] or mask.dtype != torch.bool:
        raise ContractError(
            f"{who}: expected a boolean mask {tuple(x.shape[:3])} for features {tuple(x.shape)}, "
            f"got {mask.dtype} {tuple(mask.shape)}"
        )
    return x.masked_fill(~mask.unsqueeze(-1), 0), mask


def filled(mask: Tensor) -> Tensor:
    """Return a mask (..., n) in which groups without any real element are all real."""
    return mask | ~mask.any(-1, keepdim=True)


def weighted_mean(values: Tensor, log_weights: Tensor, mask: Tensor) -> Tensor:
    """Return sum_k w_k v_k / sum_k w_k over real k, also where all weights are too small for a float.

    Args:
        values: (..., n, D).
        log_weights: log w (..., n).
        mask: (..., n), with a real element in every group.
    """
    shares = log_weights.masked_fill(~mask, -torch.inf).softmax(-1)
    return (shares.unsqueeze(-1) * values).sum(-2)


def maximum(values: Tensor, mask: Tensor) -> Tensor:
    """Return the greatest values (..., D) of the real among (..., n, D), with a mask (..., n)."""
    return values.masked_fill(~mask.unsqueeze(-1), -torch.inf).amax(-2)


def aggregated(
    features: Tensor, mask: Tensor, clip_weights: Tensor | None = None, frame_weights: Tensor | None = None
) -> Aggregated:
    """Return the result, with NaN features for videos without real frames and weights of 0 for what is masked.

    Args:
        features: (B, D').
        mask: (B, clips, frames).
        clip_weights: (B, clips) or None.
        frame_weights: (B, clips, frames) or None.
    """
    return Aggregated(
        features.masked_fill(~mask.flatten(1).any(1, keepdim=True), torch.nan),
        None if clip_weights is None else clip_weights.masked_fill(~mask.any(2), 0),
        None if frame_weights is None else frame_weights.masked_fill(~mask, 0),
    )
