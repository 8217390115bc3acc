"""The versions that figures may depend on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from emozoo import __version__

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
