"""Synthetic faces: drawn from a category, an intensity and VAD, which are therefore known exactly."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from emozoo.contracts import Finding
from emozoo.errors import DataError
from emozoo.labels import DIMENSIONS, FER2013_LABELS
from emozoo_datasets.drawn_faces import (
    EXPRESSION,
    Array,
    FaceParameters,
    draw_identity,
    draw_light,
    draw_pose,
    render,
)

if TYPE_CHECKING:
    from datasets import Dataset

SPLITS = ("train", "validation", "test")


def _controls(*shown: dict[str, float]) -> Array:
    """Return rows of expression controls (len(shown), len(EXPRESSION)); what is not named is 0."""
    return np.array([[row.get(control, 0.0) for control in EXPRESSION] for row in shown], np.float32)


PROTOTYPES: Array = _controls(
    # angry
    {"brow_lower": 1.0, "outer_brow_raise": 0.3, "lid_tighten": 0.7, "lip_press": 1.0, "lip_corners": -0.4,
     "lip_stretch": -0.1},
    # disgust
    {"nose_wrinkle": 1.0, "upper_lip_raise": 0.9, "brow_lower": 0.45, "lid_tighten": 0.9, "cheek_raise": 0.3,
     "lip_corners": -0.7, "teeth": 0.5, "mouth_open": 0.1},
    # fear
    {"inner_brow_raise": 1.0, "outer_brow_raise": 0.35, "upper_lid_raise": 0.9, "lip_stretch": 0.55,
     "mouth_open": 0.45, "teeth": 0.6, "lip_corners": -0.35},
    # happy
    {"lip_corners": 1.0, "cheek_raise": 0.9, "lip_stretch": 0.25, "mouth_open": 0.45, "teeth": 0.8},
    # sad
    {"inner_brow_raise": 0.9, "outer_brow_raise": -0.5, "upper_lid_raise": -0.6, "lip_corners": -1.0,
     "lip_stretch": -0.1},
    # surprise
    {"inner_brow_raise": 1.0, "outer_brow_raise": 1.0, "upper_lid_raise": 1.0, "mouth_open": 1.0,
     "lip_stretch": -0.6},
    # neutral
    {},
)  # fmt: skip
"""(7, len(EXPRESSION)): what a face does at full intensity, in the order of FER2013_LABELS; made for
these drawings after the action units that are commonly listed for each emotion."""

PAD: Array = np.array(
    [
        [-0.51, 0.59, 0.25],
        [-0.60, 0.35, 0.11],
        [-0.64, 0.60, -0.43],
        [0.81, 0.51, 0.46],
        [-0.63, -0.27, -0.33],
        [0.40, 0.67, -0.13],
        [0.0, 0.0, 0.0],
    ],
    np.float32,
)
"""(7, 3): valence, arousal, dominance by label (Russell & Mehrabian 1977, J. Res. Personality 11)."""

ACCENT = 0.15
"""The VAD that an accent of 1 adds; faces of one category and intensity differ by it."""

ACCENT_CONTROLS: Array = _controls(
    {"lip_corners": 0.3},
    {"upper_lid_raise": 0.35, "mouth_open": 0.25},
    {"brow_lower": 0.2, "inner_brow_raise": -0.2},
)
"""(3, len(EXPRESSION)): how an accent of 1 in valence, arousal and dominance shows."""

_CHUNK = 1024  # rows that read() holds as uncompressed pictures


@dataclass(frozen=True, slots=True)
class Emotion:
    """What N faces feel, and so what they show.

    Attributes:
        label: (N,) indices into FER2013_LABELS.
        intensity: (N,) in [0, 1], from relaxed to the prototype of the category; 0 where neutral.
        accent: (N, 3) in [-1, 1], small departures in valence, arousal and dominance that show as well.
    """

    label: NDArray[np.int64]
    intensity: Array
    accent: Array

    @property
    def vad(self) -> Array:
        """(N, 3) in [-1, 1]: the category's PAD values times the intensity, plus the accent."""
        return self.intensity[:, None] * PAD[self.label] + ACCENT * self.accent

    def expression(self, manner: Array | float = 1.0) -> Array:
        """Return the controls (N, len(EXPRESSION)) of these faces.

        Args:
            manner: (N, len(EXPRESSION)) or 1, how strongly a person moves each part of the face.
        """
        prototype = self.intensity[:, None] * PROTOTYPES[self.label] * manner
        return prototype + (self.accent[:, :, None] * ACCENT_CONTROLS).sum(1)


class SyntheticFaces:
    """Kind `dataset`: faces of invented people, drawn in seconds, with nothing to download.

    Face i of a split is a function of (seed, split, i, images_per_subject) alone, whatever the number of
    samples. Categories take turns, so that they are balanced; no person is in two splits. Besides the columns
    of every reader there is `intensity`, in [0.5, 1], and 0 where neutral.

    Args:
        root: None; there is no folder to read from.
        size: height and width of the pictures, in pixels.
        samples: faces of the split `train`.
        validation_samples: faces of the split `validation`.
        test_samples: faces of the split `test`.
        images_per_subject: faces of each person.
        seed: another seed draws other people.

    Raises:
        DataError: a root was given.
        ValueError: an option is out of range.
    """

    title: ClassVar[str] = "Synthetic faces"
    licence: ClassVar[str] = "Apache-2.0, as emozoo, whose own code draws them; no real person is shown."
    citation: ClassVar[str] = "The emozoo developers, emozoo: synthetic faces"
    vad_scale: tuple[float, float] | None = (-1.0, 1.0)

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        size: int = 48,
        samples: int = 4200,
        validation_samples: int = 700,
        test_samples: int = 1400,
        images_per_subject: int = 14,
        seed: int = 0,
    ):
        if root is not None:
            raise DataError(
                f"the dataset 'synthetic' draws its faces itself and reads no data, but was given "
                f"{str(root)!r}: leave the data path out, or name the dataset reader that reads it"
            )
        if size < 16 or images_per_subject < 1 or seed < 0:
            raise ValueError(
                "size must be at least 16, images_per_subject at least 1 and seed at least 0; given are "
                f"{size}, {images_per_subject} and {seed}"
            )
        self.counts = dict(zip(SPLITS, (samples, validation_samples, test_samples), strict=True))
        if min(self.counts.values()) < 0 or samples < 1:
            raise ValueError(f"the splits must have samples, and train at least one; given is {self.counts}")
        self.size = size
        self.images_per_subject = images_per_subject
        self.seed = seed

    @classmethod
    def recognises(cls, root: Path) -> bool:  # noqa: ARG003 - the contract's signature
        """Say no: there is nothing on disk to recognise."""
        return False

    def draw(self, split: str, rows: Sequence[int] | NDArray[np.int64]) -> tuple[FaceParameters, Emotion]:
        """Return what some faces of a split look like and what they feel; rows may exceed its samples."""
        people: dict[int, tuple[Array, Array]] = {}
        drawn = []
        for row in map(int, rows):
            number = row // self.images_per_subject
            if number not in people:
                people[number] = _draw_person(self._rng(split, "person", number))
            drawn.append((*people[number], *_draw_moment(self._rng(split, "moment", row), row)))
        identity, manner, label, intensity, accent, jitter, pose, light, noise = map(
            np.array, zip(*drawn, strict=True)
        )
        emotion = Emotion(label, intensity, accent)
        return FaceParameters(identity, pose, light, emotion.expression(manner) + jitter, noise), emotion

    def _rng(self, split: str, what: str, number: int) -> np.random.Generator:
        return np.random.default_rng(
            [self.seed, SPLITS.index(split), ("person", "moment").index(what), number]
        )

    def read(self) -> Dataset:
        """Return all faces as PNG files in memory, with what is known of them."""
        from datasets import ClassLabel, Dataset, Features, Value
        from datasets import Image as ImageColumn

        features = Features(
            {
                "id": Value("string"),
                "image": ImageColumn(decode=False),
                "label": ClassLabel(names=list(FER2013_LABELS)),
                **{name: Value("float32") for name in (*DIMENSIONS, "intensity")},
                "subject": Value("string"),
                "split": Value("string"),
            }
        )
        columns: dict[str, list] = {name: [] for name in features}
        for part in self._parts():
            for name, values in part.items():
                columns[name].extend(values)
        return Dataset.from_dict(columns, features=features)

    def _parts(self) -> Iterator[dict[str, list]]:
        """Yield the columns of some rows at a time."""
        for split, count in self.counts.items():
            for start in range(0, count, _CHUNK):
                rows = range(start, min(start + _CHUNK, count))
                parameters, emotion = self.draw(split, rows)
                yield {
                    "id": [f"{split}-{row:06d}" for row in rows],
                    "image": [{"bytes": _png(face), "path": None} for face in render(parameters, self.size)],
                    "label": emotion.label.tolist(),
                    **dict(zip(DIMENSIONS, emotion.vad.T.tolist(), strict=True)),
                    "intensity": emotion.intensity.tolist(),
                    "subject": [f"{split}-{row // self.images_per_subject:04d}" for row in rows],
                    "split": [split] * len(rows),
                }

    def check(self) -> list[Finding]:
        """Return the faces, people and categories of each split; warn where categories are not balanced."""
        findings = []
        for split, count in self.counts.items():
            categories = Counter(FER2013_LABELS[row % len(FER2013_LABELS)] for row in range(count))
            people = math.ceil(count / self.images_per_subject)
            listed = ", ".join(f"{label} {categories[label]}" for label in FER2013_LABELS)
            findings.append(Finding("info", split, f"{count} faces of {people} subjects: {listed}"))
            if count % len(FER2013_LABELS):
                message = (
                    f"{count} is not a multiple of {len(FER2013_LABELS)}: some labels have one face more"
                )
                findings.append(Finding("warning", split, message))
        return findings


def _draw_person(rng: np.random.Generator) -> tuple[Array, Array]:
    """Return a person's identity and manner (how strongly each part of the face moves)."""
    return draw_identity(rng), rng.uniform(0.85, 1.15, len(EXPRESSION)).astype(np.float32)


def _draw_moment(rng: np.random.Generator, row: int) -> tuple:
    """Return label, intensity, accent, jitter of the controls, pose, light and noise seed of a face."""
    label = row % len(FER2013_LABELS)
    intensity = np.float32(rng.uniform(0.5, 1) * (FER2013_LABELS[label] != "neutral"))
    accent = rng.uniform(-1, 1, len(DIMENSIONS)).astype(np.float32)
    jitter = rng.uniform(-0.05, 0.05, len(EXPRESSION)).astype(np.float32)
    return label, intensity, accent, jitter, draw_pose(rng), draw_light(rng), rng.integers(2**62)


def _png(picture: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
