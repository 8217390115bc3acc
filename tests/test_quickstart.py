"""The quickstart keeps its promises, and the README's examples work after it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from clips import write_video
from PIL import Image
from scenes import scenes, standing

from emozoo.folder import load_model, verify_golden
from emozoo.records import read_record

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory in which `emozoo quickstart` has been run."""
    folder = tmp_path_factory.mktemp("quickstart")
    done = subprocess.run(
        [sys.executable, "-m", "emozoo", "quickstart"], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (folder / "output.txt").write_text(done.stdout)
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


def test_it_ends_above_95_percent_and_ccc_080_on_people_it_has_not_seen(place: Path) -> None:
    result = read_record(place / "runs" / "quickstart")["result"]
    assert result["split"] == "test"
    assert result["heads"]["emotion"]["metrics"]["accuracy"]["value"] > 0.95
    metrics = result["heads"]["vad"]["metrics"]
    assert all(metrics[f"{name}_ccc"]["value"] > 0.8 for name in ("valence", "arousal", "dominance"))


def test_it_leaves_a_verified_model_a_card_a_report_and_pictures(place: Path) -> None:
    run = place / "runs" / "quickstart"
    assert verify_golden(load_model(run / "model", "cpu"), run / "model") == 0.0
    assert "# quickstart" in (run / "model" / "README.md").read_text()
    for name in ("report.html", "faces.png", "curves.png", "emotion_confusion.png", "vad_scatter.png"):
        assert (run / name).stat().st_size > 5_000, name


def test_it_says_what_to_do_next_with_real_data(place: Path) -> None:
    output = (place / "output.txt").read_text()
    assert "emozoo train mini-fer2013 --data FOLDER" in output
    assert "emozoo data check FOLDER" in output


def test_what_it_says_to_do_with_photos_of_ones_own_works(place: Path, tmp_path: Path) -> None:
    for label in ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(3):
            pixels = np.random.default_rng([number, len(label)]).integers(0, 255, (60, 50), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.png")
    (line,) = [line for line in (place / "output.txt").read_text().splitlines() if "--data PHOTOS" in line]
    _, *arguments = shlex.split(line.replace("PHOTOS", str(tmp_path / "photos")))
    command = [
        sys.executable,
        "-m",
        "emozoo",
        *arguments,
        "--set",
        "train.epochs=1",
        "--out",
        str(tmp_path / "run"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_running_it_again_goes_on_with_what_is_there(place: Path) -> None:
    model = place / "runs" / "quickstart" / "model" / "model.safetensors"
    before = model.stat().st_mtime_ns
    done = subprocess.run([sys.executable, "-m", "emozoo", "quickstart"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "holds a finished run; going on with it" in done.stdout
    assert model.stat().st_mtime_ns == before


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_the_readmes_python_runs(place: Path, number: int) -> None:
    write_video(Path("clip.mp4"), scenes(12, standing(12, (20, 20))))
    exec(compile(blocks("python")[number], f"README block {number}", "exec"), {})  # our own text


def test_the_readmes_recipe_is_a_recipe_that_builds(place: Path) -> None:
    from emozoo.model import create
    from emozoo.resolve import resolve_recipe

    Path("my-model.toml").write_text(blocks("toml")[0])
    from emozoo.recipe import load_recipe

    resolved = resolve_recipe(load_recipe("my-model.toml"))
    assert resolved["train"]["losses"]["vad"]["ccc"] == 0.5
    assert list(create("my-model.toml").heads) == ["emotion", "vad"]


def test_the_readme_names_every_command(place: Path) -> None:
    listing = subprocess.run(
        [sys.executable, "-m", "emozoo", "--help"], capture_output=True, text=True
    ).stdout
    commands = re.findall(r"^  ([a-z]+)  ", listing.partition("Commands:")[2], re.MULTILINE)
    assert len(commands) >= 10
    text = README.read_text()
    assert [name for name in commands if f"emozoo {name}" not in text] == []
