"""What every aggregator owes whoever calls it, whatever it computes: the contract, and masks."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from clip_samples import holey_mask, randomised
from torch import nn

from emozoo import registry
from emozoo.errors import ContractError, RecipeError

VARIANTS = {
    "mean": ("mean", {}),
    "max": ("max", {}),
    "lstm-last": ("lstm", {"hidden": 3}),
    "lstm-mean": ("lstm", {"hidden": 3, "layers": 2, "dropout": 0.2, "pool": "mean"}),
    "lstm-max": ("lstm", {"hidden": 3, "bidirectional": True, "pool": "max"}),
    "lstm-concat": ("lstm", {"hidden": 3, "bidirectional": True, "pool": "concat", "frames": 15}),
    "fan-self": ("fan", {"relation": False}),
    "fan": ("fan", {}),
    "ceflnet": ("ceflnet", {}),
    "ceflnet-paper": ("ceflnet", {"variant": "paper"}),
    "ceflnet-attention": ("ceflnet", {"relation": "attention", "heads": 2, "maps": 3}),
    "ceflnet-sal": ("ceflnet", {"lrl": False, "eian": False}),
    "ceflnet-sal-lrl": ("ceflnet", {"eian": False}),
    "ceflnet-lrl": ("ceflnet", {"sal": False, "eian": False}),
    "ceflnet-eian": ("ceflnet", {"sal": False, "lrl": False}),
    "ceflnet-none": ("ceflnet", {"sal": False, "lrl": False, "eian": False}),
}
PICKING = {"max", "ceflnet-sal", "ceflnet-sal-lrl", "ceflnet-lrl", "ceflnet-eian", "ceflnet-none"}
"""Those that end in a plain maximum over frames or clips, and so may leave some of them out."""

each_aggregator = pytest.mark.parametrize("variant", VARIANTS)


def _build(variant: str) -> nn.Module:
    name, options = VARIANTS[variant]
    return registry.build("aggregator", name, options, 8, where="model.aggregator")


@each_aggregator
@pytest.mark.parametrize("shape", [(2, 3, 5), (1, 1, 1), (3, 1, 4), (2, 4, 1)])
def test_features_have_the_declared_size_and_weights_the_shape_of_the_input(variant, shape):
    aggregator = _build(variant)
    result = aggregator(torch.randn(*shape, 8))
    assert result.features.shape == (shape[0], aggregator.out_features)
    assert result.clip_weights is None or result.clip_weights.shape == shape[:2]
    assert result.frame_weights is None or result.frame_weights.shape == shape


@pytest.mark.parametrize(
    ("variant", "clips", "frames"),
    [
        ("mean", False, False),
        ("max", False, False),
        ("lstm-last", False, False),
        ("fan-self", False, True),
        ("fan", False, True),
        ("ceflnet", True, True),
        ("ceflnet-paper", True, True),
        ("ceflnet-sal-lrl", False, True),
        ("ceflnet-eian", True, False),
        ("ceflnet-sal", False, False),
    ],
)
def test_weights_are_returned_where_there_are_any(variant, clips, frames):
    result = _build(variant)(torch.randn(2, 3, 5, 8))
    assert (result.clip_weights is not None, result.frame_weights is not None) == (clips, frames)


@each_aggregator
@pytest.mark.parametrize("mode", ["grad", "inference"])
def test_a_mask_without_holes_is_the_same_as_none(variant, mode):
    aggregator, x = randomised(_build(variant)), torch.randn(2, 3, 5, 8)
    with torch.inference_mode(mode == "inference"):
        bare, masked = aggregator(x), aggregator(x, torch.ones(2, 3, 5, dtype=torch.bool))
    torch.testing.assert_close(masked.features, bare.features, atol=1e-6, rtol=1e-6)


@each_aggregator
@pytest.mark.parametrize("mode", ["grad", "inference"])
def test_what_masked_frames_hold_changes_no_bit(variant, mode):
    aggregator, x, mask = randomised(_build(variant)), torch.randn(4, 3, 5, 8), holey_mask(4, 3, 5)
    with torch.inference_mode(mode == "inference"):
        expected = aggregator(x, mask)
        for content in (torch.nan, torch.inf, -1e30, 0.0):
            result = aggregator(x.masked_fill(~mask.unsqueeze(-1), content), mask)
            assert torch.equal(result.features, expected.features)
    assert expected.features.isfinite().all()
    for weights, real in ((expected.frame_weights, mask), (expected.clip_weights, mask.any(2))):
        assert weights is None or (not weights[~real].any() and weights[real].gt(0).all())


@each_aggregator
@pytest.mark.parametrize("mode", ["grad", "inference"])
def test_padding_with_masked_frames_and_clips_gives_what_the_bare_video_gives(variant, mode):
    aggregator, video = randomised(_build(variant)), torch.randn(1, 2, 3, 8)
    padded = torch.full((1, 3, 5, 8), torch.nan)
    mask = torch.zeros(1, 3, 5, dtype=torch.bool)
    padded[:, :2, :3], mask[:, :2, :3] = video, True
    with torch.inference_mode(mode == "inference"):
        expected, result = aggregator(video), aggregator(padded, mask)
    torch.testing.assert_close(result.features, expected.features, atol=1e-6, rtol=1e-6)
    if expected.frame_weights is not None:
        torch.testing.assert_close(result.frame_weights[:, :2, :3], expected.frame_weights, atol=1e-6, rtol=0)
    if expected.clip_weights is not None:
        torch.testing.assert_close(result.clip_weights[:, :2], expected.clip_weights, atol=1e-6, rtol=0)


@each_aggregator
def test_a_video_without_real_frames_is_nan_and_spoils_no_other(variant):
    aggregator, x, mask = randomised(_build(variant)), torch.randn(3, 3, 5, 8), holey_mask(3, 3, 5)
    expected = aggregator(x, mask).features
    mask[1] = False
    features = aggregator(x, mask).features
    assert features[1].isnan().all()
    torch.testing.assert_close(features[::2], expected[::2])


@each_aggregator
def test_every_parameter_and_real_frame_learns_and_no_masked_frame_does(variant):
    torch.manual_seed(0)
    aggregator = _build(variant)
    x, mask = torch.randn(8, 3, 5, 8, requires_grad=True), holey_mask(8, 3, 5)
    result = aggregator(x.masked_fill(~mask.unsqueeze(-1), torch.nan), mask)
    (result.features * torch.randn_like(result.features)).sum().backward()
    for name, parameter in aggregator.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    assert x.grad.isfinite().all()
    assert not x.grad[~mask].any()
    if variant not in PICKING:
        assert x.grad[mask].any(-1).all()
    assert x.grad.flatten(1).any(1).all()


@each_aggregator
def test_mixed_precision_stays_near_single_precision(variant):
    aggregator, x, mask = randomised(_build(variant)), torch.randn(4, 3, 5, 8), holey_mask(4, 3, 5)
    expected = aggregator(x, mask).features
    with torch.autocast("cpu", torch.bfloat16):
        features = aggregator(x.bfloat16(), mask).features
    np.testing.assert_allclose(features.detach().float(), expected.detach(), atol=0.15, rtol=0.1)


@each_aggregator
@pytest.mark.parametrize(
    ("x", "mask", "message"),
    [
        ((2, 4, 8), None, r": expected features \(B, clips, frames, 8\), got \(2, 4, 8\)"),
        ((2, 1, 4, 6), None, r": expected features \(B, clips, frames, 8\), got \(2, 1, 4, 6\)"),
        ((2, 1, 4, 8), (2, 4), r": expected a boolean mask \(2, 1, 4\) .* got torch.bool \(2, 4\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_with_the_aggregators_name(variant, x, mask, message):
    with pytest.raises(ContractError, match=f"^{VARIANTS[variant][0]}{message}"):
        _build(variant)(torch.zeros(x), None if mask is None else torch.ones(mask, dtype=torch.bool))


def test_the_maximum_is_over_all_real_frames_of_all_clips_feature_by_feature():
    x, mask = torch.randn(3, 2, 4, 8) - 3, holey_mask(3, 2, 4)
    expected = [[max(x[b, :, :, d][mask[b]].tolist()) for d in range(8)] for b in range(3)]
    assert _build("max")(x, mask).features.tolist() == expected


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("max", {"heads": 4}, r"aggregator.heads: unknown key. It takes no options"),
        ("lstm", {"pool": "concat"}, r"emozoo:lstm: frames is for pool = 'concat', which needs it"),
        (
            "lstm",
            {"frames": 16},
            r"emozoo:lstm: frames is for pool = 'concat', .* \(pool = 'last', frames = 16\)",
        ),
        ("lstm", {"dropout": 0.5}, r"emozoo:lstm: dropout = 0.5 acts between layers.*set layers = 2"),
        ("lstm", {"hidden": 0}, r"aggregator.hidden: .*greater than 0"),
        ("fan", {"dropout": 1.0}, r"aggregator.dropout: .*less than 1"),
        ("fan", {"realtion": True}, r"aggregator.realtion: unknown key. Did you mean 'relation'\?"),
        (
            "ceflnet",
            {"heads": 3},
            r"emozoo:ceflnet: heads = 3 does not divide the 8 features of the backbone",
        ),
        ("ceflnet", {"variant": "offical"}, r"aggregator.variant: .* Did you mean 'official'\?"),
    ],
)
def test_a_wrong_aggregator_option_is_named_with_its_path(name, options, message):
    with pytest.raises(RecipeError, match=message):
        registry.build("aggregator", name, options, 8, where="model.aggregator")


def test_looking_at_a_recipe_with_a_video_backbone_imports_no_torchvision():
    code = (
        "import sys, emozoo_aggregators.ceflnet, emozoo_backbones.r3d, emozoo_backbones.c3d; "
        "sys.exit('torchvision' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
