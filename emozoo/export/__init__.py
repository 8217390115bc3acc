"""Exporting: a model folder becomes one file that other runtimes run, with no emozoo about.

What is written is opened again and must give the golden outputs before it is put in place.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emozoo import __version__
from emozoo.errors import CorruptModelError, ExportError
from emozoo.export.formats import Format, Run, find_format
from emozoo.export.graph import Traced, trace
from emozoo.export.int8 import Change, Images, compare, read_images
from emozoo.folder import load_model, read_manifest
from emozoo.golden import difference
from emozoo.layout import GOLDEN, WEIGHTS
from emozoo.model import EmotionModel
from emozoo.records import find_record
from emozoo.zoo import called, model_folder

DESCRIPTION_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Exported:
    """An exported model.

    Attributes:
        path: the file.
        size: bytes, with those of files that belong to it.
        difference: the largest from the golden outputs, relative; of the single-precision model.
        change: what int8 changed; None without.
        description: what the file says of itself.
    """

    path: Path
    size: int
    difference: float
    change: Change | None
    description: dict[str, Any]


def export_model(
    source: str | Path, form: str, out: Path | None = None, calibrate: Path | None = None
) -> Exported:
    """Export a model; the file appears once it has given the golden outputs, in batches of several sizes.

    Args:
        source: a model, as `emozoo.load` takes it.
        form: "onnx", "torch-export" or "openvino".
        out: the file; NAME.onnx and the like if not given. An older one in its place is replaced.
        calibrate: a dataset or a folder of photos: the model becomes int8, calibrated on these.

    Raises:
        ExportError: the format is unknown or not installed, the place cannot be written to, the model cannot be
            traced, or the exported model does not say what the model says.
    """
    chosen = find_format(form)
    folder = model_folder(source)
    model = load_model(folder, "cpu")
    record = find_record(folder) or {}
    name = called(source, folder)
    target = out or Path(f"{name}{'-int8' if calibrate else ''}{chosen.suffix}")
    if target.suffix != chosen.suffix or target.is_dir():
        raise ExportError(f"--out {target}: --format {form} writes a file whose name ends in {chosen.suffix}")
    images = read_images(model, calibrate) if calibrate else None
    traced = trace(model)
    about = _describe(model, traced, name, folder, record)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"{target}: its folder cannot be made ({error.strerror}); name another") from error
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as place:
        plain = Path(place) / "fp32" / target.name
        run = _write(chosen, traced, plain, about)
        found = _verify(run, *_expected(model, folder, traced))
        change, written = None, plain
        if images is not None:
            about["precision"], written = "int8", Path(place) / "int8" / target.name
            after = _write(chosen, traced, written, about, images[0])
            change = compare(model, images[1], next(iter(traced.inputs)), run, after)
        size = _put(written, target)
    return Exported(target, size, found, change, about)


def _describe(
    model: EmotionModel, traced: Traced, name: str, folder: Path, record: dict[str, Any]
) -> dict[str, Any]:
    """Return what a user of the file must know, as JSON values; docs/export.md explains it."""
    config, heads = model.config.model_dump(mode="json"), {}
    modules: Any = model.heads
    for key, head in modules.items():
        about: dict[str, Any] = {"task": head.task}
        if head.task == "classification":
            about |= {"output": "logits", "labels": list(model.labels)}
        elif head.task == "vad":
            bounded = getattr(head, "bounded", None) != "none"
            about |= {
                "output": "values from -1 to 1" if bounded else "values",
                "dimensions": list(head.dimensions),
            }
        heads[key] = about
    card = record.get("recipe", {}).get("card", {})
    return {
        "format": DESCRIPTION_FORMAT,
        "name": name,
        "licence": card.get("licence", ""),
        "data_licence": card.get("data_licence", ""),
        "emozoo_version": __version__,
        "source_sha256": read_manifest(folder)[WEIGHTS]["sha256"],
        "precision": "fp32",
        "inputs": {key: list(shape) for key, shape in traced.inputs.items()},
        "heads": heads,
        "labels": config["labels"],
        "preprocess": config["preprocess"],
        "sampling": config["sampling"],
    }


def _write(
    form: Format, traced: Traced, path: Path, about: dict[str, Any], images: Images | None = None
) -> Run:
    path.parent.mkdir()
    text = json.dumps(about, ensure_ascii=False)
    form.write(traced, path, text, None if images is None else images.pixels)
    return form.open(path, 1)


def _expected(
    model: EmotionModel, folder: Path, traced: Traced
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return inputs and the outputs they must give: the golden ones, or the model's own where those do not fit."""
    from safetensors.torch import load_file

    stored = load_file(folder / GOLDEN)
    (name, like), *_ = traced.example.items()
    if stored["input"].shape[1:] == like.shape[1:] and "mask" not in traced.example:
        outputs = {key: value for key, value in stored.items() if key.startswith("output.")}
        return {name: stored["input"]}, outputs
    said = model.predict_outputs(like, mask=traced.example.get("mask"))
    return traced.example, {f"output.{head}": value for head, value in said.items()}


def _verify(run: Run, inputs: dict[str, Tensor], outputs: dict[str, Tensor]) -> float:
    """Run all inputs, the first alone, and more than there are; return the largest difference of the outputs."""
    rows = len(next(iter(inputs.values())))
    worst = 0.0
    for index in (torch.arange(rows), torch.tensor([0]), torch.arange(rows + 1) % rows):
        said = run({name: value[index].numpy() for name, value in inputs.items()})
        found = {f"output.{head}": torch.from_numpy(np.array(value)) for head, value in said.items()}
        try:
            worst = max(worst, difference({key: value[index] for key, value in outputs.items()}, found))
        except CorruptModelError as error:
            raise ExportError(
                f"what was exported, given {len(index)} at once, is not the model: {error}"
            ) from error
    return worst


def _put(written: Path, target: Path) -> int:
    """Move a file, after those that belong to it, to its place; return the bytes of all."""
    files = sorted(written.parent.iterdir(), key=lambda path: path == written)
    size = sum(path.stat().st_size for path in files)
    for path in files:
        os.replace(path, target.parent / path.name)
    return size
