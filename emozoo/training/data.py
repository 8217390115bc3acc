"""The data of a run: the reader, its rows, and the samples of each role."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from emozoo.contracts import DatasetReader
from emozoo.data.reading import Splits, open_reader, read, split_rows
from emozoo.data.samples import Samples, load_samples
from emozoo.model import EmotionModel
from emozoo.prediction.faces import FaceDetector, detector_of
from emozoo.recipe import Recipe

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What training sees: the training and the selection samples, and how to get at the reported ones afterwards."""

    reader: DatasetReader
    rows: Dataset
    splits: Splits
    train: Samples
    select: Samples
    detector: FaceDetector | None = None

    def to(self, device: torch.device) -> TrainingData:
        """Keep decoded media on a device where they fit."""
        return replace(self, train=self.train.to(device), select=self.select.to(device))

    def report(self, recipe: Recipe, model: EmotionModel) -> Samples:
        """Return the samples that the final result is reported on; whole images where it looks at several views."""
        frozen = recipe.train.freeze and recipe.data.tta == "none"
        if recipe.data.report is None and frozen == recipe.train.freeze:
            return self.select
        return _samples(
            recipe, model, self.reader, self.rows.select(self.splits.report), frozen, self.detector
        )


def load_training_data(recipe: Recipe, model: EmotionModel) -> TrainingData:
    """Read a recipe's dataset and decode what training sees, or what a frozen backbone makes of it."""
    reader = open_reader(recipe.data)
    rows = read(reader, recipe.data.name)
    splits = split_rows(rows, recipe.data)
    detector = detector_of(recipe.data.detector)
    train, select = (
        _samples(recipe, model, reader, rows.select(index), recipe.train.freeze, detector)
        for index in (splits.train, splits.select)
    )
    return TrainingData(reader, rows, splits, train, select, detector)


def _samples(
    recipe: Recipe, model: EmotionModel, reader: DatasetReader, rows: Dataset, frozen: bool,
    detector: FaceDetector | None,
) -> Samples:  # fmt: skip
    """Return samples of some rows, decoded or, with a frozen backbone, as its features."""
    config, data = recipe.model, recipe.data
    cache = None if data.cache is None else Path(data.cache).expanduser()
    samples = load_samples(
        rows, config.labels, model.preprocessor, data.labels,
        sampling=config.sampling, reader=reader, detector=detector, cache=cache, decode=not frozen,
    )  # fmt: skip
    if not frozen:
        return samples
    from emozoo.data.features import extract

    return extract(model, samples, cache)
