"""The zoo's models as `emozoo bench` measures them, on one thread: medians, from decoded pixels to raw outputs.

Models without weights are given random ones, which speed does not depend on; of models that differ in labels alone, the
first is measured. A video is what the model takes of 105 frames.
"""

from __future__ import annotations

from typing import Any

from benchmarks.measuring import Row
from emozoo.bench import bench
from emozoo.recipe import load_recipe
from emozoo.zoo import entries

FACE_MS = 5.0
"""Goal of the bundled default, for one face."""
DEFAULT = "mini-fer2013"


def measure() -> list[Row]:
    rows = []
    for batches, names in (((1, 32), _names(video=False)), ((1,), _names(video=True))):
        for model in bench(names, batches, threads=1)["models"]:
            rows += [row for way in model["variants"] for row in _rows(model["name"], way)]
    return rows


def _names(video: bool) -> list[str]:
    found: dict[str, str] = {}
    for entry in entries():
        config = load_recipe(entry.recipe_file).model
        if (config.sampling is not None) == video:
            found.setdefault(config.model_copy(update={"labels": ()}).model_dump_json(), entry.name)
    return list(found.values())


def _rows(name: str, way: dict[str, Any]) -> list[Row]:
    rows = []
    for size in way.get("batches", ()):
        what, value = f"{name}, {way['variant']}, batch {size['batch']}", size["median_ms"]
        if name == DEFAULT and size["batch"] == 1:
            rows.append(Row(what, value, "ms", f"<= {FACE_MS:g}", value <= FACE_MS))
        else:
            rows.append(Row(what, value, "ms"))
    return rows
