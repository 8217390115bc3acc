"""The reader of anyone's videos: folders named by class, or a table."""

from __future__ import annotations

import pytest
from video_trees import frames, lines, video, videos

from emozoo.contracts import VIDEO_SUFFIXES, DatasetReader
from emozoo.data.checks import check
from emozoo.data.reading import recognise
from emozoo.errors import DataError, EmozooWarning
from emozoo.testing import check_dataset
from emozoo_datasets.folders import Folders
from emozoo_datasets.videos import Videos


def labels(rows):
    names = rows.features["label"].names
    return {row["id"]: (row["split"], None if row["label"] is None else names[row["label"]]) for row in rows}


def found(reader, severity):
    return {f.subject: f.message for f in check(reader, "videos") if f.severity == severity}


def test_class_folders_in_splits_hold_files_and_folders_of_frames(tmp_path):
    root = videos(tmp_path / "mine")
    assert recognise(root) == "videos"
    reader = Videos(root)
    assert isinstance(reader, DatasetReader)
    rows = reader.read()
    assert labels(rows) == {
        "train/Happy/train.mp4": ("train", "happy"),
        "train/sadness/train-frames": ("train", "sad"),
        "val/Happy/val.mp4": ("val", "happy"),
        "val/sadness/val-frames": ("val", "sad"),
    }
    assert dict(zip(rows["id"], rows["frames"], strict=True))["val/sadness/val-frames"] == 3
    assert reader.vad_scale is None


def test_class_folders_without_splits_are_all_training(tmp_path):
    video(tmp_path / "anger" / "a.avi")
    frames(tmp_path / "zeal" / "b")
    frames(tmp_path / "Fear" / "c")
    assert recognise(tmp_path) == "videos"
    rows = Videos(tmp_path).read()
    assert rows.features["label"].names == ["angry", "fear", "zeal"]
    assert labels(rows)["zeal/b"] == ("train", "zeal")


def test_names_of_splits_are_spelled_alike(tmp_path):
    for split in ("Training", "Validation", "testing"):
        frames(tmp_path / split / "happy" / split)
        frames(tmp_path / split / "sad" / split)
    assert set(Videos(tmp_path).read()["split"]) == {"train", "val", "test"}


def test_splits_of_different_names_stay_different_splits_and_the_check_says_what_each_is_called(tmp_path):
    called = {
        "Train_faces": "train",
        "test_seen": "test_seen",
        "test_unseen": "test_unseen",
        "trainval": "trainval",
        "constrained": "constrained",
        "val": "val",
        "evaluation": "evaluation",
    }
    for name in called:
        frames(tmp_path / name)
    table = lines(tmp_path / "list.csv", ["path,label,split", *(f"{name},happy,{name}" for name in called)])
    rows = Videos(table).read()
    assert dict(zip(rows["id"], rows["split"], strict=True)) == called
    said = {key: text for key, text in found(Videos(table), "info").items() if key.startswith("split ")}
    assert said.keys() == {
        f"split {name}" for name in ("Train_faces", "test_seen", "test_unseen", "evaluation")
    }
    assert said["split Train_faces"].startswith("is called train here")
    assert said["split test_seen"] == "keeps its name: it is not the only one that speaks of test"


def test_folders_of_splits_that_only_contain_the_letters_of_one_keep_their_names(tmp_path):
    for split in ("constrained", "unconstrained", "test"):
        frames(tmp_path / split / "happy" / split)
        frames(tmp_path / split / "sad" / split)
    assert set(Videos(tmp_path).read()["split"]) == {"constrained", "unconstrained", "test"}


def test_folders_of_still_images_are_not_taken_for_videos(tmp_path):
    for name in ("happy", "sad"):
        frames(tmp_path / "train" / name)
    assert Folders.recognises(tmp_path)
    assert not Videos.recognises(tmp_path)


HEADING = "path,label,split,fold,subject,valence,arousal,dominance"


def test_a_table_gives_everything_that_a_row_may_have(tmp_path):
    video(tmp_path / "clips" / "a.mp4")
    frames(tmp_path / "clips" / "b")
    rows = [
        "clips/a.mp4,Happiness,Train,1,anna,2,-2,0",
        "clips/b,sadness,test,2,ben,,nan,1",
        "clips/b,,test,,,,,",
    ]
    table = lines(tmp_path / "videos.csv", [HEADING, *rows])
    assert recognise(table) == recognise(tmp_path) == "videos"
    reader = Videos(table, scale=(-2.0, 2.0))
    rows = reader.read()
    assert labels(rows) == {
        "clips/a.mp4": ("train", "happy"),
        "clips/b": ("test", "sad"),
        "clips/b#2": ("test", None),
    }
    assert rows["fold"][:] == [1, 2, None]
    assert rows["subject"][:] == ["anna", "ben", None]
    assert rows["valence"][:] == [1.0, None, None]
    assert rows["arousal"][:] == [-1.0, None, None]
    assert rows["dominance"][:] == [0.0, 0.5, None]
    assert reader.vad_scale == (-2.0, 2.0)
    check_dataset("videos", {"scale": [-2.0, 2.0]}, root=table)


def test_whatever_is_a_video_to_predict_is_one_to_train_on(tmp_path):
    for suffix in VIDEO_SUFFIXES:
        lines(tmp_path / "happy" / f"a{suffix}", ["x"])
        lines(tmp_path / "sad" / f"b{suffix.upper()}", ["x"])
    assert len(Videos(tmp_path).read()) == 2 * len(VIDEO_SUFFIXES)


def test_a_table_of_paths_and_labels_alone_is_all_training(tmp_path):
    frames(tmp_path / "a")
    table = lines(tmp_path / "list.csv", ["video,label", "a,joy"])
    rows = Videos(tmp_path).read()
    assert labels(rows) == {"a": ("train", "happy")}
    assert "fold" not in rows.column_names
    assert Videos(table).vad_scale is None


def test_values_beyond_the_scale_and_folds_that_are_none_are_reported_with_row_and_column(tmp_path):
    frames(tmp_path / "a")
    rows = ["a,happy,,0,,0,0,0", "a,happy,,x,,2.5,0,0", "a,happy,,1,,high,0,0"]
    table = lines(tmp_path / "list.csv", [HEADING, *rows])
    assert found(Videos(table), "error") == {
        f"{table} line 2 column fold": "'0' is no fold; folds are counted from 1",
        f"{table} line 3 column fold": "'x' is no fold; folds are counted from 1",
        f"{table} line 3 column valence": "'2.5' is no number from -1 to 1; give the option scale",
        f"{table} line 4 column valence": "'high' is no number from -1 to 1; give the option scale",
    }
    with pytest.raises(DataError, match="line 2 column fold: '0' is no fold"):
        Videos(table).read()


def test_a_missing_video_of_a_table_stops_reading_and_may_be_left_out(tmp_path):
    frames(tmp_path / "a")
    table = lines(tmp_path / "list.csv", ["path,label", "a,happy", "b.mp4,sad"])
    with pytest.raises(DataError, match=r"1 of 2 videos are missing or empty: b.mp4 \(.*list.csv line 3\)"):
        Videos(table).read()
    with pytest.warns(EmozooWarning, match="They are left out"):
        assert labels(Videos(table, skip_missing=True).read()) == {"a": ("train", "happy")}


def test_a_class_whose_videos_are_all_missing_moves_no_other_classs_labels(tmp_path):
    for name in "bc":
        frames(tmp_path / name)
    table = lines(tmp_path / "list.csv", ["path,label", "a,angry", "b,happy", "c,sad"])
    with pytest.warns(EmozooWarning, match="They are left out"):
        rows = Videos(table, skip_missing=True).read()
    assert labels(rows) == {"b": ("train", "happy"), "c": ("train", "sad")}
    assert rows.features["label"].names == ["angry", "happy", "sad"]


def test_the_check_finds_broken_short_and_repeated_videos_and_what_is_not_read(tmp_path):
    good = video(tmp_path / "train" / "happy" / "good.mp4", 20)
    (tmp_path / "test" / "sad").mkdir(parents=True)
    (tmp_path / "test" / "sad" / "copy.mp4").write_bytes(good.read_bytes())
    (tmp_path / "test" / "sad" / "cut.mp4").write_bytes(good.read_bytes()[:100])
    (tmp_path / "test" / "sad" / "empty.avi").write_bytes(b"")
    video(tmp_path / "train" / "sad" / "short.mp4", 15)
    lines(tmp_path / "train" / "sad" / "notes.txt", ["x"])
    reader = Videos(tmp_path)
    errors, warned = found(reader, "error"), found(reader, "warning")
    assert set(errors) == {"test/sad/cut.mp4", "test/sad/empty.avi"}
    assert "its beginning or its index is lost" in errors["test/sad/cut.mp4"]
    assert warned["train/sad/short.mp4 (15)"].startswith("1 videos have fewer than 16 frames")
    assert warned["train/sad/notes.txt"] == "is no video, nor a folder of frames, and is not read"
    messages = [
        f.message for f in check(reader, "videos") if f.subject == "test/sad/copy.mp4 = train/happy/good.mp4"
    ]
    assert len(messages) == 3
    assert found(reader, "info")["frames"] == "15 to 20 a video, median 20"


def test_a_subject_of_two_splits_and_a_class_that_is_a_number_are_warned_of(tmp_path):
    for name in "abc":
        frames(tmp_path / name)
    rows = ["a,3,train,,anna,,,", "b,3,test,,anna,,,", "c,3,test,,ben,,,"]
    table = lines(tmp_path / "list.csv", [HEADING, *rows])
    warned = found(Videos(table), "warning")
    assert "in more than one split" in warned["anna"]
    assert "labels are matched by name" in warned["class 3"]


def test_what_holds_no_videos_is_an_error(tmp_path):
    with pytest.raises(DataError, match="holds no videos in class folders; lay them out as"):
        Videos(tmp_path).read()
    with pytest.raises(DataError, match="is no CSV with the columns path and label"):
        Videos(lines(tmp_path / "notes.txt", ["x"]))
    with pytest.raises(DataError, match="does not exist"):
        Videos(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="give the lowest value, then the highest"):
        Videos(tmp_path, scale=(1.0, -1.0))
