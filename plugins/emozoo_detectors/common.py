"""What the detectors share: the size at which they look at a frame, and the way back to its pixels."""

from __future__ import annotations

import numpy as np

from emozoo.contracts import Faces


def reduced(shape: tuple[int, ...], max_side: int) -> tuple[int, int]:
    """Return the (width, height) of a frame (H, W, ...) that is shrunk, if need be, to a longer side of `max_side`."""
    height, width = shape[:2]
    share = min(1.0, max_side / max(height, width))
    return max(1, round(width * share)), max(1, round(height * share))


def in_frame(
    boxes: np.ndarray,
    scores: np.ndarray,
    landmarks: np.ndarray | None,
    *,
    shape: tuple[int, ...],
    size: tuple[int, int],
    min_size: float,
) -> Faces:
    """Return faces that were found in a shrunk frame in pixels of the frame, without those that are too small.

    Width and height are scaled by themselves: rounding gives the shrunk frame a slightly different shape.

    Args:
        boxes: (n, 4) in the shrunk frame.
        scores: (n,).
        landmarks: (n, 5, 2) in the shrunk frame, or None.
        shape: of the frame, (H, W, ...).
        size: (width, height) of the shrunk frame.
        min_size: pixels of the frame.
    """
    scale = np.asarray([shape[1] / size[0], shape[0] / size[1]])
    boxes = (boxes * np.tile(scale, 2)).astype(np.float32)
    points = None if landmarks is None else (landmarks * scale).astype(np.float32)
    sides = boxes[:, 2:] - boxes[:, :2]
    return Faces(boxes, scores.astype(np.float32), points).select((sides >= max(min_size, 1e-3)).all(1))
