"""Runs side by side: what is comparable, what is best, and differences sample by sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emozoo.errors import DataError
from emozoo.evaluation.compare import compare, compare_folders
from emozoo.evaluation.tables import number


def a_record(name: str = "a", accuracy: tuple = (0.7, [0.68, 0.72]), **more: Any) -> dict[str, Any]:
    value, interval = accuracy
    metrics = {
        "accuracy": {"value": value, "interval": interval},
        "nll": {"value": 1 - value, "interval": [1 - interval[1], 1 - interval[0]] if interval else None},
    }
    head = {
        "task": "classification",
        "n": 100,
        "primary": "accuracy",
        "metrics": metrics,
        "per_class": [{"label": "sad"}, {"label": "happy"}],
    }
    known = {
        "name": name,
        "dataset": "FER2013",
        "fingerprint": "f00",
        "split": "test",
        "n": 100,
        "tta": "none",
    }
    return {**known, "heads": {"emotion": head}, **more}


def cells(comparison: Any, row: str) -> tuple[str, ...]:
    (found,) = [cells for first, *cells in comparison.table.rows if first == row]
    return tuple(found)


def test_runs_stand_side_by_side_with_their_intervals() -> None:
    comparison = compare([a_record("a"), a_record("b", (0.71, [0.69, 0.73]))])
    assert comparison.table.header == ("", "a", "b")
    assert cells(comparison, "split") == ("test", "test")
    assert cells(comparison, "n") == ("100", "100")
    assert cells(comparison, "emotion: accuracy (WAR)") == (
        "70.00 % [68.00, 72.00]",
        "71.00 % [69.00, 73.00]",
    )
    assert comparison.warnings == ()
    assert "| emotion: accuracy (WAR) | 70.00 % [68.00, 72.00] |" in comparison.to_markdown()


def test_best_is_marked_only_where_its_interval_overlaps_no_other() -> None:
    clear = compare([a_record("a"), a_record("b", (0.8, [0.78, 0.82])), a_record("c", (0.5, [0.4, 0.6]))])
    assert [text.endswith("(best)") for text in cells(clear, "emotion: accuracy (WAR)")] == [
        False,
        True,
        False,
    ]
    assert [text.endswith("(best)") for text in cells(clear, "emotion: NLL")] == [False, True, False]
    close = compare([a_record("a"), a_record("b", (0.74, [0.719, 0.76]))])
    assert "(best)" not in "".join(cells(close, "emotion: accuracy (WAR)"))
    half = compare([a_record("a"), a_record("b", (0.74, [0.719, 0.76])), a_record("c", (0.5, [0.4, 0.6]))])
    assert "(best)" not in "".join(cells(half, "emotion: accuracy (WAR)"))
    bare = compare([a_record("a", (0.7, None)), a_record("b", (0.9, None))])
    assert "(best)" not in "".join(cells(bare, "emotion: accuracy (WAR)"))
    assert "(best)" not in compare([a_record()]).table.rows[-1][1]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"split": "val"}, "split differs (a: test; b: val)"),
        ({"dataset": "RAF-DB"}, "dataset differs (a: FER2013; b: RAF-DB)"),
        ({"fingerprint": "bad"}, "fingerprint differs (a: f00; b: bad)"),
        ({"fingerprint": None}, "fingerprint differs (a: f00; b: not recorded)"),
        ({"n": 1099}, "n differs (a: 100; b: 1,099)"),
    ],
)
def test_runs_measured_on_different_things_are_called_not_comparable(change: dict, text: str) -> None:
    comparison = compare([a_record("a"), a_record("b", (0.9, [0.88, 0.92]), **change)])
    assert comparison.warnings == (text,)
    assert comparison.to_markdown().startswith(f"> **Not comparable:** {text}")
    assert "(best)" not in "".join(cells(comparison, "emotion: accuracy (WAR)"))


def test_other_labels_or_another_count_of_a_head_are_not_comparable_either() -> None:
    other = a_record("b")
    other["heads"]["emotion"] |= {"n": 90, "per_class": [{"label": "sad"}, {"label": "angry"}]}
    assert compare([a_record("a"), other]).warnings == (
        "n of emotion differs (a: 100; b: 90)",
        "labels of emotion differs (a: sad, happy; b: sad, angry)",
    )


def test_a_metric_that_one_run_lacks_leaves_its_cell_empty() -> None:
    other = a_record("b")
    del other["heads"]["emotion"]["metrics"]["nll"]
    assert cells(compare([a_record("a"), other]), "emotion: NLL")[1] == ""


def test_runs_of_the_same_name_are_told_apart() -> None:
    assert compare([a_record(), a_record(), a_record("b")]).table.header == ("", "a (1)", "a (2)", "b")


def test_a_record_without_heads_is_refused() -> None:
    with pytest.raises(DataError, match=r"record 2 \(b\) has no measured heads: compare takes the results"):
        compare([a_record(), {"name": "b"}])


def write_predictions(path: Path, hits: np.ndarray, error: np.ndarray, **columns: list) -> Path:
    n = len(hits)
    data = {
        "id": [f"s{i}" for i in range(n)],
        "emotion.label": ["sad" if hit else "happy" for hit in hits],
        "emotion.true": ["sad"] * (n - 1) + [None],
        "emotion.p_sad": [0.5] * n,
        "affect.valence": error.tolist(),
        "affect.valence_true": [0.0] * (n - 2) + [None, None],
        **columns,
    }
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(data), path)
    return path


@pytest.fixture
def scores() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.random(400) < 0.6, generator.normal(0, 0.3, 400)


def test_paired_differences_equal_plain_means_over_samples_with_a_truth(
    tmp_path: Path, scores: tuple
) -> None:
    hits, error = scores
    better = hits | (np.random.default_rng(1).random(400) < 0.1)
    files = [
        write_predictions(tmp_path / "a.parquet", hits, error),
        write_predictions(tmp_path / "b.parquet", better, error * 1.2),
    ]
    paired = compare([a_record("a"), a_record("b")], files).paired
    assert paired is not None
    accuracy, mse = paired.rows
    gain = 100 * (better[:-1].mean() - hits[:-1].mean())
    assert accuracy[:3] == ("b, emotion: accuracy (WAR)", "399", f"+{gain:.2f} %")
    assert accuracy[-1] == "better"
    assert mse[:3] == ("b, affect: valence MSE", "398", f"+{0.44 * np.mean(error[:-2] ** 2):.3f}")
    assert mse[-1] == "worse"
    assert "Paired differences from a" in compare([a_record("a"), a_record("b")], files).to_markdown()


def test_equal_predictions_are_not_distinguishable_whatever_the_order_of_rows(
    tmp_path: Path, scores: tuple
) -> None:
    first = write_predictions(tmp_path / "a.parquet", *scores)
    table = pq.read_table(first)
    pq.write_table(table.take(pa.array(range(399, -1, -1))), tmp_path / "b.parquet")
    paired = compare([a_record("a"), a_record("b")], [first, tmp_path / "b.parquet"]).paired
    assert paired is not None
    assert [row[2:] for row in paired.rows] == [
        ("0.00 %", "[0.00, 0.00]", "not distinguishable"),
        ("0.000", "[0.000, 0.000]", "not distinguishable"),
    ]


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"id": [f"t{i}" for i in range(400)]}, "b is not paired with a: their samples differ."),
        (
            {"emotion.true": ["happy"] + ["sad"] * 398 + [None]},
            "they disagree on emotion.true of sample 's0'",
        ),
    ],
)
def test_other_samples_or_other_truths_are_not_paired(
    tmp_path: Path, scores: tuple, columns: dict, text: str
) -> None:
    files = [
        write_predictions(tmp_path / "a.parquet", *scores),
        write_predictions(tmp_path / "b.parquet", *scores, **columns),
    ]
    paired = compare([a_record("a"), a_record("b")], files).paired
    assert paired is not None
    assert paired.rows == ()
    assert text in paired.note


def test_models_that_see_the_same_samples_in_other_sizes_are_comparable(
    tmp_path: Path, scores: tuple
) -> None:
    records = [a_record("a"), a_record("b", (0.9, [0.88, 0.92]), fingerprint="bad")]
    files = [write_predictions(tmp_path / f"{name}.parquet", *scores) for name in "ab"]
    found = compare(records, files)
    assert found.warnings == ()
    assert "(best)" in "".join(cells(found, "emotion: accuracy (WAR)"))
    files[1] = write_predictions(
        tmp_path / "c.parquet", *scores, id=[f"other{n}" for n in range(len(scores[0]))]
    )
    assert compare(records, files).warnings == ("fingerprint differs (a: f00; b: bad)",)


def test_one_file_of_predictions_pairs_nothing(tmp_path: Path, scores: tuple) -> None:
    files = [None, write_predictions(tmp_path / "b.parquet", *scores)]
    assert compare([a_record("a"), a_record("b")], files).paired is None


def test_files_that_hold_no_predictions_are_refused_by_name(tmp_path: Path, scores: tuple) -> None:
    good = write_predictions(tmp_path / "a.parquet", *scores)
    bad = tmp_path / "b.parquet"
    for content, text in (
        (pa.table({"x": [1]}), "b.parquet has no column id"),
        (pa.table({"id": ["s", "s"]}), "b.parquet has more than one row with id 's'"),
    ):
        pq.write_table(content, bad)
        with pytest.raises(DataError, match=text):
            compare([a_record("a"), a_record("b")], [good, bad])
    bad.write_bytes(b"PAR1 nonsense")
    with pytest.raises(DataError, match=r"b.parquet cannot be read as predictions"):
        compare([a_record("a"), a_record("b")], [good, bad])


def test_folders_of_runs_and_of_evaluations_compare_by_the_result_they_hold(
    tmp_path: Path, scores: tuple
) -> None:
    run, evaluation = tmp_path / "run", tmp_path / "evaluation"
    for folder in (run, evaluation):
        write_predictions(folder / "predictions.parquet", *scores)
    result = a_record("ignored")
    known = {key: result[key] for key in ("split", "n", "tta", "heads")}
    roles = {
        "train": {"split": "train", "fingerprint": "x"},
        "report": {"split": "test", "fingerprint": "f00"},
    }
    record = {"name": "trained", "data": {"title": "FER2013", "roles": roles}, "result": known}
    (run / "run.json").write_text(json.dumps(record))
    (evaluation / "metrics.json").write_text(json.dumps(a_record("evaluated")))
    text = compare_folders([run, evaluation])
    assert "|  | trained | evaluated |" in text
    assert "Not comparable" not in text
    assert "Paired differences from trained" in text
    assert compare_folders([run / "run.json", evaluation / "metrics.json"]) == text


def test_a_path_without_a_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"holds no run.json or metrics.json: name the folder of a finished run"
    ):
        compare_folders([tmp_path])
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(DataError, match=r"metrics.json is not valid JSON"):
        compare_folders([tmp_path])
    (tmp_path / "metrics.json").write_text("[]")
    with pytest.raises(DataError, match=r"metrics.json holds no table"):
        compare_folders([tmp_path])


@pytest.mark.parametrize(("name", "text"), [("ccc", "0.000"), ("accuracy", "0.00 %")])
def test_nothing_is_less_than_zero_by_nothing(name: str, text: str) -> None:
    assert number(name, -1e-6) == number(name, 0.0) == text
