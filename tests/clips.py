"""Small videos made on the spot, each frame of which carries its number as bars of black and white."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

BITS = 10
WIDTH, HEIGHT = 160, 64


def barred(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A frame (H, W, 3) whose ten bars, left to right, are the bits of its number."""
    pixels = np.full((height, width, 3), 128, np.uint8)
    for bit in range(BITS):
        pixels[:, bit * width // BITS : (bit + 1) * width // BITS] = 235 if number >> bit & 1 else 16
    return pixels


def number_of(pixels: np.ndarray) -> int:
    """The number that a frame's bars spell."""
    height, width = pixels.shape[:2]
    middles = [int((bit + 0.5) * width / BITS) for bit in range(BITS)]
    return sum(int(pixels[height // 2, x].mean() > 128) << bit for bit, x in enumerate(middles))


def numbers_of(frames: np.ndarray) -> list[int]:
    """The numbers of frames (n, H, W, 3)."""
    return [number_of(pixels) for pixels in frames]


def write_video(
    path: Path,
    frames: Sequence[np.ndarray] | int = 40,
    *,
    codec: str = "libx264",
    fps: int = 25,
    gop: int = 12,
    b_frames: int | None = None,
    milliseconds: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    **metadata: str,
) -> Path:
    """Encode frames, or that many numbered ones, at a constant rate or at the times given."""
    if codec not in av.codecs_available:
        pytest.skip(f"this build of FFmpeg has no encoder {codec}")
    pictures = [barred(number) for number in range(frames)] if isinstance(frames, int) else frames
    with av.open(str(path), "w", options=options or {}) as container:
        container.metadata.update(metadata)
        stream: Any = container.add_stream(codec, rate=fps, options={"x265-params": "log-level=none"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size = gop
        if b_frames is not None:
            stream.codec_context.max_b_frames = b_frames
        if milliseconds is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for place, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            if milliseconds is not None:
                frame.pts, frame.time_base = milliseconds[place], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
