"""Loading a saved ResNet-18 model after `import torch`: emozoo (verified, mapped) against timm with a checkpoint."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measuring import Row, at_most

ROUNDS = 5
"""Processes of each, in turns, so that a busy machine slows both."""

CHILD = """
import sys, time, torch
torch.set_num_threads(1)
kind, path = sys.argv[1:]
if kind == "timm":
    import timm
    def load(): return timm.create_model("resnet18", num_classes=7, checkpoint_path=path)
else:
    import emozoo
    from pathlib import Path
    def load(): return emozoo.load(Path(path), device="cpu")
    import emozoo.folder, emozoo.model, emozoo_backbones.resnet, emozoo_heads.classification
first = time.process_time(); load(); first = time.process_time() - first
later = []
for _ in range(7):
    started = time.process_time(); load(); later.append(time.process_time() - started)
print(first * 1e3, sorted(later)[3] * 1e3)
"""


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as place:
        folder, checkpoint = _saved(Path(place))
        os.environ["EMOZOO_CACHE"] = str(Path(place) / "cache")
        _child("emozoo", folder)  # stamps the files, as the first load on a machine does
        rounds = [(*_child("timm", checkpoint), *_child("emozoo", folder)) for _ in range(ROUNDS)]
        timm_first, timm_later, own_first, own_later = (
            statistics.median(column) for column in zip(*rounds, strict=True)
        )
        unstamped = statistics.median(_unstamped(folder, Path(place)) for _ in range(3))
    return [
        Row("timm.create_model(checkpoint_path=...), CPU ms", timm_later, "ms"),
        Row("emozoo.load, CPU ms", own_later, "ms"),
        at_most("emozoo.load / timm", own_later / timm_later, "x", 0.2),
        Row("first load in a process: timm", timm_first, "ms"),
        Row("first load in a process: emozoo", own_first, "ms"),
        Row("first load ever, every file hashed: emozoo", unstamped, "ms"),
    ]


def _saved(place: Path) -> tuple[Path, Path]:
    import torch
    from safetensors.torch import save_file

    import emozoo
    from emozoo.recipe import ModelConfig

    config = ModelConfig.model_validate(
        {
            "preprocess": {"size": 224, "crop": 224, "colour": "rgb", "mean": [0.5] * 3, "std": [0.25] * 3},
            "backbone": {"name": "resnet18"},
            "heads": {"emotion": {"name": "classification"}},
        }
    )
    model = emozoo.create(config)
    state = {name.removeprefix("backbone."): value for name, value in model.state_dict().items()}
    renamed = {name.replace("heads.emotion.layers.1", "fc"): value.clone() for name, value in state.items()}
    renamed = {
        ("fc." + name.rpartition(".")[2] if "heads." in name else name): value
        for name, value in renamed.items()
    }
    save_file({name: torch.as_tensor(value) for name, value in renamed.items()}, place / "timm.safetensors")
    return model.save(place / "model"), place / "timm.safetensors"


def _child(kind: str, path: Path) -> tuple[float, float]:
    output = subprocess.run(
        [sys.executable, "-c", CHILD, kind, str(path)], check=True, capture_output=True, text=True
    )
    first, later = output.stdout.split()[-2:]
    return float(first), float(later)


def _unstamped(folder: Path, place: Path) -> float:
    import shutil

    shutil.rmtree(place / "cache", ignore_errors=True)
    return _child("emozoo", folder)[0]
