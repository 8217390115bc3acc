"""Reading every third of 105 frames of a video: emozoo against a bare PyAV loop, and against converting all frames."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path

import numpy as np

from benchmarks.measuring import Row, at_most, seconds

FRAMES, WANTED = 105, range(0, 105, 3)
SIZES = {"224x224": (224, 224), "640x480": (640, 480)}


def measure() -> list[Row]:
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for name, size in SIZES.items():
            rows += _measure(name, _write(Path(place) / f"{name}.mp4", *size))
    return rows


def _measure(name: str, path: Path) -> list[Row]:
    from emozoo.data.video import read_frames

    index = np.asarray(WANTED)
    if not np.array_equal(read_frames(path, index), _bare(path, set(WANTED))):
        raise RuntimeError("emozoo and the bare loop read different frames")
    times = seconds(
        {
            "all": lambda: _bare(path, range(FRAMES)),
            "bare": lambda: _bare(path, set(WANTED)),
            "emozoo": lambda: read_frames(path, index),
        },
        repeats=15,
        warmup=2,
    )
    return [
        Row(f"{name}: PyAV, all {FRAMES} frames converted", times["all"] * 1e3, "ms"),
        Row(f"{name}: PyAV, only {len(WANTED)} converted", times["bare"] * 1e3, "ms"),
        Row(f"{name}: emozoo, {len(WANTED)} frames", times["emozoo"] * 1e3, "ms"),
        at_most(
            f"{name}: emozoo / bare loop over the same frames", times["emozoo"] / times["bare"], "x", 1.1
        ),
        at_most(f"{name}: emozoo / all frames", times["emozoo"] / times["all"], "x", 0.8),
    ]


def _bare(path: Path, wanted: Collection[int]) -> np.ndarray:
    """What one would write with PyAV alone, with as many threads."""
    import av

    with path.open("rb") as file, av.open(file) as container:
        container.streams.video[0].thread_type = "SLICE"
        frames = []
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                frames.append(frame.to_ndarray(format="rgb24"))
            if len(frames) == len(wanted):
                break
    return np.stack(frames)


def _write(path: Path, width: int, height: int) -> Path:
    """Write a video that costs what a real one does: a drifting, slightly noisy picture, one keyframe."""
    import av

    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (height // 16 + 8, width // 16 + 8, 3), np.uint8)
    picture = picture.repeat(16, 0).repeat(16, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.gop_size = 250
        for number in range(FRAMES):
            shifted = picture[number : number + height, number : number + width].astype(np.int16)
            noisy = (shifted + rng.normal(0, 3, shifted.shape)).clip(0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noisy, "rgb24")))
        container.mux(stream.encode(None))
    return path
