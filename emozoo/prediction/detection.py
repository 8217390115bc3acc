"""Looking for faces in a photo or a frame, and making the model's input of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from threading import Lock

import numpy as np
from torch import Tensor

from emozoo.contracts import Faces
from emozoo.data.preprocess import Preprocessor
from emozoo.errors import DataError
from emozoo.prediction.answers import Box
from emozoo.prediction.faces import FaceDetector, crop_face, open_detector

NONE = "none"
"""The name for taking pictures as they are, which is right where they are faces already."""

_OPENING = Lock()
"""Held while a detector is opened, so that threads that ask for the same get the same."""


def find_detector(faces: str | FaceDetector) -> FaceDetector | None:
    """Return the detector of a name, opened once a process, or the one that is given; None for "none".

    Raises:
        DataError: it is neither.
        DetectorUnavailableError, UnknownComponentError: see `emozoo.prediction.faces.open_detector`.
    """
    if isinstance(faces, FaceDetector):
        return faces
    if not isinstance(faces, str):
        raise DataError(
            f'faces is {faces!r}: give "auto", the name of a detector, one that open_detector '
            'opened, or "none" for pictures that are faces already'
        )
    if faces == NONE:
        return None
    with _OPENING:
        return _opened(faces)


@cache
def _opened(name: str) -> FaceDetector:
    """To open one may take a second, which an application that predicts photo by photo pays once."""
    return open_detector(name)


@dataclass(frozen=True, slots=True)
class FrameFaces:
    """The faces of a picture.

    Attributes:
        crops: of each, uint8 (C, size, size), as the model wants it.
        boxes: of each; None where the picture itself is the face.
        scores: of each, on the detector's scale.
        detected: what the detector found; None where none looked.
    """

    crops: list[Tensor]
    boxes: list[Box | None]
    scores: list[float | None]
    detected: Faces | None


def find_faces(
    detector: FaceDetector | None, preprocessor: Preprocessor, frame: np.ndarray, name: str
) -> FrameFaces:
    """Find the faces of a frame, uint8 (H, W) or (H, W, 3) RGB, the largest first; without a detector it is one."""
    if detector is None:
        return FrameFaces([preprocessor.decode(frame, name)], [None], [None], None)
    found = detector.detect(frame)
    margin = preprocessor.config.face_margin
    crops = [preprocessor.decode(crop_face(frame, box, margin), name) for box in found.boxes]
    rounded = found.boxes.astype(float).round(2).tolist()
    boxes: list[Box | None] = [(x0, y0, x1, y1) for x0, y0, x1, y1 in rounded]
    return FrameFaces(crops, boxes, found.scores.astype(float).round(4).tolist(), found)
