"""Photos on their way through a model: faces are looked for one photo at a time and predicted in batches."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emozoo.data.preprocess import open_image
from emozoo.errors import DataError
from emozoo.model import EmotionModel
from emozoo.prediction.detection import FrameFaces, find_faces
from emozoo.prediction.faces import FaceDetector
from emozoo.prediction.predictions import Failure, Prediction
from emozoo.recipe import TTA


class Photos:
    """Photos whose faces wait for a forward pass."""

    def __init__(self, model: EmotionModel, detector: FaceDetector | None, tta: TTA, batch_size: int) -> None:
        self.model, self.detector, self.tta, self.batch_size = model, detector, tta, batch_size
        self.waiting: list[tuple[str, FrameFaces | DataError]] = []
        self.crops: list[Tensor] = []

    def add(self, item: Any, name: str) -> Iterator[Prediction | Failure]:
        """Read a photo; yield the results of all that wait, once their faces fill a batch."""
        try:
            seen = self._faces_of(item, name)
        except DataError as error:
            self.waiting.append((name, error))
        else:
            self.waiting.append((name, seen))
            self.crops += seen.crops
        if max(len(self.waiting), len(self.crops)) >= self.batch_size:
            yield from self.flush()

    def flush(self) -> Iterator[Prediction | Failure]:
        """Yield the results of all photos that wait."""
        parts = self._parts()
        for name, seen in self.waiting:
            yield Failure(name, str(seen)) if isinstance(seen, DataError) else self._result(name, seen, parts)
        self.waiting.clear()
        self.crops.clear()

    def _faces_of(self, item: Any, name: str) -> FrameFaces:
        if isinstance(item, str | Path) and item != "" and os.path.isdir(item):
            raise DataError(
                f"{name} is a folder; frame_rate (--frame-rate) takes one for a video, its frames"
            )
        if self.detector is None:
            return FrameFaces([self.model.preprocessor.decode(item, name)], [None], [None], None)
        return find_faces(self.detector, self.model.preprocessor, np.asarray(open_image(item, name)), name)

    def _parts(self) -> Iterator[dict[str, dict[str, Any]]]:
        """Yield the heads' parts for one face after another."""
        for start in range(0, len(self.crops), self.batch_size):
            images = torch.stack(self.crops[start : start + self.batch_size])
            yield from self.model.decode(self.model.predict_outputs(images, self.tta))

    def _result(
        self, name: str, seen: FrameFaces, answers: Iterator[dict[str, dict[str, Any]]]
    ) -> Prediction:
        """Make a photo's result, taking as many answers as it has faces."""
        detector = None if self.detector is None else self.detector.name
        faces = [
            Prediction.from_parts(name, next(answers), detector=detector, box=box, score=score)
            for box, score in zip(seen.boxes, seen.scores, strict=True)
        ]
        if not faces:
            return Prediction.from_parts(name, {}, detector=detector)
        return replace(faces[0], others=tuple(faces[1:]))
