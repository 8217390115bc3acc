"""dlib's frontal face detector, which is compiled into the library and needs no file."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from emozoo.contracts import Faces
from emozoo.errors import DetectorUnavailableError
from emozoo_detectors.common import in_frame, reduced

RISE, WIDTH, HEIGHT = 0.08, 0.92, 1.28
"""How dlib's square, from the brows to the chin, becomes a box of the whole face: by how much of its side the centre
moves up, and width and height as shares of its side. Means over the 64 faces of eight photos and videos, against the
boxes of YuNet on the same frames; from file to file they vary by 0.03, 0.08 and 0.10."""


class DlibHOG:
    """Frontal faces from 80 pixels on (40 with one upsampling, 20 with two), without landmarks, on one thread.

    Histograms of oriented gradients and a linear classifier: Dalal and Triggs, CVPR 2005; trained by max-margin
    object detection, King, arXiv:1502.00046.

    Args:
        threshold: the lowest score; a distance to the classifier's margin, faces having about 0 to 3.
        upsample: how often the frame is doubled before; each time faces of half the size are found, in four times
            the time.
        min_size: pixels; smaller boxes are dropped.
        max_side: pixels to which larger frames are shrunk, before any upsampling.

    Raises:
        DetectorUnavailableError: dlib cannot be imported.
    """

    preference: ClassVar[int] = 10

    def __init__(
        self,
        *,
        threshold: float = 0.0,
        upsample: Annotated[int, Field(ge=0, le=3)] = 0,
        min_size: Annotated[float, Field(ge=0)] = 0.0,
        max_side: Annotated[int, Field(ge=32)] = 1280,
    ) -> None:
        self.threshold, self.upsample = threshold, upsample
        self.min_size, self.max_side = min_size, max_side
        self._dlib = _dlib()

    @cached_property
    def _detector(self) -> Any:
        """The classifier; to unpack it takes about a second."""
        return self._dlib.get_frontal_face_detector()

    def detect(self, frame: np.ndarray) -> Faces:
        """Find the faces of a frame, uint8 (H, W, 3) RGB."""
        from PIL import Image

        size = reduced(frame.shape, self.max_side)
        image = np.ascontiguousarray(frame)
        if size != frame.shape[1::-1]:
            image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
        found, scores, _ = self._detector.run(image, self.upsample, self.threshold)
        squares = [(box.left(), box.top(), box.width()) for box in found]
        return in_frame(
            _whole_faces(np.asarray(squares, float).reshape(-1, 3)),
            np.asarray(scores, float),
            None,
            shape=frame.shape,
            size=size,
            min_size=self.min_size,
        )


def _whole_faces(squares: np.ndarray) -> np.ndarray:
    """Return boxes (n, 4) of whole faces for dlib's squares (n, 3): left, top, side."""
    left, top, side = squares.T
    x, y = left + side / 2, top + side / 2 - RISE * side
    across, down = WIDTH * side / 2, HEIGHT * side / 2
    return np.stack([x - across, y - down, x + across, y + down], axis=1)


def _dlib() -> Any:
    try:
        import dlib
    except ImportError:
        raise DetectorUnavailableError('dlib cannot be imported: pip install "dlib-bin>=20"') from None
    return dlib
