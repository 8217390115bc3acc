"""The reader of MAFW, whose derivative lists number eleven classes in three orders."""

from __future__ import annotations

import shutil

import pytest
from video_trees import frames, lines, mafw

from emozoo.data.reading import recognise
from emozoo.errors import DataError
from emozoo_datasets.mafw import Mafw

NAMES = ("angry", "happy", "disappointment", "anxiety", "contempt")
"""Of clips 1 to 5."""

S2D = [
    "Anger", "Anxiety", "contempt", "Disappointment", "Disgust", "Fear", "Happiness", "Helplessness", "Neutral",
    "Sadness", "Surprise",
]  # fmt: skip


def classes(rows):
    names = rows.features["label"].names
    return [names[row["label"]] for row in rows]


def test_the_original_layout_is_read_with_names_and_folds(tmp_path):
    root = mafw(tmp_path / "MAFW")
    assert recognise(root) == "mafw"
    rows = Mafw(root).read()
    assert classes(rows) == list(NAMES)
    assert rows["fold"][:] == [1, 2, 3, 4, 5]
    assert rows.features["label"].num_classes == 11
    assert all(path.endswith(f"clips/{n:05d}.mp4") for n, path in enumerate(rows["video"], 1))


def test_lists_with_captions_are_read_too_even_in_a_chinese_encoding(tmp_path):
    root = mafw(tmp_path / "MAFW")
    for path in (root / "anno" / "single" / "with_caption").rglob("*.txt"):
        path.write_bytes(path.read_text(encoding="utf-8").encode("gbk"))
    rows = Mafw(root, lists="anno/single/with_caption").read()
    assert classes(rows) == list(NAMES)
    assert rows["fold"][:] == [1, 2, 3, 4, 5]


def numbered(root, names, folds=(1,), line="/data/MAFW/data/faces/{:05d} 3 {}"):
    """DFER-CLIP's form: folders of faces, and lists of path, frames and number."""
    order = [name.lower() for name in names]
    spelled = dict(zip(NAMES, ("anger", "happiness", "disappointment", "anxiety", "contempt"), strict=True))
    rows = [line.format(n, order.index(spelled[name])) for n, name in enumerate(NAMES, 1)]
    for fold in folds:
        lines(root / f"MAFW_set_{fold}_train.txt", [row for n, row in enumerate(rows, 1) if n != fold])
        lines(root / f"MAFW_set_{fold}_test.txt", [rows[fold - 1]])
    for n in range(1, 6):
        frames(root / "data" / "faces" / f"{n:05d}")
    return root


def test_numbers_alone_are_refused_since_their_orders_differ(tmp_path):
    root = numbered(tmp_path, S2D)
    with pytest.raises(
        DataError, match=r"MAFW_set_1_t\w+.txt: nothing tells what the labels 0, 1, 2, 3, 6 stand for"
    ):
        Mafw(root).read()
    numbers = {str(number): name for number, name in enumerate(S2D)}
    assert classes(Mafw(root, numbers=numbers).read()) == list(NAMES)


def test_an_index_beside_the_lists_says_what_numbers_stand_for(tmp_path):
    root = numbered(tmp_path, S2D)
    index = [f"{number}: '{name}'," for number, name in enumerate(S2D)]
    lines(root / "id_to_calss.txt", index)
    assert classes(Mafw(root).read()) == list(NAMES)
    lines(root / "id_to_calss.txt", index[:-1])
    with pytest.raises(DataError, match="nothing tells"):
        Mafw(root).read()


def test_lists_with_names_are_preferred_to_lists_with_numbers(tmp_path):
    root = numbered(mafw(tmp_path), S2D, folds=(1, 2, 3, 4, 5))
    rows = Mafw(root).read()
    assert classes(rows) == list(NAMES)
    assert all("/data/faces/" in path for path in rows["video"])


def test_lists_of_compound_emotions_are_not_read(tmp_path):
    root = mafw(tmp_path)
    shutil.rmtree(root / "anno" / "single")
    with pytest.raises(DataError, match="holds no lists of MAFW"):
        Mafw(root).read()
