"""The videos of a split: from files, folders of frames, or a reader that makes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from emozoo.contracts import DatasetReader
from emozoo.data import media
from emozoo.data.frame_folder import FrameFolder
from emozoo.data.frames_cache import read_arrays, write_arrays
from emozoo.data.media import Video, Videos
from emozoo.data.preprocess import Preprocessor
from emozoo.data.sampling import Sampling
from emozoo.data.video import count_frames, read_frames, stream_frames
from emozoo.errors import ContractError, DataError

if TYPE_CHECKING:
    from datasets import Dataset

    from emozoo.prediction.faces import FaceDetector

LOOKED_AT = 5
"""Frames of a generated video that tell it from others."""


@dataclass(frozen=True, slots=True)
class VideoOnDisk:
    """A video file or a folder of frames."""

    path: Path
    preprocessor: Preprocessor
    name: str

    def count(self) -> int:
        """Return how many frames there are, counted and not believed."""
        return count_frames(self.path)

    def read(self, index: np.ndarray) -> Tensor:
        """Return frames, uint8 (n, C, size, size)."""
        frames = read_frames(self.path, index)
        return torch.stack([self.preprocessor.decode(frame, self.name) for frame in frames])

    def read_all(self) -> Tensor:
        """Return every frame, without holding more than one of them at full size."""
        frames = stream_frames(self.path)
        return torch.stack([self.preprocessor.decode(frame, self.name) for frame in frames])

    @property
    def files(self) -> list[Path]:
        """The video's files: one, or one a frame."""
        return FrameFolder.open(self.path).files if self.path.is_dir() else [self.path]

    def hash(self, digest: Any) -> None:
        """Hash what the files hold."""
        for file in self.files:
            with open(file, "rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())

    def stamp(self) -> str:
        """Return path, size and time of the video's files."""
        return repr([(str(file), (stat := file.stat()).st_size, stat.st_mtime_ns) for file in self.files])


@dataclass(frozen=True, slots=True)
class MadeVideo:
    """A video that a dataset reader renders."""

    reader: Any
    video: str
    frames: int
    preprocessor: Preprocessor

    def read(self, index: np.ndarray) -> Tensor:
        """Return frames, uint8 (n, C, size, size)."""
        pixels = self.reader.render(self.video, index)
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or len(pixels) != len(index):
            raise ContractError(
                f"render({self.video!r}) of {type(self.reader).__name__} returned no uint8 frames"
            )
        return torch.stack([self.preprocessor.decode(frame, self.video) for frame in pixels])

    def read_all(self) -> Tensor:
        """Return every frame."""
        return self.read(np.arange(self.frames))

    def hash(self, digest: Any) -> None:
        """Hash a few frames, spread over the video."""
        digest.update(self.stamp().encode())

    def stamp(self) -> str:
        """Return a hash of a few frames: what makes them up is known to the reader alone."""
        index = np.unique(np.linspace(0, self.frames - 1, LOOKED_AT).astype(np.int64))
        shown = self.reader.render(self.video, index)
        return f"{self.video} {hashlib.sha256(shown.tobytes()).hexdigest()}"


def load_videos(
    rows: Dataset,
    ids: list[str],
    preprocessor: Preprocessor,
    sampling: Sampling | None,
    *,
    reader: DatasetReader | None = None,
    detector: FaceDetector | None = None,
    cache: Path | None = None,
    decode: bool = True,
) -> Videos:
    """Make the videos of a dataset's rows.

    Args:
        rows: rows with a column `video`.
        ids: what each is called in errors.
        preprocessor: the model's own.
        sampling: the model's own.
        reader: the dataset's reader, for videos that it makes itself.
        detector: what finds the face in videos of whole scenes; None where videos are faces already.
        cache: a folder to keep decoded frames in.
        decode: decode all frames now, where they fit in memory or in the cache; else batch by batch.

    Raises:
        DataError: the model takes no videos, or some cannot be read (all of those are listed), or faces that are
            found can be kept nowhere.
    """
    if sampling is None:
        raise DataError(
            "the dataset holds videos, and the model has no [model.sampling] that says which frames to take, "
            "such as sampling = { name = 'uniform', frames = 16 }"
        )
    sources: Sequence[Video]
    if hasattr(reader, "render"):
        if detector is not None:
            raise DataError(
                "data.detector finds faces in videos on disk; this dataset makes its videos itself"
            )
        counts = [int(count) for count in rows["frames"]]
        sources = [MadeVideo(reader, v, n, preprocessor) for v, n in zip(rows["video"], counts, strict=True)]
    else:
        named = zip(rows["video"], ids, strict=True)
        sources = on_disk = [VideoOnDisk(Path(video), preprocessor, name) for video, name in named]
        if detector is not None:
            from emozoo.data.face_videos import FaceOnDisk

            sources = [FaceOnDisk(video, detector) for video in on_disk]
        counts = media.each(VideoOnDisk.count, on_disk, "videos")
    videos = Videos(ids, sources, counts, sampling)
    found = _decoded(videos, preprocessor, cache) if decode else videos
    if decode and detector is not None and not found.held:
        raise DataError(
            "the faces of all videos do not fit in memory, and to find them anew for each batch would take too "
            "long: give a folder to keep them in: data.cache"
        )
    return found


def _decoded(videos: Videos, preprocessor: Preprocessor, cache: Path | None) -> Videos:
    """Return the videos with all frames, out of the cache where they are there."""
    config = preprocessor.config
    total = sum(videos.counts) * config.channels * config.size * config.size
    if cache is not None:
        key = cache_key(videos, config.model_dump(include={"size", "colour", "fit"}))
        path = cache / f"frames-{key}.arrow"
        if not path.is_file():
            write_arrays(path, (frames.numpy() for frames in every_frame(videos)))
        arrays = read_arrays(path)
    elif total <= media.MEMORY_BUDGET:
        arrays = list(every_frame(videos))
    else:
        return videos
    return Videos(videos.ids, videos.sources, [len(array) for array in arrays], videos.sampling, arrays)


def every_frame(videos: Videos) -> Iterator[Tensor]:
    """Yield all frames of each video in turn, uint8 (T, C, size, size), with a bar where that takes long.

    Raises:
        DataError: at the end, if some could not be read; lists them.
    """
    broken: list[DataError] = []
    for video in tqdm(videos.sources, desc="videos", unit="video", delay=2, disable=None, leave=False):
        try:
            frames = video.read_all()
        except DataError as error:
            broken.append(error)
            continue
        if not broken:
            yield frames
    if broken:
        raise media.unreadable(broken, len(videos.sources), "videos")


def cache_key(videos: Videos, facts: Any) -> str:
    """Return a name for what is computed of these videos by `facts`."""
    digest = hashlib.sha256(repr(facts).encode())
    for video in videos.sources:
        digest.update(video.stamp().encode())
    return digest.hexdigest()[:32]
