"""Images to calibrate an int8 model with, and what int8 changes, measured on others of them."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emozoo.data.reading import read, reader_for
from emozoo.data.samples import load_samples
from emozoo.errors import DatasetNotRecognisedError, ExportError
from emozoo.export.formats import Run
from emozoo.model import EmotionModel
from emozoo.prediction.inputs import expand

LIMIT = 1024
"""Images taken, evenly spaced: every other one calibrates, the rest measure."""
LEAST = 32
"""Fewer images than this calibrate nothing well."""
TURNS = 15


@dataclass(frozen=True, slots=True)
class Images:
    """Images of a model's own size.

    Attributes:
        pixels: uint8 (N, C, size, size).
        label: (N, C') probabilities over the model's labels, NaN where unknown.
    """

    pixels: np.ndarray
    label: Tensor


@dataclass(frozen=True, slots=True)
class Change:
    """What int8 changed, on images that it was not calibrated on.

    Attributes:
        n: how many images.
        deviation: by head, the root mean square of the differences over that of the outputs.
        agreement: by classification head, the share of images that get the same label.
        accuracy: by classification head, (before, after), where labels are known.
        milliseconds: of one image on one thread, (before, after), medians.
    """

    n: int
    deviation: dict[str, float]
    agreement: dict[str, float]
    accuracy: dict[str, tuple[float, float]]
    milliseconds: tuple[float, float]


def read_images(model: EmotionModel, place: Path) -> tuple[Images, Images]:
    """Return images to calibrate on and images to measure on, of a dataset or of a folder of photos.

    Of a dataset's splits, "train" is taken where there is one, else all.

    Raises:
        ExportError: there are too few, or the model is one of videos.
        DataError: they cannot be read.
    """
    if model.config.sampling is not None:
        raise ExportError("--int8 is for models of images; this one takes videos")
    try:
        name, reader = reader_for(place, None, ())
    except DatasetNotRecognisedError:
        photos = _spread(expand(place) or [place])
        pixels = torch.stack([model.preprocessor.decode(photo, str(photo)) for photo in photos])
        label = torch.full((len(pixels), len(model.labels)), torch.nan)
    else:
        rows = read(reader, name)
        index = [row for row, split in enumerate(rows["split"]) if split == "train"] or list(range(len(rows)))
        samples = load_samples(rows.select(_spread(index)), model.labels, model.preprocessor)
        pixels, label = samples.fetch(torch.arange(len(samples))).x, samples.targets.label
    if len(pixels) < LEAST:
        raise ExportError(f"--int8 {place}: {len(pixels)} images are too few; give {LEAST} or more")
    even, odd = (Images(pixels[start::2].numpy(), label[start::2]) for start in (0, 1))
    return even, odd


def _spread(items: list[Any]) -> list[Any]:
    """Return at most `LIMIT` items, from first to last."""
    count = min(LIMIT, len(items))
    return [items[position * len(items) // count] for position in range(count)]


def compare(model: EmotionModel, images: Images, name: str, before: Run, after: Run) -> Change:
    """Measure what changed from one exported model to another."""
    sides = [_outputs(run, name, images.pixels) for run in (before, after)]
    known = ~images.label.isnan().any(1)
    truth = images.label[known].argmax(1).numpy()
    deviation, agreement, accuracy = {}, {}, {}
    for head, module in model.heads.items():
        old, new = (side[head] for side in sides)
        deviation[head] = float(np.sqrt(np.square(new - old).mean() / np.square(old).mean()))
        if module.task == "classification":
            labels = [side.argmax(1) for side in (old, new)]
            agreement[head] = float((labels[0] == labels[1]).mean())
            if known.any():
                first, second = (float((found[known.numpy()] == truth).mean()) for found in labels)
                accuracy[head] = (first, second)
    times = _milliseconds(before, name, images.pixels), _milliseconds(after, name, images.pixels)
    return Change(len(images.pixels), deviation, agreement, accuracy, times)


def _outputs(run: Run, name: str, pixels: np.ndarray) -> dict[str, np.ndarray]:
    parts = [run({name: pixels[start : start + 32]}) for start in range(0, len(pixels), 32)]
    return {head: np.concatenate([part[head] for part in parts]) for head in parts[0]}


def _milliseconds(run: Run, name: str, pixels: np.ndarray) -> float:
    times = []
    for turn in range(TURNS + 2):
        started = time.perf_counter()
        run({name: pixels[:1]})
        if turn >= 2:
            times.append(time.perf_counter() - started)
    return 1e3 * statistics.median(times)
