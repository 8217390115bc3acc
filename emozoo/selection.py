"""On which splits the weights of a model were chosen: by its own run, and by the runs of the models it comes from.

A model that starts from another, or learns from it, has that one's choices behind it: measured on the split that made
one of them, its figures are validation figures, whatever its own run kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emozoo.errors import CorruptModelError
from emozoo.provenance import Source
from emozoo.records import find_record

Choice = dict[str, str]
"""A model and dataset, split and fingerprint of what chose its checkpoint; the model alone if that is unknown."""


def origin(source: Source | None) -> dict[str, Any]:
    """Return what a record keeps of a model that its run comes from: which weights, and the choices behind them."""
    if source is None:
        return {"source": ""}
    known = source.record()
    name = known.pop("name")
    return {"source": name, **known, "choices": _choices(source)}


def _choices(source: Source) -> list[Choice]:
    """Return the choices behind a model's weights, as the record in its folder has them."""
    try:
        record = find_record(source.folder) or {}
        found = [*_own(record), *inherited(record)]
    except (CorruptModelError, KeyError, TypeError, AttributeError):  # no record, or one that others wrote
        found = None
    return [{"model": source.name}] if found is None or not all(map(_is_choice, found)) else found


def _own(record: Mapping[str, Any]) -> list[Choice]:
    split = record["selected_on"]
    if split is None:
        return []
    data = record["data"]
    fingerprint = data["roles"]["select"]["fingerprint"]
    return [{"model": record["name"], "dataset": data["title"], "split": split, "fingerprint": fingerprint}]


def _is_choice(found: Any) -> bool:
    return "model" in found and all(isinstance(text, str) for text in found.values())


def inherited(record: Mapping[str, Any]) -> list[Choice]:
    """Return the choices behind the models that a run comes from; of a record older than these, the models' names."""
    origins = [it for it in (record.get("init"), *record.get("teachers", ())) if it is not None]
    found = [choice for model in origins for choice in model.get("choices", [{"model": model["source"]}])]
    return [choice for place, choice in enumerate(found) if choice not in found[:place]]


def chosen_by_report(record: Mapping[str, Any]) -> str:
    """Return in words whose checkpoints the split that a run reports chose; nothing if it is known of none."""
    own = record["selected_on"] == record["reported_on"]
    reported = (record["data"]["title"], record["reported_on"])
    models = dict.fromkeys(
        choice["model"]
        for choice in inherited(record)
        if (choice.get("dataset"), choice.get("split")) == reported
    )
    if not models:
        return "the checkpoint" if own else ""
    return f"the checkpoint{' and that' if own else ''} of {' and of '.join(models)}, which this model comes from"


def validation_note(record: Mapping[str, Any]) -> str:
    """Return the sentence that calls a run's figures validation figures; nothing if they are none."""
    chosen = chosen_by_report(record)
    start = "These are validation figures: the split that they are measured on also chose"
    return f"{start} {chosen}." if chosen else ""
