"""The reader of AFEW: videos, aligned faces, and folders of frames as FAN's and Former-DFER's code have them."""

from __future__ import annotations

import shutil

import pytest
from video_trees import AFEW, afew, frames, lines

from emozoo.data.reading import recognise
from emozoo.errors import DataError
from emozoo.testing import check_dataset
from emozoo_datasets.afew import Afew

EXPECTED = {
    f"{split.lower()}/{name.lower()}/{number}": (split.lower(), name.lower())
    for split, _, clips in AFEW
    for name, number in clips
}


def labels(rows):
    names = rows.features["label"].names
    return {row["id"]: (row["split"], names[row["label"]]) for row in rows}


def found(reader, severity):
    return {f.subject: f.message for f in reader.check() if f.severity == severity}


def test_videos_are_read_with_the_classes_of_their_folders(tmp_path):
    root = afew(tmp_path / "data")
    assert recognise(root) == "afew"
    rows = Afew(root).read()
    assert labels(rows) == EXPECTED
    assert all(path.endswith(".avi") for path in rows["video"])
    assert rows.features["label"].names == ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]


def test_aligned_faces_take_their_labels_from_the_videos(tmp_path):
    root = afew(tmp_path)
    rows = Afew(root, faces=True).read()
    assert labels(rows) == EXPECTED
    assert set(rows["frames"]) == {3}
    shutil.rmtree(root / "Val_AFEW" / "AlignedFaces_LBPTOP_Points_Val" / "Faces" / "004643134")
    with pytest.raises(DataError, match="1 of 4 videos are missing or empty: val/happy/004643134"):
        Afew(root, faces=True).read()
    shutil.rmtree(root / "Val_AFEW" / "AlignedFaces_LBPTOP_Points_Val")
    with pytest.raises(DataError, match="holds no aligned faces; they belong in"):
        Afew(root, faces=True).read()


def test_parts_unpacked_into_folders_of_their_own_are_found(tmp_path):
    made = afew(tmp_path / "made")
    for split in ("Train", "Val"):
        (tmp_path / "EmotiW" / split).mkdir(parents=True)
        (made / f"{split}_AFEW").rename(tmp_path / "EmotiW" / split / f"{split}_AFEW")
    assert labels(Afew(tmp_path / "EmotiW").read()) == EXPECTED


def faces(root, form):
    for split, _, clips in AFEW:
        for name, number in clips:
            frames(root / form[split] / name / number, name="{:07d}.jpg")
    return root


FAN = {"Train": "data/face/train_afew", "Val": "data/face/val_afew"}
FORMER = {"Train": "train", "Val": "validation"}


def test_fan_s_folders_and_lists_are_read(tmp_path):
    root = faces(tmp_path / "Emotion-FAN", FAN)
    lines(root / "data" / "txt" / "afew_train.txt", ["Angry/000046280 Angry", "Happy/013736360 Happy"])
    lines(root / "data" / "txt" / "afew_eval.txt", ["Happy/004643134 Happy"])
    assert recognise(root) == "afew"
    wanted = {key: value for key, value in EXPECTED.items() if key != "val/angry/005150814"}
    assert labels(Afew(root).read()) == wanted
    assert found(Afew(root), "info")["val/angry/005150814"] == "1 clips are in no list and are not read"


def test_former_dfer_s_lists_are_read_by_folder_whatever_their_numbers_are(tmp_path):
    root = faces(tmp_path / "AFEW_Face", FORMER)
    place = "/home/user/datasets/AFEW_Face"
    lines(
        root / "AFEW_train.txt", [f"{place}/train/Angry/000046280 3 3", f"{place}/train/Happy/013736360 9 0"]
    )
    lines(root / "AFEW_validation.txt", [f"{place}/validation/{n}/{c} 3 0" for n, c in AFEW[1][2]])
    assert recognise(root) == "afew"
    assert labels(Afew(root).read()) == EXPECTED
    assert "another number of frames" in found(Afew(root), "warning")["train/happy/013736360 (3 for 9)"]
    check_dataset("afew", root=root)


def test_a_listed_clip_that_is_not_there_is_missing(tmp_path):
    root = faces(tmp_path / "AFEW_Face", FORMER)
    lines(root / "AFEW_train.txt", ["train/Angry/000046280 3 3", "train/Sad/1_4_011329120 3 1"])
    with pytest.raises(
        DataError, match=r"1 of 4 videos are missing or empty: train/sad/1_4_011329120 \(.*line 2\)"
    ):
        Afew(root).read()
    assert "train/sad/1_4_011329120" in found(Afew(root), "error")


def test_of_faces_and_frames_side_by_side_one_has_to_be_named(tmp_path):
    root = faces(tmp_path / "FAN", FAN)
    faces(root, {"Train": "data/frame/train_afew", "Val": "data/frame/val_afew"})
    with pytest.raises(
        DataError, match="several folders hold the videos: data/face, data/frame; name one with"
    ):
        Afew(root).read()
    assert all("data/frame" in path for path in Afew(root, media="data/frame").read()["video"])


def test_a_folder_that_is_not_afew_says_what_belongs_there(tmp_path):
    frames(tmp_path / "train" / "Happy" / "1")
    assert not Afew.recognises(tmp_path)
    with pytest.raises(DataError, match="holds no videos of AFEW; they belong in Train_AFEW"):
        Afew(tmp_path / "train").read()
