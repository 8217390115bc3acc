"""What samples consist of, as the model takes it: images, videos, or the backbone's features of either."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from emozoo.data.preprocess import Preprocessor
from emozoo.data.sampling import Sampling
from emozoo.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

T = TypeVar("T")
R = TypeVar("R")

MEMORY_BUDGET = 2 << 30
"""Bytes of decoded pixels up to which a split is kept in memory; above, batches are decoded as they come."""

Draw = tuple[int, ...]
"""(seed, epoch): what the choice of a video's frames depends on in training, besides the video's place."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Input of B samples.

    Attributes:
        x: uint8 images (B, C, size, size) or videos (B, clips, frames, C, size, size); or floating features of
            images (B, D) or of videos (B, clips, frames, D).
        mask: bool (B, clips, frames), True for frames that are there; None for images.
    """

    x: Tensor
    mask: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        mask = None if self.mask is None else self.mask.to(device, non_blocking=True)
        return Batch(self.x.to(device, non_blocking=True), mask)


class Media(Protocol):
    """Images or videos of N samples."""

    @property
    def held(self) -> bool:
        """Whether all of them are decoded, so that fetching costs next to nothing."""
        ...

    @property
    def frames_each(self) -> int:
        """How many images the backbone sees of a sample in testing, at most."""
        ...

    def fetch(self, index: Tensor, draw: Draw | None = None) -> Batch:
        """Return the input of some samples; with a draw, as in training."""
        ...

    def to(self, device: torch.device) -> Media:
        """Return the media, kept on a device where they fit."""
        ...

    def hash(self, digest: Any) -> None:
        """Feed what the samples show to a digest: the same whatever a frozen backbone makes of them."""
        ...


@dataclass(frozen=True)
class Images:
    """N images.

    Attributes:
        ids: what each is called in errors.
        pixels: uint8 (N, C, size, size); None where they are decoded batch by batch.
        rows: encoded images, where they are.
        features: (N, D), what a frozen backbone makes of them, which is then fetched in their place.
    """

    ids: list[str]
    preprocessor: Preprocessor
    pixels: Tensor | None
    rows: Dataset | None = None
    frames_each: int = 1
    features: Tensor | None = None

    @classmethod
    def load(cls, rows: Dataset, ids: list[str], preprocessor: Preprocessor) -> Images:
        """Decode images where they fit in memory."""
        media, side = rows.select_columns(["image"]), preprocessor.config.size
        if len(rows) * preprocessor.config.channels * side * side > MEMORY_BUDGET:
            return cls(ids, preprocessor, None, media)
        return cls(ids, preprocessor, _decode(media, range(len(rows)), ids, preprocessor))

    @property
    def held(self) -> bool:
        """Whether all are decoded, or their features are known."""
        return self._held is not None

    @property
    def _held(self) -> Tensor | None:
        return self.pixels if self.features is None else self.features

    def fetch(self, index: Tensor, draw: Draw | None = None) -> Batch:  # noqa: ARG002 an image has no frames to draw
        """Return some images, or their features."""
        if (held := self._held) is not None:
            return Batch(held[index.to(held.device)])
        return Batch(_decode(self.rows, index.tolist(), self.ids, self.preprocessor))

    def to(self, device: torch.device) -> Images:
        """Keep what is fetched on a device, if it takes no more than half of its free memory."""
        if (held := self._held) is None or not _fits(device, held.nbytes):
            return self
        name = "pixels" if self.features is None else "features"
        return replace(self, **{name: held.to(device)})

    def hash(self, digest: Any) -> None:
        """Hash decoded pixels, or the files where those are not held; whatever a backbone makes of them."""
        if self.pixels is not None:
            digest.update(memoryview(self.pixels.cpu().numpy()))
            return
        for row in self.rows["image"] if self.rows is not None else []:
            digest.update(row["bytes"] or Path(row["path"]).read_bytes())


@dataclass(frozen=True)
class Videos:
    """N videos and the sampler that chooses their frames.

    Attributes:
        ids: what each is called in errors.
        sources: how each is read, and what tells it from others.
        counts: how many frames each has.
        arrays: of each video, all frames (T, C, size, size) or their features (T, D); None where frames are
            decoded batch by batch.
    """

    ids: list[str]
    sources: Sequence[Video]
    counts: list[int]
    sampling: Sampling
    arrays: list[Tensor] | None = None

    @property
    def held(self) -> bool:
        """Whether all are decoded."""
        return self.arrays is not None

    @property
    def frames_each(self) -> int:
        """How many frames of a video are looked at in testing, at most."""
        if self.arrays is not None and self.arrays[0].is_floating_point():
            return 1
        return max(self.sampling.sample(count).index.size for count in set(self.counts))

    def fetch(self, index: Tensor, draw: Draw | None = None) -> Batch:
        """Return the chosen frames of some videos, padded to equally many clips and frames."""
        places, mask = self.choose(index.tolist(), draw)

        def frames(item: tuple[int, np.ndarray]) -> Tensor:
            number, wanted = item
            if self.arrays is not None:
                return self.arrays[number][torch.from_numpy(wanted.ravel())]
            needed, back = np.unique(wanted, return_inverse=True)
            return self.sources[number].read(needed)[torch.from_numpy(back.ravel())]

        items = list(zip(index.tolist(), places, strict=True))
        found = [frames(item) for item in items] if self.held else each(frames, items, "videos")
        return Batch(torch.stack(found).unflatten(1, mask.shape[1:]), mask.to(found[0].device))

    def choose(self, numbers: Sequence[int], draw: Draw | None) -> tuple[np.ndarray, Tensor]:
        """Return which frames (B, clips, frames), and which of those are no padding."""
        drawn = [
            self.sampling.sample(self.counts[n], None if draw is None else np.random.default_rng([*draw, n]))
            for n in numbers
        ]
        shape = tuple(max(sample.index.shape[axis] for sample in drawn) for axis in (0, 1))
        index, mask = np.zeros((len(drawn), *shape), np.int64), np.zeros((len(drawn), *shape), bool)
        for row, sample in enumerate(drawn):
            clips, frames = sample.index.shape
            index[row, :clips, :frames], mask[row, :clips, :frames] = sample.index, sample.mask
        return index, torch.from_numpy(mask)

    def to(self, device: torch.device) -> Videos:
        """Keep the frames on a device, if they take no more than half of its free memory."""
        if self.arrays is None or not _fits(device, sum(array.nbytes for array in self.arrays)):
            return self
        return replace(self, arrays=[array.to(device) for array in self.arrays])

    def hash(self, digest: Any) -> None:
        """Hash what the videos come from, and how many frames they have."""
        for source, count in zip(self.sources, self.counts, strict=True):
            digest.update(str(count).encode())
            source.hash(digest)


class Video(Protocol):
    """One video."""

    def read(self, index: np.ndarray) -> Tensor:
        """Return frames, uint8 (n, C, size, size)."""
        ...

    def read_all(self) -> Tensor:
        """Return every frame, uint8 (T, C, size, size)."""
        ...

    def hash(self, digest: Any) -> None:
        """Feed what tells this video from others to a digest."""
        ...

    def stamp(self) -> str:
        """Return text that changes when the video does, found without reading it."""
        ...


def _fits(device: torch.device, size: int) -> bool:
    if device.type != "cuda":
        return device.type == "cpu"
    return size < torch.cuda.mem_get_info(device)[0] / 2


def _decode(media: Any, index: Sequence[int], ids: Sequence[str], preprocessor: Preprocessor) -> Tensor:
    rows = list(media[list(index)]["image"])

    def one(item: tuple[int, dict[str, Any]]) -> Tensor:
        position, row = item
        return preprocessor.decode(row["bytes"] or row["path"], ids[position])

    return torch.stack(each(one, list(zip(index, rows, strict=True)), "images"))


def each(work: Callable[[T], R], items: Sequence[T], what: str) -> list[R]:
    """Do work on all items in threads; on failure raise a DataError that lists every broken one."""

    def guarded(item: T) -> R | DataError:
        try:
            return work(item)
        except DataError as error:
            return error

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        done = list(pool.map(guarded, items))
    broken = [item for item in done if isinstance(item, DataError)]
    if broken:
        raise unreadable(broken, len(items), what)
    return [item for item in done if not isinstance(item, DataError)]


def unreadable(broken: Sequence[DataError], total: int, what: str) -> DataError:
    """Return the error that lists what cannot be read."""
    listing = "\n".join(f"  {error}" for error in broken[:20])
    more = f"\n  and {len(broken) - 20} more" if len(broken) > 20 else ""
    return DataError(
        f"{len(broken)} of {total} {what} cannot be read:\n{listing}{more}\n"
        "`emozoo data check PATH` lists all problems; mend or remove those files."
    )


def fingerprint(media: Media, *more: bytes) -> str:
    """Return a sha256 over media and whatever else decides what a model sees."""
    digest = hashlib.sha256()
    for part in more:
        digest.update(part)
    media.hash(digest)
    return digest.hexdigest()
