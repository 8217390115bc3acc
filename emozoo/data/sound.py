"""The sound of a video file, decoded as it is asked for."""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from emozoo.data.clock import JUMP, Joint, put_off, shown_at
from emozoo.data.video_file import MediaFile, VideoFile
from emozoo.errors import EmozooWarning

if TYPE_CHECKING:
    import av
    from av.audio.frame import AudioFrame


JITTER = 0.02
"""Seconds by which the times of samples may be off where containers round them."""


class Sound(MediaFile):
    """The first sound of a video file.

    Attributes:
        channels: how many it has; 0 where there is no sound, or none that can be decoded.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        streams = [stream for stream in self._container.streams.audio if stream.codec_context is not None]
        self._sound = streams[0] if streams else None
        self.channels = self._sound.codec_context.channels if self._sound else 0
        self._begin, self._joints = _clock_of_pictures(path) if self.channels else (0.0, [])

    def frames(self) -> Iterator[tuple[float, AudioFrame]]:
        """Yield (seconds after the video's first frame, samples), in order, from that frame on.

        Where the sound is damaged it ends, with an EmozooWarning: what it cannot be placed by, or decoded, is lost.
        """
        from av.error import FFmpegError

        end = 0.0
        try:
            for frame in self._decoded():
                time = end if frame.time is None else frame.time - self._begin
                time = end if abs(time - end) < JITTER else time
                if time >= end and frame.sample_rate:
                    yield time, frame
                    end = time + frame.samples / frame.sample_rate
        except FFmpegError as error:
            warnings.warn(
                f"{self.path}: its sound is damaged from {end:.1f} s on ({error.strerror})",
                EmozooWarning,
                stacklevel=2,
            )

    def _decoded(self) -> Iterator[AudioFrame]:
        for packet in self._packets() if self._sound else ():
            yield from packet.decode()

    def _packets(self) -> Iterator[av.Packet]:
        """Yield the sound's packets; where files were joined, they are put off as the pictures beside them are.

        Those of a file may lie before its first picture, but their own times go back with the first of them.
        """
        joints, shift, last = deque(self._joints), 0.0, -math.inf
        for packet in self._container.demux(self._sound):
            if packet.pts is not None:
                time = shown_at(packet)
                while joints and (time < last - JUMP or (packet.pos or 0) >= joints[0].position):
                    shift, last = joints.popleft().shift, -math.inf
                last = time
                put_off(packet, shift)
            yield packet


def _clock_of_pictures(path: Path) -> tuple[float, list[Joint]]:
    """Return when the first frame that decodes is shown, and where times begin anew, which all packets must tell."""
    with VideoFile(path, "SLICE") as video:
        next(video.frames(), None)
        for _ in video.packets():
            pass
        return video.begin or 0.0, video.clock.joints
