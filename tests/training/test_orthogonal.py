"""Orthogonal regularisation against plain loops over the kernels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from emozoo.errors import TrainingError
from emozoo.training.orthogonal import orthogonal_convs, orthogonality


def loop_kernel_distance(kernel, stride):
    """||conv(W, W; stride, padding 1) - I0||_F, tap by tap, with W as lists of [out][in][row][column]."""
    filters, channels, size = len(kernel), len(kernel[0]), len(kernel[0][0])
    positions = (size + 2 - size) // stride + 1
    total = 0.0
    for image in range(filters):
        for weight in range(filters):
            for y in range(positions):
                for x in range(positions):
                    value = 0.0
                    for c in range(channels):
                        for i in range(size):
                            for j in range(size):
                                row, column = y * stride + i - 1, x * stride + j - 1
                                if 0 <= row < size and 0 <= column < size:
                                    value += kernel[image][c][row][column] * kernel[weight][c][i][j]
                    centre = y == x == positions // 2
                    total += (value - (1.0 if centre and image == weight else 0.0)) ** 2
    return math.sqrt(total)


def loop_shortcut_distance(matrix):
    """||M'M - I||_F of the smaller side, with M as lists of [out][in]."""
    vectors = (
        matrix if len(matrix) < len(matrix[0]) else [list(column) for column in zip(*matrix, strict=True)]
    )
    total = 0.0
    for i, left in enumerate(vectors):
        for j, right in enumerate(vectors):
            total += (sum(a * b for a, b in zip(left, right, strict=True)) - (i == j)) ** 2
    return math.sqrt(total)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("out", "channels"), [(4, 4), (6, 3), (2, 5), (1, 1)])
def test_a_3x3_kernel_is_as_far_from_orthogonal_as_a_loop_over_its_taps_says(out, channels, stride):
    torch.manual_seed(out * channels + stride)
    conv = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)
    expected = loop_kernel_distance(conv.weight.tolist(), stride)
    assert orthogonality([conv]).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("out", "channels"), [(6, 3), (3, 6), (4, 4)])
def test_a_1x1_kernel_is_measured_on_its_smaller_side(out, channels):
    torch.manual_seed(out)
    conv = nn.Conv2d(channels, out, 1, stride=2, bias=False)
    expected = loop_shortcut_distance(conv.weight[:, :, 0, 0].tolist())
    assert orthogonality([conv]).item() == pytest.approx(expected, rel=1e-5)


def test_several_convolutions_add_up():
    convs = [nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, stride=2), nn.Conv2d(4, 8, 1)]
    expected = sum(orthogonality([conv]).item() for conv in convs)
    assert orthogonality(convs).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kernel", [1, 3])
def test_an_orthogonal_kernel_is_at_distance_0_and_its_gradient_is_finite(kernel):
    conv = nn.Conv2d(5, 5, kernel, padding=kernel // 2, bias=False)
    nn.init.dirac_(conv.weight)
    distance = orthogonality([conv])
    distance.backward()
    assert distance.item() == 0
    assert conv.weight.grad is not None
    assert conv.weight.grad.isfinite().all()


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 1)])
def test_its_gradient_is_that_of_finite_differences(kernel, stride):
    torch.manual_seed(3)
    conv = nn.Conv2d(3, 4, kernel, stride=stride, bias=False).double()

    def distance(weight):
        return torch.func.functional_call(Wrapped(conv), {"conv.weight": weight}, ())

    assert torch.autograd.gradcheck(distance, conv.weight)


class Wrapped(nn.Module):
    def __init__(self, conv):
        super().__init__()
        self.conv = conv

    def forward(self):
        return orthogonality([self.conv])


def test_gradient_descent_on_it_makes_a_kernel_orthogonal():
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
    optimizer = torch.optim.Adam(conv.parameters(), lr=0.01)
    start = orthogonality([conv]).item()
    for _ in range(150):
        optimizer.zero_grad()
        orthogonality([conv]).backward()
        optimizer.step()
    assert orthogonality([conv]).item() < 0.05 * start


def test_under_autocast_it_is_computed_in_float32_all_the_same():
    conv = nn.Conv2d(16, 16, 3, bias=False)
    exact = orthogonality([conv])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = orthogonality([conv])
    assert mixed.dtype == torch.float32
    assert mixed.item() == exact.item()
    assert orthogonality([conv.to(torch.bfloat16)]).dtype == torch.float32


def test_a_fresh_resnet18_starts_near_118_5_as_measured_on_the_published_code():
    torch.manual_seed(0)  # from seed to seed the value moves by 0.1 to 0.2
    blocks = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1)]
    blocks += [(256, 512, 2), (512, 512, 1)]
    convs = [nn.Conv2d(i, o, 3, stride=s, padding=1, bias=False) for i, o, s in blocks]
    convs += [nn.Conv2d(i, o, 1, stride=2, bias=False) for i, o, s in blocks if s == 2]
    with torch.no_grad():
        assert orthogonality(convs).item() == pytest.approx(118.5, abs=0.3)


class Declares(nn.Module):
    def __init__(self, *convs):
        super().__init__()
        self.convs = nn.ModuleList(convs)

    def orthogonal_convs(self):
        return list(self.convs)


def test_the_backbone_says_which_convolutions_are_meant():
    backbone = Declares(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 1))
    assert orthogonal_convs(backbone) == [backbone.convs[0], backbone.convs[1]]


@pytest.mark.parametrize("backbone", [nn.Sequential(nn.Conv2d(3, 4, 3)), Declares()])
def test_a_backbone_that_declares_none_cannot_be_regularised(backbone):
    with pytest.raises(TrainingError, match=r"declares no convolutions .* train\.orthogonal = 0"):
        orthogonal_convs(backbone)


@pytest.mark.parametrize("module", [nn.Linear(3, 4), nn.Conv2d(4, 4, 3, groups=2)])
def test_what_is_not_an_ungrouped_convolution_is_refused(module):
    with pytest.raises(
        TrainingError, match=r"Declares\.orthogonal_convs\(\) returned .*ungrouped nn\.Conv2d"
    ):
        orthogonal_convs(Declares(module))
