"""The contract of face detectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emozoo import registry
from emozoo.contracts import DetectorFile, Faces
from emozoo.prediction.faces import what_is_wrong, with_file
from emozoo.testing.subject import Subject, check_options

SHAPES = ((1, 1), (7, 300), (300, 7), (97, 131), (20, 4000))
"""Heights and widths of frames that every detector must take."""


def check_detector(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    frame: np.ndarray | None = None,
    faces: int = 1,
) -> None:
    """Check that a face detector keeps `emozoo.contracts.Detector`.

    Args:
        name: as `--faces` names it, "emozoo-mypaper:finder".
        options: those that differ from the defaults; a detector that needs a file is given it as users' are.
        frame: a picture with faces, uint8 (H, W, 3) RGB; without one, only frames without faces are tried.
        faces: how many faces the picture has.

    Raises:
        ContractError: it does not; says what, where, and how to mend it.
        EmozooError: there is no such component, or it does not take the options, or cannot be used here.
    """
    subject = Subject("detector", name, with_file(registry.find("detector", name), options or {}))
    check_options(subject)
    _check_facts(subject)
    detector = subject.build()
    for height, width in SHAPES:
        noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        _check_frame(subject, detector, noise)
        _check_frame(subject, detector, np.zeros_like(noise))
    if frame is not None:
        _check_picture(subject, detector, frame, faces)


def _check_facts(subject: Subject) -> None:
    needs = getattr(subject.resolved.factory, "needs", None)
    subject.require(
        needs is None or isinstance(needs, DetectorFile),
        f"needs is {needs!r}",
        "Say which file it needs as emozoo.contracts.DetectorFile, or leave it out",
    )
    if needs is not None:
        subject.require(
            "file" in subject.resolved.options,
            "it needs a file, and has no option 'file' to be given its path",
            "Add the keyword-only parameter file: str",
        )


def _check_frame(subject: Subject, detector: Any, frame: np.ndarray) -> Faces:
    """Check that what is found in a frame is `Faces`, the same twice, and that the frame stays as it was."""
    given = frame.copy()
    with subject.doing(f"detect() of a frame {frame.shape}", "Take frames of any size"):
        first, second = detector.detect(frame), detector.detect(frame)
    subject.require(
        np.array_equal(frame, given), "it changes the frame it is given", "Draw and scale on a copy"
    )
    wrong = what_is_wrong(first)
    subject.require(wrong is None, str(wrong), "Return what the docstring of Faces says, also for no face")
    subject.require(
        _same(first, second),
        "the same frame gives different faces",
        "Let nothing of one frame count for the next; tracking is done elsewhere",
    )
    return first


def _same(first: Faces, second: Faces) -> bool:
    pairs = [(first.boxes, second.boxes), (first.scores, second.scores)]
    if first.landmarks is not None and second.landmarks is not None:
        pairs.append((first.landmarks, second.landmarks))
    return all(np.array_equal(a, b) for a, b in pairs)


def _check_picture(subject: Subject, detector: Any, frame: np.ndarray, count: int) -> None:
    """Check a picture with faces: how many and where, however it lies in memory, mirrored, and with others between."""
    found = _check_frame(subject, detector, frame)
    subject.require(
        len(found) == count,
        f"it finds {len(found)} faces in a picture of {count}",
        "Look at the picture's colours (RGB), its scale, and the threshold",
    )
    height, width = frame.shape[:2]
    centres = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    subject.require(
        ((centres > 0) & (centres < (width, height))).all(),
        f"a face lies outside of the frame of {width}x{height}",
        "Give boxes as x0, y0, x1, y1 in pixels of the frame that was given, whatever the scale of detection",
    )
    wide = np.repeat(frame, 2, axis=1)[:, ::2]  # the same picture, every second pixel of an array in memory
    subject.require(
        _same(found, detector.detect(wide)),
        "a frame that is not contiguous in memory gives other faces",
        "Use numpy.ascontiguousarray before handing it to a library",
    )
    mirrored = detector.detect(frame[:, ::-1])
    boxes = mirrored.boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [width, 0, width, 0]
    subject.require(
        len(mirrored) == count and all(_overlap(box, boxes).max() > 0.5 for box in found.boxes),
        "in the mirrored picture the faces are not where the mirror puts them",
        "Boxes are x0, y0, x1, y1; look at how they are scaled back",
    )


def _overlap(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection over union of a box (4,) and others (n, 4)."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    both = np.clip(sides, 0, None).prod(1)
    areas = (others[:, 2:] - others[:, :2]).prod(1) + (box[2:] - box[:2]).prod()
    return both / (areas - both)
