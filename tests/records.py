"""The record of a run that nobody made: whole, small, and the same every time."""

from __future__ import annotations

import copy
from typing import Any

LABELS = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]


def _measured(value: float) -> dict[str, Any]:
    return {"value": value, "interval": [value - 0.02, value + 0.02]}


def _categories(accuracy: float) -> dict[str, Any]:
    metrics = {"accuracy": accuracy, "uar": 0.5512, "f1": 0.5417, "top2": 0.7703, "nll": 1.1009}
    rows = [
        {"label": label, "n": 30 + place, "precision": 0.6 + place / 100, "recall": 0.5 + place / 100,
         "f1": 0.55 + place / 100, "recall_interval": [0.41 + place / 100, 0.59 + place / 100]}
        for place, label in enumerate(LABELS)
    ]  # fmt: skip
    return {
        "task": "classification", "n": 231, "primary": "accuracy",
        "metrics": {**{name: _measured(value) for name, value in metrics.items()},
                    "ece": {"value": 0.0371, "interval": None}},
        "per_class": rows, "confusion": [], "reliability": [], "majority_baseline": 0.1558,
    }  # fmt: skip


def _vad() -> dict[str, Any]:
    metrics, constant = {"ccc": _measured(0.4873), "rmse": _measured(0.2911)}, {}
    for place, name in enumerate(("valence", "arousal", "dominance")):
        for kind, value in (
            ("ccc", 0.4),
            ("pearson", 0.45),
            ("mse", 0.07),
            ("rmse", 0.26),
            ("mae", 0.2),
            ("sagr", 0.7),
        ):
            metrics[f"{name}_{kind}"] = _measured(value + place / 1000)
            constant[f"{name}_{kind}"] = None if kind == "pearson" else value / 3 + place / 1000
    return {
        "task": "vad", "n": 231, "primary": "ccc", "metrics": metrics,
        "dimensions": {"valence": 231, "arousal": 231, "dominance": 230},
        "baseline": {"source": "mean of this split", "metrics": constant},
    }  # fmt: skip


def _recipe(seed: int) -> dict[str, Any]:
    return {
        "name": "tiny",
        "card": {"title": "A tiny model", "summary": "It is for tests.", "licence": "MIT", "data_licence": "drawn",
                 "dataset": "drawings", "task": "image", "literature": []},
        "model": {"labels": LABELS, "backbone": {"name": "resnet18", "width": 2}, "aggregator": None,
                  "preprocess": {"size": 48, "crop": 44, "colour": "grey"}, "sampling": None,
                  "heads": {"emotion": {"name": "classification"}, "vad": {"name": "vad"}}},
        "data": {"name": "synthetic", "root": None},
        "train": {"epochs": 3, "batch_size": 20, "seed": seed, "optimizer": {"name": "adamw", "lr": 0.013}},
    }  # fmt: skip


def small_record(name: str = "tiny", seed: int = 0, accuracy: float = 0.6123) -> dict[str, Any]:
    """The record of a run of a model with both heads, reported on a split that chose nothing."""
    role = {"split": "train", "n": 1400, "counts": dict.fromkeys(LABELS, 200), "fingerprint": "0" * 64}
    return copy.deepcopy({
        "format": 1, "name": name, "started": "2026-01-01T00:00:00+00:00", "resumed": False, "recipe": _recipe(seed),
        "init": None, "model": {"parameters": 12345, "macs": 6789000}, "precision": "fp32",
        "versions": {"emozoo": "0.1.0", "python": "3.11.7", "torch": "2.15.0"},
        "hardware": {"processor": "a processor", "threads": 1, "processes": 1, "device": "cpu"},
        "history": [{"epoch": 1, "select.emotion.accuracy": 0.7777}],
        "best": {"metric": "emotion.accuracy", "value": 0.6001, "epoch": 2, "step": 20},
        "data": {"title": "Drawings", "licence": "none: they are drawn", "citation": "Nobody (2026)", "vad_scale": None,
                 "roles": {"train": role, "select": {**role, "split": "validation", "n": 70},
                           "report": {**role, "split": "test", "n": 231}}},
        "result": {"split": "test", "n": 231, "tta": "none", "resamples": 1000,
                   "heads": {"emotion": _categories(accuracy), "vad": _vad()},
                   "consistency": {"table": "quadrants", "n": 231, "violation_rate": 0.1342, "per_dimension": {},
                                   "annotation_n": 200, "annotation_violation_rate": 0.0551}},
        "selected_on": "validation", "reported_on": "test", "training_seconds": 83.2, "session_seconds": 90.0,
        "finished": "2026-01-01T00:02:00+00:00",
    })  # fmt: skip
