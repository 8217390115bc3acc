"""The record of a run: what was trained on what, with which versions, on which machine, and what came out."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from typing import Any

import torch

from emozoo.data.samples import Samples
from emozoo.model import EmotionModel
from emozoo.training.data import TrainingData

RECORD_FORMAT = 1


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
