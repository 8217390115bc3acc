"""`emozoo data check`: what a dataset is, and everything that is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from small import photos
from typer.testing import CliRunner
from video_trees import DFEW_CLASSES, TREES, dfew_lists, frames

from emozoo.cli.app import app
from emozoo.errors import DataError, EmozooError, RecipeError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve faces in folders named after their categories."""
    for index, pixels in enumerate(photos(12)):
        place = tmp_path / "faces" / "train" / ("happy", "sad", "angry")[index % 3]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{index}.png")
    return tmp_path / "faces"


def check(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["data", "check", *map(str, arguments)])
    if isinstance(done.exception, EmozooError):
        raise done.exception
    return done.exit_code, done.stdout


def test_a_sound_dataset_has_no_errors_and_ends_with_status_0(folder: Path) -> None:
    status, text = check(folder)
    assert status == 0
    lines = text.splitlines()
    assert lines[0].startswith(f"{folder}: ")
    assert "(reader folders)" in lines[0]
    assert lines[1].startswith("terms: ")
    assert lines[-1].startswith("0 errors, ")


def test_every_error_is_listed_before_the_warnings_and_the_status_is_1(folder: Path) -> None:
    for name in ("train/happy/0.png", "train/sad/1.png"):
        (folder / name).write_bytes(b"broken")
    status, text = check(folder)
    assert status == 1
    lines = text.splitlines()
    kinds = [line.split()[0] for line in lines[2:-1]]
    assert kinds == sorted(kinds, key=["error", "warning", "info"].index)
    for name in ("happy/0.png", "sad/1.png"):
        assert any(line.startswith("error") and name in line for line in lines)
    assert lines[-1].startswith(f"{kinds.count('error')} errors, {kinds.count('warning')} warnings")


def test_a_reader_can_be_named_and_takes_only_its_own_options(folder: Path) -> None:
    assert check(folder, "--reader", "folders")[0] == 0
    with pytest.raises(RecipeError, match=r"data\.no_such_option: unknown key"):
        check(folder, "--reader", "folders", "--set", "no_such_option=1")


def test_a_place_that_does_not_exist_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file or folder .*nowhere"):
        check(tmp_path / "nowhere")


@pytest.mark.parametrize("name", TREES)
def test_datasets_of_videos_are_recognised_and_checked(name: str, tmp_path: Path) -> None:
    status, text = check(TREES[name](tmp_path / name))
    assert status == 0
    lines = text.splitlines()
    assert lines[0].endswith(f"(reader {name})")
    assert any("have fewer than 16 frames" in line for line in lines)


def test_what_numbers_of_a_list_stand_for_is_asked_and_can_be_told(tmp_path: Path) -> None:
    for number in range(1, 15):
        frames(tmp_path / "dfew" / "faces" / f"{number:05d}")
    dfew_lists(tmp_path / "dfew", 1, range(1, 15), "DFEW_set_{1}_{0}.txt", "{number} 3 {label}")
    status, text = check(tmp_path / "dfew")
    assert status == 1
    assert "say so with the option numbers" in text
    told = [f"numbers.{number}={name}" for number, name in enumerate(DFEW_CLASSES)]
    status, text = check(tmp_path / "dfew", *(part for item in told for part in ("--set", item)))
    assert status == 0
    assert "0 happy, 1 sad, 2 neutral, 3 angry, 4 surprise, 5 disgust, 6 fear, by the option numbers" in text
