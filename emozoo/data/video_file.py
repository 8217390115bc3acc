"""Video files, decoded frame by frame through PyAV; what is damaged is left out and counted."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

import numpy as np

from emozoo.contracts import FRAME_LIMIT, VIDEO_FORMATS
from emozoo.data.clock import AviClock, Clock
from emozoo.errors import DataError

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.reformatter import VideoReformatter
    from av.video.stream import VideoStream

LEAST = 1e-4
"""Seconds from one frame to the next, where a file has them at the same time or in disorder."""


class MediaFile:
    """An open file that holds a video, to be closed by a `with` block.

    Attributes:
        path: of the file.
        stream: its video.

    Raises:
        DataError: not a video, no video in it, or too large; names the path.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _open_file(path)
        try:
            self._container = _open_container(path, self._file)
            self.stream = _video_stream(path, self._container)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()
        self._file.close()


class VideoFile(MediaFile):
    """The video of an open file: its packets, its frames, and a tally of what went wrong.

    Attributes:
        held: frames that the packets read so far hold.
        decoded: frames decoded so far.
        rate: frames a second, as the header has it.
        clock: of the times of its packets and frames.
        begin: the first frame's time by that clock, seconds; known when it has decoded, if the file has times.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.held = self.decoded = 0
        self._skipped = self._errors = self._flagged = 0
        self._broken_off = False
        self._last = 0.0
        self._first: VideoFrame | None = None
        self.stream.thread_type = "SLICE"
        self.stream.codec_context.options = {"max_pixels": str(FRAME_LIMIT)}
        self.tick = float(self.stream.time_base or 0)
        self.rate = float(self.stream.average_rate or self.stream.guessed_rate or 25)
        self.begin: float | None = None
        self.clock = (AviClock if self._container.format.name == "avi" else Clock)(self.rate)

    def packets(self) -> Iterator[av.Packet]:
        """Yield the packets of the video, and at the end an empty one, which flushes the decoder."""
        from av.error import FFmpegError

        try:
            for packet in self._container.demux(self.stream):
                # Packets before the first frame of an edit are decoded for the others' sake and never shown.
                self._skipped += packet.is_discard
                self.held += bool(packet.size) and not packet.is_discard
                if packet.size:
                    self.clock.stamp(packet)
                self._last = max(self._last, (packet.pts or 0) * self.tick)
                yield packet
        except FFmpegError:
            self._broken_off = True

    def decode(self, packet: av.Packet | None) -> list[VideoFrame]:
        """Return the frames that a packet completes, in the order in which they are shown; damaged ones are lost."""
        from av.error import FFmpegError

        try:
            frames = self.stream.codec_context.decode(packet)
        except FFmpegError:
            self._errors += 1
            self.clock.lose()
            return []
        self.clock.show(frames)
        self.decoded += len(frames)
        self._flagged += sum(frame.is_corrupt for frame in frames)
        return frames

    def frames(self) -> Iterator[tuple[float, VideoFrame]]:
        """Yield (seconds after the first frame, frame) of every frame that decodes, each later than the one before."""
        time = 0.0
        for number, frame in enumerate(self._decoded()):
            going_on = time + 1 / self.rate if number else 0.0
            if frame.time is None:
                time = going_on
            else:
                self.begin = frame.time - going_on if self.begin is None else self.begin
                time = max(frame.time - self.begin, time + LEAST if number else 0.0)
            yield time, frame

    def _decoded(self) -> Iterator[VideoFrame]:
        for packet in self.packets():
            yield from self.decode(packet)
        if self._broken_off:
            yield from self.decode(None)

    def pixels(self, frame: VideoFrame) -> np.ndarray:
        """Return a frame as uint8 (H, W, 3) RGB, upright, in the size of the first frame that was converted."""
        if self._first is None:
            self._first = frame
        stored = self._reformatter.reformat(
            frame, self._first.width, self._first.height, "rgb24"
        ).to_ndarray()
        return np.ascontiguousarray(np.rot90(stored, quarter_turns(self._first)))

    @cached_property
    def _reformatter(self) -> VideoReformatter:
        """One for all frames: setting one up costs as much as using it."""
        from av.video.reformatter import VideoReformatter

        return VideoReformatter()

    def nothing(self) -> DataError:
        """Return the error to raise where no frame at all decodes."""
        return DataError(
            f"{self.path}: no frame decodes ({self.held} packets read); the file is damaged or holds no picture"
        )

    def damage(self, *, ended: bool) -> str | None:
        """Say what is wrong with the file, of which all that was read was decoded.

        Args:
            ended: it was read to its end.
        """
        lost = self.held - self.decoded if ended else self._errors
        declared, duration = self.stream.frames, self._declared_duration
        held = self.held + self._skipped + self.clock.empty
        found = {
            f"frames that do not decode: {lost}": lost > 0,
            f"decoded frames that show damage: {self._flagged}": self._flagged,
            f"it cannot be read beyond frame {self.held}": self._broken_off,
            f"its times begin anew, as in joined files, and are counted on: {len(self.clock.joints)}": bool(
                self.clock.joints
            ),
            f"its header says {declared} frames, it holds {self.held}": ended and declared > held,
            f"its header says {duration:.1f} s, its frames end at {self._last:.1f} s": ended
            and duration - self._last > max(1.0, 0.1 * duration),
        }
        return "; ".join(text for text, so in found.items() if so) or None

    @property
    def _declared_duration(self) -> float:
        """Seconds; 0 where the header does not tell, and FFmpeg guesses."""
        known = self._container.format.name.startswith("matroska") and self._container.duration
        return self._container.duration / 1e6 if known else 0.0


def quarter_turns(frame: VideoFrame) -> int:
    """Return by how many quarter turns, counter-clockwise, a stored frame becomes upright."""
    return round(frame.rotation / 90) % 4


def _open_file(path: Path) -> IO[bytes]:
    try:
        if not path.stat().st_size:
            raise DataError(f"{path}: the file is empty")
        return path.open("rb")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


def _open_container(path: Path, file: IO[bytes]) -> InputContainer:
    import av

    try:
        # An open file, as FFmpeg takes a path for an address; metadata may be in any encoding.
        options = {"format_whitelist": VIDEO_FORMATS}
        return av.open(file, "r", metadata_errors="ignore", container_options=options)
    except av.error.FFmpegError as error:
        if error.errno == errno.EINVAL:  # how FFmpeg refuses what is not on the list
            problem = f"not a video of a kind that is read: {VIDEO_FORMATS.replace(',', ', ')}"
        else:
            problem = f"not a video file, or its beginning or its index is lost ({error.strerror})"
        raise DataError(f"{path}: {problem}") from None


def _video_stream(path: Path, container: InputContainer) -> VideoStream:
    """Return the file's video; the cover picture of a sound file is none."""
    from av.stream import Disposition

    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise DataError(f"{path}: holds no video (what it holds: {kinds})")
    stream = streams[0]
    if stream.codec_context is None:
        raise DataError(f"{path}: its video codec is unknown to this build of FFmpeg")
    if stream.width * stream.height > FRAME_LIMIT:
        raise DataError(
            f"{path}: {stream.width}x{stream.height} pixels a frame, the limit is {FRAME_LIMIT:,}"
        )
    return stream
