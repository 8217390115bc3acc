"""Who is in a video or a photo, and the results as data: tracks, mixed media, files, damage, real media."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from clips import write_video
from scenes import SIDE, close, detector, frame_folder, scenes, seeing_model, standing, watch

from emozoo.errors import DataError
from emozoo.model import EmotionModel
from emozoo.prediction.answers import PLACE
from emozoo.prediction.timeline import Timeline

# --- faces ----------------------------------------------------------------------------------------------------


def test_every_face_is_followed_under_its_own_number(model: EmotionModel, tmp_path: Path) -> None:
    """One walks through, one stands; a third comes late, is missed for a moment, and goes."""
    script: dict[int, list[tuple[int, int]]] = {n: [(10 + n, 20), (110, 50)] for n in range(60)}
    for number in [*range(20, 30), *range(34, 50)]:
        script[number] = [(60, 55), *script[number]]
    frames = scenes(60, script)
    found = watch(model, frame_folder(tmp_path / "v", frames), script)
    assert [track.face for track in found.tracks] == [0, 1, 2]
    walking, standing_still, late = found.tracks
    assert walking.boxes[:, 0].tolist() == list(range(10, 70))
    assert set(standing_still.boxes[:, 0].tolist()) == {110}
    assert late.index.tolist() == [*range(20, 30), *range(34, 50)]
    assert [w.start for w in late.windows] == pytest.approx([2, 3.4, 4.0])
    assert found.main is walking
    assert (found.label, found.probabilities, found.vad) == (
        walking.label,
        walking.probabilities,
        walking.vad,
    )
    assert found.vad_scale == walking.vad_scale == (-1, 1)


def test_a_face_that_comes_back_after_long_has_a_new_number(model: EmotionModel, tmp_path: Path) -> None:
    script = {n: [(20, 20)] for n in [*range(10), *range(40, 50)]}
    found = watch(model, frame_folder(tmp_path / "v", scenes(50, script)), script)
    assert [(t.face, t.times[0], t.times[-1]) for t in found.tracks] == [(0, 0, 0.9), (1, 4, 4.9)]


def test_every_nth_frame_is_looked_at_and_no_other(model: EmotionModel, tmp_path: Path) -> None:
    script = standing(50, (20, 20))
    finder = detector(script)
    found = watch(model, frame_folder(tmp_path / "v", scenes(50, script)), finder, every=20)
    assert finder.detector.looked_at == [0, 20, 40]
    assert (found.frames, found.looked_at, found.seconds) == (50, 3, 4.9)
    assert [track.index.tolist() for track in found.tracks] == [[0, 20, 40]]


def test_a_video_without_a_face_has_an_empty_timeline_that_says_so(
    model: EmotionModel, tmp_path: Path
) -> None:
    found = watch(model, frame_folder(tmp_path / "v", scenes(5, {})), {})
    assert (found.tracks, found.main, found.label, found.vad, found.labels) == ((), None, None, None, ())
    assert found.to_rows() == [dict.fromkeys(PLACE) | {"source": str(tmp_path / "v")}]
    assert found.to_lines() == [f"{tmp_path / 'v'}  no face found"]
    assert json.loads(json.dumps(found.to_dict()))["main"] is None


def test_a_video_that_is_a_face_already_is_one_track_without_boxes(
    model: EmotionModel, tmp_path: Path
) -> None:
    frames = scenes(12, standing(12, (20, 20)))
    found = watch(model, frame_folder(tmp_path / "v", frames), "none", window=0)
    [track] = found.tracks
    assert (found.detector, track.boxes) == (None, None)
    photos: Any = model.predict(frames, faces="none")
    assert all(close(window, photo) for window, photo in zip(track.windows, photos, strict=True))


def test_faces_are_cut_out_with_the_margin_of_the_model(tmp_path: Path) -> None:
    wide = seeing_model(preprocess={"face_margin": 0.25})
    frame = scenes(1, standing(1, (60, 40)))[0]
    found: Any = wide.predict(frame, faces=detector(standing(1, (60, 40))))
    by_hand: Any = wide.predict(frame[30:90, 50:110], faces="none")
    assert close(found, by_hand)
    assert found.box == (60, 40, 100, 80)


# --- photos ---------------------------------------------------------------------------------------------------


def test_each_face_of_a_photo_is_cut_out_and_the_largest_speaks(model: EmotionModel) -> None:
    places = [(10, 30), (60, 40), (110, 50)]
    frames = scenes(2, {0: places})
    found: Any = model.predict(frames, faces=detector({0: places}), batch_size=2)
    photo, empty = found
    for face, (left, top) in zip(photo.faces, places, strict=True):
        own: Any = model.predict(frames[0][top : top + SIDE, left : left + SIDE], faces="none")
        assert close(face, own)
        assert face.box == (left, top, left + SIDE, top + SIDE)
    assert photo.faces[0].probabilities == photo.probabilities
    assert photo.detector == "tests:scripted"
    assert [row["face"] for row in found.to_rows()] == [0, 1, 2, None]
    assert (empty.faces, empty.label) == ((), None)
    assert empty.to_rows() == [dict.fromkeys(PLACE) | {"source": "image 1"}]
    assert empty.to_lines() == ["image 1  no face found"]
    assert empty.to_dict() == {"source": "image 1", "detector": "tests:scripted", "faces": []}


# --- mixed media, and files -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos and three videos, one of which is none."""
    from PIL import Image

    place = tmp_path_factory.mktemp("media")
    frames = scenes(20, standing(20, (20, 40)))
    for name, number in (("a.png", 0), ("e.png", 3)):
        Image.fromarray(frames[number]).save(place / name)
    write_video(place / "b.mp4", frames, fps=10)
    (place / "c.mp4").write_bytes(b"no video")
    frame_folder(place / "d", frames[:7])
    return place


def test_photos_and_videos_come_in_the_order_given_and_what_is_broken_stops_nothing(
    model: EmotionModel, media: Path
) -> None:
    script = standing(20, (20, 40))
    given = [media / name for name in ("a.png", "b.mp4", "c.mp4", "d", "e.png")]
    found: Any = model.predict(given, faces=detector(script), frame_rate=10)
    assert [Path(item.source).name for item in found] == ["a.png", "b.mp4", "d", "e.png"]
    assert [type(item).__name__ for item in found] == ["Prediction", "Timeline", "Timeline", "Prediction"]
    [failure] = found.errors
    assert failure.source == str(media / "c.mp4")
    assert "c.mp4: not a video file, or its beginning or its index is lost" in failure.reason
    again: Any = model.predict(f"{media}/*", faces=detector(script), frame_rate=10)
    assert [item.source for item in again] == [item.source for item in found]


def test_a_folder_of_videos_and_of_folders_of_frames_is_a_collection_of_videos(
    model: EmotionModel, tmp_path: Path
) -> None:
    frames = scenes(4, {})
    frame_folder(tmp_path / "x" / "a", frames)
    write_video(tmp_path / "x" / "b.mp4", frames)
    frame_folder(tmp_path / "x" / "deep" / "c", frames)
    found: Any = model.predict(tmp_path / "x", faces="none", frame_rate=10)
    assert [Path(item.source).name for item in found] == ["a", "b.mp4", "c"]
    assert all(isinstance(item, Timeline) and item.frames == 4 for item in found)


def test_a_folder_is_a_collection_unless_a_frame_rate_says_otherwise(
    model: EmotionModel, media: Path
) -> None:
    script = standing(20, (20, 40))
    assert len(model.predict(media / "d", faces=detector(script))) == 7
    assert isinstance(model.predict(media / "d", faces=detector(script), frame_rate=5), Timeline)
    mixed: Any = model.predict([media / "d"], faces=detector(script))
    assert "is a folder; frame_rate (--frame-rate) takes one for a video" in mixed.errors[0].reason


def test_a_broken_video_alone_raises_with_its_path(model: EmotionModel, media: Path) -> None:
    with pytest.raises(DataError, match=r"c\.mp4: not a video file"):
        model.predict(media / "c.mp4", faces="none")


def test_a_damaged_video_gives_what_it_holds_and_says_what_it_lacks(
    model: EmotionModel, tmp_path: Path
) -> None:
    script = standing(20, (20, 40))
    folder = frame_folder(tmp_path / "v", scenes(20, script))
    (folder / "frame_7.png").write_bytes(b"broken")
    found = watch(model, folder, script)
    assert found.tracks[0].index.tolist() == [n for n in range(20) if n != 7]
    assert found.damaged.startswith("1 of its frames cannot be read; the first: ")


def test_all_of_a_video_is_judged_whose_file_is_two_joined_end_to_end(
    model: EmotionModel, tmp_path: Path
) -> None:
    part = write_video(tmp_path / "part.ts", scenes(50, {})).read_bytes()
    (tmp_path / "both.ts").write_bytes(part + part)
    found: Any = model.predict(tmp_path / "both.ts", faces="none", window=1.0)
    assert (found.frames, found.seconds) == (100, pytest.approx(99 / 25))
    assert [window.start for window in found.tracks[0].windows] == pytest.approx([0, 1, 2, 3])
    assert [window.end for window in found.tracks[0].windows] == pytest.approx([0.96, 1.96, 2.96, 3.96])
    assert found.damaged == "its times begin anew, as in joined files, and are counted on: 1"


def test_rows_of_photos_and_videos_have_the_same_columns_in_every_format(
    video_model: EmotionModel, media: Path, tmp_path: Path
) -> None:
    import csv

    import pyarrow.parquet as pq

    given = [media / "a.png", media / "b.mp4"]
    found: Any = video_model.predict(given, faces=detector(standing(20, (20, 40))))
    rows = found.to_rows()
    assert [list(row)[: len(PLACE)] for row in rows] == [list(PLACE)] * len(rows)
    assert (rows[0]["start"], rows[1]["start"], rows[0]["left"]) == (None, 0, 20)
    assert rows[1]["rich_start"] == found[1].tracks[0].windows[0].rich_clip.start
    assert pq.read_table(found.write(tmp_path / "p.parquet")).to_pylist() == rows
    lines = found.write(tmp_path / "p.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [item.to_dict() for item in found]
    with open(found.write(tmp_path / "p.csv"), newline="") as file:
        assert [row["end"] for row in csv.DictReader(file)] == ["", str(rows[1]["end"])]
    alone = found[1].write(tmp_path / "one.csv").read_text().splitlines()
    assert len(alone) == 2
    words = found[1].to_lines()
    assert words[0].startswith(f"{media / 'b.mp4'}  face 0  0.0-1.9 s  ")
    assert "in all" in words[1]


def test_a_table_may_begin_with_faces_that_have_no_box(
    model: EmotionModel, media: Path, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    photo: Any = model.predict([media / "a.png"], faces="none")
    video: Any = model.predict([media / "b.mp4"], faces=detector(standing(20, (20, 40))))
    photo.items += [*photo.items * 4096, *video.items]
    rows = pq.read_table(photo.write(tmp_path / "p.parquet")).to_pylist()
    assert (rows[0]["left"], rows[-1]["left"]) == (None, 20)


# --- real media -----------------------------------------------------------------------------------------------


def test_faces_of_real_media_are_found_and_followed(real_data: Path, model: EmotionModel) -> None:
    from emozoo.prediction.faces import open_detector

    finder = open_detector("yunet", file=str(real_data / "detectors" / "yunet_n_320_320.onnx"))
    found: Any = model.predict(real_data / "media", faces=finder, every=16)
    seen = {Path(item.source).name: item for item in found}
    assert found.errors == []
    assert not seen["no_face.mp4"].tracks
    assert not seen["free-mountain-vector-01.jpg"].faces
    assert len(seen["multi_face.jpg"].faces) == 5
    for clip in ("single_face.mp4", "WolfgangLanger_Pexels.mp4", "face_noface.mov", "noface_face.mov"):
        assert len(seen[clip].tracks) == 1, clip
    assert seen["face_noface.mov"].tracks[0].times[-1] == pytest.approx(2.4, abs=0.7)
    assert seen["noface_face.mov"].tracks[0].times[0] == pytest.approx(3.9, abs=0.7)
    assert seen["WolfgangLanger_Pexels.mp4"].tracks[0].windows[-1].end > 19


def test_windows_of_a_fraction_of_a_second_are_told_apart_in_words(
    model: EmotionModel, tmp_path: Path
) -> None:
    script = standing(12, (20, 20))
    folder = frame_folder(tmp_path / "v", scenes(12, script))
    found = watch(model, folder, script, window=0, frame_rate=25)
    spans = [line.split("  ")[2] for line in found.to_lines()]
    assert spans[:3] == ["0.00-0.00 s", "0.04-0.04 s", "0.08-0.08 s"]
    whole = watch(model, folder, script, window=2)
    assert whole.to_lines()[0].split("  ")[2] == "0.0-1.1 s"
