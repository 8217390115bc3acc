"""The versions and the machine that figures may depend on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from emozoo import __version__

if TYPE_CHECKING:
    import torch

LIBRARIES = (
    "torch", "timm", "accelerate", "datasets", "safetensors", "huggingface-hub", "einops", "numpy", "pillow",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Return the versions of emozoo, Python and the libraries that figures may depend on."""
    found = {"emozoo": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def hardware(device: torch.device, processes: int) -> dict[str, Any]:
    """Return what the run had: processor, cores, memory, accelerator. No host names, no paths."""
    import torch

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
