"""The reader of DFEW, on the original layout and on the lists that others made of it."""

from __future__ import annotations

import pytest
from video_trees import DFEW_CLASSES, dfew, dfew_lists, frames, lines

from emozoo.data.checks import check
from emozoo.data.reading import recognise
from emozoo.errors import DataError, EmozooWarning
from emozoo.testing import check_dataset
from emozoo_datasets.dfew import Dfew
from emozoo_datasets.listed_videos import ListedVideos

NUMBERS = {str(number): name for number, name in enumerate(DFEW_CLASSES)}


def faces(root, count=14):
    for number in range(1, count + 1):
        frames(root / "DFEW_Frame_Face" / f"{number:05d}", name=f"{number:05d}_{{:05d}}.jpg")
    return root


def classes(rows):
    names = rows.features["label"].names
    return {row["id"]: names[row["label"]] for row in rows}


EXPECTED = {f"{n:05d}": DFEW_CLASSES[(n - 1) % 7] for n in range(1, 15)}


def found(reader, severity):
    return {f.subject: f.message for f in check(reader, "dfew") if f.severity == severity}


def test_the_original_layout_is_read_with_its_own_numbers_and_folds(tmp_path):
    root = dfew(tmp_path / "DFEW")
    assert recognise(root) == "dfew"
    rows = Dfew(root).read()
    assert rows.features["label"].names == list(DFEW_CLASSES)
    assert classes(rows) == EXPECTED
    assert {row["id"]: row["fold"] for row in rows} == {f"{n:05d}": (n - 1) % 5 + 1 for n in range(1, 15)}
    assert {row["video"] for row in rows} == {
        str(root / "Clip" / "clip_224x224" / f"{n:05d}") for n in range(1, 15)
    }
    assert set(rows["frames"]) == {3}
    assert set(rows["split"]) == {"train"}


def test_of_several_folders_of_frames_one_is_chosen_by_name(tmp_path):
    root = dfew(tmp_path)
    assert set(Dfew(root, media="Clip/clip_224x224_16f").read()["frames"]) == {16}
    for number in (1, 2):
        for copy in ("mine", "yours"):
            frames(tmp_path / "other" / copy / f"{number:05d}")
    with pytest.raises(
        DataError, match="several folders hold the videos: mine, yours; name one with the option media"
    ):
        Dfew(root, media="other").read()
    with pytest.raises(DataError, match="holds none of the videos that the lists name"):
        Dfew(root, media="EmoLabel_DataSplit").read()
    with pytest.raises(DataError, match=r"media: there is no folder .*nowhere"):
        Dfew(root, media="nowhere").read()


@pytest.mark.parametrize(
    ("form", "line", "first"),
    [
        ("label/single_{0}set_{1}.csv", "{name},{label}", 1),
        ("EmoLabel_DataSplit/{0}(single-labeled)/{0}_set_{1}.csv", "{number},{label}", 0),
        ("annotation/DFEW_set_{1}_{0}.txt", "/home/user/datasets/DFEW_Face/{number} 3 {label}", 0),
        ("saved/data/dfew/org/split0{1}/{0}.csv", "/mnt/data/DFEW/Clip/jpg_256/{number} {label}", 0),
        ("annotation/DFEW_set_{1}_{0}.txt", "C:\\Users\\me\\DFEW\\{number} 3 {label}", 0),
    ],
    ids=["authors", "s2d", "former-dfer", "mae-dfer", "windows"],
)
def test_derivative_lists_give_the_same_labels_and_folds(tmp_path, form, line, first):
    root = faces(tmp_path / "DFEW_faces")
    for fold in range(1, 6):
        dfew_lists(root, fold, range(1, 15), form, line, first)
    assert recognise(root) == "dfew"
    rows = Dfew(root, numbers=None if first else NUMBERS).read()
    assert classes(rows) == EXPECTED
    assert {row["id"]: row["fold"] for row in rows} == {f"{n:05d}": (n - 1) % 5 + 1 for n in range(1, 15)}


def test_numbers_from_zero_are_not_taken_for_the_original_s(tmp_path):
    root = faces(tmp_path)
    dfew_lists(root, 1, range(1, 15), "DFEW_set_{1}_{0}.txt", "{number} 3 {label}", first=0)
    with pytest.raises(DataError, match=r"nothing tells what the labels 0, 1, .*6 stand for.*option numbers"):
        Dfew(root).read()
    assert "nothing tells what the labels" in found(Dfew(root), "error")[str(root)]


def test_numbers_from_one_without_the_last_might_be_from_zero_and_are_refused(tmp_path):
    root = faces(tmp_path, 4)
    dfew_lists(root, 1, range(1, 5), "DFEW_set_{1}_{0}.txt", "{number} 3 {label}", first=1)
    with pytest.raises(DataError, match="nothing tells what the labels 1, 2, 3, 4 stand for"):
        Dfew(root).read()


def test_an_order_is_known_by_the_number_of_clips_of_each_class(tmp_path, monkeypatch):
    """A list in alphabetical order is read by names, though its numbers are from 0 as everyone's are."""
    monkeypatch.setattr(Dfew, "counts", (40, 30, 50, 35, 25, 5, 15))
    names = [name for name, count in zip(DFEW_CLASSES, Dfew.counts, strict=True) for _ in range(count)]
    order = sorted(DFEW_CLASSES)
    rows = [f"{number:05d} {order.index(name)}" for number, name in enumerate(names, 1)]
    lines(tmp_path / "split01" / "test.csv", rows[::4])
    lines(tmp_path / "split01" / "train.csv", [row for place, row in enumerate(rows) if place % 4])
    for number in range(1, len(names) + 1):
        frames(tmp_path / "jpg_256" / f"{number:05d}", 1)
    assert list(classes(Dfew(tmp_path).read()).values()) == names
    said = found(Dfew(tmp_path), "info")["lists"]
    assert "0 angry, 1 disgust, 2 fear" in said
    assert "by the number of videos of each class" in said


def test_labels_in_another_order_than_their_counts_are_an_error_of_the_check(tmp_path, monkeypatch):
    monkeypatch.setattr(Dfew, "counts", (2, 2, 2, 2, 2, 1, 3))
    root = faces(tmp_path)
    rows = [f"{n:05d} {DFEW_CLASSES[(n - 1) % 7]}" for n in range(1, 14)] + ["00014 happy"]
    lines(root / "split1" / "test.csv", rows[:5])
    lines(root / "split1" / "train.csv", rows[5:])
    message = found(Dfew(root), "error")["classes"]
    assert message.startswith(
        "as many clips as in the original, but of other classes: the labels are in another order"
    )


def test_one_fold_alone_leaves_the_other_clips_to_training(tmp_path):
    root = faces(tmp_path)
    dfew_lists(root, 3, range(1, 15), "DFEW_set_{1}_{0}.txt", "{number} 3 {label}", first=0)
    rows = Dfew(root, numbers=NUMBERS).read()
    assert {row["id"] for row in rows if row["fold"] == 3} == {"00003", "00008", "00013"}
    assert {row["fold"] for row in rows} == {3, None}
    assert set(rows["split"]) == {"train"}
    assert "test lists of 1 of 5 folds" in found(Dfew(root, numbers=NUMBERS), "warning")["folds"]


def test_a_validation_list_that_repeats_the_test_list_is_not_read_and_alone_stands_for_it(tmp_path):
    root = faces(tmp_path)
    for fold in (1, 2):
        dfew_lists(root, fold, range(1, 15), "split0{1}/{0}.csv", "x/{number} {label}")
    (root / "split01" / "val.csv").write_bytes((root / "split01" / "test.csv").read_bytes())
    (root / "split02" / "test.csv").rename(root / "split02" / "val.csv")
    rows = Dfew(root, numbers=NUMBERS).read()
    assert {row["id"] for row in rows if row["fold"] == 1} == {"00001", "00006", "00011"}
    assert {row["id"] for row in rows if row["fold"] == 2} == {"00002", "00007", "00012"}


def test_a_missing_and_an_empty_clip_stop_reading_and_may_be_left_out(tmp_path):
    root = dfew(tmp_path)
    for file in (root / "Clip" / "clip_224x224" / "00009").iterdir():
        file.unlink()
    (root / "Clip" / "clip_224x224" / "00004").rename(root / "Clip" / "moved")
    with pytest.raises(
        DataError, match=r"2 of 14 videos are missing or empty: 00004, 00009 \(.*set_\d.csv line \d"
    ):
        Dfew(root).read()
    with pytest.warns(EmozooWarning, match="2 of 14 videos are missing"):
        assert len(Dfew(root, skip_missing=True).read()) == 12
    errors = found(Dfew(root), "error")
    assert set(errors) == {"00004", "00009"}
    assert "there is no such video, or it is empty" in errors["00004"]


def test_the_check_finds_frames_that_the_list_counts_and_are_not_there(tmp_path):
    root = faces(tmp_path)
    dfew_lists(root, 1, range(1, 15), "DFEW_set_{1}_{0}.txt", "{number} 3 {label}", first=0)
    (root / "DFEW_Frame_Face" / "00002" / "00002_00002.jpg").unlink()
    frames(tmp_path / "more", 2, "00002_{:05d}.jpg", first=4)
    for file in (tmp_path / "more").iterdir():
        file.rename(root / "DFEW_Frame_Face" / "00002" / file.name)
    (root / "DFEW_Frame_Face" / "00005" / "00005_00003.jpg").write_bytes(b"")
    reader = Dfew(root, numbers=NUMBERS)
    warned = found(reader, "warning")
    assert "00002 (4 for 3)" in warned
    assert "another number of frames" in warned["00002 (4 for 3)"]
    lacking = "00002 (1 of 5 frames are missing: 2), 00005 (1 of its frames are empty files, 00005_00003.jpg)"
    assert "2 videos lack frames" in warned[lacking]
    assert any("fewer than 16 frames" in message for message in warned.values())


def test_clips_that_train_and_test_or_are_tested_twice_are_errors(tmp_path):
    root = dfew(tmp_path)
    folder = root / "EmoLabel_DataSplit"
    with (folder / "train(single-labeled)" / "set_1.csv").open("a") as file:
        file.write("6,6\n")
    with (folder / "test(single-labeled)" / "set_2.csv").open("a") as file:
        file.write("8,1\n")
    errors = found(Dfew(root), "error")
    assert errors["fold 1: 00006"] == "1 clips are in the training and in the test list"
    assert any("in the test lists of two folds or splits" in message for message in errors.values())
    with pytest.raises(DataError, match=r"set_2.csv line 5: the clip is in the test lists of two folds"):
        Dfew(root).read()


def test_a_clip_with_two_labels_is_an_error(tmp_path):
    root = dfew(tmp_path)
    path = root / "EmoLabel_DataSplit" / "train(single-labeled)" / "set_4.csv"
    path.write_text(path.read_text().replace("\n7,7\n", "\n7,2\n"))
    with pytest.raises(DataError, match=r"set_4.csv line \d+: another label than in .*; keep one"):
        Dfew(root).read()


def test_identical_clips_of_two_folds_are_found(tmp_path):
    root = dfew(tmp_path)
    clips = root / "Clip" / "clip_224x224"
    for file in (clips / "00002").iterdir():
        (clips / "00010" / file.name).write_bytes(file.read_bytes())
    warned = found(Dfew(root), "warning")
    assert "different labels" in warned["00002 = 00010"]
    leaks = [f for f in check(Dfew(root), "dfew") if "lie in more than one split" in f.message]
    assert [f.subject for f in leaks] == ["00002 = 00010"]


def test_lines_that_say_nothing_and_unknown_classes_are_reported_with_their_place(tmp_path):
    root = dfew(tmp_path)
    path = root / "EmoLabel_DataSplit" / "test(single-labeled)" / "set_5.csv"
    path.write_text(path.read_text() + "nonsense\n4,bored\n")
    errors = found(Dfew(root), "error")
    assert "is no video with a label" in errors[f"{path} line 4"]
    assert errors[f"{path} line 5"].startswith("there is no class 'bored'; DFEW has happy, sad")


def test_wrong_numbers_are_refused_by_name(tmp_path):
    root = dfew(tmp_path)
    with pytest.raises(
        DataError, match="numbers: '1' = 'bored' does not give a number one of the classes happy"
    ):
        Dfew(root, numbers={"1": "bored"}).read()
    with pytest.raises(DataError, match=r"line \d+: nothing says what class the label [2-7] is; add it"):
        Dfew(root, numbers={"1": "happy"}).read()


def test_a_folder_without_lists_says_what_belongs_there(tmp_path):
    frames(tmp_path / "DFEW" / "00001")
    assert not Dfew.recognises(tmp_path / "DFEW")
    with pytest.raises(
        DataError, match="holds no lists of DFEW; put a training and a test list of a fold there"
    ):
        Dfew(tmp_path / "DFEW").read()
    with pytest.raises(DataError, match="DFEW does not come with emozoo: give its folder"):
        Dfew(None)


def test_the_contract_holds_for_derivative_lists_too(tmp_path):
    root = faces(tmp_path)
    for fold in range(1, 6):
        dfew_lists(root, fold, range(1, 15), "DFEW_set_{1}_{0}.txt", "{number} 3 {label}", first=0)
    check_dataset("dfew", {"numbers": NUMBERS}, root=root)


def test_the_published_size_of_the_dataset_is_that_of_its_lists():
    assert sum(Dfew.counts) == 11_697
    assert len(set(Dfew.counts)) == len(Dfew.labels)
    assert issubclass(Dfew, ListedVideos)
