"""What a model says of a face, as data: one answer, and the mean of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from emozoo.labels import DIMENSIONS, VAD_SCALE

Box = tuple[float, float, float, float]
"""Left, top, right, bottom: pixels of the photo or of the video's frames."""

PLACE = ("source", "face", "start", "end", "rich_start", "rich_end", "left", "top", "right", "bottom")
"""The columns of every row that say what it is about, of photos and of videos; None where there is nothing to say.

A photo's faces count from 0, the largest first; those of a video are its tracks. `start` and `end` are seconds, of a
video's window; `rich_start` and `rich_end` those of its most expressive clip.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model says of a face.

    Attributes:
        heads: each head's part, by the recipe's head names.
        label: the most probable category; None for a model without a classification head.
        probabilities: of each category, summing to 1.
        vad: predicted dimensions by name, each of the first head that has it, on `vad_scale`; None without a VAD
            head.
    """

    vad_scale: ClassVar[tuple[float, float]] = VAD_SCALE
    """The scale of `vad`."""

    heads: dict[str, dict[str, Any]]
    label: str | None = None
    probabilities: dict[str, float] | None = None
    vad: dict[str, float] | None = None

    @property
    def confidence(self) -> float | None:
        """The probability of the label."""
        return None if self.label is None or self.probabilities is None else self.probabilities[self.label]

    def answer(self) -> dict[str, Any]:
        """Return what is said as plain JSON values."""
        tree: dict[str, Any] = {}
        if self.label is not None:
            tree |= {"label": self.label, "probabilities": self.probabilities}
        if self.vad is not None:
            tree |= {"vad": self.vad, "vad_scale": list(self.vad_scale)}
        if self.heads.keys() - _speakers(self.heads):
            tree["heads"] = self.heads
        return tree

    def columns(self) -> dict[str, Any]:
        """Return what is said as columns: label, confidence, one a category and one a dimension.

        What further heads say stands in columns that begin with the head's name, such as "compound.label".
        """
        row: dict[str, Any] = {}
        speakers = _speakers(self.heads)
        for name in sorted(self.heads, key=lambda name: "label" not in self.heads[name]):
            for key, value in _columns(self.heads[name]).items():
                free = name in speakers and key not in row
                row[key if free else f"{name}.{key}"] = value
        return row

    def words(self) -> str:
        """Return what is said as text for people."""
        parts = [] if self.label is None else [f"{self.label} {self.confidence or 0:.0%}"]
        parts += [f"{name} {value:+.2f}" for name, value in (self.vad or {}).items()]
        return "  ".join(parts)


def said(parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the fields of an `Answer` for the heads' parts; the first head with a label, or a dimension, says it."""
    label = next((part for part in parts.values() if "label" in part), {})
    vad = {name: part[name] for name in DIMENSIONS for part in reversed(parts.values()) if name in part}
    return {
        "heads": parts,
        "label": label.get("label"),
        "probabilities": label.get("probabilities"),
        "vad": vad or None,
    }


def mean_parts(parts: Sequence[Mapping[str, Any]], weights: Sequence[float]) -> dict[str, Any]:
    """Return the mean of what a head says of several moments: of its probabilities and numbers.

    The label is the most probable one on average. What has no mean is kept where it is the same throughout.
    """
    mean: dict[str, Any] = {}
    for key, value in parts[0].items():
        if isinstance(value, Mapping):
            mean[key] = mean_parts([part[key] for part in parts], weights)
        elif isinstance(value, int | float):
            total = sum(weight * part[key] for part, weight in zip(parts, weights, strict=True))
            mean[key] = total / sum(weights)
        elif key == "label" or all(part[key] == value for part in parts):
            mean[key] = value
    if "label" in mean and mean.get("probabilities"):
        mean["label"] = max(mean["probabilities"], key=mean["probabilities"].__getitem__)
    return mean


def place(source: str, **known: Any) -> dict[str, Any]:
    """Return the columns of `PLACE`; those that are not given are None."""
    return dict.fromkeys(PLACE) | {"source": source} | known


def corners(box: Box | None) -> dict[str, float]:
    """Return a box as columns."""
    return {} if box is None else dict(zip(PLACE[-4:], box, strict=True))


def _speakers(parts: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return the names of the heads that speak for the face: the first with a label, the first with each dimension."""
    firsts = (
        next((name for name, part in parts.items() if key in part), None) for key in ("label", *DIMENSIONS)
    )
    return {name for name in firsts if name is not None}


def _columns(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return a head's part of a prediction as columns: its label, probabilities and numbers."""
    row: dict[str, Any] = {}
    if "probabilities" in part:
        row |= {"label": part["label"], "confidence": part["probabilities"][part["label"]]}
        row |= {f"p_{name}": value for name, value in part["probabilities"].items()}
    return row | {name: value for name, value in part.items() if isinstance(value, int | float)}
