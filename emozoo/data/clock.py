"""When the frames of a video file are shown, where its packets do not tell it as they should."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import av
    from av.video.frame import VideoFrame


class Clock:
    """The times of a file's packets, which are those of its frames.

    Attributes:
        empty: how many places for frames are known to hold none.
    """

    empty = 0

    def stamp(self, packet: av.Packet) -> None:
        """Take in the next packet that holds a frame, and put its times right."""

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

    def __init__(self) -> None:
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
