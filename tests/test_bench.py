"""What `emozoo bench` measures, and what it says of that which it cannot measure."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small import tiny_model
from typer.testing import CliRunner

from emozoo import bench as benchmark
from emozoo import zoo
from emozoo.bench import Task, bench, draw, peak_memory, perform, rows, timed, unavailable
from emozoo.cli.app import app
from emozoo.cost import count_macs, count_parameters
from emozoo.errors import DataError, RecipeError, UnknownModelError
from emozoo.export.graph import example
from emozoo.model import create

RECIPE = """
name = "bare"
[model]
preprocess = { size = 24, crop = 20 }
backbone = { name = "resnet18", stem = "strided", width = 4 }
heads = { emotion = { name = "classification" } }
[data]
name = "synthetic"
"""
VIDEO = RECIPE.replace(
    "[data]", 'aggregator = { name = "mean" }\nsampling = { name = "clips", clips = 3 }\n[data]'
)

with_onnx = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="the extra `export` is not installed",
)


class Clock:
    """A clock that a call of known length moves on."""

    def __init__(self, lengths: list[float]) -> None:
        self.now, self.lengths, self.calls = 0.0, lengths, 0

    def call(self) -> None:
        self.now += self.lengths[self.calls % len(self.lengths)]
        self.calls += 1


def _timed(monkeypatch: pytest.MonkeyPatch, lengths: list[float]) -> tuple[dict[str, Any], Clock]:
    clock = Clock(lengths)
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: clock.now)
    return timed(clock.call), clock


def test_median_and_quartiles_are_those_of_the_calls_after_the_first_two(monkeypatch):
    lengths = [50.0, 40.0, 0.7, 0.1, 0.5, 0.9, 0.3]
    found, clock = _timed(monkeypatch, lengths)
    wanted = np.percentile(1e3 * np.array(lengths[2:]), [25, 50, 75])
    assert (found["repeats"], clock.calls) == (5, 7)
    np.testing.assert_allclose([found["low_ms"], found["median_ms"], found["high_ms"]], wanted)


@pytest.mark.parametrize(("length", "repeats"), [(9.0, 5), (0.1, 20), (0.001, 100)])
def test_slow_calls_are_repeated_five_times_and_fast_ones_a_hundred(monkeypatch, length, repeats):
    found, _ = _timed(monkeypatch, [length])
    assert abs(found["repeats"] - repeats) <= 1


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="other systems count the parent's memory too"
)
def test_peak_memory_is_that_of_the_process_alone():
    held = np.ones(400 << 20, np.uint8)
    code = (
        "from emozoo.bench import peak_memory as p\n"
        "a = p(); b = bytearray(b'x') * (64 << 20); c = p(); del b; print(a, c, p())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after, later = map(int, done.stdout.split())
    assert peak_memory() > held.nbytes > before
    assert 60 << 20 < after - before < 70 << 20
    assert abs(later - after) < 2 << 20  # Linux counts pages in batches


@pytest.fixture
def own_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of a model of images and one of videos, both without weights."""
    for name, text in (("bare", RECIPE), ("clip", VIDEO)):
        (tmp_path / "zoo" / name).mkdir(parents=True)
        (tmp_path / "zoo" / name / "recipe.toml").write_text(text)
    monkeypatch.setattr(zoo, "cards_folder", lambda: tmp_path / "zoo")
    return tmp_path


@pytest.mark.parametrize("name", ["bare", "clip"])
def test_the_ways_in_torch_run_what_the_model_says(own_zoo, name):
    model = create(name, seed=0).eval()
    answers = {way: benchmark._in_torch(Task(name, way, (), 1, ""))(2)() for way in ("fp32", "bf16")}
    media, mask = example(model.config, 2)
    wanted = model.predict_outputs(media, mask=mask)["emotion"]
    assert torch.equal(answers["fp32"]["emotion"], wanted)
    assert 0 < (answers["bf16"]["emotion"] - wanted).abs().max() < 0.05 * wanted.abs().max()


@with_onnx
def test_the_exported_way_runs_what_the_model_says(own_zoo):
    task = Task("bare", "export", (), 1, str(own_zoo))
    assert perform(task) == {}
    (found,) = benchmark._exported(task)(3)()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 1, 24, 24), np.uint8)
    wanted = create("bare", seed=0).predict_outputs(torch.from_numpy(pixels))["emotion"].numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(unavailable("compiled") is not None, reason="no C++ compiler")
def test_the_compiled_way_runs_what_the_model_says(own_zoo):
    found = benchmark._in_torch(Task("bare", "compiled", (), 1, ""))(2)()
    model = create("bare", seed=0).eval()
    wanted = model.predict_outputs(example(model.config, 2)[0])["emotion"]
    torch.testing.assert_close(found["emotion"], wanted, rtol=1e-3, atol=1e-4)


def test_a_recipe_without_weights_is_given_random_ones_and_that_is_said(own_zoo):
    model = create("clip", seed=0)
    assert benchmark._facts("clip") == {
        "name": "clip",
        "trained": False,
        "input": [3, 5, 1, 20, 20],
        "parameters": count_parameters(model),
        "macs": count_macs(model.config),
        "weights_bytes": sum(value.nbytes for value in model.state_dict().values()),
    }


@with_onnx
def test_the_command_measures_every_way_in_processes_of_their_own(tmp_path, monkeypatch):
    folder = tiny_model().save(tmp_path / "model")
    monkeypatch.setenv("CXX", "no-such-compiler")
    files = tmp_path / "found.json", tmp_path / "picture.png"
    arguments = ["bench", f"dir:{folder}", "--batch", "4", "--batch", "1", "--threads", "1"]
    done = CliRunner().invoke(
        app, [*arguments, "--output", str(files[0]), "--plot", str(files[1])], catch_exceptions=False
    )
    found = json.loads(files[0].read_text())
    (model,) = found["models"]
    assert (found["threads"], model["trained"]) == (1, True)
    assert model["weights_bytes"] == (folder / "model.safetensors").stat().st_size
    ways = {way["variant"]: way for way in model["variants"]}
    assert list(ways) == ["fp32", "bf16", "compiled", "exported"]
    assert ways["compiled"] == {
        "variant": "compiled",
        "left_out": "torch.compile needs a C++ compiler, and there is no no-such-compiler on the path",
    }
    for name in ("fp32", "exported"):
        assert "left_out" not in ways[name], ways[name]
        sizes = ways[name]["batches"]
        assert [size["batch"] for size in sizes] == [1, 4]
        for size in sizes:
            assert 0 < size["low_ms"] <= size["median_ms"] <= size["high_ms"]
            assert size["per_second"] == pytest.approx(1e3 * size["batch"] / size["median_ms"])
    assert ways["exported"]["batches"][1]["peak_bytes"] < ways["fp32"]["batches"][0]["peak_bytes"] / 2
    assert "not measured: torch.compile needs a C++ compiler" in done.output
    assert "random weights" not in done.output
    with Image.open(files[1]) as picture:
        assert picture.format == "PNG"


def test_what_this_machine_lacks_is_said(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert unavailable("bf16") == "this processor does not compute in bfloat16"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert unavailable("bf16") is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert unavailable("exported") == 'onnx needs onnx, onnxscript, onnxruntime: pip install "emozoo[export]"'


def test_a_process_that_fails_or_is_killed_is_said_and_stops_nothing(tmp_path, monkeypatch):
    left_out = benchmark._in_process(Task("dir:nowhere", "fp32", (1,), 1, str(tmp_path)))["left_out"]
    assert left_out == "emozoo.errors.CorruptModelError: there is no model folder nowhere"
    killed = tmp_path / "python"
    killed.write_text("#!/bin/sh\nkill -9 $$\n")
    killed.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(killed))
    found = benchmark._in_process(Task("quickstart", "fp32", (1,), 1, str(tmp_path)))
    assert found == {"left_out": "ended by signal 9, as when memory runs out"}


def test_a_process_runs_no_file_of_the_folder_that_it_is_started_in(tmp_path, monkeypatch):
    (tmp_path / "safetensors.py").write_text("raise SystemExit('run')\n")
    monkeypatch.chdir(tmp_path)
    assert "batches" in benchmark._in_process(Task("quickstart", "fp32", (1,), 1, str(tmp_path)))


@pytest.mark.parametrize("option", ["--output", "--plot"])
def test_a_file_that_could_not_be_written_is_refused_before_anything_is_measured(
    tmp_path, monkeypatch, option
):
    monkeypatch.setattr(benchmark, "bench", lambda *given: pytest.fail("something was measured"))
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(app, ["bench", "quickstart", option, str(tmp_path / "file" / "x.png")])
    assert isinstance(done.exception, DataError)
    assert "is no folder that can be written to" in str(done.exception)


def test_a_wrong_name_is_wrong_before_anything_is_measured(monkeypatch):
    monkeypatch.setattr(benchmark, "_in_process", lambda task: pytest.fail("something was measured"))
    with pytest.raises(UnknownModelError, match=r"no model 'quickstat'\. Did you mean 'quickstart'"):
        bench(["quickstart", "quickstat"])
    with pytest.raises(RecipeError, match="--batch and --threads are 1 or more"):
        bench(["quickstart"], batches=[0])


def _found() -> dict[str, Any]:
    size = {"batch": 1, "median_ms": 2.0, "low_ms": 1.5, "high_ms": 3.25, "repeats": 9, "per_second": 500.0}
    ways = [
        {"variant": "fp32", "batches": [{**size, "peak_bytes": 3 << 20}]},
        {"variant": "bf16", "left_out": "it rains"},
    ]
    return {"machine": {"processor": "abacus"}, "threads": 2, "models": [{"name": "m", "variants": ways}]}


def test_the_table_has_a_row_for_each_size_and_one_for_what_was_not_measured():
    first, second = rows(_found())
    assert first == {
        "model": "m",
        "variant": "fp32",
        "batch": "1",
        "latency ms": "2.00",
        "quartiles": "1.50 to 3.25",
        "per second": "500.0",
        "peak MiB": "3",
    }
    assert second["latency ms"] == "not measured: it rains"


def test_a_picture_is_drawn_though_nothing_could_be_measured(tmp_path):
    found = _found()
    draw(found, tmp_path / "some.png")
    found["models"][0]["variants"] = [{"variant": "fp32", "left_out": "it rains"}]
    draw(found, tmp_path / "none.png")
    blue = []
    for name in ("some.png", "none.png"):
        with Image.open(tmp_path / name) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        blue.append((pixels == (0x00, 0x72, 0xB2)).all(-1).sum())
    assert blue[0] > 10 * blue[1] > 0  # the bars against the legend alone
