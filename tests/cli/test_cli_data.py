"""`emozoo data check`: what a dataset is, and everything that is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
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


def test_whatever_training_would_not_read_is_an_error_and_the_rest_is_none(
    folder: Path, tmp_path: Path
) -> None:
    Image.new("I", (48, 48)).save(folder / "train" / "happy" / "integers.tif")
    Image.new("1", (70_000, 1)).save(folder / "train" / "sad" / "line.png")
    Image.new("I;16", (48, 48)).save(folder / "train" / "sad" / "deep.png")
    status, text = check(folder)
    assert status == 1
    for name, problem in (("happy/integers.tif", "32-bit integers"), ("sad/line.png", "the limit is")):
        assert any(
            line.startswith(f"error    train/{name}") and problem in line for line in text.splitlines()
        )
    assert text.endswith("2 errors, 1 warnings\n")
    place = frames(tmp_path / "videos" / "happy" / "a")
    frames(tmp_path / "videos" / "sad" / "b")
    Image.new("I", (12, 10)).save(place / "00002.tif")
    assert check(tmp_path / "videos")[0] == 0, "the others of its frames are there"
    for file in place.glob("*.jpg"):
        file.unlink()
    assert "error    happy/a: " in check(tmp_path / "videos")[1]


def covered(path: Path) -> None:
    """A file of sound with a cover picture, which its container has for a video."""
    with av.open(str(path), "w") as container:
        sound, cover = container.add_stream("aac", rate=44100), container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        samples.sample_rate = 44100
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
        streams: Any = ((sound, samples), (cover, picture))
        for stream, frame in streams:
            container.mux([*stream.encode(frame), *stream.encode(None)])


def test_what_a_sound_file_has_for_a_cover_is_no_video(tmp_path: Path) -> None:
    for name in ("happy", "sad"):
        (tmp_path / name).mkdir()
        covered(tmp_path / name / "a.mp4")
    status, text = check(tmp_path)
    assert status == 1
    assert "error    happy/a.mp4: " in text
    assert "holds no video" in text


def test_errors_that_stop_reading_are_told_and_that_media_were_not_looked_at(tmp_path: Path) -> None:
    frames(tmp_path / "a")
    (tmp_path / "list.csv").write_text("path,label\na,happy\nb,sad\n")
    status, text = check(tmp_path / "list.csv")
    assert status == 1
    assert "error    b: there is no such video" in text
    assert "warning  images or videos: are not looked at before the dataset can be read" in text
