"""The reader of MMI: sessions with annotations in XML, or folders by class."""

from __future__ import annotations

import pytest
from video_trees import frames, mmi, session, video

from emozoo.data.reading import recognise
from emozoo.errors import DataError
from emozoo.testing import check_dataset
from emozoo_datasets.mmi import Mmi

CODES = ("angry", "disgust", "fear", "happy", "sad", "surprise")


def labels(rows):
    names = rows.features["label"].names
    return {row["id"]: names[row["label"]] for row in rows}


def found(reader, severity):
    return {f.subject: f.message for f in reader.check() if f.severity == severity}


def test_sessions_of_the_six_emotions_are_read_and_others_are_not(tmp_path):
    root = mmi(tmp_path / "mmi-facial-expression-database_download")
    assert recognise(root) == "mmi"
    assert recognise(root / "Sessions") == "mmi"
    rows = Mmi(root).read()
    assert labels(rows) == {f"S{n:03d}-001": CODES[n % 6] for n in range(1, 13)}
    assert dict(zip(rows["subject"], rows["fold"], strict=True)) == {
        f"S{n:03d}": (n - 1) % 10 + 1 for n in range(1, 13)
    }


def test_sequences_of_a_subject_share_its_fold(tmp_path):
    root = mmi(tmp_path)
    session(root, 77, "S003-009", 4)
    rows = Mmi(root).read()
    assert {row["fold"] for row in rows if row["subject"] == "S003"} == {3}


def test_folders_by_class_are_read_files_and_frames_alike(tmp_path):
    video(tmp_path / "Anger" / "S001-001.avi")
    frames(tmp_path / "Happiness" / "S002_005")
    assert recognise(tmp_path) == "mmi"
    rows = Mmi(tmp_path).read()
    assert labels(rows) == {"S001-001": "angry", "S002_005": "happy"}
    assert rows["subject"][:] == ["S001", "S002"]
    check_dataset("mmi", root=tmp_path)


@pytest.mark.parametrize("code", ["happy", "-1", "", "1.5"])
def test_a_code_that_is_none_is_reported_with_its_file(tmp_path, code):
    root = mmi(tmp_path)
    folder = session(root, 99, "S050-001", code)
    with pytest.raises(
        DataError, match=r"S050-001.xml: Emotion is .* which is no code; 1 to 6 are angry, disgust"
    ):
        Mmi(root).read()
    assert str(folder / "S050-001.xml") in found(Mmi(root), "error")


def test_a_damaged_and_a_huge_annotation_are_reported(tmp_path):
    root = mmi(tmp_path)
    path = session(root, 99, "S050-001", 1) / "S050-001.xml"
    path.write_text("<annotation><Metatag")
    assert "is no annotation in XML" in found(Mmi(root), "error")[str(path)]
    path.write_text(" " * (2 << 20))
    assert "it has more than 1,048,576 bytes" in found(Mmi(root), "error")[str(path)]


def test_the_check_says_what_views_there_are_and_how_many_sequences_others_used(tmp_path):
    root = mmi(tmp_path)
    (root / "Sessions" / "3" / "session.xml").write_text('<session><track view="2"/></session>')
    (root / "Sessions" / "4" / "session.xml").unlink()
    reader = Mmi(root)
    assert found(reader, "info")["views"].startswith("0 10, 2 1, unknown 1 ")
    assert "12 sequences of 12 subjects; published results are on 205" in found(reader, "warning")[str(root)]


def test_a_folder_that_is_not_mmi_says_what_belongs_there(tmp_path):
    video(tmp_path / "Anger" / "clip.mp4")
    assert not Mmi.recognises(tmp_path)
    with pytest.raises(DataError, match="holds no videos of MMI; they belong in Sessions"):
        Mmi(tmp_path).read()
