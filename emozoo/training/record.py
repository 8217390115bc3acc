"""The record of a run: what was trained on what, with which versions, on which machine, and what came out."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from emozoo.data.samples import Samples
from emozoo.model import EmotionModel
from emozoo.recipe import Recipe
from emozoo.training.data import TrainingData
from emozoo.zoo import locate

RECORD_FORMAT = 1

Difference = tuple[str, Any, Any]
"""A key, and its value before and now."""


def hardware(device: torch.device, processes: int) -> dict[str, Any]:
    """Return what the run had: processor, cores, memory, accelerator. No host names, no paths."""
    found: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": processes,
        "device": device.type,
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {"gpu": properties.name, "gpu_memory_gib": round(properties.total_memory / 2**30, 1)}
    return found


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor()


def recipe_record(recipe: Recipe) -> dict[str, Any]:
    """Return the resolved recipe without the places where data and cache lay, which say nothing about the run."""
    tree = recipe.resolved()
    tree["data"] |= {"root": None, "cache": None}
    if (tree["data"]["detector"] or {}).get("file"):
        tree["data"]["detector"]["file"] = Path(tree["data"]["detector"]["file"]).name
    if tree["train"]["init"] is not None:
        tree["train"]["init"] = _without_place(tree["train"]["init"])
    if (distillation := tree["train"]["distillation"]) is not None:
        distillation["teachers"] = [_without_place(name) for name in distillation["teachers"]]
    return tree


def _without_place(source: str) -> str:
    """Return what a model is called; of a folder, its last name alone."""
    found = locate(source)
    return f"dir:{found.name}" if isinstance(found, Path) else source


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
                "fingerprint": samples.fingerprint(),
            }
            for role, samples in roles.items()
        },
    }


def model_record(model: EmotionModel) -> dict[str, Any]:
    """Return size and cost of a model."""
    from emozoo.cost import count_macs, count_parameters

    return {"parameters": count_parameters(model), "macs": count_macs(model.config)}


def recipe_changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """List the keys in which two recorded recipes train differently, a line each."""
    return _lines(recipe_differences(before, now))


def recipe_differences(before: dict[str, Any], now: dict[str, Any]) -> list[Difference]:
    """List the keys in which two recorded recipes train differently; a card's words train nothing."""
    return _differences({**before, "card": None}, {**now, "card": None})


def changes(before: Any, now: Any, path: str = "") -> list[str]:
    """List the keys in which two JSON values differ: a line each."""
    return _lines(_differences(before, now, path))


def _lines(rows: list[Difference]) -> list[str]:
    return [f"  {key}: was {json.dumps(old)}, is {json.dumps(new)}" for key, old, new in rows]


def _differences(before: Any, now: Any, path: str = "") -> list[Difference]:
    """List the keys in which two JSON values differ, each with both its values."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [*before, *(key for key in now if key not in before)]
        rows = [_differences(before.get(key), now.get(key), f"{path}.{key}" if path else key) for key in keys]
        return [row for group in rows for row in group]
    return [] if before == now else [(path, before, now)]
