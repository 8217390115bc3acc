from __future__ import annotations

import numpy as np
import pytest
import torch

from emozoo import registry
from emozoo.errors import ContractError, RecipeError
from emozoo_aggregators.mean import MeanAggregator


def test_without_a_mask_the_mean_is_over_all_frames_of_all_clips():
    x = torch.randn(3, 2, 4, 5)
    aggregated = MeanAggregator(5)(x)
    np.testing.assert_allclose(aggregated.features.numpy(), x.numpy().reshape(3, 8, 5).mean(1), atol=1e-6)
    assert aggregated.clip_weights is None
    assert aggregated.frame_weights is None


def test_every_real_frame_counts_the_same_whatever_its_clip_and_masked_frames_do_not_count():
    torch.manual_seed(0)
    x = torch.randn(4, 3, 5, 2)
    mask = torch.rand(4, 3, 5) < 0.4
    mask[:, 0, 0] = True
    expected = [
        np.mean([x[b, c, f].numpy() for c in range(3) for f in range(5) if mask[b, c, f]], axis=0)
        for b in range(4)
    ]
    x[~mask] = float("nan")
    np.testing.assert_allclose(MeanAggregator(2)(x, mask).features.numpy(), expected, atol=1e-6)


def test_masked_frames_receive_no_gradient():
    x = torch.randn(1, 1, 3, 2, requires_grad=True)
    MeanAggregator(2)(x, torch.tensor([[[True, False, True]]])).features.sum().backward()
    assert x.grad.tolist() == [[[[0.5, 0.5], [0.0, 0.0], [0.5, 0.5]]]]


def test_a_video_without_real_frames_is_nan_and_spoils_no_other():
    mask = torch.tensor([[[True, True]], [[False, False]]])
    features = MeanAggregator(3)(torch.ones(2, 1, 2, 3), mask).features
    assert features[0].tolist() == [1, 1, 1]
    assert features[1].isnan().all()


@pytest.mark.parametrize(
    ("x", "mask", "message"),
    [
        ((2, 4, 5), None, r"expected features \(B, clips, frames, 5\), got \(2, 4, 5\)"),
        ((2, 1, 4, 6), None, r"expected features \(B, clips, frames, 5\), got \(2, 1, 4, 6\)"),
        ((2, 1, 4, 5), (2, 4), r"boolean mask \(2, 1, 4\) .* got torch.bool \(2, 4\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_not_broadcast(x, mask, message):
    with pytest.raises(ContractError, match=message):
        MeanAggregator(5)(torch.zeros(x), None if mask is None else torch.ones(mask, dtype=torch.bool))


def test_a_mask_of_weights_is_refused():
    with pytest.raises(ContractError, match=r"boolean mask .* got torch.float32 \(2, 1, 4\)"):
        MeanAggregator(5)(torch.zeros(2, 1, 4, 5), torch.ones(2, 1, 4))


def test_mean_takes_no_options():
    assert registry.build("aggregator", "mean", {}, 7, where="model.aggregator").out_features == 7
    with pytest.raises(RecipeError, match=r"model.aggregator.heads: unknown key. It takes no options"):
        registry.build("aggregator", "mean", {"heads": 4}, 7, where="model.aggregator")
