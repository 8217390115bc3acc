"""CEFLNet against the equations of its paper and its code, written down once more in numpy, frame by frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from clip_samples import RGB, holey_mask, numbers, randomised, sigmoid, softmax
from torch.utils.flop_counter import FlopCounterMode

from emozoo.model import EmotionModel
from emozoo.recipe import ModelConfig
from emozoo_aggregators.ceflnet import CEFLNetAggregator

D = 8


def _attention(p: dict[str, np.ndarray], frames: np.ndarray, heads: int) -> np.ndarray:
    """Eq. 1 in each head's own part of the features, then the output's projection."""
    queries, keys, values = (
        frames @ weight.T + bias
        for weight, bias in zip(
            np.split(p["attn.in_proj_weight"], 3), np.split(p["attn.in_proj_bias"], 3), strict=True
        )
    )
    size = D // heads
    out = np.zeros_like(frames)
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        for k in range(len(frames)):
            scores = np.array([queries[k, part] @ keys[j, part] for j in range(len(frames))])
            out[k, part] = softmax(scores / np.sqrt(size)) @ values[:, part]
    return out @ p["attn.out_proj.weight"].T + p["attn.out_proj.bias"]


def _normalised(p: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    deviation = np.sqrt(x.var(1, keepdims=True) + 1e-5)
    return (x - x.mean(1, keepdims=True)) / deviation * p["norm1.weight"] + p["norm1.bias"]


def _clip(p: dict[str, np.ndarray], frames: np.ndarray, options: dict) -> tuple[np.ndarray, np.ndarray]:
    """A clip's R_i and w_k from its real frames (K, D)."""
    attended = frames
    if options["sal"]:
        attended = _attention(p, frames, options["heads"])
        if options["variant"] == "official":
            attended = _normalised(p, frames + attended)
    g = attended.max(0)
    if not options["lrl"]:
        return g, np.zeros(len(frames))
    weights, total = [], 0
    for k in range(len(frames)):
        local = frames[k] if options["relation"] == "backbone" else attended[k]
        related = np.concatenate([local, g])
        weights.append(sigmoid(p["beta.0.weight"] @ related + p["beta.0.bias"])[0])
        total = total + weights[-1] * (related if options["relation"] == "backbone" else local)
    return p["fc.weight"] @ (total / sum(weights)) + p["fc.bias"], np.array(weights)


def _video(p: dict[str, np.ndarray], clips: list[np.ndarray], options: dict):
    """Features, A and w of a video from the real frames of its real clips."""
    encoded = [_clip(p, frames, options) for frames in clips]
    vectors, weights = np.array([r for r, _ in encoded]), [w for _, w in encoded]
    if not options["eian"]:
        return vectors.max(0), None, weights
    maps = [softmax(vectors @ row) for row in p["temp_attn.attn.0.weight"][:, :, 0]]
    features = np.full(D, -np.inf)
    for activation in maps:
        for amount, vector in zip(activation, vectors, strict=True):
            features = np.maximum(features, amount * vector)
    return features, np.mean(maps, 0), weights


OFFICIAL = {
    "variant": "official", "heads": 4, "relation": "backbone", "maps": 1, "sal": True, "lrl": True, "eian": True
}  # fmt: skip
PAPER = OFFICIAL | {"variant": "paper", "heads": 1, "relation": "attention", "maps": 7}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        OFFICIAL,
        PAPER,
        OFFICIAL | {"heads": 1},
        OFFICIAL | {"heads": 8, "relation": "attention", "maps": 3},
        PAPER | {"heads": 2, "relation": "backbone"},
        PAPER | {"maps": 1},
        OFFICIAL | {"lrl": False, "eian": False},
        OFFICIAL | {"eian": False},
        OFFICIAL | {"lrl": False},
        OFFICIAL | {"sal": False},
        PAPER | {"sal": False, "eian": False},
        OFFICIAL | {"sal": False, "lrl": False},
    ],
    ids=lambda options: " ".join(f"{value}" for value in options.values()),
)
def test_the_equations_hold_for_every_frame_clip_and_video(options, masked):
    aggregator = randomised(CEFLNetAggregator(D, **options))
    torch.manual_seed(1)
    x = torch.randn(3, 4, 5, D)
    mask = holey_mask(3, 4, 5) if masked else torch.ones(3, 4, 5, dtype=torch.bool)
    with torch.inference_mode():
        result = aggregator(x, mask if masked else None)
    p = numbers(aggregator)
    for b in range(3):
        real = [i for i in range(4) if mask[b, i].any()]
        clips = [x[b, i][mask[b, i]].double().numpy() for i in real]
        features, activation, weights = _video(p, clips, options)
        np.testing.assert_allclose(result.features[b], features, atol=1e-6, rtol=1e-6)
        if options["eian"]:
            np.testing.assert_allclose(result.clip_weights[b, real], activation, atol=1e-6)
        if options["lrl"]:
            for i, expected in zip(real, weights, strict=True):
                np.testing.assert_allclose(result.frame_weights[b, i][mask[b, i]], expected, atol=1e-6)


@pytest.mark.parametrize("variant", ["official", "paper"])
def test_the_variant_decides_heads_relation_and_maps_and_what_is_given_wins(variant):
    full = OFFICIAL if variant == "official" else PAPER
    preset = randomised(CEFLNetAggregator(D, variant=variant))
    spelt_out = randomised(CEFLNetAggregator(D, **full))
    x = torch.randn(2, 3, 5, D)
    assert torch.equal(preset(x).features, spelt_out(x).features)
    assert CEFLNetAggregator(D, variant=variant, maps=6).temp_attn.attn[0].out_channels == 6


def test_one_heads_output_projection_merges_with_the_values_so_that_eq_1_loses_nothing():
    aggregator = randomised(CEFLNetAggregator(D, variant="paper"))
    p, frames = numbers(aggregator), np.random.default_rng(0).normal(size=(5, D))
    weights, biases = np.split(p["attn.in_proj_weight"], 3), np.split(p["attn.in_proj_bias"], 3)
    query, key = (frames @ weights[n].T + biases[n] for n in (0, 1))
    merged = weights[2].T @ p["attn.out_proj.weight"].T
    bias = biases[2] @ p["attn.out_proj.weight"].T + p["attn.out_proj.bias"]
    shares = np.array([softmax(row) for row in query @ key.T / np.sqrt(D)])
    np.testing.assert_allclose(shares @ (frames @ merged + bias), _attention(p, frames, 1), atol=1e-12)


def test_the_activation_map_sums_to_one_over_the_real_clips():
    mask = holey_mask(4, 3, 5)
    for variant in ("official", "paper"):
        weights = randomised(CEFLNetAggregator(D, variant=variant))(
            torch.randn(4, 3, 5, D), mask
        ).clip_weights
        torch.testing.assert_close(weights.sum(1), torch.ones(4))


def test_frame_weights_too_small_for_a_float_still_weigh_frames_against_each_other():
    aggregator = randomised(CEFLNetAggregator(D, eian=False, sal=False))
    with torch.no_grad():
        aggregator.beta[0].bias.fill_(-1e4)
        assert aggregator(torch.randn(2, 3, 5, D)).features.isfinite().all()


def test_dropout_acts_on_attention_and_on_the_relations_input_in_training_only():
    x = torch.randn(2, 3, 5, D)
    for options in ({"dropout": 0.0}, {"relation_dropout": 0.0}):
        aggregator = CEFLNetAggregator(D, **options)
        assert not torch.equal(aggregator(x).features, aggregator(x).features), options
        assert torch.equal(aggregator.eval()(x).features, aggregator(x).features)
    still = CEFLNetAggregator(D, dropout=0.0, relation_dropout=0.0)
    assert torch.equal(still(x).features, still.eval()(x).features)


def test_the_activation_starts_kaiming_normal_fan_out_as_in_the_published_code():
    torch.manual_seed(0)
    for maps in (1, 7):
        weight = CEFLNetAggregator(4096, heads=1, maps=maps, sal=False, lrl=False).temp_attn.attn[0].weight
        assert weight.std().item() == pytest.approx(np.sqrt(2 / maps), rel=0.05)


PUBLISHED = [
    "attn.in_proj_weight", "attn.in_proj_bias", "attn.out_proj.weight", "attn.out_proj.bias",
    "norm1.weight", "norm1.bias", "beta.0.weight", "beta.0.bias", "fc.weight", "fc.bias",
    "temp_attn.attn.0.weight",
]  # fmt: skip


def test_the_official_parameters_have_the_published_checkpoints_names_and_shapes():
    with torch.device("meta"):
        aggregator = CEFLNetAggregator(512)
    shapes = {name: tuple(value.shape) for name, value in aggregator.state_dict().items()}
    assert sorted(shapes) == sorted(PUBLISHED)
    assert shapes["beta.0.weight"] == (1, 1024)
    assert shapes["fc.weight"] == (512, 1024)
    assert shapes["temp_attn.attn.0.weight"] == (1, 512, 1)


def _model(labels: int = 6, **aggregator: object) -> EmotionModel:
    config = {
        "labels": [f"emotion {n}" for n in range(labels)],
        "preprocess": RGB,
        "backbone": {"name": "resnet18"},
        "aggregator": {"name": "ceflnet", **aggregator},
        "heads": {"emotion": {"name": "classification", "hidden": [256, 128], "dropout": 0.4}},
    }
    with torch.device("meta"):
        return EmotionModel(ModelConfig.model_validate(config))


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_parts_have_the_published_codes_parameter_counts():
    model = _model()
    parts = {name: _count(part) for name, part in model.aggregator.named_children() if _count(part)}
    assert parts == {"attn": 1_050_624, "norm1": 1_024, "beta": 1_025, "fc": 524_800, "temp_attn": 512}
    assert _count(model.backbone) == 11_176_512
    assert _count(model.heads["emotion"]) == 164_998
    assert _count(model) == 12_919_495
    # the seven-class model of the published code has 13,968,712: its `fc2`, 2048 to 512, is never run
    assert _count(_model(labels=7)) == 12_919_624 == 13_968_712 - (2048 * 512 + 512)


def test_the_published_classifier_has_its_dropout_before_the_last_layer_only():
    layers = _model().heads["emotion"].layers
    assert [type(layer).__name__ for layer in layers] == [
        "Linear", "ReLU", "Linear", "ReLU", "Dropout", "Linear"
    ]  # fmt: skip
    assert layers[4].p == 0.4


@pytest.mark.parametrize(("frames", "published"), [(2, 25.52), (5, 63.80), (10, 127.59), (15, 191.39)])
def test_seven_clips_cost_the_papers_macs_within_one_per_cent(frames, published):
    model = _model().train()
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 7, frames, 3, 224, 224, device="meta"))
    assert counter.get_total_flops() / 2e9 == pytest.approx(published, rel=0.01)
