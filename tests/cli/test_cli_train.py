"""train, eval, compare and card on the command line."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import termios
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from small import RECIPE

from emozoo import load
from emozoo.hashing import sha256
from emozoo.zoo import called


def emozoo(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "emozoo", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with two finished runs, of seeds 0 and 1."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "tiny.toml").write_text(RECIPE)
    for seed in (0, 1):
        done = emozoo(
            "train", "tiny.toml", "--set", f"train.seed={seed}", "--out", f"run{seed}", "--cpu", cwd=folder
        )
        assert done.returncode == 0, done.stderr[-3000:]
        (folder / f"output{seed}.txt").write_text(done.stdout)
    return folder


def test_train_says_what_came_out_and_where_it_is(place: Path) -> None:
    output = (place / "output0.txt").read_text()
    assert "split test, n = 70" in output
    assert "majority guess" in output
    assert "constant:" in output
    assert "run0/model" in output


def test_progress_in_a_log_is_a_line_an_epoch(place: Path) -> None:
    done = emozoo("train", "tiny.toml", "--out", "logged", "--cpu", cwd=place)
    assert re.findall(r"^\S+: epoch (\d) of 2: loss \d", done.stderr, re.MULTILINE) == ["1", "2"]
    assert "\r" not in done.stderr


def test_progress_on_a_terminal_shows_rate_and_time_left(place: Path) -> None:
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    command = [sys.executable, "-m", "emozoo", "train", "tiny.toml", "--out", "shown", "--cpu"]
    running = subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # which is how a terminal ends
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    assert running.wait() == 0
    assert b"step/s" in shown or b"s/step" in shown
    assert b"14/14" in shown
    assert b"epoch 1 of" not in shown


def test_a_wrong_key_is_an_error_without_a_traceback(place: Path) -> None:
    done = emozoo("train", "tiny.toml", "--set", "train.epoch=3", cwd=place)
    assert done.returncode == 1
    assert "train.epoch: unknown key. Did you mean 'epochs'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_tracker_is_an_error_that_says_what_there_is(place: Path) -> None:
    done = emozoo("train", "tiny.toml", "--out", "tracked", "--track", "tensorbord", cwd=place)
    assert done.returncode == 1
    assert "tensorbord" in done.stderr
    assert "tensorboard" in done.stderr
    assert "Traceback" not in done.stderr


def test_eval_reproduces_the_record_and_writes_the_reports(place: Path) -> None:
    options = [
        "--set",
        "size=24",
        "--set",
        "samples=140",
        "--set",
        "validation_samples=70",
        "--set",
        "test_samples=70",
    ]
    done = emozoo("eval", "dir:run0/model", "--reader", "synthetic", "--split", "test", *options, cwd=place)
    assert done.returncode == 0, done.stderr[-3000:]
    folder = place / "eval" / "tiny-test"
    measured = json.loads((folder / "metrics.json").read_text())
    record = json.loads((place / "run0" / "run.json").read_text())
    for head in ("emotion", "vad"):
        assert measured["heads"][head]["metrics"] == record["result"]["heads"][head]["metrics"]
    assert measured["source"]["sha256"] == sha256(place / "run0" / "model" / "model.safetensors")
    assert measured["fingerprint"] == record["data"]["roles"]["report"]["fingerprint"]
    names = {path.name for path in folder.iterdir()}
    assert {
        "report.md",
        "report.html",
        "predictions.parquet",
        "emotion_confusion.png",
        "vad_scatter.png",
    } <= names
    table = pq.read_table(folder / "predictions.parquet")
    right = sum(
        a == b for a, b in zip(*(table[f"emotion.{c}"].to_pylist() for c in ("label", "true")), strict=True)
    )
    assert right / 70 == pytest.approx(measured["heads"]["emotion"]["metrics"]["accuracy"]["value"])


@pytest.mark.parametrize(
    ("record", "name"),
    [('{"name": "tiny"}', "tiny"), ('{"name": "../../home/tiny"}', "tiny"), ("{}", "model"), (None, "model")],
)
def test_eval_calls_a_model_by_its_recipe_and_else_by_its_folder(
    tmp_path: Path, record: str | None, name: str
) -> None:
    folder = tmp_path / "run" / "model"
    folder.mkdir(parents=True)
    if record is not None:
        (folder / "run.json").write_text(record)
    assert called(f"dir:{folder}", folder) == called(f"dir:{folder}/.", folder / ".") == name
    assert called("mini-fer2013", folder) == called("zoo:mini-fer2013", folder) == "mini-fer2013"


def test_eval_asks_for_a_split_where_there_are_several(place: Path) -> None:
    done = emozoo("eval", "dir:run0/model", "--reader", "synthetic", cwd=place)
    assert done.returncode == 1
    assert "name a split with --split; the dataset has test, train, validation" in done.stderr


def test_compare_prints_runs_side_by_side_with_intervals(place: Path) -> None:
    done = emozoo("compare", "run0", "run1", cwd=place)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "run0" in done.stdout
    assert "run1" in done.stdout
    assert "accuracy" in done.stdout.lower()
    assert "[" in done.stdout


def test_compare_says_when_runs_cannot_be_compared(place: Path) -> None:
    other = place / "other"
    shutil.copytree(place / "run1", other, dirs_exist_ok=True)
    record = json.loads((other / "run.json").read_text())
    record["result"]["split"] = "validation"
    (other / "run.json").write_text(json.dumps(record))
    assert "ot comparable" in emozoo("compare", "run0", "other", cwd=place).stdout


def test_a_card_is_written_from_a_record_and_keeps_the_hand_written_part(place: Path) -> None:
    entry = place / "cards" / "tiny"
    entry.mkdir(parents=True)
    (entry / "card.md").write_text("## Intended use\n\nTests.\n")
    done = emozoo("card", "write", entry, "--run", "run0", cwd=place)
    assert done.returncode == 0, done.stderr[-3000:]
    text = (entry / "README.md").read_text()
    record = json.loads((place / "run0" / "run.json").read_text())
    accuracy = record["result"]["heads"]["emotion"]["metrics"]["accuracy"]["value"]
    assert f"{100 * accuracy:.2f} %" in text
    assert "## Intended use" in text
    assert "split" in text
    assert "n = 70" in text
    assert (entry / "pictures" / "emotion_confusion.png").exists()
    manifest = json.loads((place / "run0" / "model" / "manifest.json").read_text())["files"]
    weights = manifest["model.safetensors"]
    assert json.loads((entry / "run.json").read_text()) == {**record, "weights": weights}
    assert f"sha256 `{weights['sha256']}`" in text


def test_a_card_names_the_command_where_its_run_departed_from_the_recipe(place: Path, tmp_path: Path) -> None:
    entry = tmp_path / "tiny"
    entry.mkdir()
    recipe = (place / "tiny.toml").read_text()
    (entry / "recipe.toml").write_text(recipe)
    assert emozoo("card", "write", entry, "--run", "run0", cwd=place).returncode == 0
    assert "differs" not in (entry / "README.md").read_text()
    (entry / "recipe.toml").write_text(recipe.replace("epochs = 2", "epochs = 200\ninit = 'mini-fer2013'"))
    assert emozoo("card", "write", entry, cwd=place).returncode == 0
    text = (entry / "README.md").read_text()
    command = text.partition("emozoo train tiny --data FOLDER ")[2].partition("```")[0]
    assert command == "\\\n  --set train.epochs=2 \\\n  --set train.init=null\n"


def test_weights_are_bundled_of_a_run_that_is_named(place: Path) -> None:
    done = emozoo("card", "write", place, "--weights", cwd=place)
    assert done.returncode == 1
    assert "name it with --run" in done.stderr


def test_an_entry_can_carry_its_weights_in_half_precision(place: Path) -> None:
    entry = place / "bundled"
    entry.mkdir()
    (entry / "card.md").write_text("Of its makers.\n")
    done = emozoo("card", "write", entry, "--run", "run0", "--weights", cwd=place)
    assert done.returncode == 0, done.stderr
    assert {"recipe.toml", "card.md"} & {path.name for path in entry.iterdir()} == {"card.md"}, (
        "nothing is lost"
    )
    stored = load_file(entry / "model.safetensors")
    assert {str(value.dtype) for value in stored.values() if value.ndim > 1} == {"torch.float16"}
    whole, bundled = (load(folder, "cpu") for folder in (place / "run0" / "model", entry))
    pixels = torch.randint(0, 256, (4, 1, 24, 24), dtype=torch.uint8)
    outputs = [model.predict_outputs(pixels)["emotion"] for model in (whole, bundled)]
    torch.testing.assert_close(*outputs, rtol=1e-2, atol=1e-2)
    assert not torch.equal(*outputs)


def test_an_unfinished_run_has_no_card(place: Path) -> None:
    (place / "empty").mkdir()
    done = emozoo("card", "write", place / "empty", "--run", place / "empty", cwd=place)
    assert done.returncode == 1
    assert "no run has finished there" in done.stderr


def test_resuming_what_is_finished_says_so_and_refuses_another_recipe(place: Path) -> None:
    again = emozoo(
        "train", "tiny.toml", "--set", "train.seed=0", "--out", "run0", "--cpu", "--resume", cwd=place
    )
    assert again.returncode == 0
    assert (
        again.stdout
        == "run0 is finished already; nothing was trained\n" + (place / "output0.txt").read_text()
    )
    other = emozoo("train", "tiny.toml", "--set", "train.seed=7", "--out", "run0", "--resume", cwd=place)
    assert other.returncode == 1
    assert "train.seed: was 0, is 7" in other.stderr
