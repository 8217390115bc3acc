"""Peak memory of a whole prediction (two faces followed, CEFLNet on windows of 4 s every 2 s), and of writing the
annotated copy: of a video of an hour against one of a minute."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.measuring import Row, at_most

MINUTE = 1500
"""Frames of a minute."""


def measure() -> list[Row]:
    peaks = []
    with tempfile.TemporaryDirectory() as place:
        for minutes in (1, 60):
            path = _tiny(Path(place) / f"{minutes}.mp4", minutes * MINUTE)
            code = f"from benchmarks.memory import _predict; _predict({str(path)!r})"
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            peaks.append([int(peak) / 1024 for peak in done.stdout.split()])
    rows = []
    for what, short, long in zip(("prediction", "prediction and annotated copy"), *peaks, strict=True):
        rows += [
            Row(f"64x48, a minute, two faces: peak memory of {what}", short, "MiB"),
            Row(f"64x48, an hour, two faces: peak memory of {what}", long, "MiB"),
            at_most(f"an hour / a minute: peak memory of {what}", long / short, "x", 1.2),
        ]
    return rows


def _predict(path: str) -> None:
    """Predict a video in which two faces are found in every frame, then annotate it; print peak KiB after each."""
    from emozoo.contracts import Faces
    from emozoo.model import create
    from emozoo.prediction.annotate import annotate_video
    from emozoo.prediction.faces import FaceDetector
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
