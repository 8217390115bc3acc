"""The reader of FERV39k, whose derivative lists number the classes in different orders."""

from __future__ import annotations

import pytest
from video_trees import FERV39K, ferv39k, frames, lines

from emozoo.data.reading import recognise
from emozoo.errors import DataError
from emozoo_datasets.ferv39k import Ferv39k

FORMER = ("Happy", "Sad", "Neutral", "Angry", "Surprise", "Disgust", "Fear")
ALPHABETICAL = tuple(sorted(FORMER))


def expected():
    spelled = {"Happy": "happy", "Sad": "sad", "Angry": "angry"}
    return {"/".join(clip): spelled[clip[1]] for clip in FERV39K}


def classes(rows):
    names = rows.features["label"].names
    return {row["id"]: names[row["label"]] for row in rows}


def found(reader, severity):
    return {f.subject: f.message for f in reader.check() if f.severity == severity}


def test_the_original_layout_is_read_by_the_lists_of_all_scenes(tmp_path):
    root = ferv39k(tmp_path / "FERV39k")
    assert recognise(root) == "ferv39k"
    rows = Ferv39k(root).read()
    assert classes(rows) == expected()
    assert [row["id"] for row in rows if row["split"] == "test"] == [
        "Talkshow/Happy/0003",
        "Talkshow/Sad/0010",
    ]
    assert "fold" not in rows.column_names


def test_the_lists_of_one_kind_of_scene_are_read_where_they_are_named(tmp_path):
    rows = Ferv39k(ferv39k(tmp_path), lists="4_setups/22_scenes/Action").read()
    assert {row["id"]: row["split"] for row in rows} == {
        "Action/Happy/0267": "train",
        "Action/Sad/0010": "test",
    }


@pytest.mark.parametrize(
    ("form", "line", "order"),
    [
        ("annotation/FERV39K_{}.txt", "/data/datasets/FERV39K/2_ClipsforFaceCrop/{} 3 {}", FORMER),
        ("saved/data/ferv39k/all_scenes/{}.csv", "/mnt/data1/FERV39k/2_ClipsforFaceCrop/{} {}", FORMER),
        ("FERV39K/Annotation/{}.csv", "{},{}", ALPHABETICAL),
    ],
    ids=["former-dfer", "mae-dfer", "s2d"],
)
def test_numbers_of_any_order_are_read_off_the_folders(tmp_path, form, line, order):
    root = tmp_path / "FERV39K"
    for clip in FERV39K:
        frames(root.joinpath("2_ClipsforFaceCrop", *clip))
    rows = [line.format("/".join(clip), order.index(clip[1])) for clip in FERV39K]
    lines(root / form.format("train"), rows[:4])
    lines(root / form.format("test"), rows[4:])
    assert recognise(root) == "ferv39k"
    assert classes(Ferv39k(root).read()) == expected()
    assert "by the folders that the videos lie in" in found(Ferv39k(root), "info")["lists"]


def test_a_number_that_stands_for_two_folders_is_an_error_and_so_is_a_label_against_its_folder(tmp_path):
    root = ferv39k(tmp_path)
    path = root / "4_setups" / "All_scenes" / "test_All.csv"
    path.write_text("Talkshow/Happy/0003 Happy\nTalkshow/Sad/0010 Fear\n")
    assert found(Ferv39k(root), "error") == {
        "Talkshow/Sad/0010": "1 clips have another label than their folder's name"
    }
    for name, rows in (("train", FERV39K[:4]), ("test", FERV39K[4:])):
        numbered = [f"{'/'.join(clip)} {FORMER.index(clip[1])}" for clip in rows]
        lines(root / "4_setups" / "All_scenes" / f"{name}_All.csv", numbered)
    path.write_text("Talkshow/Happy/0003 0\nTalkshow/Sad/0010 0\n")
    with pytest.raises(
        DataError, match=r"the label 0 stands for sad by the video's folder, and for happy by another"
    ):
        Ferv39k(root, lists="4_setups/All_scenes").read()


def test_a_clip_of_both_lists_is_an_error(tmp_path):
    root = ferv39k(tmp_path)
    with (root / "4_setups" / "All_scenes" / "train_All.csv").open("a") as file:
        file.write("Talkshow/Sad/0010 Sad\n")
    assert found(Ferv39k(root), "error")["lists: Talkshow/Sad/0010"].startswith(
        "1 clips are in the training and"
    )
