"""The field's names for emotion categories and dimensions, and how datasets spell them."""

from __future__ import annotations

from collections.abc import Sequence

from emozoo.errors import DataError, suggest

DIMENSIONS = ("valence", "arousal", "dominance")
"""The three affective dimensions, in the order of every VAD array in emozoo; values lie on `VAD_SCALE`."""

VAD_SCALE = (-1.0, 1.0)
"""The lowest and the highest value of a dimension."""

FER2013_LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""The seven categories in the order of FER2013 (0..6)."""

_SPELLINGS = {
    "angry": ("anger", "an", "ang"),
    "disgust": ("disgusted", "di", "dis"),
    "fear": ("fearful", "afraid", "scared", "fe", "fea"),
    "happy": ("happiness", "joy", "ha", "hap"),
    "sad": ("sadness", "sa"),
    "surprise": ("surprised", "su", "sur"),
    "neutral": ("neutrality", "ne", "neu"),
    "contempt": ("contemptuous",),
}
CATEGORIES = tuple(_SPELLINGS)
"""The eight basic categories, in emozoo's spelling; those of FER2013 come first, in its order."""

_CANONICAL = {spelling: name for name, others in _SPELLINGS.items() for spelling in (name, *others)}


def canonical(label: str) -> str:
    """Return emozoo's spelling of a category name ("Happiness" -> "happy"); unknown names only lose case."""
    lowered = label.strip().lower()
    return _CANONICAL.get(lowered, lowered)


def label_mapping(source: Sequence[str], target: Sequence[str]) -> list[int]:
    """Map each label of a dataset to the index of the same-named label of a model.

    Labels are matched by name, never by position, since their order differs from dataset to dataset.

    Raises:
        DataError: a label of the dataset is not one of the model's.
    """
    positions = {canonical(name): index for index, name in enumerate(target)}
    missing = [name for name in source if canonical(name) not in positions]
    if missing:
        hint = suggest(canonical(missing[0]), positions)
        raise DataError(
            f"the dataset has the label(s) {', '.join(map(repr, missing))}, which the model does not: "
            f"model labels are {', '.join(target)}.{hint} "
            "Set model.labels to the dataset's labels, or drop those samples with data.labels."
        )
    return [positions[canonical(name)] for name in source]
