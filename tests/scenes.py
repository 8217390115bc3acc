"""Made videos of drawn faces that move about, and a detector that knows where they are.

Each frame carries its number as bars along its top (see tests/clips.py), from which the detector reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clips import barred, number_of
from PIL import Image
from small import tiny_model

from emozoo.contracts import Faces
from emozoo.model import EmotionModel
from emozoo.prediction.faces import FaceDetector
from emozoo.prediction.timeline import Timeline
from emozoo_datasets import drawn_faces as drawn

BARS, WIDTH, HEIGHT, SIDE = 16, 160, 96, 40

Script = Mapping[int, Sequence[tuple[int, int]]]
"""The left upper corners of the faces of each frame, squares of SIDE pixels; frames that are not named have none."""


def portraits(count: int, seed: int = 0) -> np.ndarray:
    """Drawn faces, uint8 (count, SIDE, SIDE)."""
    rng = np.random.default_rng(seed)
    rows = [
        (drawn.draw_identity(rng), drawn.draw_pose(rng) * 0.3, drawn.draw_light(rng), rng.uniform(-1, 1, 13))
        for _ in range(count)
    ]
    identity, pose, light, expression = (
        np.stack(part).astype(np.float32) for part in zip(*rows, strict=True)
    )
    seeds = rng.integers(0, 1 << 31, count)
    parameters = drawn.FaceParameters(identity, pose, light, expression, seeds)
    return drawn.render(parameters, SIDE)


def scene(number: int, places: Sequence[tuple[int, int]], pictures: np.ndarray) -> np.ndarray:
    """A frame (HEIGHT, WIDTH, 3) with a face at each place; each shows another portrait from frame to frame."""
    frame = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    frame[:BARS] = barred(number, WIDTH, BARS)
    for face, (left, top) in enumerate(places):
        picture = pictures[(number // 3 + 5 * face) % len(pictures)]
        frame[top : top + SIDE, left : left + SIDE] = picture[..., None]
    return frame


def scenes(count: int, script: Script) -> list[np.ndarray]:
    pictures = portraits(8)
    return [scene(number, script.get(number, ()), pictures) for number in range(count)]


def frame_folder(folder: Path, frames: Sequence[np.ndarray]) -> Path:
    """Write frames as a folder of PNG files, which lose nothing."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"frame_{number}.png")
    return folder


class Scripted:
    """Finds the faces that a script names, and counts the frames that it looks at."""

    def __init__(self, script: Script) -> None:
        self.script, self.looked_at = script, list[int]()

    def detect(self, frame: np.ndarray) -> Faces:
        number = number_of(frame[:BARS])
        self.looked_at.append(number)
        places = np.asarray(self.script.get(number, ()), np.float32).reshape(-1, 2)
        return Faces(np.concatenate([places, places + SIDE], 1), np.full(len(places), 0.9, np.float32))


def detector(script: Script) -> FaceDetector:
    return FaceDetector("tests:scripted", {}, Scripted(script))


def standing(count: int, *places: tuple[int, int]) -> Script:
    """Faces that stand still throughout."""
    return dict.fromkeys(range(count), places)


def watch(model: EmotionModel, folder: Path, script: Any, **options: Any) -> Timeline:
    """The timeline of a folder of frames, ten a second."""
    faces = script if isinstance(script, str | FaceDetector) else detector(script)
    found: Any = model.predict(folder, faces=faces, **{"frame_rate": 10, **options})
    assert isinstance(found, Timeline)
    return found


def close(first: Any, second: Any) -> bool:
    """Whether two answers say the same."""
    one, two = first.columns(), second.columns()
    numbers = [name for name in one if name != "label"]
    return list(one) == list(two) and all(abs(one[name] - two[name]) < 1e-5 for name in numbers)


CLIPS = {"name": "clips", "frames": 12, "window": 10, "clips": 3, "length": 4, "stride": 3, "per_clip": 2}
CEFLNET = {"sampling": CLIPS, "aggregator": {"name": "ceflnet"}}
"""A model of videos: how it takes its frames, and what it does with them."""


def seeing_model(**changes: Any) -> EmotionModel:
    """A tiny model whose answers differ from face to face: its batch normalisation knows the portraits."""
    model = tiny_model(**changes)
    images = torch.stack([model.preprocessor.decode(picture) for picture in portraits(8)])
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    model.backbone.train()
    with torch.no_grad():
        model.backbone(model.preprocessor.views(images, "none").flatten(0, 1))
    return model.eval()
