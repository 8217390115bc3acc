"""An exported model is the model: it says the same without emozoo, and says what must be known to use it."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small import BACKBONE, HEADS, photos, tiny_config, tiny_model
from typer.testing import CliRunner

from emozoo.cli.app import app
from emozoo.cli.export import changes
from emozoo.data.preprocess import Preprocessor
from emozoo.errors import DataError, ExportError
from emozoo.export import export_model, formats
from emozoo.export.graph import example, trace
from emozoo.export.int8 import read_images
from emozoo.model import EmotionModel, create
from emozoo.recipe import Preprocess

DOCS = Path(__file__).parents[1] / "docs" / "export.md"
(SCRIPT,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)

WITHOUT_EMOZOO = """
import runpy, sys
for name in ("emozoo", "torch", "timm", "onnx", "onnxscript"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0])
"""


def _has(*modules: str) -> bool:
    return all(importlib.util.find_spec(name) is not None for name in modules)


with_onnx = pytest.mark.skipif(
    not _has("onnx", "onnxscript", "onnxruntime"), reason="the extra `export` is not installed"
)
with_openvino = pytest.mark.skipif(
    not _has("openvino", "onnx", "onnxscript"), reason="the extra `openvino` is not installed"
)


@pytest.fixture(scope="module")
def model() -> EmotionModel:
    return tiny_model()


@pytest.fixture(scope="module")
def folder(model: EmotionModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model.save(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def onnx_file(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_model(folder, "onnx", tmp_path_factory.mktemp("onnx") / "tiny.onnx").path


def _session(path: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def _described(path: Path) -> dict[str, Any]:
    return json.loads(_session(path).get_modelmeta().custom_metadata_map["emozoo"])


def _assert_same(found: Any, wanted: torch.Tensor) -> None:
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))


@with_onnx
@pytest.mark.parametrize("count", [1, 2, 7])
def test_onnx_gives_the_model_s_outputs_for_pixels_in_a_batch_of_any_size(onnx_file, model, count):
    images = photos(count, seed=count)[:, None]
    found = _session(onnx_file).run(["emotion", "vad"], {"images": images})
    wanted = model.predict_outputs(torch.from_numpy(images))
    _assert_same(found[0], wanted["emotion"])
    _assert_same(found[1], wanted["vad"])


@with_onnx
def test_the_file_says_what_must_be_known_to_use_it(onnx_file, folder, model):
    about = _described(onnx_file)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert about["source_sha256"] == manifest["files"]["model.safetensors"]["sha256"]
    assert about["inputs"] == {"images": ["batch", 1, 48, 48]}
    assert about["heads"]["emotion"]["labels"] == list(model.labels)
    assert about["heads"]["vad"]["dimensions"] == ["valence", "arousal", "dominance"]
    assert about["preprocess"] == model.config.preprocess.model_dump(mode="json")
    assert (about["precision"], about["sampling"]) == ("fp32", None)
    shape = _session(onnx_file).get_inputs()[0].shape
    assert shape == about["inputs"]["images"]


@with_onnx
def test_the_record_of_the_run_gives_a_name_that_is_no_path_and_the_licence(model, tmp_path, monkeypatch):
    from emozoo.folder import save_model

    record = {"name": "../my-faces", "recipe": {"card": {"licence": "MIT", "data_licence": "ask them"}}}
    save_model(model, tmp_path / "model", record)
    monkeypatch.chdir(tmp_path)
    done = export_model(tmp_path / "model", "torch-export")
    assert done.path == Path("my-faces.pt2")
    assert done.path.is_file()
    assert (done.description["licence"], done.description["data_licence"]) == ("MIT", "ask them")


@with_onnx
def test_no_path_and_no_code_of_the_machine_is_in_the_file(onnx_file):
    content = onnx_file.read_bytes()
    for text in (str(Path(__file__).parents[1]), "site-packages", "preprocess.py", "def forward"):
        assert text.encode() not in content


@with_onnx
def test_the_script_of_the_docs_runs_without_emozoo_and_torch_and_agrees(onnx_file, model, tmp_path):
    rng = np.random.default_rng(0)
    wide = Image.fromarray(rng.integers(0, 256, (61, 97, 3), np.uint8))
    turned = wide.getexif()
    turned[0x0112] = 6
    clear = Image.fromarray(rng.integers(0, 256, (70, 50, 4), np.uint8))
    paths = [tmp_path / name for name in ("wide.png", "turned.jpg", "clear.png", "grey.png")]
    wide.save(paths[0])
    wide.save(paths[1], exif=turned)
    clear.save(paths[2])
    Image.fromarray(rng.integers(0, 256, (48, 48), np.uint8)).save(paths[3])
    (tmp_path / "run.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EMOZOO, "run.py", str(onnx_file), *map(str, paths)],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    images = torch.stack([model.preprocessor.decode(path) for path in paths])
    outputs = model.predict_outputs(images)
    wanted = {"emotion": outputs["emotion"].softmax(1), "vad": outputs["vad"]}
    names = {"emotion": model.labels, "vad": ("valence", "arousal", "dominance")}
    assert len(lines) == len(paths) * 2
    for line in lines:
        values = wanted[line["head"]][paths.index(Path(line["path"]))]
        _assert_same([line[name] for name in names[line["head"]]], values)


@with_onnx
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("colour", ["grey", "rgb"])
def test_the_docs_decode_a_picture_exactly_as_emozoo_does(fit, colour, tmp_path):
    code: dict[str, Any] = {}
    exec(SCRIPT.partition("session =")[0], code)
    channels = 1 if colour == "grey" else 3
    config = Preprocess(
        size=40, crop=36, fit=fit, colour=colour, mean=(0.5,) * channels, std=(0.2,) * channels
    )
    rng = np.random.default_rng(1)
    for number, side in enumerate([(31, 77), (120, 44), (40, 40), (53, 54)]):
        path = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (*side, 3), np.uint8)).save(path)
        found = code["square"](path, config.model_dump())
        assert np.array_equal(found, Preprocessor(config).decode(path).numpy()), side


def test_torch_export_gives_the_model_s_outputs_and_holds_no_pickle(folder, model, tmp_path):
    done = export_model(folder, "torch-export", tmp_path / "tiny.pt2")
    about = {"emozoo.json": ""}
    module = torch.export.load(done.path, extra_files=about).module()
    images = torch.from_numpy(photos(3)[:, None])
    wanted = model.predict_outputs(images)
    assert json.loads(about["emozoo.json"]) == done.description
    for name, value in zip(done.description["heads"], module(images), strict=True):
        _assert_same(value.detach(), wanted[name])
    with zipfile.ZipFile(done.path) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert not content.startswith((b"\x80\x02", b"PK")), name
            assert str(Path(__file__).parents[1]).encode() not in content, name


@with_openvino
def test_openvino_gives_the_model_s_outputs_and_is_imported_without_its_telemetry(folder, model, tmp_path):
    done = export_model(folder, "openvino", tmp_path / "tiny.xml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.bin", "tiny.xml"]
    assert done.size == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert sys.modules["openvino_telemetry"] is None
    import openvino

    read = openvino.Core().read_model(done.path)
    assert json.loads(read.get_rt_info(["emozoo"]).astype(str)) == done.description
    compiled = openvino.Core().compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    images = photos(3)[:, None]
    found = compiled({"images": images})
    for name, value in model.predict_outputs(torch.from_numpy(images)).items():
        _assert_same(found[name], value)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 96 labelled pictures, of two categories."""
    root = tmp_path_factory.mktemp("faces")
    for number, pixels in enumerate(photos(96, seed=5)):
        label = ("angry", "happy")[number % 3 == 0]
        (root / "train" / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / "train" / label / f"{number:02}.png")
    return root


@with_onnx
def test_int8_is_smaller_and_says_what_it_changed_on_images_it_was_not_calibrated_on(
    folder, onnx_file, faces, tmp_path
):
    done = export_model(folder, "onnx", tmp_path / "small.onnx", faces)
    assert done.size < 0.45 * onnx_file.stat().st_size
    assert _described(done.path)["precision"] == "int8"
    paths = sorted(faces.rglob("*.png"))
    images = np.stack([np.asarray(Image.open(path))[None] for path in paths[1::2]])
    truth = np.array([("angry", "disgust", "fear", "happy").index(path.parent.name) for path in paths[1::2]])
    old, new = (_session(path).run(["emotion"], {"images": images})[0] for path in (onnx_file, done.path))
    change = done.change
    assert change.n == 48
    assert change.agreement == {"emotion": np.mean(old.argmax(1) == new.argmax(1))}
    accuracy = np.mean(old.argmax(1) == truth), np.mean(new.argmax(1) == truth)
    assert change.accuracy["emotion"] == accuracy
    rms = np.sqrt(np.mean((new - old) ** 2) / np.mean(old**2))
    assert change.deviation["emotion"] == pytest.approx(rms, rel=1e-4)
    assert 0 < rms < 0.2
    lines = changes(change)
    assert f"deviate by {rms:.1%}" in lines[1]
    assert f"accuracy {accuracy[1]:.2%}, was {accuracy[0]:.2%}" in lines[1]


def test_photos_without_labels_calibrate_too_and_every_other_one_measures(model, tmp_path):
    pixels = photos(40)
    for number, photo in enumerate(pixels):
        Image.fromarray(photo).save(tmp_path / f"{number:02}.png")
    calibrating, measuring = read_images(model, tmp_path)
    assert np.array_equal(calibrating.pixels[:, 0], pixels[::2])
    assert np.array_equal(measuring.pixels[:, 0], pixels[1::2])
    assert measuring.label.isnan().all()


def test_the_command_says_what_it_wrote_and_what_goes_in_and_out(folder, tmp_path):
    target = tmp_path / "tiny.pt2"
    arguments = ["export", f"dir:{folder}", "--format", "torch-export", "--out", str(target)]
    output = CliRunner().invoke(app, arguments, catch_exceptions=False).output
    size = target.stat().st_size / 1e6
    assert f"{target}: {size:.1f} MB, fp32\n  input images: uint8 (batch, 1, 48, 48)\n" in output
    assert "output emotion: logits\n  output vad: values from -1 to 1\n" in output
    assert float(output.split("golden outputs agree to ")[1]) < 1e-5


@with_onnx
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "onx"], "no format 'onx'. Did you mean 'onnx'? Formats: onnx, torch-export, openvino"),
        (["--int8", "nowhere"], "there is no file or folder nowhere"),
        (
            ["--out", "/dev/null/model.onnx"],
            "/dev/null/model.onnx: its folder cannot be made (File exists)",
        ),
        (["--out", "model.pt"], "--format onnx writes a file whose name ends in .onnx"),
    ],
)
def test_what_cannot_be_exported_as_asked_is_said(folder, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ExportError, DataError), match=re.escape(message)):
        CliRunner().invoke(app, ["export", f"dir:{folder}", *arguments], catch_exceptions=False)
    assert list(tmp_path.iterdir()) == []


def test_few_images_calibrate_nothing(model, tmp_path):
    for number, pixels in enumerate(photos(31)):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    with pytest.raises(ExportError, match="31 images are too few; give 32 or more"):
        read_images(model, tmp_path)


def test_int8_is_not_for_models_of_videos(tmp_path):
    with pytest.raises(ExportError, match="--int8 is for models of images; this one takes videos"):
        read_images(_video_model("mean", name="all"), tmp_path)


def test_int8_is_not_for_torch_export(folder, faces, tmp_path):
    with pytest.raises(ExportError, match="int8 is for --format onnx and openvino"):
        export_model(folder, "torch-export", tmp_path / "a.pt2", faces)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("form", "module", "extra"), [("onnx", "onnxscript", "export"), ("openvino", "openvino", "openvino")]
)
def test_a_format_that_is_not_installed_is_said_with_the_pip_line(folder, monkeypatch, form, module, extra):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else find(name))
    message = rf'--format {form} needs [a-z, ]*{module}.*: pip install "emozoo\[{extra}\]"'
    with pytest.raises(ExportError, match=message):
        export_model(folder, form)


@pytest.mark.parametrize("when", ["always", "in a batch of three"])
def test_a_file_that_does_not_say_what_the_model_says_never_appears(folder, tmp_path, monkeypatch, when):
    right = formats.FORMATS["torch-export"]

    def open_wrongly(path: Path, threads: int) -> formats.Run:
        run = right.open(path, threads)

        def wrong(inputs: formats.Arrays) -> dict[str, np.ndarray]:
            off = 0.01 if when == "always" or len(inputs["images"]) == 3 else 0
            return {name: value + off * np.abs(value).max() for name, value in run(inputs).items()}

        return wrong

    monkeypatch.setitem(formats.FORMATS, "torch-export", dataclasses.replace(right, open=open_wrongly))
    target = tmp_path / "tiny.pt2"
    target.write_bytes(b"an older one")
    count = 2 if when == "always" else 3
    with pytest.raises(
        ExportError, match=f"given {count} at once, is not the model: golden outputs differ by 1"
    ):
        export_model(folder, "torch-export", target)
    assert os.listdir(tmp_path) == ["tiny.pt2"]
    assert target.read_bytes() == b"an older one"


def _video_model(aggregator: str, **sampling: Any) -> EmotionModel:
    config = tiny_config(
        preprocess={"size": 20, "crop": 16}, backbone=BACKBONE, heads=HEADS,
        aggregator={"name": aggregator}, sampling=sampling,
    )  # fmt: skip
    return create(config, seed=0).eval()


@pytest.mark.parametrize(
    ("aggregator", "sampling", "inputs"),
    [
        ("ceflnet", {"name": "clips"}, {"videos": ("batch", 7, 5, 1, 20, 20)}),
        ("lstm", {"name": "uniform", "frames": 4}, {"videos": ("batch", 1, 4, 1, 20, 20)}),
        (
            "max",
            {"name": "sliding", "length": 4},
            {"videos": ("batch", "clips", 4, 1, 20, 20), "mask": ("batch", "clips", 4)},
        ),
    ],
)
def test_sizes_that_the_sampling_fixes_are_fixed_and_others_are_free(aggregator, sampling, inputs):
    traced = trace(_video_model(aggregator, **sampling))
    assert traced.inputs == inputs
    assert traced.outputs == {"emotion": ("batch", 7), "vad": ("batch", 3)}


@with_onnx
def test_a_model_of_videos_runs_on_videos_of_any_length_with_a_mask(tmp_path):
    model = _video_model("fan", name="thirds")
    done = export_model(model.save(tmp_path / "model"), "onnx", tmp_path / "fan.onnx")
    assert done.description["inputs"]["mask"] == ["batch", 1, "frames"]
    assert done.description["sampling"] == {"name": "thirds", "parts": 3, "test": "all", "cap": None}
    media, _ = example(model.config, 2)
    for frames in (3, 11):
        videos, mask = media[:, :, :frames].contiguous(), torch.ones(2, 1, frames, dtype=torch.bool)
        mask[1, :, 2:] = False
        (found,) = _session(done.path).run(["emotion"], {"videos": videos.numpy(), "mask": mask.numpy()})
        _assert_same(found, model.predict_outputs(videos, mask=mask)["emotion"])
        alone = model.predict_outputs(videos[1:, :, :2])["emotion"]
        _assert_same(found[1:], alone)


@pytest.mark.parametrize("form", ["torch-export", pytest.param("onnx", marks=with_onnx)])
def test_a_model_of_videos_of_fixed_size_is_exported_and_runs_without_a_mask(form, tmp_path):
    model = _video_model("ceflnet", name="clips")
    done = export_model(model.save(tmp_path / "model"), form, tmp_path / f"a{formats.FORMATS[form].suffix}")
    assert done.description["inputs"] == {"videos": ["batch", 7, 5, 1, 20, 20]}
    assert done.difference < 1e-5
    videos, _ = example(model.config, 3)
    found = formats.FORMATS[form].open(done.path, 1)({"videos": videos.numpy()})
    for name, value in model.predict_outputs(videos).items():
        _assert_same(found[name], value)


@pytest.mark.parametrize("sampling", ["all", "thirds", "sliding"])
def test_a_model_of_clips_that_differ_in_length_is_refused_with_the_samplings_that_can_be_exported(sampling):
    parts = {"backbone": {"name": "r3d"}, "aggregator": {"name": "mean"}, "sampling": {"name": sampling}}
    with torch.device("meta"):
        model = EmotionModel(tiny_config(preprocess={"size": 20, "crop": 16}, **parts))
    with pytest.raises(ExportError, match=r"clips are all of one length: clips, segments or uniform"):
        trace(model)


def test_a_model_that_torch_cannot_trace_is_said_to_be_one():
    with pytest.raises(ExportError, match=r"torch\.export cannot trace this model"):
        trace(_video_model("lstm", name="all"))


@pytest.mark.parametrize("sampling", ["all", "thirds", "sliding"])
def test_an_lstm_over_videos_that_differ_in_length_is_refused_with_the_samplings_that_can_be_exported(
    sampling,
):
    with pytest.raises(ExportError, match=r"lstm.*equally many frames: clips, segments or uniform"):
        trace(_video_model("lstm", name=sampling))


def test_values_that_nothing_bounds_are_not_said_to_be_bounded(tmp_path):
    heads = {"free": {"name": "vad", "bounded": "none"}, "vad": {"name": "vad", "bounded": "clip"}}
    done = export_model(tiny_model(heads=heads).save(tmp_path / "m"), "torch-export", tmp_path / "m.pt2")
    said = {name: head["output"] for name, head in done.description["heads"].items()}
    assert said == {"free": "values", "vad": "values from -1 to 1"}
