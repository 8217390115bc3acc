"""Orthogonal regularisation of convolutions (Wang et al. 2020, "Orthogonal convolutional neural networks").

A backbone that can be regularised declares its convolutions in a method `orthogonal_convs()`, which returns a
list of `nn.Conv2d`. Which they are depends on the architecture; of a ResNet, Huo & Ge 2024 take the first
convolution of each block and the 1x1 shortcuts.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn

from emozoo.errors import TrainingError


def orthogonal_convs(backbone: nn.Module) -> list[nn.Conv2d]:
    """Return the convolutions that a backbone declares for orthogonal regularisation.

    Raises:
        TrainingError: it declares none, or something that is not an ungrouped convolution.
    """
    declare = getattr(backbone, "orthogonal_convs", None)
    convs = list(declare()) if callable(declare) else []
    name = type(backbone).__name__
    if not convs:
        raise TrainingError(
            f"train.orthogonal: the backbone {name} declares no convolutions to regularise. "
            "Set train.orthogonal = 0, or give the backbone a method orthogonal_convs() that returns them."
        )
    for conv in convs:
        if not isinstance(conv, nn.Conv2d) or conv.groups != 1:
            raise TrainingError(
                f"train.orthogonal: {name}.orthogonal_convs() returned {conv}; "
                "it may return nothing but ungrouped nn.Conv2d."
            )
    return convs


def orthogonality(convs: Sequence[nn.Conv2d]) -> Tensor:
    """Return how far convolutions are from orthogonal: the sum of their distances, a scalar, in float32.

    - Of a 1x1 kernel M (out, in): ||M'M - I||_F, or ||MM' - I||_F where that is the smaller matrix.
    - Of a larger kernel W with stride s: ||conv(W, W; stride s, padding 1) - I0||_F, with I0 the identity at
      the centre position of the output, floor(size / 2), as Huo & Ge 2024 have it. For s = 2 the output is
      2x2 and has no true centre: that position is the shift by (1, 1), not by (0, 0).
    """
    with torch.autocast(convs[0].weight.device.type, enabled=False):
        return torch.stack([_distance(conv) for conv in convs]).sum()


def _distance(conv: nn.Conv2d) -> Tensor:
    kernel = conv.weight.to(torch.promote_types(conv.weight.dtype, torch.float32))
    if conv.kernel_size == (1, 1):
        matrix = kernel.flatten(1)
        gram = matrix @ matrix.T if len(matrix) < matrix.shape[1] else matrix.T @ matrix
        return torch.linalg.vector_norm(_row_norms(gram - _identity(gram)))
    return _kernel_distance(kernel, conv.stride[0])


def _kernel_distance(kernel: Tensor, stride: int) -> Tensor:
    """Return ||conv(W, W; stride, padding 1) - I0||_F: a matrix product a shift of the kernel against itself.

    A shift and its opposite give transposed matrices, so half of them are enough, and only the taps that
    overlap are multiplied: a third of the work of the convolution.
    """
    shifts = range(-1, 2, stride)
    centre = (shifts[len(shifts) // 2],) * 2
    norms = []
    for y, x in product(shifts, repeat=2):
        if (y, x) < (0, 0):
            continue
        gram = _overlap(kernel, y, x) @ _overlap(kernel, -y, -x).T
        norms.append(_row_norms(gram - _identity(gram) if (y, x) == centre else gram))
        if (y, x) != (0, 0):
            norms.append(_row_norms(gram))
    return torch.linalg.vector_norm(torch.cat(norms))


def _overlap(kernel: Tensor, y: int, x: int) -> Tensor:
    """Return the taps of a kernel (out, in, h, w) its copy shifted by (y, x) covers, (out, in * taps)."""
    height, width = kernel.shape[-2:]
    return kernel[:, :, max(y, 0) : height + min(y, 0), max(x, 0) : width + min(x, 0)].flatten(1)


def _row_norms(matrix: Tensor) -> Tensor:
    # Norms in two stages: over a million entries at once a CPU gets only four digits right. Unlike the root
    # of a sum of squares, a norm has a gradient (zero) where the kernel is exactly orthogonal.
    return torch.linalg.vector_norm(matrix, dim=1)


def _identity(matrix: Tensor) -> Tensor:
    return torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
