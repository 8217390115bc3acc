"""The samples of a split: decoded images, in memory where they fit, targets, and a fingerprint of both."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from emozoo.contracts import Targets
from emozoo.data.preprocess import Preprocessor
from emozoo.errors import ContractError, DataError, suggest
from emozoo.labels import DIMENSIONS, canonical, label_mapping

if TYPE_CHECKING:
    from datasets import Dataset

MEMORY_BUDGET = 2 << 30
"""Bytes of decoded pixels up to which a split is kept in memory; above, batches are decoded as they come."""


@dataclass(frozen=True)
class Samples:
    """N samples of one split: ids, targets, and either decoded images or the means to decode them."""

    ids: list[str]
    targets: Targets
    preprocessor: Preprocessor
    images: Tensor | None
    """uint8 (N, C, size, size), or None where they are decoded batch by batch."""
    media: Dataset | None

    def __len__(self) -> int:
        return len(self.ids)

    def fetch(self, index: Tensor) -> Tensor:
        """Return the images of some samples, uint8 (B, C, size, size)."""
        if self.images is not None:
            return self.images[index.to(self.images.device)]
        return _decode(self.media, index.tolist(), self.ids, self.preprocessor)

    def batches(self, indices: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (index, images) of each batch; images that must be decoded are decoded one batch ahead."""
        if self.images is not None:
            yield from ((index, self.fetch(index)) for index in indices)
            return
        with ThreadPoolExecutor(1) as ahead:
            pending = None
            for index in indices:
                upcoming = (index, ahead.submit(self.fetch, index))
                if pending is not None:
                    yield pending[0], pending[1].result()
                pending = upcoming
            if pending is not None:
                yield pending[0], pending[1].result()

    def to(self, device: torch.device) -> Samples:
        """Move decoded images and targets to a device, if they take no more than half of its free memory."""
        targets = self.targets.to(device)
        if self.images is None or device.type != "cuda":
            return replace(self, targets=targets)
        free, _ = torch.cuda.mem_get_info(device)
        images = self.images.to(device) if self.images.nbytes < free / 2 else self.images
        return replace(self, targets=targets, images=images)

    def fingerprint(self) -> str:
        """Return a sha256 over ids, targets and decoded pixels (where those do not fit in memory, the files)."""
        digest = hashlib.sha256("\n".join(self.ids).encode())
        for values in (self.targets.label, self.targets.vad):
            digest.update(values.cpu().numpy().tobytes())
        if self.images is not None:
            digest.update(memoryview(self.images.cpu().numpy()))
        else:
            for row in self.media["image"] if self.media is not None else []:
                digest.update(row["bytes"] or Path(row["path"]).read_bytes())
        return digest.hexdigest()

    def counts(self, labels: Sequence[str]) -> dict[str, int]:
        """Return how many samples each category has, and how many carry each dimension."""
        known = ~self.targets.label.isnan().any(1)
        hard = self.targets.label[known].argmax(1).bincount(minlength=len(labels)).tolist()
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
) -> Samples:
    """Make samples of a dataset's rows, mapping its label names to the model's.

    Args:
        rows: rows as a dataset reader returns them, of one split.
        labels: the model's labels.
        preprocessor: the model's own.
        only: keep samples of these categories alone.

    Raises:
        DataError: no rows, a label the model does not have, or images that cannot be read (all of them listed).
    """
    if only is not None:
        rows = _only(rows, only)
    if not len(rows):
        raise DataError("the split holds no samples")
    media = rows.select_columns(["image"])
    ids = [str(name) for name in rows["id"]]
    side = preprocessor.config.size
    fits = len(rows) * preprocessor.config.channels * side * side <= MEMORY_BUDGET
    images = _decode(media, range(len(rows)), ids, preprocessor) if fits else None
    return Samples(ids, _targets(rows, labels), preprocessor, images, None if fits else media)


def _only(rows: Dataset, labels: Sequence[str]) -> Dataset:
    names, wanted = rows.features["label"].names, {canonical(label) for label in labels}
    known = {canonical(name) for name in names}
    for label in sorted(wanted - known):
        raise DataError(
            f"data.labels: the dataset has no label {label!r}.{suggest(label, known)} It has: {', '.join(names)}"
        )
    keep = [
        i for i, value in enumerate(rows["label"]) if value is not None and canonical(names[value]) in wanted
    ]
    rows = rows.select(keep)
    kept = [name for name in names if canonical(name) in wanted]
    if "label_probabilities" in rows.column_names:
        rows = rows.remove_columns("label_probabilities")
    values = [kept.index(names[value]) for value in rows["label"]]
    from datasets import ClassLabel

    return (
        rows.remove_columns("label").add_column("label", values).cast_column("label", ClassLabel(names=kept))
    )


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
        for row, values in enumerate(rows["label_probabilities"]):
            if values is not None:
                if len(values) != len(names):
                    raise ContractError(
                        f"row {row} has {len(values)} label_probabilities for {len(names)} labels"
                    )
                label[row] = 0.0
                label[row].index_add_(0, torch.tensor(position), torch.tensor(values))
    vad = torch.full((len(rows), len(DIMENSIONS)), float("nan"))
    for column, name in enumerate(DIMENSIONS):
        if name in rows.column_names:
            values = [float("nan") if value is None else value for value in rows[name]]
            vad[:, column] = torch.tensor(values, dtype=torch.float32)
    if (vad.abs() > 1).any():
        raise DataError("the dataset has VAD values outside [-1, 1]; its reader must map its scale to that")
    return Targets(label, vad)


def _decode(media: Any, index: Sequence[int], ids: Sequence[str], preprocessor: Preprocessor) -> Tensor:
    """Decode images in threads; on failure list every broken one, not the first alone."""

    def one(item: tuple[int, dict[str, Any]]) -> Tensor | DataError:
        position, row = item
        try:
            return preprocessor.decode(row["bytes"] or row["path"], ids[position])
        except DataError as error:
            return error

    rows = list(media[list(index)]["image"])
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        decoded = list(pool.map(one, zip(index, rows, strict=True)))
    broken = [item for item in decoded if isinstance(item, DataError)]
    if broken:
        listing = "\n".join(f"  {error}" for error in broken[:20])
        more = f"\n  and {len(broken) - 20} more" if len(broken) > 20 else ""
        raise DataError(
            f"{len(broken)} of {len(rows)} images cannot be read:\n{listing}{more}\n"
            "`emozoo data check PATH` lists all problems; mend or remove those files."
        )
    return torch.stack([item for item in decoded if isinstance(item, Tensor)])
