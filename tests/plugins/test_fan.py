"""FAN against its paper's formulas, written down once more in numpy, frame by frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from clip_samples import RGB, holey_mask, numbers, randomised, sigmoid

from emozoo.model import EmotionModel
from emozoo.recipe import ModelConfig
from emozoo_aggregators.fan import FANAggregator

D = 6


def _video(p: dict[str, np.ndarray], frames: np.ndarray, relation: bool) -> tuple[np.ndarray, np.ndarray]:
    """Features and weights of a video from its real frames (T, D)."""
    alpha = [sigmoid(p["alpha.0.weight"] @ f + p["alpha.0.bias"])[0] for f in frames]
    video = sum(a * f for a, f in zip(alpha, frames, strict=True)) / sum(alpha)
    if not relation:
        return video, np.array(alpha)
    related = [np.concatenate([f, video]) for f in frames]
    beta = [sigmoid(p["beta.0.weight"] @ r + p["beta.0.bias"])[0] for r in related]
    both = [a * b for a, b in zip(alpha, beta, strict=True)]
    return sum(w * r for w, r in zip(both, related, strict=True)) / sum(both), np.array(both)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("relation", [False, True])
def test_the_formulas_hold_over_all_real_frames_of_all_clips(relation, masked):
    aggregator = randomised(FANAggregator(D, relation=relation))
    x = torch.randn(3, 2, 4, D)
    mask = holey_mask(3, 2, 4) if masked else torch.ones(3, 2, 4, dtype=torch.bool)
    result = aggregator(x, mask if masked else None)
    for b in range(3):
        features, weights = _video(numbers(aggregator), x[b][mask[b]].double().numpy(), relation)
        np.testing.assert_allclose(result.features[b].detach(), features, atol=1e-6, rtol=1e-6)
        np.testing.assert_allclose(result.frame_weights[b][mask[b]].detach(), weights, atol=1e-6)


@pytest.mark.parametrize("relation", [False, True])
def test_training_computes_the_same_as_evaluation_but_for_dropout(relation):
    x = torch.randn(2, 1, 4, D)
    still = randomised(FANAggregator(D, relation=relation, dropout=0.0))
    assert torch.equal(still(x).features, still.train()(x).features)
    noisy = FANAggregator(D, relation=relation)
    assert not torch.equal(noisy(x).features, noisy(x).features)


@pytest.mark.parametrize("relation", [False, True])
def test_weights_too_small_for_a_float_still_weigh_frames_against_each_other(relation):
    aggregator = randomised(FANAggregator(D, relation=relation))
    with torch.no_grad():
        aggregator.alpha[0].bias.fill_(-1e4)
        x = torch.randn(2, 1, 4, D)
        assert aggregator(x).features.isfinite().all()
        assert aggregator(x).features.std() > 0.1


def test_parameters_have_the_published_checkpoints_names():
    assert list(FANAggregator(D).state_dict()) == [
        "alpha.0.weight", "alpha.0.bias", "beta.0.weight", "beta.0.bias"
    ]  # fmt: skip
    assert list(FANAggregator(D, relation=False).state_dict()) == ["alpha.0.weight", "alpha.0.bias"]


def test_the_seven_class_model_has_the_published_codes_parameters_but_for_a_classifier_it_does_not_use():
    config = {
        "preprocess": RGB,
        "backbone": {"name": "resnet18"},
        "aggregator": {"name": "fan"},
        "heads": {"emotion": {"name": "classification", "dropout": 0.6}},
    }
    with torch.device("meta"):
        model = EmotionModel(ModelConfig.model_validate(config))
    unused = 512 * 7 + 7  # `pred_fc1`, which classifies without the relation
    assert sum(parameter.numel() for parameter in model.parameters()) == 11_188_816 - unused
