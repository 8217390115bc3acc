"""Checkpoints in the layout of the CEFLNet and FAN authors' code, and what that code computes, in numpy and loops."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]


def resnet(seed: int = 0) -> State:
    """The tensors of a ResNet-18 without classifier, by torchvision's names, counters included."""
    draw = torch.Generator().manual_seed(seed)
    state = _convolution("conv1", 64, 3, 7, draw) | _norm("bn1", 64, draw)
    before = 64
    for stage, channels in enumerate((64, 128, 256, 512), 1):
        for block in range(2):
            name = f"layer{stage}.{block}"
            state |= _convolution(f"{name}.conv1", channels, before, 3, draw)
            state |= _norm(f"{name}.bn1", channels, draw)
            state |= _convolution(f"{name}.conv2", channels, channels, 3, draw)
            state |= _norm(f"{name}.bn2", channels, draw)
            if before != channels:
                state |= _convolution(f"{name}.downsample.0", channels, before, 1, draw)
                state |= _norm(f"{name}.downsample.1", channels, draw)
            before = channels
    return state


def ceflnet(outputs: int = 7, seed: int = 0) -> State:
    """A checkpoint of CEFLNet, with the layer `fc2` that its code never calls."""
    draw = torch.Generator().manual_seed(seed + 1)
    attention = {
        "attn.in_proj_weight": torch.randn(1536, 512, generator=draw) / 23,
        "attn.in_proj_bias": torch.randn(1536, generator=draw) / 10,
        "norm1.weight": torch.rand(512, generator=draw) + 0.5,
        "norm1.bias": torch.randn(512, generator=draw) / 10,
        "temp_attn.attn.0.weight": torch.randn(1, 512, 1, generator=draw),
    }
    sizes = {
        "attn.out_proj": (512, 512), "beta.0": (1, 1024), "fc": (512, 1024), "fc2": (512, 2048),
        "classifier.0": (256, 512), "classifier.2": (128, 256), "classifier.5.0": (outputs, 128),
    }  # fmt: skip
    return resnet(seed) | attention | _linears(sizes, draw)


def fan(outputs: int = 7, seed: int = 0) -> State:
    """A checkpoint of FAN, which has the classifiers of both its forms whichever was trained."""
    sizes = {
        "alpha.0": (1, 512),
        "beta.0": (1, 1024),
        "pred_fc1": (outputs, 512),
        "pred_fc2": (outputs, 1024),
    }
    return resnet(seed) | _linears(sizes, torch.Generator().manual_seed(seed + 1))


def _convolution(name: str, out: int, into: int, kernel: int, draw: torch.Generator) -> State:
    values = torch.randn(out, into, kernel, kernel, generator=draw)
    return {f"{name}.weight": values * (2 / (kernel * kernel * into)) ** 0.5}


def _norm(name: str, size: int, draw: torch.Generator) -> State:
    return {
        f"{name}.weight": torch.rand(size, generator=draw) + 0.5,
        f"{name}.bias": torch.randn(size, generator=draw) / 10,
        f"{name}.running_mean": torch.randn(size, generator=draw) / 10,
        f"{name}.running_var": torch.rand(size, generator=draw) + 0.5,
        f"{name}.num_batches_tracked": torch.tensor(1234),
    }


def _linears(sizes: Mapping[str, tuple[int, int]], draw: torch.Generator) -> State:
    state: State = {}
    for name, (out, into) in sizes.items():
        state[f"{name}.weight"] = torch.randn(out, into, generator=draw) / into**0.5
        state[f"{name}.bias"] = torch.randn(out, generator=draw) / 10
    return state


def frame_feature(state: State, frame: np.ndarray) -> np.ndarray:
    """The 512 features of one frame (3, H, W), uint8, in double precision."""
    p = {name: value.double() for name, value in state.items()}

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            p[f"{name}.{part}"].view(-1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    x = torch.from_numpy(frame / 255.0)[None]
    x = F.max_pool2d(norm(F.conv2d(x, p["conv1.weight"], stride=2, padding=3), "bn1").clamp(min=0), 3, 2, 1)
    for stage in range(1, 5):
        for block in range(2):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = norm(F.conv2d(x, p[f"{name}.conv1.weight"], stride=stride, padding=1), f"{name}.bn1").clamp(
                min=0
            )
            y = norm(F.conv2d(y, p[f"{name}.conv2.weight"], padding=1), f"{name}.bn2")
            if f"{name}.downsample.0.weight" in p:
                x = norm(F.conv2d(x, p[f"{name}.downsample.0.weight"], stride=stride), f"{name}.downsample.1")
            x = (x + y).clamp(min=0)
    return x[0].mean((1, 2)).numpy()


def _numbers(state: State) -> dict[str, np.ndarray]:
    return {name: value.double().numpy() for name, value in state.items()}


def _sigmoid(x: float) -> float:
    return 1 / (1 + np.exp(-x))


def _softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


def _linear(p: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    return p[f"{name}.weight"] @ x + p[f"{name}.bias"]


def _attended(p: dict[str, np.ndarray], frames: np.ndarray) -> np.ndarray:
    """Self-attention of four heads over the frames of a clip (K, 512), added to them, and LayerNorm."""
    both = [p["attn.in_proj_weight"] @ frame + p["attn.in_proj_bias"] for frame in frames]
    out = np.zeros_like(frames)
    for k in range(len(frames)):
        mixed = np.zeros(512)
        for head in range(4):
            part = slice(128 * head, 128 * (head + 1))
            scores = [both[k][:512][part] @ both[j][512:1024][part] / 128**0.5 for j in range(len(frames))]
            shares = _softmax(np.array(scores))
            mixed[part] = sum(shares[j] * both[j][1024:][part] for j in range(len(frames)))
        x = frames[k] + _linear(p, "attn.out_proj", mixed)
        out[k] = (x - x.mean()) / np.sqrt(x.var() + 1e-5) * p["norm1.weight"] + p["norm1.bias"]
    return out


def ceflnet_forward(state: State, video: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, activation map and frame weights of a video (clips, frames, 3, H, W), uint8."""
    p = _numbers(state)
    clips, weights = [], []
    for clip in video:
        frames = np.stack([frame_feature(state, frame) for frame in clip])
        whole = _attended(p, frames).max(0)
        related = [np.concatenate([frame, whole]) for frame in frames]
        w = [_sigmoid(_linear(p, "beta.0", one)[0]) for one in related]
        clips.append(_linear(p, "fc", sum(wk * one for wk, one in zip(w, related, strict=True)) / sum(w)))
        weights.append(w)
    activation = _softmax(np.array([p["temp_attn.attn.0.weight"][0, :, 0] @ clip for clip in clips]))
    x = np.max([a * clip for a, clip in zip(activation, clips, strict=True)], axis=0)
    for layer in ("classifier.0", "classifier.2"):
        x = np.maximum(_linear(p, layer, x), 0)
    return _linear(p, "classifier.5.0", x), activation, np.array(weights)


def fan_forward(state: State, video: np.ndarray, relation: bool) -> np.ndarray:
    """Logits of a video (frames, 3, H, W), uint8, by the formula of training, which is the paper's."""
    p = _numbers(state)
    frames = [frame_feature(state, frame) for frame in video]
    alpha = [_sigmoid(_linear(p, "alpha.0", frame)[0]) for frame in frames]
    v = sum(a * frame for a, frame in zip(alpha, frames, strict=True)) / sum(alpha)
    if not relation:
        return _linear(p, "pred_fc1", v)
    total, weight = np.zeros(1024), 0.0
    for a, frame in zip(alpha, frames, strict=True):
        related = np.concatenate([frame, v])
        beta = _sigmoid(_linear(p, "beta.0", related)[0])
        total, weight = total + a * beta * related, weight + a * beta
    return _linear(p, "pred_fc2", total / weight)
