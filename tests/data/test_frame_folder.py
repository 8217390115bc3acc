"""Folders of frames: order whatever the padding, gaps in the numbering, frames that cannot be read."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from clips import barred, number_of, numbers_of
from PIL import Image

from emozoo.data.video import FrameStream, count_frames, read_frames, stream_frames
from emozoo.errors import DataError, EmozooWarning


def folder(path: Path, names: Iterable[str], size: tuple[int, int] = (80, 48)) -> Path:
    """A folder whose frame n, in the order given, spells n."""
    path.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(barred(number, *size)).save(path / name)
    return path


def times_and_damage(place: Path, fps: float = 25.0) -> tuple[list[float], str | None]:
    """When each frame is shown, and what the folder lacks."""
    stream = FrameStream(place, fps=fps)
    return [time for _, time, _ in stream], stream.damaged


def test_frames_are_in_the_order_of_their_numbers_whatever_the_zero_padding(tmp_path: Path) -> None:
    for count, pattern in enumerate(
        ["{}.png", "frame_{}.jpg", "{:05}.bmp", "00017_{:02}.webp", "clip3-{:03}-face.png"]
    ):
        place = folder(tmp_path / str(count), [pattern.format(n) for n in range(8, 103)])
        assert numbers_of(read_frames(place, np.array([94, 0, 1, 2, 2, 93]))) == [94, 0, 1, 2, 2, 93]
        assert times_and_damage(place, fps=10) == (pytest.approx(np.arange(95) / 10), None)


def test_mixed_padding_and_mixed_kinds_of_files_are_one_sequence(tmp_path: Path) -> None:
    place = folder(tmp_path / "mixed", ["7.jpg", "08.PNG", "9.jpeg", "10.bmp", "011.png", "12.jpg", "13.png"])
    assert numbers_of(read_frames(place, np.arange(7))) == list(range(7))


def test_files_that_are_no_frames_are_left_alone(tmp_path: Path) -> None:
    place = folder(tmp_path / "some", ["1.png", "2.png"])
    for name in (".DS_Store", "._1.png", "Thumbs.db", "landmarks.txt", "1.npy"):
        (place / name).write_bytes(b"no picture")
    (place / "3.png.part").write_bytes(b"half a picture")
    assert count_frames(place) == 2


def test_gaps_in_the_numbering_are_reported_and_keep_their_time(tmp_path: Path) -> None:
    numbers = [3, 4, 5, 8, 9, 11, 12]
    place = folder(tmp_path / "gaps", [f"{n:04}.png" for n in numbers])
    said = "3 of 10 frames are missing: 6 to 7, 10"
    assert times_and_damage(place, fps=5) == (pytest.approx([(n - 3) / 5 for n in numbers]), said)
    with pytest.warns(EmozooWarning, match=f"gaps: {said}$"):
        assert numbers_of(read_frames(place, np.array([3, 6]))) == [3, 6]
    (place / "0004.png").write_bytes(b"no picture")
    damage = str(times_and_damage(place)[1])
    assert damage.startswith(f"{said}; 1 of its frames cannot be read; the first: ")


def test_names_that_are_times_give_frames_in_a_row_and_it_is_said(tmp_path: Path) -> None:
    begin = 1_690_000_000_000
    stamps = [begin + round(n * 1000 / 30) for n in range(60)]
    place = folder(tmp_path / "stamps", [f"{stamp}.png" for stamp in stamps])
    said = (
        "most numbers from 1690000000000 to 1690000001967 are missing, so its 60 files are taken as "
        "consecutive frames"
    )
    assert times_and_damage(place, fps=30) == (pytest.approx(np.arange(60) / 30), said)
    with pytest.warns(EmozooWarning, match=said):
        assert numbers_of(read_frames(place, np.arange(60))) == list(range(60))


def test_a_regular_step_in_the_numbering_is_no_gap_but_a_missed_step_is(tmp_path: Path) -> None:
    steps = folder(tmp_path / "every fifth", [f"{n}.png" for n in (10, 15, 20, 25)])
    assert times_and_damage(steps)[1] is None
    missed = folder(tmp_path / "one missed", [f"{n}.png" for n in (10, 15, 25, 30)])
    assert times_and_damage(missed)[1] == "1 of 5 frames are missing: 20"


def test_names_without_one_number_that_tells_them_apart_have_no_gaps(tmp_path: Path) -> None:
    for count, names in enumerate(
        [["a.png", "b.png", "d.png"], ["1_1.png", "1_4.png", "2_1.png"], ["01.png", "1.png", "2.png"]]
    ):
        times, damage = times_and_damage(folder(tmp_path / str(count), names))
        assert (len(times), damage) == (len(names), None)


def test_pictures_are_turned_upright_and_brought_to_the_size_of_the_first_that_is_read(
    tmp_path: Path,
) -> None:
    place = folder(tmp_path / "sizes", ["1.png", "2.png"], (80, 48))
    Image.fromarray(barred(6, 160, 96)).save(place / "3.png")
    turned = Image.fromarray(barred(7)).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned.save(place / "4.jpg", exif=exif)
    frames = read_frames(place, np.array([3, 2, 1]))
    assert frames.shape == (3, 48, 80, 3)
    assert numbers_of(frames) == [7, 6, 1]
    assert numbers_of(read_frames(place, np.array([3]))) == [7]


def test_grey_pictures_become_rgb(tmp_path: Path) -> None:
    place = folder(tmp_path / "grey", [])
    Image.fromarray(np.full((8, 9), 77, np.uint8)).save(place / "1.png")
    assert np.array_equal(read_frames(place, np.array([0])), np.full((1, 8, 9, 3), 77))


def test_the_nearest_frame_asked_for_stands_in_for_one_that_cannot_be_read(tmp_path: Path) -> None:
    place = folder(tmp_path / "broken", [f"{n}.png" for n in range(8)])
    (place / "2.png").write_bytes(b"no picture")
    (place / "7.png").write_bytes((place / "7.png").read_bytes()[:60])
    said = f"broken: 2 of its frames cannot be read; the first: {place / '2.png'}"
    with pytest.warns(EmozooWarning, match=said):
        frames = read_frames(place, np.array([7, 0, 2, 3, 6, 2]))
    assert numbers_of(frames) == [6, 0, 3, 3, 6, 3]
    assert numbers_of(read_frames(place, np.array([0, 1]))) == [0, 1], "what is not read is not missed"


def test_a_stream_leaves_out_what_cannot_be_read_and_says_so_at_the_end(tmp_path: Path) -> None:
    place = folder(tmp_path / "broken", [f"{n}.png" for n in range(5)])
    (place / "0.png").write_bytes(b"no picture")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        streamed = list(stream_frames(place))
    assert [number_of(pixels) for pixels in streamed] == [1, 2, 3, 4]
    assert times_and_damage(place)[0] == pytest.approx([0.04, 0.08, 0.12, 0.16])
    assert [w.category for w in caught] == [EmozooWarning]
    assert "1 of its frames cannot be read; the first: " in str(caught[0].message)


def test_folders_that_give_nothing_are_data_errors_with_the_path(tmp_path: Path) -> None:
    empty = folder(tmp_path / "empty", [])
    with pytest.raises(
        DataError, match=r"empty holds no frames; a folder of frames holds \.bmp, \.jpeg, \.jpg"
    ):
        count_frames(empty)
    broken = folder(tmp_path / "broken", ["1.png", "2.png"])
    for file in broken.iterdir():
        file.write_bytes(b"no picture")
    for read in (count_frames, lambda place: list(stream_frames(place))):
        with pytest.raises(DataError, match=r"broken: none of its 2 frames can be read; the last: .*2\.png"):
            read(broken)
    with pytest.raises(DataError, match=r"broken: none of the 1 frames asked for can be read: .*1\.png"):
        read_frames(broken, np.array([0]))


def test_a_frame_beyond_the_end_of_a_folder_is_a_data_error(tmp_path: Path) -> None:
    place = folder(tmp_path / "short", ["1.png", "2.png"])
    with pytest.raises(DataError, match="short: frame 2 was asked for, the last of its 2 is 1"):
        read_frames(place, np.array([0, 2]))


def test_folders_of_frames_are_read_without_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert len(read_frames(folder(tmp_path / "plain", ["1.png"]), np.array([0]))) == 1
