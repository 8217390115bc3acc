"""`emozoo predict`: formats, files, broken photos at the end, and any number of photos."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image
from scenes import Scripted
from small import photos, tiny_model
from typer.testing import CliRunner, Result

from emozoo.cli.app import app
from emozoo.errors import DataError, EmozooError, RecipeError
from emozoo.model import EmotionModel
from emozoo.prediction import detection, predictions
from emozoo.prediction.faces import FaceDetector


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[EmotionModel, str]:
    model = tiny_model()
    return model, f"dir:{model.save(tmp_path_factory.mktemp('models') / 'm')}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "photos"
    place.mkdir()
    for name, pixels in zip("abc", photos(3), strict=True):
        Image.fromarray(pixels).save(place / f"{name}.png")
    return place


def predict(*arguments: object, status: int = 0) -> Result:
    """Predict pictures that are faces already."""
    done = CliRunner().invoke(app, ["predict", *map(str, arguments), "--faces", "none"])
    if isinstance(done.exception, EmozooError):
        raise done.exception
    assert done.exit_code == status, done.output
    return done


def test_the_terminal_gets_a_line_a_photo(saved: tuple[EmotionModel, str], folder: Path) -> None:
    model, name = saved
    lines = predict(name, folder).stdout.splitlines()
    assert len(lines) == 3
    for line, item in zip(lines, model.predict(folder, faces="none"), strict=True):
        assert line.startswith(f"{item.source}  {item.label} ")
        assert f"valence {item.vad['valence']:+.2f}" in line


def test_json_lines_and_csv_go_to_the_terminal_as_they_do_to_a_file(
    saved: tuple[EmotionModel, str], folder: Path, tmp_path: Path
) -> None:
    model, name = saved
    expected = model.predict(folder, faces="none")
    text = predict(name, folder, "--format", "jsonl").stdout
    assert [json.loads(line) for line in text.splitlines()] == [item.to_dict() for item in expected]
    predict(name, folder, "--output", tmp_path / "p.jsonl")
    assert (tmp_path / "p.jsonl").read_text() == text
    rows = list(csv.DictReader(io.StringIO(predict(name, folder, "--format", "csv").stdout)))
    assert [row["label"] for row in rows] == [item.label for item in expected]


def test_the_format_follows_from_the_file_unless_it_is_given(
    saved: tuple[EmotionModel, str], folder: Path, tmp_path: Path
) -> None:
    model, name = saved
    done = predict(name, folder, "--output", tmp_path / "new" / "p.parquet")
    assert "3 predictions written to" in done.stderr
    assert done.stdout == ""
    assert (
        pq.read_table(tmp_path / "new" / "p.parquet").to_pylist()
        == model.predict(folder, faces="none").to_rows()
    )
    predict(name, folder, "--format", "jsonl", "--output", tmp_path / "p.log")
    assert len((tmp_path / "p.log").read_text().splitlines()) == 3


def test_photos_folders_and_patterns_come_in_the_order_given(
    saved: tuple[EmotionModel, str], folder: Path
) -> None:
    text = predict(saved[1], folder / "c.png", f"{folder}/[ab].png", folder, "--format", "jsonl").stdout
    sources = [Path(json.loads(line)["source"]).stem for line in text.splitlines()]
    assert sources == ["c", "a", "b", "a", "b", "c"]


@pytest.mark.parametrize("options", [[], ["--format", "jsonl"]])
def test_broken_photos_are_listed_at_the_end_with_status_1(
    saved: tuple[EmotionModel, str], folder: Path, options: list[str]
) -> None:
    (folder / "b.png").write_bytes(b"broken")
    done = predict(saved[1], folder, "nowhere.png", *options, status=1)
    assert len(done.stdout.splitlines()) == 2
    complaint = done.stderr.splitlines()
    assert complaint[0] == "2 of 4 files could not be read:"
    assert complaint[1].strip().startswith(f"{folder / 'b.png'}: not an image")
    assert complaint[2].strip() == "nowhere.png: there is no file nowhere.png"


def test_what_could_be_predicted_is_written_though_some_could_not(
    saved: tuple[EmotionModel, str], folder: Path, tmp_path: Path
) -> None:
    (folder / "b.png").write_bytes(b"broken")
    done = predict(saved[1], folder, "--output", tmp_path / "p.csv", status=1)
    assert "2 predictions written" in done.stderr
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 3


def test_where_nothing_could_be_predicted_the_older_file_stays(
    saved: tuple[EmotionModel, str], tmp_path: Path
) -> None:
    (tmp_path / "p.csv").write_text("the older file")
    done = predict(saved[1], "fcaes", "--output", tmp_path / "p.csv", status=1)
    assert f"0 predictions to write; {tmp_path / 'p.csv'} is left as it is" in done.stderr
    assert (tmp_path / "p.csv").read_text() == "the older file"
    assert [path.name for path in tmp_path.glob("*p.csv*")] == ["p.csv"]


def test_what_was_predicted_before_ctrl_c_is_kept_beside_the_older_file(
    saved: tuple[EmotionModel, str], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = predictions.stream

    def stream(*given: Any, **options: Any) -> Iterator[Any]:
        yield from itertools.islice(whole(*given, **options), 2)
        raise KeyboardInterrupt

    monkeypatch.setattr(predictions, "stream", stream)
    (tmp_path / "p.csv").write_text("the older file")
    done = predict(saved[1], folder, "--output", tmp_path / "p.csv", status=130)
    assert done.stderr.splitlines() == [
        f"2 predictions written to {tmp_path / 'p.partial.csv'}", "2 of 3 files were looked at",
    ]  # fmt: skip
    assert (tmp_path / "p.csv").read_text() == "the older file"
    assert len((tmp_path / "p.partial.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("ends", "status", "said"),
    [
        ("raise KeyboardInterrupt", 130, "interrupted"),
        ("open('/dev/null/x')", 1, "error: /dev/null/x: Not a directory"),
    ],
)
def test_what_ends_a_command_from_outside_is_a_line_and_a_status(ends: str, status: int, said: str) -> None:
    code = (
        f"import emozoo.cli.app as app, emozoo.cli\ndef stop():\n    {ends}\n"
        "app.app.command('stop')(stop)\nimport sys\nsys.argv = ['emozoo', 'stop']\nemozoo.cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (status, said)


def test_nothing_is_left_where_a_crash_ends_the_work(
    saved: tuple[EmotionModel, str], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def crash(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) > 2:
            raise MemoryError
        return original(*arguments)

    original = EmotionModel.predict_outputs
    monkeypatch.setattr(EmotionModel, "predict_outputs", crash)
    options = ["--faces", "none", "--batch-size", "1", "--output", str(tmp_path / "p.csv")]
    done = CliRunner().invoke(app, ["predict", saved[1], str(folder), *options])
    assert isinstance(done.exception, MemoryError)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (["--format", "xml"], DataError, "--format xml: choose one of table, jsonl, csv, parquet"),
        (["--format", "parquet"], DataError, "needs --output FILE"),
        (["--output", "p.doc"], DataError, "the suffix names no format"),
        (["--tta", "twenty-crop"], RecipeError, "choose one of none, flip, ten-crop"),
        (["--device", "banana"], RecipeError, "write auto, cpu, cuda or cuda:N"),
    ],
)
def test_an_option_without_meaning_is_refused_with_those_that_have_one(
    saved: tuple[EmotionModel, str], folder: Path, options: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        predict(saved[1], folder, *options)


def test_a_pattern_that_matches_nothing_is_refused_at_once(
    saved: tuple[EmotionModel, str], folder: Path
) -> None:
    with pytest.raises(DataError, match="no file matches"):
        predict(saved[1], f"{folder}/*.jpg")


def test_test_time_augmentation_and_batches_are_passed_on(
    saved: tuple[EmotionModel, str], folder: Path
) -> None:
    model, name = saved
    text = predict(name, folder, "--tta", "ten-crop", "--batch-size", 2, "--format", "jsonl").stdout
    for line, item in zip(
        text.splitlines(), model.predict(folder, faces="none", tta="ten-crop"), strict=True
    ):
        assert json.loads(line)["vad"] == pytest.approx(item.vad, abs=1e-6)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_thousands_of_photos_take_no_more_memory_than_hundreds(
    saved: tuple[EmotionModel, str], tmp_path: Path
) -> None:
    place = tmp_path / "many"
    place.mkdir()
    Image.fromarray(photos(1)[0]).save(place / "0000.png")
    for index in range(1, 2500):
        os.link(place / "0000.png", place / f"{index:04}.png")
    script = (
        "import re, sys; from emozoo.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: code = end.code\n"
        "peak = re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1]\n"
        "sys.stderr.write(f'{code} {peak}')"
    )
    peaks = []
    for pattern, count in (("00??.png", 100), ("*.png", 2500)):
        arguments = [
            "predict",
            saved[1],
            str(place / pattern),
            "--output",
            str(tmp_path / f"{count}.csv"),
            "--device",
            "cpu",
            "--faces",
            "none",
        ]
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
        )
        code, peak = done.stderr.split()[-2:]
        assert code in ("0", "None"), done.stderr
        assert len((tmp_path / f"{count}.csv").read_text().splitlines()) == count + 1
        peaks.append(int(peak) / 1024)
    assert peaks[1] - peaks[0] < 3, "MiB; the pixels of 2,400 photos more would be 5.3"


def test_a_broken_model_folder_ends_with_one_line_and_status_1(folder: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "emozoo", "predict", f"dir:{tmp_path / 'none'}", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.strip() == f"error: there is no model folder {tmp_path / 'none'}"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no full disk to write to")
@pytest.mark.parametrize("command", [["list"], ["--version"]])
def test_a_terminal_that_takes_no_more_is_an_error_and_no_traceback(command: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "emozoo", *command], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, done.stderr) == (1, "error: No space left on device\n")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_file_that_cannot_grow_is_named_and_what_was_there_stays(
    saved: tuple[EmotionModel, str], folder: Path, tmp_path: Path, suffix: str
) -> None:
    target = tmp_path / f"out.{suffix}"
    target.write_text("older")
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); import emozoo.cli as c; c.main()"
    command = [
        sys.executable,
        "-c",
        limited,
        "predict",
        saved[1],
        folder,
        "--faces",
        "none",
        "--output",
        target,
    ]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"error: {target}: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert target.read_text() == "older"
    assert sorted(path.name for path in tmp_path.iterdir()) == [target.name, "photos"]


def test_a_better_detector_that_cannot_be_had_is_one_line_on_each_call(
    saved: tuple[EmotionModel, str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = {"best": "best needs OpenCV", "better": "better needs a file: " + "it is nowhere. " * 30}
    found = FaceDetector("tests:scripted", reasons, Scripted({}))
    monkeypatch.setattr(detection, "find_detector", lambda _: found)
    done = CliRunner().invoke(app, ["predict", saved[1], str(folder)])
    first, best, better, *_ = done.stderr.splitlines()
    assert first == "faces are found by tests:scripted"
    assert best == "  best was passed over: best needs OpenCV"
    assert better.startswith("  better was passed over: better needs a file: it is nowhere.")
    assert better.endswith(" ... (--faces better says why)")
    assert len(better) < 130
