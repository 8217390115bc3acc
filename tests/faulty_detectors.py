"""Face detectors that each break one promise; `emozoo.testing.check_detector` must find every one of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from emozoo.contracts import DetectorFile, Faces


class Good:
    """The box around all that is brighter than a threshold."""

    def __init__(self, *, threshold: int = 200) -> None:
        self.threshold = threshold

    def detect(self, frame: np.ndarray) -> Any:
        bright = frame.min(-1) > self.threshold
        columns, rows = np.flatnonzero(bright.any(0)), np.flatnonzero(bright.any(1))
        boxes = [[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]] if len(rows) else []
        return Faces(np.asarray(boxes, np.float32).reshape(-1, 4), np.ones(len(boxes), np.float32))


class Boxless(Good):
    def detect(self, frame: np.ndarray) -> Any:
        return super().detect(frame).boxes


class Flat(Good):
    def detect(self, frame: np.ndarray) -> Any:
        found = super().detect(frame)
        return found if len(found) else Faces(np.zeros(0, np.float32), found.scores)


class Double(Good):
    def detect(self, frame: np.ndarray) -> Any:
        found = super().detect(frame)
        return Faces(found.boxes.astype(float), found.scores)


class WidthHeight(Good):
    """Its boxes are x, y, width, height."""

    def detect(self, frame: np.ndarray) -> Any:
        found = super().detect(frame)
        return Faces(
            np.concatenate([found.boxes[:, :2], found.boxes[:, 2:] - found.boxes[:, :2]], 1), found.scores
        )


class Unsure(Good):
    def detect(self, frame: np.ndarray) -> Any:
        found = super().detect(frame)
        return Faces(found.boxes, found.scores * np.float32(np.nan))


class Pointless(Good):
    def detect(self, frame: np.ndarray) -> Any:
        found = super().detect(frame)
        return Faces(found.boxes, found.scores, np.zeros((len(found), 5), np.float32))


class Paints(Good):
    def detect(self, frame: np.ndarray) -> Any:
        found = super().detect(frame)
        frame[:1] = 0
        return found


class Remembers(Good):
    """It gives the faces of the frame before, as a tracker might."""

    last: Any = None

    def detect(self, frame: np.ndarray) -> Any:
        found, self.last = self.last, super().detect(frame)
        return found or self.last


class Small(Good):
    """It looks at half of the pixels, and does not scale back."""

    def detect(self, frame: np.ndarray) -> Any:
        return super().detect(frame[::2, ::2])


class Raw(Good):
    """It reads the memory of a frame as if it were contiguous."""

    def detect(self, frame: np.ndarray) -> Any:
        memory = frame if frame.base is None else frame.base
        while memory.base is not None:
            memory = memory.base
        return super().detect(np.resize(memory, frame.shape))


class Picky(Good):
    def detect(self, frame: np.ndarray) -> Any:
        if min(frame.shape[:2]) < 16:
            raise ValueError("too small")
        return super().detect(frame)


class Blind(Good):
    def detect(self, frame: np.ndarray) -> Any:
        return super().detect(np.zeros_like(frame))


class Needy(Good):
    needs = "a file"


class Handless(Good):
    needs = DetectorFile("w.onnx", "0" * 64, "nowhere")


class Careless(Good):
    def __init__(self, *, threshold: Any = 200) -> None:
        super().__init__(threshold=200)
