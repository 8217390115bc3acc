"""The reader of BU-4DFE, which the CEFLNet paper calls BU-3DFE."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from video_trees import bu4dfe, frames, video

from emozoo.data.reading import recognise
from emozoo.errors import DataError
from emozoo_datasets.bu4dfe import Bu4dfe
from emozoo_datasets.folders import Folders
from emozoo_datasets.video_reader import subject_folds


def labels(rows):
    names = rows.features["label"].names
    return {(row["subject"], names[row["label"]]) for row in rows}


def test_frames_by_subject_and_class_are_read_in_ten_folds(tmp_path):
    root = bu4dfe(tmp_path / "BU4DFE")
    assert recognise(root) == "bu4dfe"
    assert not Folders.recognises(root)
    rows = Bu4dfe(root).read()
    assert len(rows) == 22
    assert labels(rows) == {(s, label) for s in set(rows["subject"]) for label in ("angry", "surprise")}
    assert set(rows["frames"]) == {3}
    assert rows.features["label"].names == ["angry", "disgust", "fear", "happy", "sad", "surprise"]


def test_no_subject_is_in_two_folds_and_folds_are_balanced_over_women_and_men():
    subjects = [f"F{n:03d}" for n in range(1, 59)] + [f"M{n:03d}" for n in range(1, 44)]
    folds = subject_folds(subjects)
    members = defaultdict(list)
    for subject, fold in folds.items():
        members[fold].append(subject[0])
    assert folds == subject_folds(subjects[::-1])
    assert sorted(len(names) for names in members.values()) == [10] * 9 + [11]
    assert {Counter(names)["F"] for names in members.values()} <= {5, 6}


def test_videos_and_folders_by_class_are_the_same_dataset(tmp_path):
    for name in ("Happiness", "sad"):
        video(tmp_path / "files" / "F001" / f"{name}.avi")
        frames(tmp_path / "classes" / name / "M002")
    assert labels(Bu4dfe(tmp_path / "files").read()) == {("F001", "happy"), ("F001", "sad")}
    assert labels(Bu4dfe(tmp_path / "classes").read()) == {("M002", "happy"), ("M002", "sad")}
    assert recognise(tmp_path / "classes") == "bu4dfe"


def test_a_sequence_that_is_there_twice_is_reported(tmp_path):
    root = bu4dfe(tmp_path)
    video(root / "F001" / "Angry.avi")
    with pytest.raises(DataError, match=r"F001/angry is also .*; keep one of them"):
        Bu4dfe(root).read()


def test_other_folders_are_not_it(tmp_path):
    frames(tmp_path / "happy" / "clip1")
    assert not Bu4dfe.recognises(tmp_path)
    with pytest.raises(DataError, match="holds no sequences of BU-4DFE; they belong in F001/Angry"):
        Bu4dfe(tmp_path).read()
