"""The formats of exported models: how each is written, and how it is opened again to be run."""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emozoo.errors import ExportError, suggest
from emozoo.export.graph import Traced, quiet

Arrays = Mapping[str, np.ndarray]
Run = Callable[[Arrays], dict[str, np.ndarray]]
"""Runs an exported model: inputs by name -> outputs by name."""

KEY = "emozoo"
"""Where the description of a model is in its file."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format of exported models.

    Attributes:
        suffix: of its files.
        modules: what writing and checking it imports, beyond emozoo's own dependencies.
        extra: the extra of emozoo that installs these.
        write: (traced model, file, description, calibration images or None) -> nothing; int8 with images.
        open: (file, threads) -> a function that runs it.
    """

    suffix: str
    modules: tuple[str, ...]
    extra: str
    write: Callable[[Traced, Path, str, np.ndarray | None], None]
    open: Callable[[Path, int], Run]


def find_format(name: str) -> Format:
    """Return the format of a name.

    Raises:
        ExportError: there is none, or what it needs is not installed; with the pip line.
    """
    if name not in FORMATS:
        raise ExportError(
            f"there is no format {name!r}.{suggest(name, FORMATS)} Formats: {', '.join(FORMATS)}"
        )
    found = FORMATS[name]
    lacking = [module for module in found.modules if importlib.util.find_spec(module) is None]
    if lacking:
        raise ExportError(f'--format {name} needs {", ".join(lacking)}: pip install "emozoo[{found.extra}]"')
    return found


def _write_onnx(traced: Traced, path: Path, description: str, images: np.ndarray | None) -> None:
    import onnx

    model = _onnx_model(traced, images)
    onnx.helper.set_model_props(model, {KEY: description})
    onnx.save(model, path)


def _open_onnx(path: Path, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, dict(inputs)), strict=True))


def _onnx_model(traced: Traced, images: np.ndarray | None) -> Any:
    """Return the model as ONNX, its open axes named, without the paths and code that the exporter notes."""
    import torch

    with quiet():
        program = torch.onnx.export(
            traced.program, input_names=list(traced.inputs), output_names=list(traced.outputs), verbose=False
        )
    if program is None:
        raise ExportError("torch.onnx gave no model")
    model: Any = program.model_proto
    for node in [*model.graph.node, *(node for function in model.functions for node in function.node)]:
        del node.metadata_props[:]
    del model.graph.value_info[:]
    for values, shapes in ((model.graph.input, traced.inputs), (model.graph.output, traced.outputs)):
        for value, shape in zip(values, shapes.values(), strict=True):
            for dimension, size in zip(value.type.tensor_type.shape.dim, shape, strict=True):
                if isinstance(size, str):
                    dimension.dim_param = size
    return model if images is None else _quantised(model, next(iter(traced.inputs)), images)


def _quantised(model: Any, name: str, images: np.ndarray) -> Any:
    """Return an ONNX model in int8: weights a channel, activations a tensor, ranges from calibration images.

    Weights are given 7 bits, so that processors without VNNI, which add two products in 16 bits, do not overflow.
    """
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    class Images(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = ({name: images[start : start + 16]} for start in range(0, len(images), 16))

        def get_next(self) -> Any:
            return next(self.batches, None)

    add_pre_process_metadata(model)  # the exporter has folded constants and batch normalisation already
    with tempfile.TemporaryDirectory() as place, quiet():
        path = Path(place) / "int8.onnx"
        quantization.quantize_static(
            model,
            path,
            Images(),
            per_channel=True,
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return onnx.load(path)


def _write_openvino(traced: Traced, path: Path, description: str, images: np.ndarray | None) -> None:
    openvino = _openvino()
    model = openvino.Core().read_model(_onnx_model(traced, images).SerializeToString())
    model.set_rt_info(description, [KEY])
    openvino.save_model(model, path, compress_to_fp16=False)


def _open_openvino(path: Path, threads: int) -> Run:
    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    request = _openvino().Core().compile_model(path, "CPU", options).create_infer_request()

    def run(inputs: Arrays) -> dict[str, np.ndarray]:
        found = request.infer(dict(inputs))
        return {output.any_name: value.copy() for output, value in found.items()}

    return run


def _openvino() -> Any:
    """Import OpenVINO without its telemetry, which otherwise reports every import over the network."""
    sys.modules.setdefault("openvino_telemetry", None)  # ty: ignore[no-matching-overload]
    import openvino

    return openvino


def _write_torch(traced: Traced, path: Path, description: str, images: np.ndarray | None) -> None:
    import torch

    if images is not None:
        raise ExportError("int8 is for --format onnx and openvino")
    torch.export.save(traced.program, path, extra_files={f"{KEY}.json": description})


def _open_torch(path: Path, threads: int) -> Run:
    import torch

    torch.set_num_threads(threads)
    extra = {f"{KEY}.json": ""}
    module = torch.export.load(path, extra_files=extra).module()
    heads = list(json.loads(extra[f"{KEY}.json"])["heads"])

    def run(inputs: Arrays) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            outputs = module(*(torch.from_numpy(value) for value in inputs.values()))
        return {name: value.numpy() for name, value in zip(heads, outputs, strict=True)}

    return run


FORMATS = {
    "onnx": Format(".onnx", ("onnx", "onnxscript", "onnxruntime"), "export", _write_onnx, _open_onnx),
    "torch-export": Format(".pt2", (), "", _write_torch, _open_torch),
    "openvino": Format(
        ".xml",
        ("openvino", "onnx", "onnxscript", "onnxruntime"),
        "openvino",
        _write_openvino,
        _open_openvino,
    ),
}
