"""The sound of a video file, decoded as it is asked for."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from emozoo.data.clock import JUMP, Joint, put_off, shown_at
from emozoo.data.video_file import MediaFile, VideoFile

if TYPE_CHECKING:
    import av
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler


JITTER = 0.02
"""Seconds by which the times of samples may be off where containers round them."""


class Sound(MediaFile):
    """The first sound of a video file, as samples of one kind whatever it changes to: floats at one rate, in a layout.

    Attributes:
        rate: samples a second.
        layout: mono or stereo; None where there is no sound, or none that can be decoded.
    """

    def __init__(self, path: Path, rate: int) -> None:
        super().__init__(path)
        self.rate = rate
        streams = [stream for stream in self._container.streams.audio if stream.codec_context is not None]
        self._sound = streams[0] if streams else None
        channels = self._sound.codec_context.channels if self._sound else 0
        self.layout = ("mono" if channels == 1 else "stereo") if channels else None
        self._begin, self._joints = _clock_of_pictures(path) if self.layout else (0.0, [])

    def frames(self) -> Iterator[AudioFrame]:
        """Yield samples in order, from the video's first frame on, by which their times are.

        Raises:
            FFmpegError, ValueError: the sound is damaged, or of a kind that cannot be brought into the layout.
        """
        kind, resampler = None, self._resampler()
        for frame in self._placed():
            if kind != (kind := (frame.format.name, frame.layout.name, frame.sample_rate)):
                yield from resampler.resample(None)
                resampler = self._resampler()
            yield from resampler.resample(frame)
        yield from resampler.resample(None)

    def _resampler(self) -> AudioResampler:
        from av.audio.resampler import AudioResampler

        return AudioResampler("fltp", self.layout, self.rate)

    def _placed(self) -> Iterator[AudioFrame]:
        """Yield the sound's frames as they are, at their times; what comes too early, or cannot be placed, is lost."""
        end = 0.0
        for frame in self._decoded():
            time = end if frame.time is None else frame.time - self._begin
            time = end if abs(time - end) < JITTER else time
            if time >= end and frame.sample_rate:
                end = time + frame.samples / frame.sample_rate
                frame.pts, frame.time_base = round(time * frame.sample_rate), Fraction(1, frame.sample_rate)
                yield frame

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
    with VideoFile(path) as video:
        next(video.frames(), None)
        for _ in video.packets():
            pass
        return video.begin or 0.0, video.clock.joints
