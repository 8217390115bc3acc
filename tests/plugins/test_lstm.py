"""The LSTM aggregator against its cell's equations in numpy, and masks against runs without padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from clip_samples import RGB, holey_mask, numbers, randomised, sigmoid

from emozoo.errors import ContractError
from emozoo.model import EmotionModel
from emozoo.recipe import ModelConfig
from emozoo_aggregators.lstm import LSTMAggregator

D, H = 5, 3


def _direction(p: dict[str, np.ndarray], name: str, sequence: np.ndarray) -> np.ndarray:
    """Hochreiter & Schmidhuber's cell with a forget gate, step by step: (T, D) to (T, H)."""
    h, c, outputs = np.zeros(H), np.zeros(H), []
    for x in sequence:
        gates = p[f"lstm.weight_ih_{name}"] @ x + p[f"lstm.bias_ih_{name}"]
        gates = gates + p[f"lstm.weight_hh_{name}"] @ h + p[f"lstm.bias_hh_{name}"]
        enter, forget, candidate, leave = np.split(gates, 4)
        c = sigmoid(forget) * c + sigmoid(enter) * np.tanh(candidate)
        h = sigmoid(leave) * np.tanh(c)
        outputs.append(h)
    return np.array(outputs)


def _outputs(p: dict[str, np.ndarray], sequence: np.ndarray, layers: int, bidirectional: bool) -> np.ndarray:
    for layer in range(layers):
        parts = [_direction(p, f"l{layer}", sequence)]
        if bidirectional:
            parts.append(_direction(p, f"l{layer}_reverse", sequence[::-1])[::-1])
        sequence = np.concatenate(parts, 1)
    return sequence


def _pooled(outputs: np.ndarray, pool: str, frames: int) -> np.ndarray:
    if pool == "last":
        return np.concatenate([outputs[-1, :H], outputs[0, H:]])
    if pool == "mean":
        return outputs.mean(0)
    if pool == "max":
        return outputs.max(0)
    return np.concatenate([*outputs, np.zeros((frames - len(outputs)) * outputs.shape[1])])


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("pool", ["last", "mean", "max", "concat"])
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (2, False), (1, True), (3, True)])
def test_the_cells_equations_hold_over_the_real_frames_of_all_clips(layers, bidirectional, pool, masked):
    frames = 10 if pool == "concat" else None
    aggregator = randomised(
        LSTMAggregator(D, hidden=H, layers=layers, bidirectional=bidirectional, pool=pool, frames=frames)
    )
    x = torch.randn(3, 2, 4, D)
    mask = holey_mask(3, 2, 4) if masked else torch.ones(3, 2, 4, dtype=torch.bool)
    features = aggregator(x, mask if masked else None).features
    assert features.shape == (3, aggregator.out_features)
    for b in range(3):
        outputs = _outputs(numbers(aggregator), x[b][mask[b]].double().numpy(), layers, bidirectional)
        expected = _pooled(outputs, pool, 10)
        np.testing.assert_allclose(features[b].detach(), expected, atol=1e-6, rtol=1e-6)


def test_videos_of_all_lengths_in_one_batch_are_each_as_if_alone():
    aggregator = randomised(LSTMAggregator(D, hidden=H, layers=2, bidirectional=True))
    videos = [torch.randn(1, 1, length, D) for length in (4, 1, 7, 3)]
    x, mask = torch.full((4, 1, 7, D), torch.nan), torch.zeros(4, 1, 7, dtype=torch.bool)
    for b, video in enumerate(videos):
        x[b, :, : video.shape[2]], mask[b, :, : video.shape[2]] = video[0], True
    alone = torch.cat([aggregator(video).features for video in videos])
    torch.testing.assert_close(aggregator(x, mask).features, alone, atol=1e-6, rtol=1e-6)


def test_dropout_acts_between_layers_in_training_only():
    x = torch.randn(2, 1, 4, D)
    aggregator = LSTMAggregator(D, hidden=H, layers=2, dropout=0.5)
    assert not torch.equal(aggregator(x).features, aggregator(x).features)
    assert torch.equal(aggregator.eval()(x).features, aggregator(x).features)


def test_concat_refuses_a_video_of_more_frames_than_its_features_have_room_for():
    aggregator = LSTMAggregator(D, hidden=H, pool="concat", frames=7)
    with pytest.raises(
        ContractError, match=r"built for 7 frames a video, got 8: set model.aggregator.frames"
    ):
        aggregator(torch.zeros(1, 2, 4, D))


def test_the_dfew_authors_cnn_lstm_is_reachable_and_has_its_17_39_million_parameters():
    config = {
        "preprocess": RGB,
        "backbone": {"name": "timm/resnet26"},  # what their `resnet18_LSTM` is: bottlenecks, 2048 features
        "aggregator": {"name": "lstm", "hidden": 256, "layers": 3, "pool": "concat", "frames": 16},
        "heads": {"emotion": {"name": "classification"}},
    }
    with torch.device("meta"):
        model = EmotionModel(ModelConfig.model_validate(config))
        output = model.train()(torch.zeros(2, 1, 16, 3, 112, 112))
    assert output.features.shape == (2, 4096)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(17.39, abs=0.005)
