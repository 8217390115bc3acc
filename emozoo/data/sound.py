"""The sound of a video file, decoded as it is asked for."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from emozoo.data.video_file import open_container, open_file, video_stream
from emozoo.errors import EmozooWarning

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame


JITTER = 0.02
"""Seconds by which the times of samples may be off where containers round them."""


class Sound:
    """The first sound of a video file; used in a `with` block.

    Attributes:
        channels: how many it has; 0 where there is no sound, or none that can be decoded.

    Raises:
        DataError: as `VideoFile`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_file(path)
        try:
            self._container = open_container(path, self._file)
            video = video_stream(path, self._container)
        except BaseException:
            self._file.close()
            raise
        self._begin = float((video.start_time or 0) * (video.time_base or 0))
        streams = [stream for stream in self._container.streams.audio if stream.codec_context is not None]
        self._stream = streams[0] if streams else None
        self.channels = self._stream.codec_context.channels if self._stream else 0

    def __enter__(self) -> Sound:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()
        self._file.close()

    def frames(self) -> Iterator[tuple[float, AudioFrame]]:
        """Yield (seconds after the video's first frame, samples), in order, from that frame on.

        Where the sound is damaged it ends, with an EmozooWarning: what it cannot be placed by, or decoded, is lost.
        """
        from av.error import FFmpegError

        end = 0.0
        try:
            for frame in self._container.decode(self._stream) if self._stream else ():
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
