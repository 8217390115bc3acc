"""What the files of a model folder, of a zoo entry and of a run are called; `emozoo.folder` says what they hold."""

from __future__ import annotations

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
GOLDEN = "golden.safetensors"
RUN = "run.json"
MANIFEST = "manifest.json"
CARD = "README.md"

REQUIRED = (CONFIG, WEIGHTS, GOLDEN)
"""What every model folder holds."""

RECIPE = "recipe.toml"
"""The recipe of a zoo entry."""

PICTURES, RECORDS = "pictures", "records"
"""Folders of a zoo entry: what its card shows, and the records of what was measured apart from the run."""

MODEL = "model"
"""The model folder inside a run's folder."""
