"""A copy of a video with what a model says of it: boxes, labels, and a timeline below the picture."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from fractions import Fraction
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emozoo.data.sound import Sound
from emozoo.data.video import FrameStream
from emozoo.errors import DataError, EmozooWarning
from emozoo.evaluation.plots import COLOURS
from emozoo.files import complete
from emozoo.prediction.timeline import Timeline, Track, Window

if TYPE_CHECKING:
    from av.container import OutputContainer
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
CODECS = ("libx264", "mpeg4")
"""What the copy is encoded with: the first that this build of FFmpeg has."""

MILLISECOND = Fraction(1, 1000)
"""The clock of the copy's pictures."""

SAMPLE_RATE = 48_000
"""Of the copy's sound, in Hz."""

ROWS = 5
"""Faces that the timeline has room for at a time."""

Area = tuple[float, ...]
"""Left, top, right, bottom, in pixels of the picture."""

_PAPER, _INK, _EMPTY = "#ffffff", "#2b2b2b", "#e6e6e6"


def check_output(path: Path, source: Path) -> None:
    """Raise DataError where a copy of a video cannot be written to a path."""
    if path.suffix.lower() not in CONTAINERS:
        raise DataError(f"{path}: a video is written as one of {', '.join(CONTAINERS)}")
    if path.exists() and source.exists() and path.samefile(source):
        raise DataError(f"{path} is the video itself; write the copy to another file")


def annotate_video(path: Path, timeline: Timeline) -> Path:
    """Write a video again, with boxes, labels and a timeline, in memory that does not grow with its length.

    Between frames that were looked at, boxes move evenly. Sound is carried over, as AAC; where it is damaged it ends,
    with an EmozooWarning.

    Args:
        path: the file to write, which appears when it is complete: .mp4, .mov or .mkv.
        timeline: of the video, which must still lie where it was.

    Raises:
        DataError: the video cannot be read, or the file cannot be written.
    """
    check_output(path, Path(timeline.source))
    stream = FrameStream(timeline.source, fps=timeline.frame_rate or 25.0)
    rate = max(1, round((timeline.frames - 1) / timeline.seconds)) if timeline.seconds else 25
    picture: Annotator | None = None
    with (
        complete(path) as place,
        _sound_of(stream.path) as sound,
        _encoder(place, CONTAINERS[path.suffix.lower()], rate, sound) as write,
    ):
        for number, time, pixels in stream:
            picture = picture or Annotator(timeline, pixels.shape[1], pixels.shape[0])
            write(picture.draw(number, time, pixels), time)
    return path


class Annotator:
    """Draws on the frames of one video."""

    def __init__(self, timeline: Timeline, width: int, height: int) -> None:
        from PIL import ImageFont

        self.timeline, self.width, self.height = timeline, width, height
        self.size = max(10, min(width, height) // 24)
        self.font = ImageFont.load_default(self.size)
        self.colours = dict(zip(timeline.labels, cycle(COLOURS), strict=False))
        self.borders = [_borders(track.windows) for track in timeline.tracks]
        self.rows = 0  # pixels of the strip that are rows of faces
        self.strip = self._strip()

    def draw(self, number: int, time: float, pixels: np.ndarray) -> np.ndarray:
        """Return a frame with everything drawn, uint8 (H', W', 3), both sides even, as encoders want them."""
        from PIL import Image, ImageDraw

        canvas = Image.new("RGB", (self.width + self.width % 2, self._full_height()), _PAPER)
        canvas.paste(Image.fromarray(pixels), (0, 0))
        canvas.paste(self.strip, (0, self.height))
        draw = ImageDraw.Draw(canvas)
        here = [
            (track, track.windows[int(np.searchsorted(borders, time))], box_at(track, number))
            for track, borders in zip(self.timeline.tracks, self.borders, strict=True)
            if track.index[0] <= number <= track.index[-1]
        ]
        taken = [tuple(box) for _, _, box in here if box is not None]
        for track, window, box in here:
            taken.append(self._face(draw, track, window, box, taken, len(here)))
        x = self._x(time)
        draw.line((x, self.height, x, self.height + self.rows), fill=_INK, width=max(1, self.size // 8))
        return np.asarray(canvas)

    def _face(
        self, draw: ImageDraw, track: Track, window: Window, box: list[float] | None,
        taken: Sequence[Area], faces: int,
    ) -> Area:  # fmt: skip
        """Draw a face's box and label; return where the label is."""
        colour = self.colours.get(window.label or "", COLOURS[0])
        if box is not None:
            draw.rectangle(box, outline=colour, width=max(2, self.size // 6))
        text = f"{track.face}  {self._words(draw, window, faces)}"
        size = draw.textlength(text, self.font) + 4, self.size * 1.4
        left, top = label_place(box or (0, 0, 0, 0), size, taken, (self.width, self.height))
        area = draw.textbbox((left + 2, top + 1), text, self.font)
        draw.rectangle((area[0] - 2, area[1] - 2, area[2] + 2, area[3] + 2), fill=colour)
        draw.text((left + 2, top + 1), text, fill=_PAPER, font=self.font)
        return left, top, left + size[0], top + size[1]

    def _words(self, draw: ImageDraw, window: Window, faces: int) -> str:
        """Return what is said of a face, as much as there is room for beside what is said of others."""
        label = [] if window.label is None else [f"{window.label} {window.confidence or 0:.0%}"]
        vad = [f"{name[0].upper()} {value:+.1f}" for name, value in (window.vad or {}).items()]
        text = "  ".join(label + vad)
        return text if not label or draw.textlength(text, self.font) < self.width * 0.6 / faces else label[0]

    def _full_height(self) -> int:
        height = self.height + self.strip.height
        return height + height % 2

    def _x(self, time: float) -> float:
        return time / max(self.timeline.seconds, 1e-9) * (self.width - 1)

    def _strip(self) -> Image:
        """Return the timeline: faces in rows, and what the colours mean."""
        from PIL import Image, ImageDraw

        rows = in_rows(self.timeline.tracks)
        step = self.size + 4
        self.rows = len(rows) * step
        strip = Image.new("RGB", (self.width, step * (len(rows) + 1) + 2), _PAPER)
        draw = ImageDraw.Draw(strip)
        for row, tracks in enumerate(rows):
            top = row * step + 2
            draw.rectangle((0, top, self.width, top + self.size), fill=_EMPTY)
            for track in tracks:
                self._bar(draw, track, top)
        self._legend(draw, len(rows) * step + 2)
        return strip

    def _bar(self, draw: ImageDraw, track: Track, top: int) -> None:
        """Draw a face's time in the colours of its labels."""
        until = [*(window.start for window in track.windows[1:]), track.windows[-1].end]
        for window, end in zip(track.windows, until, strict=True):
            colour = self.colours.get(window.label or "", COLOURS[0])
            draw.rectangle((self._x(window.start), top, self._x(end), top + self.size), fill=colour)
        number = self._x(track.windows[0].start) + 2, top - 1
        draw.text(number, str(track.face), fill=_PAPER, font=self.font)

    def _legend(self, draw: ImageDraw, top: int) -> None:
        seen = {window.label for track in self.timeline.tracks for window in track.windows}
        left = 2.0
        for label, colour in self.colours.items():
            if label in seen:
                draw.rectangle((left, top + 2, left + self.size - 2, top + self.size), fill=colour)
                draw.text((left + self.size + 2, top), label, fill=_INK, font=self.font)
                left += self.size * 2 + draw.textlength(label, self.font)
        if not self.timeline.tracks:
            draw.text((left, top), "no face found", fill=_INK, font=self.font)


def _borders(windows: Sequence[Window]) -> np.ndarray:
    """Return the times (n - 1,) from which the next of n windows is the nearest, by the windows' middles."""
    middles = np.asarray([(window.start + window.end) / 2 for window in windows])
    return (middles[1:] + middles[:-1]) / 2


def label_place(
    box: Sequence[float], size: tuple[float, float], taken: Sequence[Area], frame: tuple[int, int]
) -> tuple[float, float]:
    """Return left and top of a label: above its box, or else below, where it covers the least of what is taken.

    Args:
        box: of the face.
        size: width and height of the label.
        taken: the boxes of all faces, and the labels that are drawn already.
        frame: width and height of the picture, within which the label stays.
    """
    (left, top, right, bottom), (width, height) = box, size
    wanted = [(x, y) for y in (top - height, bottom) for x in (left, right - width)]
    inside = [(max(0.0, min(x, frame[0] - width)), max(0.0, min(y, frame[1] - height))) for x, y in wanted]

    def covered(place: tuple[float, float]) -> float:
        x, y = place
        return sum(
            max(0.0, min(x + width, area[2]) - max(x, area[0]))
            * max(0.0, min(y + height, area[3]) - max(y, area[1]))
            for area in taken
        )

    return min(inside, key=covered)


def box_at(track: Track, number: int) -> list[float] | None:
    """Return where a face is in a frame between its first and its last; None where the video is the face."""
    if track.boxes is None:
        return None
    after = int(np.searchsorted(track.index, number))
    before = max(0, after - 1)
    span = max(1, int(track.index[after] - track.index[before]))
    share = (number - int(track.index[before])) / span if after else 0.0
    return (track.boxes[before] + share * (track.boxes[after] - track.boxes[before])).tolist()


def in_rows(tracks: Sequence[Track]) -> list[list[Track]]:
    """Deal faces to as few rows as there are faces at a time, `ROWS` at most; where all are full, a face has none."""
    rows: list[list[Track]] = []
    for track in sorted(tracks, key=lambda track: track.index[0]):
        free = next((row for row in rows if row[-1].index[-1] < track.index[0]), None)
        if free is not None:
            free.append(track)
        elif len(rows) < ROWS:
            rows.append([track])
    return rows


def _codec() -> str:
    import av

    return next(codec for codec in CODECS if codec in av.codecs_available)


def _sound_of(source: Path) -> AbstractContextManager[Sound | None]:
    return nullcontext() if source.is_dir() else Sound(source, SAMPLE_RATE)


@contextmanager
def _encoder(path: Path, container: str, rate: int, sound: Sound | None) -> Generator[Any]:
    """Give a function that writes a frame, uint8 (H, W, 3), at a time in seconds, and the sound up to then."""
    import av

    with open(path, "wb") as file, av.open(file, "w", format=container) as output:
        stream: Any = output.add_stream(_codec(), rate=rate)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = MILLISECOND
        player = _player(output, sound) if sound and sound.layout else None
        if player:
            next(player)
        last = -1

        def write(pixels: np.ndarray, time: float) -> None:
            nonlocal last
            if last < 0:
                stream.height, stream.width = pixels.shape[:2]
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            last = max(last + 1, round(time * 1000))
            frame.pts, frame.time_base = last, MILLISECOND
            output.mux(stream.encode(frame))
            if player:
                player.send(time)

        yield write
        output.mux(stream.encode(None))
        if player:
            player.send(None)


def _player(output: OutputContainer, sound: Sound) -> Generator[None, float | None]:
    """Write the sound, as the container wants it beside the picture: up to each time that is sent, in seconds.

    None, in place of a time, ends it. So does whatever is wrong with a sound, which leaves the picture alone.
    """
    from av.error import FFmpegError

    stream: Any = output.add_stream("aac", rate=sound.rate, layout=sound.layout)
    time, until = 0.0, (yield)
    try:
        for frame in sound.frames():
            time = frame.time or time
            while until is not None and time > until:
                until = yield
            if until is None:
                break
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    except (FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        problem = f"its sound is damaged from {time:.1f} s on ({reason})"
        warnings.warn(f"{sound.path}: {problem}", EmozooWarning, stacklevel=2)
    while True:
        yield
