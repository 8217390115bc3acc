"""Videos of whole scenes, of which a model sees one face: found, followed, and cut out frame by frame."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emozoo.data.video import stream_frames
from emozoo.data.videos import VideoOnDisk
from emozoo.errors import EmozooWarning
from emozoo.prediction.faces import FaceDetector, crop_face
from emozoo.prediction.tracks import Tracker


@dataclass(frozen=True, slots=True)
class FaceOnDisk:
    """The face that is seen in the most frames of a video, cut out as the model's preprocessing says.

    Where it is not found, its box moves evenly from where it was to where it is next, and stays where it was first
    and last. A video without any face is taken whole, with an EmozooWarning: it counts like any other.
    """

    video: VideoOnDisk
    detector: FaceDetector

    def read(self, index: np.ndarray) -> Tensor:
        """Return frames, uint8 (n, C, size, size); all have to be looked at for any of them."""
        return self.read_all()[torch.from_numpy(index)]

    def read_all(self) -> Tensor:
        """Return every frame, without holding more than one of them at full size."""
        preprocessor, name = self.video.preprocessor, self.video.name
        boxes = follow(self.detector, stream_frames(self.video.path))
        if boxes is None:
            warnings.warn(
                f"{name}: no face is found in it, so it is taken whole", EmozooWarning, stacklevel=2
            )
            return self.video.read_all()
        margin = preprocessor.config.face_margin
        frames = zip(stream_frames(self.video.path), boxes, strict=True)
        crops = (crop_face(frame, box, margin) for frame, box in frames)
        return torch.stack([preprocessor.decode(crop, name) for crop in crops])

    def hash(self, digest: Any) -> None:
        """Hash what the files hold, and how faces are found and cut out."""
        self.video.hash(digest)
        digest.update(self._how().encode())

    def stamp(self) -> str:
        """Return what tells the video's files from others, and how faces are found and cut out."""
        return f"{self.video.stamp()} {self._how()}"

    def _how(self) -> str:
        settings = sorted(self.detector.settings.items())
        return f"{self.detector.name} {settings} {self.video.preprocessor.config.face_margin}"


def follow(detector: FaceDetector, frames: Iterable[np.ndarray]) -> np.ndarray | None:
    """Return where the face is that is seen in the most frames, float64 (n, 4); None where there is no face.

    Args:
        detector: what finds faces.
        frames: n frames in turn, each uint8 (H, W, 3) RGB.
    """
    tracker, sightings, count = Tracker(), defaultdict[int, list[tuple[int, np.ndarray]]](list), 0
    for number, found in enumerate(map(detector.detect, frames)):
        for face, box in zip(tracker.update(number, found).tolist(), found.boxes, strict=True):
            sightings[face].append((number, box))
        count = number + 1
    if not sightings:
        return None
    numbers, boxes = zip(*max(sightings.values(), key=len), strict=True)
    return np.stack([np.interp(np.arange(count), numbers, edge) for edge in np.stack(boxes, 1)], 1)
