"""The record of a run: what was trained on what, with which versions, on which machine, and what came out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emozoo.data.samples import Samples
from emozoo.model import EmotionModel
from emozoo.training.data import TrainingData

RECORD_FORMAT = 1


def data_record(data: TrainingData, roles: dict[str, Samples], labels: Sequence[str]) -> dict[str, Any]:
    """Return terms and source of the data, and name, size, counts and fingerprint of each role's samples."""
    reader, splits = data.reader, data.splits
    names = {"train": splits.train_name, "select": splits.select_name, "report": splits.report_name}
    return {
        "title": reader.title,
        "licence": reader.licence,
        "citation": reader.citation,
        "vad_scale": list(reader.vad_scale) if reader.vad_scale else None,
        **({"faces": data.detector.record()} if data.detector else {}),
        "roles": {
            role: {
                "split": names[role],
                "n": len(samples),
                "counts": samples.counts(labels),
                "fingerprint": samples.fingerprint,
            }
            for role, samples in roles.items()
        },
    }


def model_record(model: EmotionModel) -> dict[str, Any]:
    """Return size and cost of a model."""
    from emozoo.cost import count_macs, count_parameters

    return {"parameters": count_parameters(model), "macs": count_macs(model.config)}
