"""What models cost on this machine: size, latency, throughput and memory, in each way of running them.

Every way is measured in a process of its own, so that none finds the memory of another, or the caches that it left.
What is timed is `predict_outputs`, from decoded pixels to raw outputs; weights may be random, since speed does not
depend on them.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emozoo.errors import ExportError, RecipeError
from emozoo.layout import WEIGHTS
from emozoo.zoo import Entry, locate, model_folder

if TYPE_CHECKING:
    from emozoo.model import EmotionModel

SECONDS = 2.0
"""How long a batch size is measured, within `REPEATS`."""
REPEATS = (5, 100)
"""The fewest and the most repeats."""
WARMUP = 2

VARIANTS = {
    "fp32": "PyTorch, single precision",
    "bf16": "PyTorch, weights and arithmetic in bfloat16",
    "compiled": "torch.compile, single precision",
    "exported": "ONNX Runtime, single precision",
}
"""Ways of running a model."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a process of its own is to do.

    Attributes:
        name: the model.
        variant: one of `VARIANTS`, or "export": write the file that "exported" measures.
        batches: sizes, rising, so that the peak of memory after each is its own.
        threads: of the processor.
        folder: where the exported file is.
    """

    name: str
    variant: str
    batches: Sequence[int]
    threads: int
    folder: str


def bench(
    names: Sequence[str], batches: Sequence[int] = (1, 32), threads: int | None = None
) -> dict[str, Any]:
    """Measure models on the processor of this machine, as JSON values.

    Args:
        names: zoo names, or models as `emozoo.load` takes them; what has no weights is given random ones.
        batches: how many images or videos at once.
        threads: as many as there are cores if not given.

    Returns:
        `machine`, `versions`, `threads`, and `models`: their facts with `variants`, of which each has either a
        reason why it was not measured, `left_out`, or `batches`.
    """
    import torch

    from emozoo.versions import hardware, versions

    sizes, count = tuple(sorted(set(batches))), threads or os.cpu_count() or 1
    if not sizes or sizes[0] < 1 or count < 1:
        raise RecipeError("--batch and --threads are 1 or more")
    facts = {name: _facts(name) for name in names}  # a wrong name is wrong before anything is measured
    machine = hardware(torch.device("cpu"), 1)
    return {
        "machine": {key: machine[key] for key in ("system", "processor", "cores")},
        "versions": versions(),
        "threads": count,
        "models": [{**facts[name], "variants": _variants(name, sizes, count)} for name in facts],
    }


def _facts(name: str) -> dict[str, Any]:
    import torch

    from emozoo.cost import count_macs, count_parameters, input_shape
    from emozoo.model import EmotionModel

    config, folder = _config(name)
    with torch.device("meta"):
        model = EmotionModel(config)
    state = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    return {
        "name": name,
        "trained": folder is not None,
        "input": list(input_shape(config)),
        "parameters": count_parameters(model),
        "macs": count_macs(config),
        "weights_bytes": state if folder is None else (folder / WEIGHTS).stat().st_size,
    }


def _config(name: str) -> tuple[Any, Path | None]:
    """Return a model's config, and its folder where its weights are at hand."""
    from emozoo.folder import load_model
    from emozoo.recipe import load_recipe

    found = locate(name)
    # what is only on the Hub need not be fetched for this
    if isinstance(found, Entry) and found.weights is None:
        return load_recipe(found.recipe_file).model, None
    folder = model_folder(name)
    return load_model(folder, "cpu").config, folder


def _load(name: str) -> EmotionModel:
    from emozoo.folder import load_model
    from emozoo.model import create

    config, folder = _config(name)
    return create(config, seed=0).eval() if folder is None else load_model(folder, "cpu")


def _variants(name: str, batches: tuple[int, ...], threads: int) -> list[dict[str, Any]]:
    found = []
    with tempfile.TemporaryDirectory() as place:
        for variant in VARIANTS:
            reason = unavailable(variant)
            if reason is None:
                task = Task(name, variant, batches, threads, place)
                done = _in_process(Task(name, "export", (), threads, place)) if variant == "exported" else {}
                done = done if "left_out" in done else _in_process(task)
            else:
                done = {"left_out": reason}
            found.append({"variant": variant, **done})
    return found


def unavailable(variant: str) -> str | None:
    """Return why this machine cannot run a variant; None where it can."""
    import torch

    if variant == "bf16":
        has = torch.cpu.get_capabilities()
        if not any(has.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16")):
            return "this processor does not compute in bfloat16"
    if variant == "compiled":
        compiler = os.environ.get("CXX") or {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
        if shutil.which(compiler) is None:
            return f"torch.compile needs a C++ compiler, and there is no {compiler} on the path"
    if variant == "exported":
        from emozoo.export.formats import find_format

        try:
            find_format("onnx")
        except ExportError as error:
            return str(error).removeprefix("--format ")
    return None


def _in_process(task: Task) -> dict[str, Any]:
    """Run a task in a process of its own; what it measured, or why it failed."""
    answer = Path(task.folder) / "answer.json"
    answer.unlink(missing_ok=True)
    limits = {name: str(task.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "emozoo.bench", json.dumps(asdict(task)), str(answer)],
        env=os.environ | limits,
        capture_output=True,
        text=True,
    )
    if done.returncode or not answer.is_file():
        said = done.stderr.strip().splitlines()
        died = f"ended by signal {-done.returncode}, as when memory runs out" if done.returncode < 0 else ""
        return {"left_out": died or (said[-1] if said else f"exit status {done.returncode}")}
    return json.loads(answer.read_text(encoding="utf-8"))


def perform(task: Task) -> dict[str, Any]:
    """Do a task in this process."""
    if task.variant == "export":
        return _export(task)
    call = _exported(task) if task.variant == "exported" else _in_torch(task)
    batches = []
    for size in task.batches:
        times = timed(call(size))
        batches.append({"batch": size, **times, "per_second": 1e3 * size / times["median_ms"]})
        batches[-1]["peak_bytes"] = peak_memory()
    return {"batches": batches}


def _in_torch(task: Task) -> Callable[[int], Callable[[], object]]:
    import torch

    from emozoo.export.graph import example

    torch.set_num_threads(task.threads)
    model = _load(task.name)
    if task.variant == "bf16":
        model.to(torch.bfloat16)
    if task.variant == "compiled":
        model.compile(dynamic=False)

    def call(batch: int) -> Callable[[], object]:
        media, mask = example(model.config, batch)
        return lambda: model.predict_outputs(media, mask=mask)

    return call


def _export(task: Task) -> dict[str, Any]:
    from emozoo.export.formats import find_format
    from emozoo.export.graph import trace

    traced = trace(_load(task.name))
    shapes = {name: list(value.shape[1:]) for name, value in traced.example.items()}
    find_format("onnx").write(traced, Path(task.folder) / "model.onnx", json.dumps(shapes), None)
    return {}


def _exported(task: Task) -> Callable[[int], Callable[[], object]]:
    """Measure with ONNX Runtime and numpy alone, so that memory is what a process without torch needs."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = task.threads
    path = Path(task.folder) / "model.onnx"
    session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    shapes = json.loads(session.get_modelmeta().custom_metadata_map["emozoo"])

    def call(batch: int) -> Callable[[], object]:
        noise = np.random.default_rng(0)
        feed = {
            name: np.ones((batch, *shape), bool)
            if name == "mask"
            else noise.integers(0, 256, (batch, *shape), np.uint8)
            for name, shape in shapes.items()
        }
        return lambda: session.run(None, feed)

    return call


def timed(call: Callable[[], object]) -> dict[str, Any]:
    """Return the median and the quartiles of repeated calls, in milliseconds, after some that do not count."""
    for _ in range(WARMUP):
        call()
    fewest, most = REPEATS
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(times) < fewest or (len(times) < most and time.perf_counter() < end):
        started = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - started))
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return {"median_ms": median, "low_ms": low, "high_ms": high, "repeats": len(times)}


def peak_memory() -> int | None:
    """Return the most memory that this process has had in use, in bytes, libraries included; None if unknown."""
    try:  # getrusage would also count what the parent had when it started this process
        with open("/proc/self/status", encoding="utf-8") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def rows(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return measurements as rows of text, a row a model, variant and batch size."""
    lines = []
    for model in found["models"]:
        for variant in model["variants"]:
            start = {"model": model["name"], "variant": variant["variant"]}
            if "left_out" in variant:
                lines.append({**start, "batch": "-", "latency ms": f"not measured: {variant['left_out']}"})
            for size in variant.get("batches", ()):
                peak = size["peak_bytes"]
                lines.append(
                    {
                        **start,
                        "batch": str(size["batch"]),
                        "latency ms": f"{size['median_ms']:,.2f}",
                        "quartiles": f"{size['low_ms']:,.2f} to {size['high_ms']:,.2f}",
                        "per second": f"{size['per_second']:,.1f}",
                        "peak MiB": "" if peak is None else f"{peak / 2**20:,.0f}",
                    }
                )
    return lines


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Draw latency at the smallest and throughput at the largest batch size, a bar a variant, as a PNG file."""
    from matplotlib.patches import Patch

    from emozoo.evaluation.plots import COLOURS, picture

    models = found["models"]
    sizes = {size["batch"] for m in models for v in m["variants"] for size in v.get("batches", ())} or {1}
    with picture(path, (11, 1.8 + 0.85 * len(models))) as figure:
        figure.suptitle(f"{found['machine']['processor']}, threads: {found['threads']}", x=0.01, ha="left")
        left, right = figure.subplots(1, 2, sharey=True)
        _bars(left, models, min(sizes), throughput=False)
        _bars(right, models, max(sizes), throughput=True)
        left.set(xlabel=f"milliseconds, batch {min(sizes)}", ylim=(len(models) - 0.5, -0.5))
        left.set_yticks(range(len(models)), [model["name"] for model in models])
        right.set(xlabel=f"a second, batch {max(sizes)}")
        handles = [Patch(color=COLOURS[index], label=title) for index, title in enumerate(VARIANTS.values())]
        figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)


def _bars(axes: Any, models: Sequence[Any], batch: int, throughput: bool) -> None:
    """Draw each model's variants at one batch size, with the quartiles as whiskers and the median as a number."""
    from emozoo.evaluation.plots import COLOURS

    for index, variant in enumerate(VARIANTS):
        for row, model in enumerate(models):
            ways = (way for way in model["variants"] if way["variant"] == variant)
            for size in (size for way in ways for size in way.get("batches", ()) if size["batch"] == batch):
                place = row - 0.3 + 0.2 * index
                times = [size[f"{key}_ms"] for key in ("low", "median", "high")]
                low, middle, high = sorted(1e3 * batch / ms for ms in times) if throughput else times
                axes.barh(place, middle, 0.18, color=COLOURS[index])
                axes.plot((low, high), (place, place), color="black", linewidth=0.8)
                axes.text(
                    high * 1.05,
                    place,
                    f"{middle:,.0f}" if middle >= 100 else f"{middle:.3g}",
                    va="center",
                    fontsize=7,
                )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter("")
    axes.margins(x=0.12)


if __name__ == "__main__":
    result = perform(Task(**json.loads(sys.argv[1])))
    Path(sys.argv[2]).write_text(json.dumps(result), encoding="utf-8")
