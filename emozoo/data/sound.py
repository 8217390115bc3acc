"""The sound of a video file, decoded as it is asked for."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from emozoo.data.video_file import MediaFile
from emozoo.errors import EmozooWarning

if TYPE_CHECKING:
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
        self._begin = float((self.stream.start_time or 0) * (self.stream.time_base or 0))
        streams = [stream for stream in self._container.streams.audio if stream.codec_context is not None]
        self._sound = streams[0] if streams else None
        self.channels = self._sound.codec_context.channels if self._sound else 0

    def frames(self) -> Iterator[tuple[float, AudioFrame]]:
        """Yield (seconds after the video's first frame, samples), in order, from that frame on.

        Where the sound is damaged it ends, with an EmozooWarning: what it cannot be placed by, or decoded, is lost.
        """
        from av.error import FFmpegError

        end = 0.0
        try:
            for frame in self._container.decode(self._sound) if self._sound else ():
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
