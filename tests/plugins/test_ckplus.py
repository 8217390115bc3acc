"""The reader of CK+: codes in files, folds as the literature deals them."""

from __future__ import annotations

import re

import pytest
from video_trees import ckplus, frames, lines

from emozoo.data.reading import recognise
from emozoo.errors import DataError
from emozoo_datasets.ckplus import CKPlus
from emozoo_datasets.video_reader import subject_folds

CODES = {1: "angry", 2: "contempt", 3: "disgust", 4: "fear", 5: "happy", 6: "sad", 7: "surprise"}

FOLDS = """
5 35 54 64 74 84 94 106 116 130 147 501 | 10 37 55 65 75 85 95 107 117 131 148 502
11 42 56 66 76 86 96 108 119 132 149 503 | 14 44 57 67 77 87 97 109 122 133 151 504
22 45 58 68 78 88 98 110 124 134 154 505 | 26 46 59 69 79 89 99 111 125 135 155 506
28 50 60 70 80 90 100 112 126 136 156 895 | 29 51 61 71 81 91 101 113 127 137 157 999
32 52 62 72 82 92 102 114 128 138 158 | 34 53 63 73 83 93 105 115 129 139 160
"""
"""The subjects of each fold of the list that FAN's authors published, in which each fold is a part of its own."""


def found(reader, severity):
    return {f.subject: f.message for f in reader.check() if f.severity == severity}


def labels(rows):
    names = rows.features["label"].names
    return {row["id"]: names[row["label"]] for row in rows}


def test_labelled_sequences_are_read_and_others_are_not(tmp_path):
    root = ckplus(tmp_path / "CK")
    assert recognise(root) == "ckplus"
    rows = CKPlus(root).read()
    assert labels(rows) == {f"S{n:03d}/001": CODES[n % 7 + 1] for n in range(5, 15)}
    assert rows["subject"][:] == [f"S{n:03d}" for n in range(5, 15)]
    assert sorted(rows["fold"]) == list(range(1, 11))
    assert rows[0]["video"] == str(root / "cohn-kanade-images" / "S005" / "001")


def test_folds_are_those_of_the_list_that_fan_was_tested_on():
    published = [part.split() for part in re.split(r"[|\n]", FOLDS.strip())]
    expected = {f"S{int(n):03d}": fold for fold, part in enumerate(published, 1) for n in part}
    assert len(published) == 10
    assert len(expected) == 118
    assert subject_folds(reversed(list(expected))) == expected


def test_fan_s_list_gives_labels_where_there_are_no_codes(tmp_path):
    for name in ("S130/007", "S501/001", "S147/002"):
        frames(tmp_path / "data" / "face" / "ck_face" / name)
    rows = ["1-fold 3 Angry 2 Contempt 1", "S130/007 Angry", "S501/001 Angry", "S147/002 Contempt"]
    lines(tmp_path / "data" / "txt" / "CK+_10-fold_sample_IDascendorder_step10.txt", rows)
    assert recognise(tmp_path) == "ckplus"
    rows = CKPlus(tmp_path).read()
    assert labels(rows) == {"S130/007": "angry", "S147/002": "contempt", "S501/001": "angry"}
    assert rows["fold"][:] == [1, 2, 3]


def test_a_code_that_is_none_is_reported_with_its_file(tmp_path):
    root = ckplus(tmp_path)
    path = next((root / "Emotion" / "S007" / "001").iterdir())
    path.write_text("   0.0000000e+00\n")
    with pytest.raises(
        DataError, match=r"S007_001_00000003_emotion.txt: '0.0000000e\+00' is no code of an emotion"
    ):
        CKPlus(root).read()
    assert found(CKPlus(root), "error")[str(path)].endswith(
        "1 angry, 2 contempt, 3 disgust, 4 fear, 5 happy, 6 sad, 7 surprise"
    )


def test_a_label_without_frames_is_a_missing_video(tmp_path):
    root = ckplus(tmp_path)
    (root / "cohn-kanade-images" / "S009" / "001").rename(root / "gone")
    with pytest.raises(DataError, match="1 of 10 videos are missing or empty: S009/001"):
        CKPlus(root).read()
    assert "the original has 327" in found(CKPlus(root), "warning")[str(root)]


def test_without_labels_it_is_not_recognised_and_says_what_is_missing(tmp_path):
    frames(tmp_path / "cohn-kanade-images" / "S005" / "001")
    assert not CKPlus.recognises(tmp_path)
    with pytest.raises(DataError, match="holds no labels of CK"):
        CKPlus(tmp_path).read()
