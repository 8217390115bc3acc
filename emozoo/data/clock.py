"""When the frames of a video file are shown, where its packets do not tell it as they should."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import av
    from av.video.frame import VideoFrame


JUMP = 0.1
"""Seconds by which times of decoding go back where files were joined; within a file they never do."""


class Joint(NamedTuple):
    """Where files were joined end to end, so that times begin anew.

    Attributes:
        position: of the first packet after it, bytes from the start of the file; infinite where that is not known.
        shift: seconds by which times from there on are put off, so that they go on.
    """

    position: float
    shift: float


class Clock:
    """The times of a file's packets, which are those of its frames, and go on where they begin anew.

    Attributes:
        joints: where they do.
        empty: how many places for frames are known to hold none.
    """

    def __init__(self, rate: float) -> None:
        self.joints: list[Joint] = []
        self.empty = 0
        self._rate = rate
        self._decoded = self._shown = -math.inf

    def stamp(self, packet: av.Packet) -> None:
        """Take in the next packet that holds a frame, and put its times right."""
        if packet.dts is None:
            return
        decoded = float(packet.dts * packet.time_base)
        if decoded < self._decoded - JUMP:
            position = math.inf if packet.pos is None else packet.pos
            self.joints.append(Joint(position, self._shown + 1 / self._rate - shown_at(packet)))
        self._decoded = decoded
        if self.joints:
            put_off(packet, self.joints[-1].shift)
        self._shown = max(self._shown, shown_at(packet))

    def lose(self) -> None:
        """Let go of the last packet, which does not decode."""

    def show(self, frames: Sequence[VideoFrame]) -> None:
        """Take in the next frames, in the order in which they are shown, and put their times right."""


class AviClock(Clock):
    """The times of an AVI file: its n-th frame is shown where its n-th packet lies, as it tells no more.

    Packets lie in the order in which they decode, which need not be that in which frames are shown. Between them
    places may be empty, where the frame before stays; the last frame, of which it is not known, may stay for as long
    as any other.
    """

    def __init__(self, rate: float) -> None:
        super().__init__(rate)
        self._due: deque[int] = deque()
        self._next = self._longest = 0

    def stamp(self, packet: av.Packet) -> None:
        """Note that a frame is due where the packet lies."""
        if packet.dts is None:
            return
        gap = packet.dts - self._next
        self.empty += gap + max(0, gap - self._longest)
        self._longest, self._next = max(self._longest, gap), packet.dts + 1
        packet.pts = packet.dts
        self._due.append(packet.dts)

    def lose(self) -> None:
        """Take it that no frame is due where the last packet lies."""
        if self._due:
            self._due.pop()

    def show(self, frames: Sequence[VideoFrame]) -> None:
        """Give frames the times that are due next."""
        for frame in frames:
            frame.pts = self._due.popleft() if self._due else None


def shown_at(packet: av.Packet) -> float:
    """Return when what is in a packet is shown or heard, seconds of the file's time."""
    return float((packet.pts if packet.pts is not None else packet.dts or 0) * packet.time_base)


def put_off(packet: av.Packet, seconds: float) -> None:
    """Move the times of a packet."""
    ticks = round(seconds / packet.time_base)
    packet.pts = None if packet.pts is None else packet.pts + ticks
    packet.dts = None if packet.dts is None else packet.dts + ticks
