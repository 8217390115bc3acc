"""The data of a run: the reader, its rows, and the samples of each role."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from emozoo.contracts import DatasetReader
from emozoo.data.preprocess import Preprocessor
from emozoo.data.reading import Splits, open_reader, read, split_rows
from emozoo.data.samples import Samples, load_samples
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

    def to(self, device: torch.device) -> TrainingData:
        """Keep decoded images on a device where they fit."""
        return replace(self, train=self.train.to(device), select=self.select.to(device))

    def report(self, recipe: Recipe, preprocessor: Preprocessor) -> Samples:
        """Return the samples that the final result is reported on."""
        if recipe.data.report is None:
            return self.select
        return load_samples(
            self.rows.select(self.splits.report), recipe.model.labels, preprocessor, recipe.data.labels
        )


def load_training_data(recipe: Recipe, preprocessor: Preprocessor) -> TrainingData:
    """Read a recipe's dataset and decode what training sees."""
    reader = open_reader(recipe.data)
    rows = read(reader, recipe.data.name)
    splits = split_rows(rows, recipe.data)
    train, select = (
        load_samples(rows.select(index), recipe.model.labels, preprocessor, recipe.data.labels)
        for index in (splits.train, splits.select)
    )
    return TrainingData(reader, rows, splits, train, select)
