"""The result of a video: what each face in it shows, window by window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from emozoo.labels import VAD_SCALE
from emozoo.prediction.answers import Answer, Box, corners, place
from emozoo.prediction.writers import Format, form_of, open_writer


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip of a window, and how much of the expression the model finds in it.

    Attributes:
        start: seconds, of the first frame that the model looked at.
        end: seconds, of the last one.
        intensity: its weight among the window's clips; CEFLNet's sum to 1 (its emotional activation map, equation 5).
    """

    start: float
    end: float
    intensity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Window(Answer):
    """What a model says of one face in one stretch of a video.

    Attributes:
        start: seconds, of the first frame in which the face is seen.
        end: seconds, of the last one.
        box: where the face is in the middle of the stretch; None where the video was taken for a face.
        times: seconds of the frames that the model looked at, clip by clip; a model of images looks at all.
        clips: of a model that weighs clips; else none.
        frame_weights: how much each frame of `times` counts, of a model that weighs frames; else None.
    """

    start: float
    end: float
    box: Box | None
    times: tuple[tuple[float, ...], ...]
    clips: tuple[Clip, ...] = ()
    frame_weights: tuple[tuple[float, ...], ...] | None = None

    @property
    def rich_clip(self) -> Clip | None:
        """The clip in which the expression is strongest (CEFLNet, equation 6); None where clips are not weighed."""
        return max(self.clips, key=lambda clip: clip.intensity, default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        clips = [{"start": c.start, "end": c.end, "intensity": c.intensity} for c in self.clips]
        rich = (
            {"clips": clips, "rich_clip": clips[self.clips.index(self.rich_clip)]} if self.rich_clip else {}
        )
        weights = (
            {} if self.frame_weights is None else {"frame_weights": [list(w) for w in self.frame_weights]}
        )
        return {
            "start": self.start,
            "end": self.end,
            **self.answer(),
            "box": None if self.box is None else list(self.box),
            "times": [list(row) for row in self.times],
            **rich,
            **weights,
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Track(Answer):
    """One face throughout a video; as an answer, the mean over its windows, each counting by its frames.

    Attributes:
        face: its number in the video, from 0 in order of appearance.
        index: int64 (n,), the frames in which it was seen.
        times: float64 (n,), their seconds after the first frame of the video.
        boxes: float32 (n, 4), left, top, right, bottom; None where the video was taken for a face.
        windows: in the order of time.
        shares: of the frames, by the label of the window that they are in; of a model with a classification head.
    """

    face: int
    index: np.ndarray
    times: np.ndarray
    boxes: np.ndarray | None
    windows: tuple[Window, ...]
    shares: Mapping[str, float]

    __eq__, __hash__ = object.__eq__, object.__hash__  # not those of an answer: two faces may show the same

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "face": self.face,
            "start": float(self.times[0]),
            "end": float(self.times[-1]),
            **self.answer(),
            **({"shares": dict(self.shares)} if self.shares else {}),
            "windows": [window.to_dict() for window in self.windows],
            "frames": self.index.tolist(),
            "times": self.times.round(4).tolist(),
            "boxes": None if self.boxes is None else self.boxes.astype(float).round(1).tolist(),
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Timeline:
    """What a model says of a video: of each face, in each window.

    Attributes:
        source: the path.
        detector: the qualified name of the detector that looked for faces; None where the video was taken for one.
        frames: how many frames the video has.
        seconds: the time of the last of them.
        looked_at: in how many of them faces were looked for.
        tracks: the faces, in order of appearance; none where none was found.
        damaged: what the video lacks, in words; None for a sound one.
        frame_rate: frames a second that a folder of frames was said to have; None for a file.
    """

    vad_scale: ClassVar[tuple[float, float]] = VAD_SCALE
    """The scale of `vad`."""

    source: str
    detector: str | None
    frames: int
    seconds: float
    looked_at: int
    tracks: tuple[Track, ...]
    damaged: str | None = None
    frame_rate: float | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The categories that the model tells apart, in the order of its outputs; none without such a head."""
        return tuple(self.probabilities or ())

    @property
    def main(self) -> Track | None:
        """The face that is seen in the most frames, which speaks for the video; None where none was found."""
        return max(self.tracks, key=lambda track: len(track.index), default=None)

    @property
    def label(self) -> str | None:
        """The label of the main face."""
        return self.main.label if self.main else None

    @property
    def probabilities(self) -> dict[str, float] | None:
        """The probabilities of the main face."""
        return self.main.probabilities if self.main else None

    @property
    def confidence(self) -> float | None:
        """The probability of the label."""
        return self.main.confidence if self.main else None

    @property
    def vad(self) -> dict[str, float] | None:
        """The dimensions of the main face."""
        return self.main.vad if self.main else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        overall = {"main": self.main.face, **self.main.answer()} if self.main else {"main": None}
        return {
            "source": self.source,
            "detector": self.detector,
            "frames": self.frames,
            "seconds": self.seconds,
            "looked_at": self.looked_at,
            "damaged": self.damaged,
            **overall,
            "tracks": [track.to_dict() for track in self.tracks],
        }

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a flat row for each window of each face, or one of no face; see `emozoo.prediction.answers.PLACE`."""
        rows = []
        for track in self.tracks:
            for window in track.windows:
                rich = window.rich_clip
                known = {"rich_start": rich.start, "rich_end": rich.end} if rich else {}
                where = place(
                    self.source, face=track.face, start=window.start, end=window.end,
                    **known, **corners(window.box),
                )  # fmt: skip
                rows.append(where | window.columns())
        return rows or [place(self.source)]

    def to_lines(self) -> list[str]:
        """Return lines for people: one a window, and one a face for the whole video."""
        lines = []
        for track in self.tracks:
            about = f"{self.source}  face {track.face}"
            fine = max(window.end - window.start for window in track.windows) < 0.5
            spans = [(f"{w.start:.{1 + fine}f}-{w.end:.{1 + fine}f} s", w) for w in track.windows]
            lines += [f"{about}  {span}  {window.words()}" for span, window in spans]
            lines.append(f"{about}  in all  {track.words()}")
        return lines or [f"{self.source}  no face found"]

    def write(self, path: str | Path, form: Format | None = None) -> Path:
        """Write to a file; the format follows from its suffix (.jsonl, .csv, .parquet) where not given."""
        path = Path(path)
        with open_writer(path, form or form_of(path)) as writer:
            writer.add(self)
        return path
