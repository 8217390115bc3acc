"""Reading every third of 105 frames of a video: emozoo against a bare PyAV loop, and against converting all frames.

And the peak memory of a whole prediction (two faces followed, CEFLNet on windows of 4 s every 2 s), and of writing the
annotated copy: of a video of 20 minutes against one of a minute.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

import numpy as np

from benchmarks.measuring import Row, at_most, seconds

FRAMES, WANTED = 105, range(0, 105, 3)
SHORT, LONG = 1500, 30000
"""Frames of a minute and of twenty."""

SIZES = {"224x224": (224, 224), "640x480": (640, 480)}


def measure() -> list[Row]:
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for name, size in SIZES.items():
            rows += _measure(name, _write(Path(place) / f"{name}.mp4", *size))
        return rows + _memory(Path(place))


def _measure(name: str, path: Path) -> list[Row]:
    from emozoo.data.video import read_frames

    index = np.asarray(WANTED)
    if not np.array_equal(read_frames(path, index).pixels, _bare(path, set(WANTED))):
        raise RuntimeError("emozoo and the bare loop read different frames")
    times = seconds(
        {
            "all": lambda: _bare(path, range(FRAMES)),
            "bare": lambda: _bare(path, set(WANTED)),
            "emozoo": lambda: read_frames(path, index, threads="NONE"),
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
    """What one would write with PyAV alone, single-threaded."""
    import av

    with path.open("rb") as file, av.open(file) as container:
        container.streams.video[0].thread_type = "NONE"
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


def _memory(place: Path) -> list[Row]:
    peaks = []
    for frames in (SHORT, LONG):
        path = _tiny(place / f"{frames}.mp4", frames)
        code = f"from benchmarks.video import _predict; _predict({str(path)!r})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        peaks.append([int(peak) / 1024 for peak in done.stdout.split()])
    rows = []
    for what, short, long in zip(("prediction", "prediction and annotated copy"), *peaks, strict=True):
        rows += [
            Row(f"64x48, 1 minute, two faces: peak memory of {what}", short, "MiB"),
            Row(f"64x48, 20 minutes, two faces: peak memory of {what}", long, "MiB"),
            at_most(f"20 minutes / 1 minute: peak memory of {what}", long / short, "x", 1.2),
        ]
    return rows


def _predict(path: str) -> None:
    """Predict a video in which two faces are found in every frame, then annotate it; print peak KiB after each."""
    from emozoo.annotate import annotate_video
    from emozoo.contracts import Faces
    from emozoo.faces import FaceDetector
    from emozoo.model import create
    from emozoo.recipe import ModelConfig

    class Fixed:
        def detect(self, frame: np.ndarray) -> Faces:  # noqa: ARG002 they do not move
            return Faces(np.asarray([[4, 8, 28, 40], [36, 8, 60, 40]], np.float32), np.ones(2, np.float32))

    tree = {
        "preprocess": {"size": 32, "crop": 28},
        "sampling": {"name": "clips"},
        "backbone": {"name": "resnet18", "stem": "strided", "width": 8},
        "aggregator": {"name": "ceflnet"},
        "heads": {"emotion": {"name": "classification"}, "vad": {"name": "vad"}},
    }
    model = create(ModelConfig.model_validate(tree), seed=0)
    timeline = model.predict(path, faces=FaceDetector("fixed", {}, Fixed()))
    _say_peak()
    annotate_video(Path(path).with_suffix(".annotated.mp4"), timeline)
    _say_peak()


def _say_peak() -> None:
    status = Path("/proc/self/status").read_text()
    sys.stdout.write(re.findall(r"VmHWM:\s+(\d+) kB", status)[0] + "\n")


def _tiny(path: Path, frames: int) -> Path:
    """Write a video of a drifting pattern, 64x48, at 25 frames a second."""
    import av

    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (48, 64 + 100, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            pixels = np.ascontiguousarray(picture[:, number % 100 : number % 100 + 64])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode(None))
    return path
