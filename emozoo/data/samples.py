"""The samples of a split: media as the model takes them, targets, and a fingerprint of both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from emozoo.contracts import DatasetReader, Targets
from emozoo.data.media import Batch, Draw, Images, Media, fingerprint
from emozoo.data.preprocess import Preprocessor
from emozoo.data.sampling import Sampling
from emozoo.errors import ContractError, DataError, suggest
from emozoo.labels import DIMENSIONS, canonical, label_mapping

if TYPE_CHECKING:
    from datasets import Dataset

    from emozoo.prediction.faces import FaceDetector


@dataclass(frozen=True)
class Samples:
    """N samples of one split: ids, targets, and images or videos."""

    ids: list[str]
    targets: Targets
    media: Media
    extents: Tensor | None = None
    """(N, 2): the first frame of each video's expression, and the one after its last, where that is known."""

    def __len__(self) -> int:
        return len(self.ids)

    def fetch(self, index: Tensor, draw: Draw | None = None) -> Batch:
        """Return the input of some samples; with a draw (seed, epoch), as in training."""
        return self.media.fetch(index, draw)

    def batches(self, indices: Iterable[Tensor], draw: Draw | None = None) -> Iterator[tuple[Tensor, Batch]]:
        """Yield (index, input) of each batch; media that must be decoded are decoded one batch ahead."""
        if self.media.held:
            yield from ((index, self.fetch(index, draw)) for index in indices)
            return
        with ThreadPoolExecutor(1) as ahead:
            pending = None
            for index in indices:
                upcoming = (index, ahead.submit(self.fetch, index, draw))
                if pending is not None:
                    yield pending[0], pending[1].result()
                pending = upcoming
            if pending is not None:
                yield pending[0], pending[1].result()

    def to(self, device: torch.device) -> Samples:
        """Move targets to a device, and decoded media too where they fit."""
        return replace(self, targets=self.targets.to(device), media=self.media.to(device))

    @cached_property
    def fingerprint(self) -> str:
        """A sha256 over ids, targets and media; computed once, since it may read every video whole."""
        targets = (values.cpu().numpy().tobytes() for values in (self.targets.label, self.targets.vad))
        return fingerprint(self.media, "\n".join(self.ids).encode(), *targets)

    def counts(self, labels: Sequence[str]) -> dict[str, int]:
        """Return how many samples each category has, and how many carry each dimension."""
        category = self.targets.category
        hard = category[category >= 0].bincount(minlength=len(labels)).tolist()
        dimensions = (~self.targets.vad.isnan()).sum(0).tolist()
        return {
            **dict(zip(labels, hard, strict=True)),
            **{name: n for name, n in zip(DIMENSIONS, dimensions, strict=True) if n},
        }


def load_samples(
    rows: Dataset,
    labels: Sequence[str],
    preprocessor: Preprocessor,
    only: Sequence[str] | None = None,
    *,
    sampling: Sampling | None = None,
    reader: DatasetReader | None = None,
    detector: FaceDetector | None = None,
    cache: Path | None = None,
    decode: bool = True,
) -> Samples:
    """Make samples of a dataset's rows, mapping its label names to the model's.

    Args:
        rows: rows as a dataset reader returns them, of one split.
        labels: the model's labels.
        preprocessor: the model's own.
        only: keep samples of these categories alone; soft labels are divided among them, and where they give them
            nothing the hard label counts.
        sampling: the model's own, for videos.
        reader: the dataset's reader, for videos that it makes itself.
        detector: what finds the face in videos of whole scenes; None where videos are faces already.
        cache: a folder to keep decoded videos in.
        decode: decode videos now, where they fit in memory or in the cache; else batch by batch.

    Raises:
        DataError: no rows, a label the model does not have, or media that cannot be read (all of them listed).
    """
    if only is not None:
        rows = _only(rows, only)
    if not len(rows):
        raise DataError("the split holds no samples")
    ids = [str(name) for name in rows["id"]]
    targets = _targets(rows, labels)
    if "image" in rows.column_names:
        if detector is not None:
            raise DataError("data.detector finds faces in videos on disk; this dataset holds images")
        return Samples(ids, targets, Images.load(rows, ids, preprocessor))
    from emozoo.data.videos import load_videos

    videos = load_videos(
        rows, ids, preprocessor, sampling, reader=reader, detector=detector, cache=cache, decode=decode
    )
    extents = torch.tensor([rows["start"], rows["stop"]]).T if "start" in rows.column_names else None
    return Samples(ids, targets, videos, extents)


def load_targets(rows: Dataset, labels: Sequence[str], only: Sequence[str] | None = None) -> Targets:
    """Return the targets that `load_samples` would, without a look at the media."""
    rows = rows.remove_columns([name for name in ("image", "video") if name in rows.column_names])
    return _targets(rows if only is None else _only(rows, only), labels)


def _only(rows: Dataset, labels: Sequence[str]) -> Dataset:
    names, wanted = rows.features["label"].names, {canonical(label) for label in labels}
    known = {canonical(name) for name in names}
    for label in sorted(wanted - known):
        raise DataError(
            f"data.labels: the dataset has no label {label!r}.{suggest(label, known)} It has: {', '.join(names)}"
        )
    keep = [
        i
        for i, value in enumerate(rows["label"])
        if value is not None and value >= 0 and canonical(names[value]) in wanted
    ]
    rows = rows.select(keep)
    kept = [name for name in names if canonical(name) in wanted]
    if "label_probabilities" in rows.column_names:
        feature = rows.features["label_probabilities"]
        soft = _only_shares(_soft_labels(rows), [names.index(name) for name in kept])
        rows = rows.remove_columns("label_probabilities").add_column(
            "label_probabilities", soft, feature=feature
        )
    values = [kept.index(names[value]) for value in rows["label"]]
    from datasets import ClassLabel

    return (
        rows.remove_columns("label").add_column("label", values).cast_column("label", ClassLabel(names=kept))
    )


def _soft_labels(rows: Dataset) -> list[list[float] | None]:
    """Return the `label_probabilities` of each row, None where it has none.

    Raises:
        ContractError: they are not as many as the labels.
    """
    names, soft = rows.features["label"].names, list(rows["label_probabilities"])
    for row, values in enumerate(soft):
        if values is not None and len(values) != len(names):
            raise ContractError(f"row {row} has {len(values)} label_probabilities for {len(names)} labels")
    return soft


def _only_shares(soft: list[list[float] | None], columns: list[int]) -> list[list[float] | None]:
    """Return the probabilities of some labels, given that it is one of them; None where that is impossible."""
    kept = [None if values is None else [values[column] for column in columns] for values in soft]
    return [[value / sum(values) for value in values] if values and sum(values) else None for values in kept]


def _targets(rows: Dataset, labels: Sequence[str]) -> Targets:
    names = rows.features["label"].names
    position = label_mapping(names, labels)
    label = torch.full((len(rows), len(labels)), float("nan"))
    known = [
        (row, position[value]) for row, value in enumerate(rows["label"]) if value is not None and value >= 0
    ]
    if known:
        row_index, column = torch.tensor(known).unbind(1)
        label[row_index] = 0.0
        label[row_index, column] = 1.0
    if "label_probabilities" in rows.column_names:
        soft = {row: values for row, values in enumerate(_soft_labels(rows)) if values is not None}
        if soft:
            shares = torch.zeros(len(soft), len(labels))
            label[list(soft)] = shares.index_add_(
                1, torch.tensor(position), torch.tensor(list(soft.values()))
            )
    vad = torch.full((len(rows), len(DIMENSIONS)), float("nan"))
    for column, name in enumerate(DIMENSIONS):
        if name in rows.column_names:
            values = [float("nan") if value is None else value for value in rows[name]]
            vad[:, column] = torch.tensor(values, dtype=torch.float32)
    if (vad.abs() > 1).any():
        raise DataError("the dataset has VAD values outside [-1, 1]; its reader must map its scale to that")
    return Targets(label, vad)
