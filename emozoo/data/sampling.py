"""Which frames of a video a model looks at: samplers, as a recipe holds them.

A sampler maps a number of frames to indices (clips, frames), with draws in training and without in testing. Within
a clip indices never go back; frames of a clip that a video is too short for are masked.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from emozoo.errors import DataError
from emozoo.schema import Count, Schema

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator

NOMINAL_FRAMES = 105
"""Frames of the video for which cost and examples are stated; CEFLNet brings every video to so many."""

Rows = list[list[int]]
"""Indices of each clip; an index beyond the last frame is padding."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """Frames of a video, in clips.

    Attributes:
        index: int64 (clips, frames), each from 0 to the video's last frame.
        mask: bool (clips, frames), True for frames that are there, False for padding.
    """

    index: np.ndarray
    mask: np.ndarray


class Sampler(Schema):
    """What all samplers do."""

    def sample(self, frames: int, rng: Generator | None = None) -> Sampled:
        """Choose frames of a video.

        Args:
            frames: how many the video has.
            rng: source of the draws in training; None in testing, where the choice is always the same.

        Raises:
            DataError: the video has no frames.
        """
        import numpy as np

        if frames < 1:
            raise DataError(f"a video of {frames} frames cannot be sampled")
        index = np.asarray(self.rows(frames, rng), dtype=np.int64)
        return Sampled(np.minimum(index, frames - 1), index < frames)

    def rows(self, frames: int, rng: Generator | None) -> Rows:
        """Return the indices of each clip, all clips equally long."""
        raise NotImplementedError


class Clips(Sampler):
    """Overlapping sub-videos of a window of the video, with some frames of each.

    A video is first brought to `frames` frames by nearest index. The defaults are CEFLNet's (Liu et al. 2022,
    section 4.1): of 105 frames a window of 75, in it 7 sub-videos of 15 that overlap by 5, of each 5 frames. In
    training the window starts at 0 to 29, as in the authors' code, and the frames of a sub-video are drawn; in
    testing it starts at 15, and frames are 0, 3, 6, 9, 12 of each.
    """

    name: Literal["clips"]
    frames: Count = 105
    window: Count = 75
    clips: Count = 7
    length: Count = 15
    stride: Count = 10
    per_clip: Count = 5

    @model_validator(mode="after")
    def _agree(self) -> Clips:
        needed = (self.clips - 1) * self.stride + self.length
        if self.window > self.frames:
            raise ValueError(f"window ({self.window}) is longer than frames ({self.frames})")
        if needed > self.window:
            raise ValueError(
                f"clips reach over (clips - 1) * stride + length = {needed} frames, window is {self.window}"
            )
        if self.per_clip > self.length:
            raise ValueError(f"per_clip ({self.per_clip}) is more than length ({self.length})")
        return self

    def rows(self, frames: int, rng: Generator | None) -> Rows:
        """Return (clips, per_clip) indices."""
        slack = self.frames - self.window
        start = slack // 2 if rng is None else int(rng.integers(max(1, slack)))
        begins = range(start, start + self.clips * self.stride, self.stride)
        return [
            [_nearest(begin + offset, self.frames, frames) for offset in self._offsets(rng)]
            for begin in begins
        ]

    def _offsets(self, rng: Generator | None) -> list[int]:
        """Return which frames of a sub-video are taken."""
        if rng is None:
            return _starts(self.length, self.per_clip)
        return sorted(rng.choice(self.length, self.per_clip, replace=False).tolist())


class Thirds(Sampler):
    """One frame of each of `parts` equal parts in training; in testing every frame, or the parts' centres.

    The defaults are FAN's (Meng et al. 2019): 3 frames in training, all frames in testing. Its code draws
    them once, when data are loaded; here they are drawn anew each time.
    """

    name: Literal["thirds"]
    parts: Count = 3
    test: Literal["all", "centres"] = "all"
    cap: Count | None = None
    """Most frames in testing; of longer videos, as many are taken, evenly spaced."""

    def rows(self, frames: int, rng: Generator | None) -> Rows:
        """Return (1, parts) indices, or (1, frames) in testing on all frames."""
        if rng is None and self.test == "all":
            return [_every(frames, self.cap)]
        return [_one_of_each(frames, self.parts, rng)]


class Segments(Sampler):
    """A few consecutive frames of each of `segments` equal segments, in one clip.

    TSN (Wang et al. 2016) takes one frame of each segment; Former-DFER (Zhao and Liu 2021) 8 x 2 frames, which are the
    defaults: anywhere in its segment in training, in the middle of it in testing. Their codes round segments down in
    training, and so never see the end of a video that they do not divide evenly; here segments cover all of it. Of a
    video too short for segments, every draw may be any frame in training, and testing spreads over what there is.
    """

    name: Literal["segments"]
    segments: Count = 8
    length: Count = 2

    def rows(self, frames: int, rng: Generator | None) -> Rows:
        """Return (1, segments * length) indices, in the order of time."""
        room = max(1, frames - self.length + 1)
        if rng is not None and room < self.segments:
            starts = rng.integers(room, size=self.segments).tolist()
        else:
            starts = _one_of_each(room, self.segments, rng)
        return [sorted(min(start + step, frames - 1) for start in starts for step in range(self.length))]


class Uniform(Sampler):
    """`frames` frames of as many equal parts of the video, in one clip: centres, or with `jitter` drawn in training.

    Centres are what video models commonly test on; drawn frames are those of TSN (Wang et al. 2016).
    """

    name: Literal["uniform"]
    frames: Count = 16
    jitter: bool = True

    def rows(self, frames: int, rng: Generator | None) -> Rows:
        """Return (1, self.frames) indices."""
        return [_one_of_each(frames, self.frames, rng if self.jitter else None)]


class All(Sampler):
    """Every frame, in one clip; of videos of more than `cap` frames, `cap` of them, evenly spaced."""

    name: Literal["all"]
    cap: Count | None = None

    def rows(self, frames: int, rng: Generator | None) -> Rows:  # noqa: ARG002 nothing is drawn
        """Return (1, frames) or (1, cap) indices."""
        return [_every(frames, self.cap)]


class Sliding(Sampler):
    """Windows of `length` consecutive frames, one every `stride`: a random one in training, all of them in testing.

    The last window is the first to reach the end; what it lacks is masked, as in a video shorter than a window.
    Random windows in training and all in testing are how C3D (Tran et al. 2015) is trained and run.
    """

    name: Literal["sliding"]
    length: Count = 16
    stride: Count = 8

    def rows(self, frames: int, rng: Generator | None) -> Rows:
        """Return (1, length) indices in training, (windows, length) in testing."""
        if rng is not None:
            starts = [int(rng.integers(max(1, frames - self.length + 1)))]
        else:
            starts = [
                s for s in range(0, frames, self.stride) if s == 0 or s - self.stride + self.length < frames
            ]
        return [list(range(start, start + self.length)) for start in starts]


Sampling = Annotated[
    Clips | Thirds | Segments | Uniform | All | Sliding,
    Field(discriminator="name"),
]
"""A sampler of a recipe, by its name: clips, thirds, segments, uniform, all or sliding."""


def _nearest(position: int, length: int, frames: int) -> int:
    """Return the frame of a video nearest to a position of `length` that span it, ends on ends."""
    spans = max(1, length - 1)
    return (2 * position * (frames - 1) + spans) // (2 * spans)


def _starts(frames: int, parts: int) -> list[int]:
    """Return where each of equal parts starts, in whole frames; the first `parts` of `parts + 1` bounds."""
    return [part * frames // parts for part in range(parts)]


def _every(frames: int, cap: int | None) -> list[int]:
    """Return all frames, or `cap` of them from first to last."""
    if cap is None or frames <= cap:
        return list(range(frames))
    return [_nearest(k, cap, frames) for k in range(cap)] if cap > 1 else [frames // 2]


def _one_of_each(frames: int, parts: int, rng: Generator | None) -> list[int]:
    """Return a frame of each of equal parts: its centre, or any; frames serve twice where there are fewer."""
    if rng is None:
        return [(2 * part + 1) * frames // (2 * parts) for part in range(parts)]
    starts = [*_starts(frames, parts), frames]
    return [int(rng.integers(low, max(low + 1, high))) for low, high in pairwise(starts)]
