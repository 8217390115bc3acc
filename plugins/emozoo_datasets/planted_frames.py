"""Frames of planted-expression videos: a cross-fade of two faces under light, blur, noise, motion and occlusion.

A frame is a function of its faces, its plant, the video's key and its own number: rendering some frames of a video
gives the pixels that rendering all of them gives.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Index = NDArray[np.int64]

FADE = 0.35
"""Share of a stretch in which the expression comes, and in which it goes."""

_WAVES = 3
_DRIFTS = ("light", "from_right", "from_below", "blur", "roll", "zoom", "shift_x", "shift_y")
_OCCLUDERS = 2
_STRIP = 64  # pictures that the noise of all frames is cut from
_CHUNK = 32  # frames at a time: their planes stay in the processor's cache


@dataclass(frozen=True, slots=True)
class Plant:
    """Where and how strongly an expression shows in a video.

    Attributes:
        start: its first frame.
        stop: the frame after its last.
        strength: the weight of the expressive face at its peak, in (0, 1].
    """

    start: int
    stop: int
    strength: float = 1.0

    @property
    def peak(self) -> int:
        """The middle frame, on the plateau of `weight`."""
        return (self.start + self.stop) // 2

    def weight(self, index: Index) -> Array:
        """Return the weight of the expressive face in some frames (n,), above 0 in [start, stop) and 0 elsewhere.

        It rises along a smoothstep, stays, and falls as it rose.
        """
        position = (index + 0.5 - self.start) / (self.stop - self.start)
        ramp = np.clip(np.minimum(position, 1 - position) / FADE, 0, 1)
        return (self.strength * ramp * ramp * (3 - 2 * ramp)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Nuisances:
    """What makes frames hard to read; 0 is none of it, 1 the usual measure, and more is more.

    Attributes:
        light: 1 lets the brightness drift by 30 %, and by as much again from one side of the face to the other.
        blur: 1 lets the focus drift up to a Gaussian blur of 1/40 of the picture.
        noise: 1 is sensor noise, new in every frame, with a standard deviation of 3 % of white.
        motion: 1 lets the head roll by 8 degrees, drift by 5 % of the picture both ways, and grow or shrink by 6 %.
        occlusion: 1 has two things pass before the face, each a quarter to a half of the picture wide.
    """

    light: float = 1.0
    blur: float = 1.0
    noise: float = 1.0
    motion: float = 1.0
    occlusion: float = 1.0


def render_frames(
    faces: NDArray[np.uint8], plant: Plant, index: Index, length: int, nuisances: Nuisances, key: list[int]
) -> NDArray[np.uint8]:
    """Return some frames (n, S, S) of a video.

    Args:
        faces: (2, S, S), the face that is there all the time and the one that is planted.
        plant: where the second shows.
        index: (n,), each in [0, length), in any order.
        length: frames of the whole video.
        nuisances: what else happens.
        key: numbers that make the video's drifts, occluders and noise its own.
    """
    frames = np.empty((len(index), *faces.shape[1:]), np.uint8)
    for start in range(0, len(index), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        frames[chunk] = _render(faces, plant, index[chunk], length, nuisances, key)
    return frames


def _render(
    faces: NDArray[np.uint8], plant: Plant, index: Index, length: int, nuisances: Nuisances, key: list[int]
) -> NDArray[np.uint8]:
    rng = np.random.default_rng(key)
    drift = dict(zip(_DRIFTS, _drifts(rng, index, length), strict=True))
    frames = _mixed(faces, plant.weight(index), 0.5 + 0.5 * drift["blur"], nuisances.blur)
    if nuisances.motion:
        frames = _moved(frames, drift, nuisances.motion)
    steps = _steps(faces.shape[-1])
    slope = drift["from_right"] * steps[None, None, :] + drift["from_below"] * steps[None, :, None]
    frames *= 1 + 0.3 * nuisances.light * (drift["light"] + 0.5 * slope)
    if nuisances.occlusion:
        _occlude(frames, rng, index, length, nuisances.occlusion)
    if nuisances.noise:
        _add_noise(frames, rng, index, length, 255 * 0.03 * nuisances.noise)
    return (np.clip(frames, 0, 255) + 0.5).astype(np.uint8)


def _steps(size: int) -> Array:
    """Return pixel centres along an edge, from -1 to 1."""
    return ((np.arange(size, dtype=np.float32) + 0.5) * 2 / size - 1).astype(np.float32)


def _drifts(rng: np.random.Generator, index: Index, length: int) -> Array:
    """Return smooth random curves in [-1, 1] at some frames, (len(_DRIFTS), n, 1, 1): sums of a few waves."""
    shape = (len(_DRIFTS), _WAVES, 1)
    cycles = rng.uniform(0.3, 4.0, shape) / length
    phase = rng.uniform(0, 2 * np.pi, shape)
    share = rng.dirichlet(np.ones(_WAVES), len(_DRIFTS))[..., None]
    waves = share * np.sin(2 * np.pi * cycles * index + phase)
    return waves.sum(1).astype(np.float32)[..., None, None]


def _mixed(faces: NDArray[np.uint8], weight: Array, focus: Array, blur: float) -> Array:
    """Return cross-fades (n, S, S) of the faces, each as far out of focus as `focus` (n, 1, 1) in [0, 1] says."""
    sharp = _alike(faces.astype(np.float32))
    kernel = _gaussian(faces.shape[-1], blur * faces.shape[-1] / 40) if blur else None
    change = np.zeros_like(sharp) if kernel is None else kernel @ sharp @ kernel.T - sharp
    frames = sharp[0] + focus * change[0]
    shown = np.flatnonzero(weight)
    expressive = sharp[1] + focus[shown] * change[1]
    frames[shown] += weight[shown, None, None] * (expressive - frames[shown])
    return frames


def _alike(faces: Array) -> Array:
    """Give both faces (2, S, S) the mean and the contrast that they have on average: one camera, one room."""
    mean, spread = faces.mean((1, 2), keepdims=True), faces.std((1, 2), keepdims=True)
    return (faces - mean) * (spread.mean() / np.maximum(spread, 1)) + mean.mean()


def _gaussian(size: int, sigma: float) -> Array:
    """Return the matrix (size, size) that blurs along an axis, with weights that sum to 1 at the border too."""
    distance = np.arange(size)[:, None] - np.arange(size)
    kernel = np.exp(-0.5 * (distance / sigma) ** 2)
    return (kernel / kernel.sum(1, keepdims=True)).astype(np.float32)


def _moved(frames: Array, drift: dict[str, Array], motion: float) -> Array:
    """Return frames turned, scaled and shifted, by bilinear sampling; beyond the border the border goes on."""
    n, size, _ = frames.shape
    half = size / 2
    angle = np.deg2rad(8 * motion) * drift["roll"]
    zoom = 1 + 0.06 * motion * drift["zoom"]
    cosine, sine = (np.cos(angle) / zoom).astype(np.float32), (np.sin(angle) / zoom).astype(np.float32)
    x, y = half * _steps(size)[None, None, :], half * _steps(size)[None, :, None]
    reach = np.float32(0.05 * motion * size)
    from_x = cosine * x + sine * y + (half - 0.5 + reach * drift["shift_x"])
    from_y = cosine * y - sine * x + (half - 0.5 + reach * drift["shift_y"])
    np.clip(from_x, 0, size - 1.001, out=from_x)
    np.clip(from_y, 0, size - 1.001, out=from_y)
    left, top = from_x.astype(np.int32), from_y.astype(np.int32)
    from_x -= left
    from_y -= top
    corner = left
    corner += top * size + (np.arange(n, dtype=np.int32) * size * size)[:, None, None]
    flat = frames.ravel()
    upper = _between(flat[corner], flat[corner + 1], from_x)
    corner += size
    lower = _between(flat[corner], flat[corner + 1], from_x)
    return _between(upper, lower, from_y)


def _between(first: Array, second: Array, share: Array) -> Array:
    """Return first + share * (second - first), in the place of second."""
    second -= first
    second *= share
    second += first
    return second


def _occlude(frames: Array, rng: np.random.Generator, index: Index, length: int, measure: float) -> None:
    """Let soft-edged ellipses of one tone pass over the frames in straight lines, each near the middle once."""
    size = frames.shape[-1]
    steps = _steps(size)
    for _ in range(_OCCLUDERS):
        moment, speed = rng.uniform(0, length), rng.uniform(8, 20) / length
        direction, turned, tone = rng.uniform(0, 2 * np.pi), rng.uniform(0, np.pi), rng.uniform(20, 220)
        middle, radii = rng.uniform(-0.5, 0.5, 2), measure * rng.uniform(0.25, 0.5, 2)
        way = speed * (index - moment)
        at_x, at_y = middle[0] + way * np.cos(direction), middle[1] + way * np.sin(direction)
        near = np.flatnonzero(np.maximum(np.abs(at_x), np.abs(at_y)) < 1 + radii.max())
        x = steps[None, None, :] - at_x[near, None, None].astype(np.float32)
        y = steps[None, :, None] - at_y[near, None, None].astype(np.float32)
        cosine, sine = np.float32(np.cos(turned)), np.float32(np.sin(turned))
        u, v = (cosine * x + sine * y) / np.float32(radii[0]), (cosine * y - sine * x) / np.float32(radii[1])
        cover = np.clip((1 - np.sqrt(u * u + v * v)) * np.float32(radii.min() * size / 2) + 0.5, 0, 1)
        frames[near] += cover * (np.float32(tone) - frames[near])


def _add_noise(frames: Array, rng: np.random.Generator, index: Index, length: int, deviation: float) -> None:
    """Add normal noise to each frame: a piece, of its own place, of one long strip."""
    pixels = frames[0].size
    strip = _noise_strip(_STRIP * pixels)
    places = rng.integers(len(strip) - pixels, size=length)[index]
    for frame, place in zip(frames, places.tolist(), strict=True):
        frame += np.float32(deviation) * strip[place : place + pixels].reshape(frame.shape)


@functools.cache
def _noise_strip(values: int) -> Array:
    return np.random.default_rng(0).standard_normal(values, np.float32)
