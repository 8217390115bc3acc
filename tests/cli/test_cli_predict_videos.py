"""`emozoo predict` of videos and of photos of people: detectors, windows, pictures, and what is said at the end."""

from __future__ import annotations

import csv
import errno
import io
import json
from pathlib import Path

import pandas as pd
import pytest
from clips import write_video
from PIL import Image
from scenes import frame_folder, scenes, standing
from small import install, tiny_model
from typer.testing import CliRunner, Result

from emozoo.cli.app import app
from emozoo.data.video import count_frames
from emozoo.errors import DataError, DetectorUnavailableError, EmozooError, UnknownComponentError

CODE = (
    "from scenes import Scripted, standing\ndef Fixed(): return Scripted(standing(40, (20, 40), (100, 30)))\n"
)
CLIPS = {"name": "clips", "frames": 12, "window": 10, "clips": 3, "length": 4, "stride": 3, "per_clip": 2}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    place = tmp_path_factory.mktemp("models")
    video = tiny_model(sampling=CLIPS, aggregator={"name": "ceflnet"})
    return {"image": f"dir:{tiny_model().save(place / 'i')}", "video": f"dir:{video.save(place / 'v')}"}


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo of two people, a video of them of three seconds, and one of nobody."""
    place = tmp_path_factory.mktemp("media")
    frames = scenes(30, standing(30, (20, 40), (100, 30)))
    Image.fromarray(frames[0]).save(place / "a.png")
    write_video(place / "b.mp4", frames, fps=10)
    Image.fromarray(scenes(41, {})[-1]).save(place / "nobody.png")
    return place


@pytest.fixture(autouse=True)
def fixed(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A detector called fixed, of a plugin."""
    code = CODE.replace("def Fixed(): return", "class Fixed:\n    def __new__(cls): return")
    install(
        monkeypatch,
        tmp_path_factory.mktemp("site"),
        "emozoo-fixed",
        "1.0",
        {"detectors/fixed": "Fixed"},
        code,
    )


def predict(*arguments: object, status: int = 0) -> Result:
    done = CliRunner().invoke(app, ["predict", *map(str, arguments)])
    if isinstance(done.exception, EmozooError):
        raise done.exception
    assert done.exit_code == status, done.output
    return done


def test_photos_and_videos_go_together_and_the_detector_is_named(models: dict[str, str], media: Path) -> None:
    done = predict(models["image"], media / "a.png", media / "b.mp4", "--faces", "fixed")
    assert done.stderr == "faces are found by emozoo-fixed:fixed\n"
    about = [line.split("  ")[:3] for line in done.stdout.splitlines()]
    assert [Path(source).name for source, *_ in about] == ["a.png"] * 2 + ["b.mp4"] * 8
    assert [face for _, face, _ in about] == ["face 0", "face 1"] + ["face 0"] * 4 + ["face 1"] * 4
    assert [span for *_, span in about[2:6]] == ["0.0-0.9 s", "1.0-1.9 s", "2.0-2.9 s", "in all"]


def test_windows_hops_and_skipped_frames_are_as_asked_for(models: dict[str, str], media: Path) -> None:
    options = ("--faces", "fixed", "--window", 2, "--hop", 1, "--every", 2, "--format", "jsonl")
    tree = json.loads(predict(models["video"], media / "b.mp4", *options).stdout)
    windows = tree["tracks"][0]["windows"]
    assert [(w["start"], round(w["end"], 1)) for w in windows] == [(0, 1.8), (1, 2.8)]
    assert (tree["frames"], tree["looked_at"]) == (30, 15)
    assert windows[0]["rich_clip"] in windows[0]["clips"]
    assert tree["label"] == tree["tracks"][0]["label"]


def test_a_table_of_a_video_has_a_row_for_each_window_of_each_face(
    models: dict[str, str], media: Path
) -> None:
    text = predict(models["video"], media, "--faces", "fixed", "--format", "csv").stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(Path(row["source"]).name, row["face"], row["start"]) for row in rows] == [
        ("a.png", "0", ""),
        ("a.png", "1", ""),
        ("b.mp4", "0", "0.0"),
        ("b.mp4", "1", "0.0"),
        ("nobody.png", "", ""),
    ]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_has_a_row_of_each_file_without_a_face_wherever_it_comes(
    models: dict[str, str], media: Path, tmp_path: Path, suffix: str
) -> None:
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet}[suffix]
    nobody, path = media / "nobody.png", tmp_path / f"p.{suffix}"
    predict(models["image"], nobody, media / "a.png", nobody, "--faces", "fixed", "--output", path)
    table = read(path)
    assert [Path(source).name for source in table["source"]] == ["nobody.png", "a.png", "a.png", "nobody.png"]
    assert table["label"].isna().tolist() == [True, False, False, True]
    predict(models["image"], nobody, "--faces", "fixed", "--output", path)
    assert (len(read(path)), read(path)["face"].isna().all()) == (1, True)


def test_files_without_a_face_are_named_at_the_end_and_are_no_failure(
    models: dict[str, str], media: Path
) -> None:
    done = predict(models["image"], media, "--faces", "fixed")
    assert done.stderr.splitlines()[1:] == [
        "1 of 3 files hold no face that was found (--faces none takes pictures that are faces already):",
        f"  {media / 'nobody.png'}",
    ]
    assert f"{media / 'nobody.png'}  no face found" in done.stdout


def test_what_is_damaged_is_named_and_what_is_broken_ends_with_status_1(
    models: dict[str, str], tmp_path: Path
) -> None:
    folder = frame_folder(tmp_path / "v", scenes(10, standing(10, (20, 40))))
    (folder / "frame_3.png").write_bytes(b"broken")
    (tmp_path / "c.mp4").write_bytes(b"no video")
    done = predict(
        models["image"], folder, tmp_path / "c.mp4", "--faces", "none", "--frame-rate", 10, status=1
    )
    notes = done.stderr.splitlines()
    assert notes[0] == "1 of 2 files are damaged, and were read as far as that goes:"
    assert "v: 1 of its frames cannot be read" in notes[1]
    assert notes[2] == "1 of 2 files could not be read:"
    assert f"{folder}  face 0  0.0-0.9 s" in done.stdout


def test_a_video_is_drawn_and_annotated(models: dict[str, str], media: Path, tmp_path: Path) -> None:
    options = ("--faces", "fixed", "--plot", tmp_path / "t.png", "--annotate", tmp_path / "new" / "t.mp4")
    predict(models["video"], media / "b.mp4", *options)
    assert (tmp_path / "t.png").stat().st_size > 20_000
    assert count_frames(tmp_path / "new" / "t.mp4") == 30


@pytest.mark.parametrize("option", ["--plot t.png", "--annotate t.mp4"])
def test_predictions_are_written_though_the_drawing_fails(
    models: dict[str, str], media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("emozoo.prediction.timeline_plot.draw_timeline", full)
    monkeypatch.setattr("emozoo.prediction.annotate.annotate_video", full)
    monkeypatch.chdir(tmp_path)
    options = ("--faces", "fixed", "--output", "o.csv", *option.split())
    with pytest.raises(DataError, match=rf"^{option}: No space left on device$"):
        predict(models["image"], media / "b.mp4", *options)
    assert len((tmp_path / "o.csv").read_text().splitlines()) == 7


@pytest.mark.parametrize("option", ["--output {}.csv", "--plot {}.png", "--annotate {}.mp4"])
def test_where_nothing_can_be_written_is_said_before_any_work(
    models: dict[str, str], media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setattr(
        "emozoo.prediction.predictions.stream", lambda *given, **more: pytest.fail("work was done")
    )
    name, _, file = option.partition(" ")
    folder = tmp_path / file.format("folder")
    folder.mkdir()
    with pytest.raises(DataError, match=rf"^{name} {folder} is a folder; name a file to write to$"):
        predict(models["image"], media / "b.mp4", name, folder)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=rf"^{name} .*{tmp_path}/file is no folder that can be written to"):
        predict(models["image"], media / "b.mp4", name, tmp_path / "file" / file.format("t"))
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "file", folder])


@pytest.mark.parametrize(
    ("files", "options", "error", "message"),
    [
        (["a.png", "b.mp4"], ["--plot", "t.png"], DataError, "for one video: 2 files were given"),
        (["a.png"], ["--annotate", "t.mp4"], DataError, r"for one video: .*a\.png is none"),
        (
            ["b.mp4"],
            ["--plot", "t.jpg"],
            DataError,
            r"--plot t\.jpg: the picture is a PNG file; call it \.png",
        ),
        (["b.mp4"], ["--annotate", "t.gif"], DataError, r"t\.gif: a video is written as one of \.mp4"),
        (["a.png"], ["--faces", "fixd"], UnknownComponentError, "Did you mean 'fixed'"),
        (
            ["a.png"],
            ["--faces-file", "none.onnx", "--faces", "yunet"],
            DataError,
            "there is no file none.onnx",
        ),
        (["a.png"], ["--window", "-1"], DataError, "window is -1"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(
    models: dict[str, str],
    media: Path,
    files: list[str],
    options: list[str],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        predict(models["image"], *[media / name for name in files], *options)


def test_where_no_detector_can_be_used_predict_says_how_to_get_one_or_do_without(
    models: dict[str, str], media: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import sys

    from emozoo.prediction import detection

    detection._opened.cache_clear()
    monkeypatch.setitem(sys.modules, "dlib", None)
    monkeypatch.setenv("EMOZOO_CACHE", str(tmp_path))
    with pytest.raises(DetectorUnavailableError, match=r"mend one of these; or.*--faces none"):
        predict(models["image"], media / "a.png")
    assert predict(models["image"], media / "a.png", "--faces", "none").stderr == ""
