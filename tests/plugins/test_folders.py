"""The reader of class-named folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emozoo.contracts import DatasetReader
from emozoo.data.checks import check
from emozoo.errors import DataError
from emozoo_datasets.folders import Folders


def picture(path: Path, seed: int, size=(60, 50)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def messages(root: Path, severity: str) -> dict[str, str]:
    return {f.subject: f.message for f in check(Folders(root), "folders") if f.severity == severity}


def test_class_folders_without_splits_are_all_training(tmp_path):
    paths = [
        picture(tmp_path / name, seed)
        for seed, name in enumerate(["Sad/b.png", "anger/a.jpg", "anger/c.PNG"])
    ]
    reader = Folders(tmp_path)
    assert isinstance(reader, DatasetReader)
    rows = reader.read()
    assert rows.features["label"].names == ["angry", "sad"]
    assert {row["id"]: (row["split"], row["label"]) for row in rows} == {
        "Sad/b.png": ("train", 1),
        "anger/a.jpg": ("train", 0),
        "anger/c.PNG": ("train", 0),
    }
    assert {row["image"]["path"] for row in rows} == {str(path) for path in paths}
    assert all(row["image"]["bytes"] is None for row in rows)


def test_folders_of_splits_keep_their_names_and_share_labels(tmp_path):
    for seed, name in enumerate(
        ["train/happy/a.png", "train/fear/b.png", "validation/happy/a.png", "test/fear/d.png"]
    ):
        picture(tmp_path / name, seed)
    rows = Folders(tmp_path).read()
    assert rows.features["label"].names == ["fear", "happy"]
    assert sorted((row["split"], row["label"]) for row in rows) == [
        ("test", 0),
        ("train", 0),
        ("train", 1),
        ("validation", 1),
    ]


def test_labels_do_not_depend_on_which_folder_comes_first(tmp_path):
    for split, names in (("test", ["zeal", "happy"]), ("train", ["anger", "zeal"])):
        for seed, name in enumerate(names):
            picture(tmp_path / split / name / "x.png", seed)
    rows = Folders(tmp_path).read()
    names = rows.features["label"].names
    assert names == ["angry", "happy", "zeal"]
    assert {row["id"]: names[row["label"]] for row in rows} == {
        "test/happy/x.png": "happy",
        "test/zeal/x.png": "zeal",
        "train/anger/x.png": "angry",
        "train/zeal/x.png": "zeal",
    }


def test_two_spellings_of_a_category_are_one_label_and_the_check_says_so(tmp_path):
    for seed, name in enumerate(["Happy/a.png", "happiness/b.png", "sad/c.png"]):
        picture(tmp_path / name, seed)
    assert Folders(tmp_path).read().features["label"].names == ["happy", "sad"]
    assert messages(tmp_path, "warning")["Happy, happiness"] == "are read as one class, 'happy'"


def test_what_lies_about_is_not_read_and_reported(tmp_path):
    picture(tmp_path / "happy" / "a.png", 0)
    picture(tmp_path / "sad" / "b.png", 1)
    picture(tmp_path / "3" / "c.png", 2)
    (tmp_path / "fear").mkdir()
    for name in ("happy/notes.txt", "happy/.DS_Store", "labels.csv"):
        (tmp_path / name).write_text("x")
    picture(tmp_path / "happy" / "deeper" / "d.png", 3)
    assert len(Folders(tmp_path).read()) == 3
    found = messages(tmp_path, "warning")
    assert set(found) == {"3", "fear", "happy/notes.txt", "happy/deeper", "labels.csv"}
    assert "holds no images" in found["fear"]
    assert "named by a number" in found["3"]
    assert "is not read" in found["happy/deeper"]


def test_broken_and_repeated_images_are_found_by_the_check(tmp_path):
    good = picture(tmp_path / "train" / "happy" / "a.jpg", 0)
    picture(tmp_path / "train" / "sad" / "b.jpg", 1)
    (tmp_path / "test" / "sad").mkdir(parents=True)
    (tmp_path / "test" / "sad" / "copy.jpg").write_bytes(good.read_bytes())
    (tmp_path / "test" / "sad" / "cut.jpg").write_bytes(good.read_bytes()[:300])
    (tmp_path / "test" / "sad" / "empty.png").write_bytes(b"")
    assert set(messages(tmp_path, "error")) == {"test/sad/cut.jpg", "test/sad/empty.png"}
    leaks = [f for f in check(Folders(tmp_path), "folders") if "in more than one split" in f.message]
    assert [f.subject for f in leaks] == ["test/sad/copy.jpg = train/happy/a.jpg"]
    assert messages(tmp_path, "info")["train"] == "2 samples: happy 1, sad 1"


def test_a_folder_without_class_folders_is_an_error(tmp_path):
    picture(tmp_path / "a.png", 0)
    with pytest.raises(DataError, match="holds no images in class folders; lay them out as"):
        Folders(tmp_path).read()
    assert messages(tmp_path, "error") == {str(tmp_path): "holds no images in class folders"}
    with pytest.raises(DataError, match="is no folder"):
        Folders(tmp_path / "a.png")
    with pytest.raises(DataError, match="give a folder"):
        Folders(None)


def test_folders_are_recognised_by_the_names_of_categories(tmp_path):
    picture(tmp_path / "emotions" / "Happiness" / "a.png", 0)
    picture(tmp_path / "emotions" / "contempt" / "b.png", 1)
    picture(tmp_path / "frames" / "00001" / "c.png", 2)
    picture(tmp_path / "frames" / "00002" / "d.png", 3)
    assert Folders.recognises(tmp_path / "emotions")
    assert not Folders.recognises(tmp_path / "frames")
    assert not Folders.recognises(tmp_path / "emotions" / "contempt" / "b.png")


def test_seven_classes_of_other_pictures_than_fer2013s_are_theirs(tmp_path):
    from emozoo_datasets.fer2013 import Fer2013

    seven = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    for size, root in (((48, 48), tmp_path / "fer"), ((100, 100), tmp_path / "other")):
        for seed, name in enumerate(seven):
            picture(root / "train" / name / "a.png", seed, size)
            picture(root / "test" / name / "b.png", seed + 7, size)
    assert (Folders.recognises(tmp_path / "fer"), Fer2013.recognises(tmp_path / "fer")) == (False, True)
    assert (Folders.recognises(tmp_path / "other"), Fer2013.recognises(tmp_path / "other")) == (True, False)
