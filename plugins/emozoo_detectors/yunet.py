"""YuNet, a small convolutional face detector, run by OpenCV."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from emozoo.contracts import DetectorFile, Faces
from emozoo.errors import DataError, DetectorUnavailableError
from emozoo_detectors.common import in_frame, reduced

OVERLAP = 0.3
"""Intersection over union from which two boxes are one face (the value of OpenCV's examples)."""

SMALLEST = 64
"""Pixels to which sides are filled up with black: on sides of up to 32, OpenCV 4.14 finds faces that are not there."""


class YuNet:
    """Faces of about 10 to 300 pixels, profiles and half-hidden ones too, with five landmarks.

    "YuNet: A Tiny Millisecond-level Face Detector" (Wu, Peng and Yu, Machine Intelligence Research 2023). OpenCV
    uses as many threads as torch does, in the whole process. An instance serves one thread at a time.

    Args:
        file: the path of the network as OpenCV distributes it, or of another fixed-size version, such as
            `yunet_n_320_320.onnx` of its authors (github.com/ShiqiYu/libfacedetection.train, folder onnx).
        threshold: the lowest score, 0 to 1.
        min_size: pixels; smaller boxes are dropped.
        max_side: pixels to which larger frames are shrunk; the time for a frame grows with its square, and the
            smallest faces found are about 10 pixels in the shrunk frame.

    Raises:
        DetectorUnavailableError: OpenCV is not installed.
        DataError: the file is not there, or not YuNet.
    """

    preference: ClassVar[int] = 20
    needs: ClassVar[DetectorFile] = DetectorFile(
        name="face_detection_yunet_2023mar.onnx",
        sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        source="https://github.com/opencv/opencv_zoo, folder models/face_detection_yunet",
        hub="opencv/face_detection_yunet@3cc26e7f1014a5ee5d74a42acee58bafc9d0a310",
    )

    def __init__(
        self,
        *,
        file: str,
        threshold: Annotated[float, Field(ge=0, le=1)] = 0.7,
        min_size: Annotated[float, Field(ge=0)] = 0.0,
        max_side: Annotated[int, Field(ge=32)] = 640,
    ) -> None:
        self.min_size, self.max_side = min_size, max_side
        path = Path(file).expanduser()
        if not path.is_file():
            raise DataError(f"there is no file {path}; YuNet's is {self.needs.name} ({self.needs.source})")
        self._cv2 = _opencv()
        try:
            with _silent(self._cv2):
                self._net = self._cv2.FaceDetectorYN.create(
                    str(path), "", (SMALLEST, SMALLEST), threshold, OVERLAP
                )
            self._net.detect(np.zeros((SMALLEST, SMALLEST, 3), np.uint8))
        except self._cv2.error:
            raise DataError(
                f"{path} is not YuNet as an ONNX file of fixed size; that is {self.needs.name} "
                f"({self.needs.source}), sha256 {self.needs.sha256}"
            ) from None

    @staticmethod
    def check_library() -> None:
        """Raise DetectorUnavailableError where OpenCV is not installed."""
        _opencv()

    def detect(self, frame: np.ndarray) -> Faces:
        """Find the faces of a frame, uint8 (H, W, 3) RGB."""
        if self._cv2.getNumThreads() != torch.get_num_threads():
            self._cv2.setNumThreads(torch.get_num_threads())
        size = reduced(frame.shape, self.max_side)
        image = np.ascontiguousarray(frame)
        if size != frame.shape[1::-1]:
            image = self._cv2.resize(image, size, interpolation=self._cv2.INTER_AREA)
        missing = [max(0, SMALLEST - side) for side in image.shape[:2]]
        image = np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0))) if any(missing) else image
        self._net.setInputSize(image.shape[1::-1])
        found = self._net.detect(np.ascontiguousarray(image[..., ::-1]))[1]  # BGR
        rows = np.zeros((0, 15), np.float32) if found is None else found  # x, y, w, h, 5 points, score
        boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        points = rows[:, 4:14].reshape(-1, 5, 2)
        return in_frame(boxes, rows[:, 14], points, shape=frame.shape, size=size, min_size=self.min_size)


def _opencv() -> Any:
    try:
        import cv2
    except ImportError:
        raise DetectorUnavailableError('yunet needs OpenCV: pip install "emozoo[faces]"') from None
    return cv2


@contextmanager
def _silent(cv2: Any) -> Generator[None]:
    """Keep OpenCV 5 from warning, at each start, of a setting that FaceDetectorYN makes by itself."""
    logging = cv2.utils.logging
    level = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_ERROR)
    try:
        yield
    finally:
        logging.setLogLevel(level)
