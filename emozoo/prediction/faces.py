"""Finding faces: a detector by name, or the best that can be used here; and cutting a face out of its frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from emozoo import registry
from emozoo.contracts import Detector, DetectorFile, Faces
from emozoo.errors import (
    ContractError,
    CorruptModelError,
    DataError,
    DetectorUnavailableError,
    HubError,
)
from emozoo.files import cache_folder
from emozoo.hashing import matches, sha256
from emozoo.options import option_names
from emozoo.recipe import Part

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class FaceDetector:
    """A detector that is ready; threads may share it.

    Attributes:
        name: its qualified name, "emozoo:yunet".
        passed_over: the better ones that "auto" could not use, by short name, and why.
        detector: what the plugin built.
        settings: its options, all of them, with the sha256 of its file in place of the path.
    """

    name: str
    passed_over: dict[str, str]
    detector: Detector
    settings: Mapping[str, Any] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False, compare=False)

    def detect(self, frame: np.ndarray) -> Faces:
        """Return the faces of a frame, the largest first.

        Args:
            frame: uint8 (H, W, 3), RGB, or (H, W), grey.

        Raises:
            DataError: it is no such frame.
            ContractError: the detector gives what is no `Faces`.
        """
        rgb = as_rgb(frame)
        with self._lock:  # dlib and OpenCV release Python's lock, and crash where two threads use one object
            faces = self.detector.detect(rgb)
        if wrong := what_is_wrong(faces):
            raise ContractError(f"detector {self.name!r}: {wrong}")
        return faces.select(np.argsort(-_areas(faces.boxes), kind="stable"))

    def record(self) -> dict[str, Any]:
        """Return the name and all settings, as a record of a run keeps them."""
        return {"name": self.name, **self.settings}


def open_detector(name: str = AUTO, **options: Any) -> FaceDetector:
    """Return a face detector.

    A detector that needs a file takes its path as the option `file`. Without that, the file is looked for in
    `cache_folder("detectors")`, and then in the Hub's cache or, once, on the Hub, if a commit there is known.

    Args:
        name: short or qualified; "auto" is the best of emozoo's own whose library and file are there.
        options: the detector's own, such as `threshold`, `min_size`, `max_side`; with "auto", those that lack one
            of them are passed over.

    Raises:
        DetectorUnavailableError: its library or its file is not there; or, with "auto", no detector can be used.
        UnknownComponentError: no detector has this name.
        RecipeError: an option is wrong.
        DataError: a file given as an option cannot be used.
    """
    if name != AUTO:
        return _open(registry.find("detector", name), options, {})
    passed_over: dict[str, str] = {}
    for component in _candidates():
        lacking = options.keys() - set(option_names(registry.load(component)))
        if lacking:
            passed_over[component.name] = f"it has no option {', '.join(sorted(lacking))}"
            continue
        try:
            return _open(component, options, passed_over)
        except (DetectorUnavailableError, HubError, CorruptModelError, DataError) as error:
            if isinstance(error, DataError) and options.get("file") is not None:
                raise
            passed_over[component.name] = str(error)
    reasons = "\n".join(f"  {short}: {reason}" for short, reason in passed_over.items())
    raise DetectorUnavailableError(
        f"no face detector can be used here:\n{reasons}\n"
        "Ways on: mend one of these; or, for pictures that are faces already, none (--faces none)."
    )


def detector_of(part: Part | None) -> FaceDetector | None:
    """Return the detector that a recipe's `data.detector` names, if it names one; raises as `open_detector`."""
    return None if part is None else open_detector(part.name, **part.options)


def _candidates() -> list[registry.Component]:
    """Return emozoo's own detectors, the preferred first; those of others are used when they are named."""
    own = [c for c in registry.discover() if c.kind == "detector" and c.distribution == registry.HOME]
    return sorted(own, key=lambda c: (-getattr(registry.load(c), "preference", 0), c.name))


def _open(
    component: registry.Component, options: dict[str, Any], passed_over: dict[str, str]
) -> FaceDetector:
    options = with_file(component, options)
    resolved = registry.resolve("detector", component.qualified, options, "faces")
    detector, settings = resolved.build(), resolved.plain
    del settings["name"]
    if settings.get("file") is not None:
        path = Path(settings["file"]).expanduser()
        settings["file"] = sha256(path) if path.is_file() else path.name
    return FaceDetector(resolved.name, passed_over, detector, settings)


def with_file(component: registry.Component, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a detector's options with the path of the file that it needs, if it needs one and is given none.

    Raises:
        DetectorUnavailableError: its library is not installed, or see `find_file`.
        CorruptModelError: see `find_file`.
    """
    kind = registry.load(component)
    needs = getattr(kind, "needs", None)
    if not isinstance(needs, DetectorFile) or options.get("file") is not None:
        return dict(options)
    if check := getattr(kind, "check_library", None):
        check()
    return {**options, "file": str(find_file(needs, component.name))}


def find_file(needs: DetectorFile, detector: str) -> Path:
    """Return the file that a detector needs, from `cache_folder("detectors")` or from the Hub, with the right sha256.

    Raises:
        CorruptModelError: a file of that name has another sha256.
        DetectorUnavailableError: it is in neither place, or the Hub does not give it; says what to do.
    """
    path = cache_folder("detectors") / needs.name
    if path.is_file():
        if not matches(path, needs.sha256):
            raise CorruptModelError(
                f"{path} is not the file that {detector} needs (sha256 {needs.sha256}); replace or remove it"
            )
        return path
    ways = (
        f"Ways on: get it from {needs.source} and put it into {path.parent}; give its path as the option file "
        "(--faces-file PATH); or take another detector"
    )
    if needs.hub is None:
        raise DetectorUnavailableError(
            f"{detector} needs {needs.name} (sha256 {needs.sha256}), which is not in {path.parent}, "
            f"and no commit on the Hub is known for it. {ways}"
        )
    return _fetched(needs, detector, ways)


def _fetched(needs: DetectorFile, detector: str, ways: str) -> Path:
    from emozoo.hub import parse
    from emozoo.hub_file import fetch_file

    model = replace(parse(needs.hub or ""), sha256={needs.name: needs.sha256})
    if not model.pinned:
        raise ContractError(f"detector {detector!r}: needs.hub is {needs.hub!r}, without a commit in full")
    try:
        return fetch_file(model, needs.name)
    except HubError as error:
        raise DetectorUnavailableError(f"{detector} needs {needs.name}: {error}. {ways}") from error


def as_rgb(frame: np.ndarray) -> np.ndarray:
    """Return a frame as uint8 (H, W, 3); grey is repeated.

    Raises:
        DataError: it is no frame.
    """
    shape = getattr(frame, "shape", ())
    colour = len(shape) == 3 and shape[2] == 3
    if getattr(frame, "dtype", None) != np.uint8 or not (colour or len(shape) == 2) or 0 in shape:
        found = f"{getattr(frame, 'dtype', type(frame).__name__)} {tuple(shape)}"
        raise DataError(f"faces are looked for in frames uint8 (H, W, 3) RGB or (H, W) grey, not in {found}")
    return frame if colour else np.repeat(frame[..., None], 3, axis=2)


def what_is_wrong(faces: Any) -> str | None:
    """Say what keeps the result of a detector from being `Faces`; None if nothing does."""
    if not isinstance(faces, Faces):
        return f"detect returned a {type(faces).__name__}, not emozoo.contracts.Faces"
    n = len(faces.scores) if isinstance(faces.scores, np.ndarray) else 0
    wanted = {"boxes": (n, 4), "scores": (n,), "landmarks": (n, 5, 2)}
    for name, shape in wanted.items():
        value = getattr(faces, name)
        if value is None and name == "landmarks":
            continue
        found = (str(value.dtype), value.shape) if isinstance(value, np.ndarray) else type(value).__name__
        if found != ("float32", shape):
            return f"{name} are {found}, not float32 {shape}"
        if not np.isfinite(value).all():
            return f"{name} are not finite"
    if n and not (faces.boxes[:, 2:] > faces.boxes[:, :2]).all():
        return "a box has no width or no height; boxes are x0, y0, x1, y1"
    return None


def crop_face(frame: np.ndarray, box: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """Cut a square around a box out of a frame; beyond the frame its border pixels go on.

    Args:
        frame: uint8 (H, W, 3) or (H, W).
        box: x0, y0, x1, y1, pixels.
        margin: what is added on each side, as a share of the box's longer side; negative values cut into it.

    Returns:
        uint8 (side, side, 3) or (side, side), side = round(longer side * (1 + 2 margin)), centred on the box.

    Raises:
        DataError: the box is empty or not finite, or the margin leaves nothing of it.
    """
    x0, y0, x1, y1 = (float(value) for value in box)
    longer = max(x1 - x0, y1 - y0) * (1 + 2 * margin)
    if not (np.isfinite([x0, y0, x1, y1, longer]).all() and x1 > x0 and y1 > y0 and longer > 0):
        raise DataError(f"no face can be cut out: box {x0, y0, x1, y1}, margin {margin}")
    side = max(1, round(longer))
    left, top = (round((low + high - side) / 2) for low, high in ((x0, x1), (y0, y1)))
    rows = np.clip(np.arange(top, top + side), 0, frame.shape[0] - 1)
    columns = np.clip(np.arange(left, left + side), 0, frame.shape[1] - 1)
    return frame[rows[:, None], columns]


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
