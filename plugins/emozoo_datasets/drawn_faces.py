"""Portrait faces drawn from parameters: identity, pose, light and expression, a row of each for a face.

Parameters are sliders whose 0 is the average (or relaxed) face and whose usual ends are -1 and 1, so they can
be added, scaled and interpolated; a video is a face whose `expression` and `pose` change from row to row. A
face is the same whatever other faces are rendered with it: all of its randomness is its own `noise_seed`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
_Sliders = dict[str, Array]

IDENTITY = (
    "head_width", "head_height", "jaw_width", "skin", "hair_tone", "hair_length", "hair_line", "hair_volume",
    "hair_part", "eye_spacing", "eye_size", "brow_height", "brow_thickness", "nose_length", "nose_width",
    "mouth_width", "mouth_height", "lip_fullness", "clothes", "glasses", "beard",
)  # fmt: skip
"""Columns of `FaceParameters.identity`; `glasses` and `beard` go from 0 (none) to 1."""

POSE = ("yaw", "pitch", "roll", "shift_x", "shift_y", "scale")
"""Columns of `FaceParameters.pose`: 1 is 16, 11 and 12 degrees, 4 % of the picture, and 8 % larger."""

LIGHT = ("from_right", "from_below", "brightness", "contrast", "background", "background_slope", "noise")
"""Columns of `FaceParameters.light`; `noise` from 0 to 1 is a standard deviation of 0 to 3 % of white."""

EXPRESSION = (
    "inner_brow_raise", "outer_brow_raise", "brow_lower", "upper_lid_raise", "lid_tighten", "cheek_raise",
    "nose_wrinkle", "upper_lip_raise", "lip_corners", "lip_stretch", "lip_press", "mouth_open", "teeth",
)  # fmt: skip
"""Columns of `FaceParameters.expression`, after the Facial Action Coding System (Ekman & Friesen 1978): AU 1,
2, 4, 5 (drooping below 0), 7, 6, 9, 10, 12 (up) or 15 (down), 20 (rounded below 0), 24, 26, and teeth."""

_FIELD = 1.22  # the picture shows [-_FIELD, _FIELD] both ways; the average head is 2.06 high
_CHUNK = 32  # faces at a time: their planes stay in the processor's cache


@dataclass(frozen=True, slots=True)
class FaceParameters:
    """What N faces look like.

    Attributes:
        identity: (N, len(IDENTITY)) float32, who it is.
        pose: (N, len(POSE)) float32, how the head is held.
        light: (N, len(LIGHT)) float32, how the picture is taken.
        expression: (N, len(EXPRESSION)) float32, what the face does; 0 is relaxed.
        noise_seed: (N,) int64 >= 0, which sensor noise is drawn.
    """

    identity: Array
    pose: Array
    light: Array
    expression: Array
    noise_seed: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.noise_seed)

    def __getitem__(self, rows: slice | NDArray) -> FaceParameters:
        """Return some of the faces, by slice, mask or index array."""
        return FaceParameters(*(getattr(self, field.name)[rows] for field in fields(self)))


def draw_identity(rng: np.random.Generator) -> Array:
    """Return a person (len(IDENTITY),): uniform sliders, three in ten with glasses, as many with a beard."""
    identity = rng.uniform(-1, 1, len(IDENTITY)).astype(np.float32)
    wears_glasses, grows_beard = rng.random(2) < 0.3
    identity[IDENTITY.index("glasses")] = wears_glasses
    identity[IDENTITY.index("beard")] = rng.uniform(0.3, 1) * grows_beard
    return identity


def draw_pose(rng: np.random.Generator) -> Array:
    """Return a pose (len(POSE),), mostly near the front: triangular sliders."""
    return rng.triangular(-1, 0, 1, len(POSE)).astype(np.float32)


def draw_light(rng: np.random.Generator) -> Array:
    """Return a light (len(LIGHT),): uniform sliders."""
    light = rng.uniform(-1, 1, len(LIGHT)).astype(np.float32)
    light[LIGHT.index("noise")] = rng.uniform(0.2, 1)
    return light


def render(parameters: FaceParameters, size: int = 48) -> NDArray[np.uint8]:
    """Return grey pictures (N, size, size) uint8 of N faces, each the same whatever the others are."""
    pictures = np.empty((len(parameters), size, size), np.uint8)
    for start in range(0, len(parameters), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        pictures[chunk] = _render(parameters[chunk], size)
    return pictures


def _render(parameters: FaceParameters, size: int) -> NDArray[np.uint8]:
    face = _sliders(parameters)
    frame = _Frame.of(face, size)
    canvas = _Canvas(_background(face, frame), 2 * _FIELD / size)
    _paint_head(canvas, frame, face)
    _paint_creases(canvas, frame, face)
    _paint_nose(canvas, frame, face)
    _paint_mouth(canvas, frame, face)
    _paint_eyes(canvas, frame, face)
    _paint_brows(canvas, frame, face)
    _paint_hair(canvas, frame, face)
    return _expose(canvas.grey, frame, face, parameters.noise_seed)


def _sliders(parameters: FaceParameters) -> _Sliders:
    """Return every column of the parameters by name, each (N, 1, 1) to broadcast over pictures."""
    groups = (
        (IDENTITY, parameters.identity),
        (POSE, parameters.pose),
        (LIGHT, parameters.light),
        (EXPRESSION, parameters.expression),
    )
    return {
        name: np.ascontiguousarray(column, np.float32)[:, None, None]
        for names, values in groups
        for name, column in zip(names, values.T, strict=True)
    }


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where each pixel of N pictures lies, (N, H, W) each: y and v point down."""

    x: Array
    """On the head as seen, to the right."""
    y: Array
    u: Array
    """On the face that turns with the head, distance from its middle line."""
    v: Array

    @classmethod
    def of(cls, face: _Sliders, size: int) -> _Frame:
        """Undo shift, scale and roll, then turn by yaw and pitch as if the face lay on a ball."""
        steps = ((np.arange(size, dtype=np.float32) + 0.5) * 2 / size - 1) * _FIELD
        x = (steps[None, None, :] - 2 * _FIELD * 0.04 * face["shift_x"]) / (1 + 0.08 * face["scale"])
        y = (steps[None, :, None] - 2 * _FIELD * 0.04 * face["shift_y"]) / (1 + 0.08 * face["scale"])
        sine, cosine = _sine_cosine(12 * face["roll"])
        x, y = x * cosine + y * sine, y * cosine - x * sine
        return cls(x, y, np.abs(_turn(x, 16 * face["yaw"])), _turn(y, 11 * face["pitch"]))


def _sine_cosine(degrees: Array) -> tuple[Array, Array]:
    radians = np.deg2rad(degrees)
    return np.sin(radians), np.cos(radians)


def _turn(position: Array, degrees: Array) -> Array:
    """Return where on a ball of radius 1.1 that was turned a point seen at a position lies."""
    sine, cosine = _sine_cosine(degrees)
    return position * cosine - np.sqrt(np.maximum(1.21 - position * position, 0)) * sine


class _Canvas:
    """Pictures in the making, (N, H, W) in [0, 1], and the size of their pixels."""

    def __init__(self, grey: Array, pixel: float):
        self.grey = grey
        self.pixel = pixel

    def paint(self, distance: Array, tone: Array | float, opacity: Array | float = 1.0) -> None:
        """Paint a shape, given as signed distances (negative inside), with edges a pixel soft."""
        coverage = distance * np.float32(-1 / self.pixel)
        coverage += np.float32(0.5)
        np.clip(coverage, 0, 1, out=coverage)
        coverage *= opacity
        coverage *= tone - self.grey
        self.grey += coverage


def _ellipse(x: Array, y: Array, width: Array | float, height: Array | float) -> Array:
    """Return near-distances to an ellipse around the origin, exact for a circle."""
    radius = np.sqrt((x / width) ** 2 + (y / height) ** 2)
    return (radius - 1) * np.minimum(width, height)


def _stroke(x: Array, y: Array, start: tuple, end: tuple, width: Array | float) -> Array:
    """Return distances to a line of a half-width between two points."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    x, y = x - start[0], y - start[1]
    along = np.clip((x * dx + y * dy) / (dx * dx + dy * dy), 0, 1)
    return np.sqrt((x - along * dx) ** 2 + (y - along * dy) ** 2) - width


def _background(face: _Sliders, frame: _Frame) -> Array:
    return 0.5 + 0.3 * face["background"] + 0.12 * face["background_slope"] * frame.y


def _skin(face: _Sliders) -> Array:
    return 0.64 + 0.18 * face["skin"]


def _hair(face: _Sliders) -> Array:
    return 0.32 + 0.26 * face["hair_tone"]


def _head_outline(frame: _Frame, face: _Sliders, grow: Array | float = 0.0) -> Array:
    jaw = 1 - (0.14 - 0.1 * face["jaw_width"]) * np.clip(frame.y, 0, 1)
    width, height = 0.78 + 0.06 * face["head_width"], 1.03 + 0.05 * face["head_height"]
    return _ellipse(frame.x / jaw, frame.y, width + grow, height + grow)


def _paint_head(canvas: _Canvas, frame: _Frame, face: _Sliders) -> None:
    """Paint the hair that falls behind, neck and clothes, ears, and the head, darker towards its rim."""
    x, y, skin = frame.x, frame.y, _skin(face)
    length = 0.35 + 0.6 * face["hair_length"]
    behind = np.maximum(_ellipse(x, y + 0.1, 0.95 + 0.08 * face["hair_volume"], 1.12), y - length)
    canvas.paint(behind, 0.8 * _hair(face), np.clip(4 * face["hair_length"], 0, 1))
    canvas.paint(np.maximum(np.abs(x) - 0.4, 0.5 - y), 0.72 * skin)
    canvas.paint(_ellipse(x, y - 1.5, 1.2, 0.42), 0.45 + 0.35 * face["clothes"])
    width = 0.78 + 0.06 * face["head_width"]
    canvas.paint(_ellipse(np.abs(x) - width, y - 0.02, 0.1, 0.19), 0.88 * skin)
    outline = _head_outline(frame, face)
    canvas.paint(outline, skin * (1 - 0.3 * np.clip(outline + 0.35, 0, 1)))
    stubble = np.maximum(outline, 0.32 + 0.25 * frame.u - frame.v)
    canvas.paint(stubble, 0.9 * _hair(face), 0.75 * face["beard"])


def _paint_creases(canvas: _Canvas, frame: _Frame, face: _Sliders) -> None:
    """Paint the folds that expressions make: brow, forehead, nose root, under the eyes, beside the mouth."""
    u, v, dark = frame.u, frame.v, 0.5 * _skin(face)
    furrow = np.clip(1.3 * face["brow_lower"], 0, 1)
    canvas.paint(_stroke(u, v, (0.07, -0.5), (0.05, -0.3), 0.022), dark, furrow)
    lifted = np.clip((face["inner_brow_raise"] + face["outer_brow_raise"]) / 2, 0, 1)
    for height in (-0.62, -0.72):
        line = np.maximum(np.abs(v - height + 0.1 * u * u) - 0.016, u - 0.36)
        canvas.paint(line, dark, 0.7 * lifted)
    wrinkle = np.clip(face["nose_wrinkle"], 0, 1)
    for height in (-0.12, 0.0):
        canvas.paint(_stroke(u, v, (0.03, height - 0.04), (0.14, height + 0.05), 0.02), dark, wrinkle)
    bag = np.abs(v + 0.02 - 0.9 * (u - 0.34) ** 2 + 0.03) - 0.02
    canvas.paint(np.maximum(bag, np.abs(u - 0.36) - 0.2), dark, 0.7 * np.clip(face["cheek_raise"], 0, 1))
    fold = np.clip(np.maximum(face["lip_corners"], 0) + face["nose_wrinkle"], 0, 1)
    canvas.paint(_stroke(u, v, (0.22, 0.26), (0.47, 0.46), 0.02), dark, 0.7 * fold)


def _paint_nose(canvas: _Canvas, frame: _Frame, face: _Sliders) -> None:
    """Paint the shadow of the ridge, the tip and the nostrils; a wrinkled nose is shorter and broader."""
    skin, wrinkle = _skin(face), face["nose_wrinkle"]
    tip = 0.22 + 0.05 * face["nose_length"] - 0.05 * wrinkle
    width = 0.13 + 0.03 * face["nose_width"] + 0.04 * wrinkle
    u, v = frame.u, frame.v
    canvas.paint(_stroke(u, v, (0.07, -0.2), (0.09, tip - 0.08), 0.02), 0.8 * skin, 0.8)
    canvas.paint(_ellipse(u, v - tip, width, 0.09), 0.86 * skin)
    canvas.paint(_ellipse(u - 0.55 * width, v - tip - 0.04, 0.045, 0.032), 0.3 * skin)


def _paint_mouth(canvas: _Canvas, frame: _Frame, face: _Sliders) -> None:
    """Paint lips, the opening between them, and teeth: bands around a bent line, closing at the corners."""
    corners, press = face["lip_corners"], np.clip(face["lip_press"], 0, 1)
    opening, lift = np.maximum(face["mouth_open"], 0), face["upper_lip_raise"]
    width = (0.33 + 0.05 * face["mouth_width"]) * (
        1 + 0.35 * face["lip_stretch"] + 0.12 * np.maximum(corners, 0)
    )
    across = (frame.u / width) ** 2
    middle = 0.55 + 0.03 * face["mouth_height"] - 0.2 * corners * (across - 0.4)
    round_off = 1 - np.minimum(across, 1.5) ** 2
    above = middle - (0.015 + 0.07 * opening + 0.12 * lift) * round_off
    below = middle + (0.015 + 0.25 * opening) * round_off
    lip = (0.065 + 0.02 * face["lip_fullness"]) * (1 - 0.75 * press) * (0.4 + 0.6 * round_off)
    v, skin = frame.v, _skin(face)
    inside = np.maximum(np.maximum(above - v, v - below), frame.u - width)
    lips = np.maximum(np.maximum(above - lip - v, v - below - lip), frame.u - width - 0.03)
    canvas.paint(lips, 0.62 * skin)
    canvas.paint(inside, 0.12 * skin)
    bared = np.clip(face["teeth"], 0, 1)
    canvas.paint(np.maximum(inside + 0.02, v - above - 0.17 * bared), 0.95, np.minimum(4 * bared, 1))


def _paint_eyes(canvas: _Canvas, frame: _Frame, face: _Sliders) -> None:
    """Paint eyes between an upper and a lower lid, the iris where they leave it free, lashes and glasses."""
    centre, size = 0.35 + 0.03 * face["eye_spacing"], 1 + 0.12 * face["eye_size"]
    u, v, skin = frame.u - centre, frame.v + 0.16, _skin(face)
    squint = 0.45 * face["lid_tighten"] + 0.3 * face["cheek_raise"]
    upper = np.maximum(0.11 * size * (1 + 0.65 * face["upper_lid_raise"] - squint), 0.012)
    lower = np.maximum(
        0.085 * size * (1 + 0.3 * np.maximum(face["upper_lid_raise"], 0) - 1.3 * squint), 0.012
    )
    across = np.minimum((u / (0.2 * size)) ** 2, 2)
    eye = np.maximum(-v - upper * (1 - across), v - lower * (1 - across))
    eye = np.maximum(eye, np.abs(u) - 0.2 * size)
    canvas.paint(eye - 0.035, 0.3 * skin)
    canvas.paint(eye, 0.95)
    canvas.paint(np.maximum(_ellipse(u, v, 0.085 * size, 0.085 * size), eye), 0.1)
    rim = np.abs(_ellipse(u, v - 0.02, 0.27, 0.24)) - 0.022
    bridge = np.maximum(np.abs(v) - 0.022, frame.u - 0.1)
    canvas.paint(np.minimum(rim, bridge), 0.15, face["glasses"])


def _paint_brows(canvas: _Canvas, frame: _Frame, face: _Sliders) -> None:
    """Paint brows as arched bands from an inner to an outer end, which move on their own."""
    lower, rest = face["brow_lower"], -0.44 - 0.03 * face["brow_height"]
    start, length = 0.13 - 0.05 * lower, 0.42 + 0.03 * face["eye_size"]
    inner = rest - 0.17 * face["inner_brow_raise"] + 0.18 * lower
    outer = rest + 0.03 - 0.15 * face["outer_brow_raise"] + 0.01 * lower
    along = np.clip((frame.u - start) / length, -0.2, 1.2)
    line = inner + (outer - inner) * along - 0.2 * along * (1 - along)
    half = (0.045 + 0.014 * face["brow_thickness"]) * (1.1 - 0.5 * along)
    brow = np.maximum(np.abs(frame.v - line) - half, np.abs(frame.u - start - length / 2) - length / 2)
    canvas.paint(brow, np.minimum(0.7 * _hair(face), 0.35 * _skin(face)))


def _paint_hair(canvas: _Canvas, frame: _Frame, face: _Sliders) -> None:
    """Paint what grows above the hair line: from a bald crown to a fringe, straight or parted."""
    line = -0.72 - 0.12 * face["hair_line"] + 0.16 * face["hair_part"] * frame.x
    cap = np.maximum(
        _head_outline(frame, face, 0.05 + 0.05 * face["hair_volume"]),
        frame.v - line - (0.7 + 0.5 * face["hair_length"]) * frame.x * frame.x,
    )
    canvas.paint(cap, _hair(face), np.clip(4 * face["hair_volume"] + 3.4, 0, 1))


def _expose(grey: Array, frame: _Frame, face: _Sliders, noise_seed: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Light the scene from a side, then take the picture: contrast, brightness, sensor noise, 8 bits."""
    grey *= 1 + 0.22 * (face["from_right"] * frame.x + face["from_below"] * frame.y)
    grey -= 0.5
    grey *= 1 + 0.25 * face["contrast"]
    grey += 0.5 + 0.1 * face["brightness"]
    noise = np.empty_like(grey)
    for plane, seed in zip(noise, noise_seed, strict=True):
        np.random.default_rng(int(seed)).standard_normal(out=plane, dtype=np.float32)
    grey += 0.03 * face["noise"] * noise
    return (np.clip(grey, 0, 1) * 255 + 0.5).astype(np.uint8)
