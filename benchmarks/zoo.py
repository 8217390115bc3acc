"""The zoo's other models as `emozoo bench` measures them, on one thread: medians, from decoded pixels to raw outputs.

They are given random weights, which speed does not depend on; of models that differ in labels alone, the first is
measured. A video is what the model takes of 105 frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.measuring import Row
from emozoo.bench import bench
from emozoo.recipe import load_recipe
from emozoo.zoo import Entry, entries


def measure() -> list[Row]:
    return rows_of([entry for entry in entries() if entry.weights is None])


def rows_of(chosen: Iterable[Entry]) -> list[Row]:
    """Measure entries of the zoo: images one at a time and 32, videos one at a time."""
    images, videos = _names(chosen)
    rows = []
    for names, batches in ((images, (1, 32)), (videos, (1,))):
        for model in bench(names, batches, threads=1)["models"]:
            rows += [row for way in model["variants"] for row in _rows(model["name"], way)]
    return rows


def _names(chosen: Iterable[Entry]) -> tuple[list[str], list[str]]:
    """Return the names of models of images and of videos, of those that differ in labels alone the first."""
    found: dict[str, tuple[str, bool]] = {}
    for entry in chosen:
        config = load_recipe(entry.recipe_file).model
        alike = config.model_copy(update={"labels": ()}).model_dump_json()
        found.setdefault(alike, (entry.name, config.sampling is not None))
    images = [name for name, video in found.values() if not video]
    return images, [name for name, video in found.values() if video]


def _rows(name: str, way: dict[str, Any]) -> list[Row]:
    return [
        Row(f"{name}, {way['variant']}, batch {size['batch']}", size["median_ms"], "ms")
        for size in way.get("batches", ())
    ]
