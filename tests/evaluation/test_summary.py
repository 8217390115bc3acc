"""What several runs say together, against plain loops and published tables."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from sklearn.metrics import accuracy_score, recall_score

from emozoo.errors import RecipeError
from emozoo.evaluation import summary_report
from emozoo.evaluation.summary import Run, choose, estimate, figure_title, summarise, t_quantile
from emozoo.evaluation.summary_plot import numeric_key
from emozoo.evaluation.summary_report import write_summary

LABELS = ("angry", "happy", "sad")


def record(accuracy: float | None, *, selected: str = "validation", **more: float | None) -> dict[str, Any]:
    """A run's record with an accuracy, a valence MSE where one is given, and what else a summary reads."""
    heads: dict[str, Any] = {
        "emotion": {"task": "classification", "primary": "accuracy", "metrics": {"accuracy": entry(accuracy)}}
    }
    if "mse" in more:
        heads["vad"] = {"task": "vad", "primary": "ccc", "metrics": {"valence_mse": entry(more["mse"])}}
    return {
        "result": {"heads": heads},
        "model": {"parameters": 12, "macs": 34},
        "training_seconds": 5.0,
        "selected_on": selected,
        "reported_on": "test",
        "data": {"title": "faces"},
    }


def entry(value: float | None) -> dict[str, Any]:
    return {"value": value, "interval": None}


def run(variant: str, seed: int, value: float | None, fold: int | None = None, **more: Any) -> Run:
    return Run(variant, seed, fold, record(value, **more), Path("nowhere"))


@pytest.mark.parametrize(
    ("freedom", "published"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (10, 2.228), (29, 2.045), (120, 1.980)],
)
def test_the_t_quantiles_are_those_of_the_published_tables(freedom: int, published: float) -> None:
    assert t_quantile(freedom) == pytest.approx(published, abs=5e-4)


@pytest.mark.parametrize("freedom", [1, 2, 5, 8])
def test_the_density_of_t_integrates_to_the_share_between_the_quantiles(freedom: int) -> None:
    x = np.linspace(-t_quantile(freedom), t_quantile(freedom), 400_001)
    scale = math.gamma((freedom + 1) / 2) / math.sqrt(freedom * math.pi) / math.gamma(freedom / 2)
    density = scale * (1 + x**2 / freedom) ** (-(freedom + 1) / 2)
    assert np.trapezoid(density, x) == pytest.approx(0.95, abs=1e-7)


def test_an_estimate_is_mean_sample_deviation_and_t_interval() -> None:
    values = [0.61, 0.64, 0.58, 0.66]
    mean = sum(values) / 4
    std = math.sqrt(sum((value - mean) ** 2 for value in values) / 3)
    found = estimate(values)
    assert (found.n, found.mean, found.std) == (4, pytest.approx(mean), pytest.approx(std))
    reach = 3.182446 * std / 2
    assert found.interval == pytest.approx((mean - reach, mean + reach), abs=1e-6)


def test_one_value_has_neither_deviation_nor_interval() -> None:
    assert estimate([0.5]).std is None
    assert estimate([0.5]).interval is None


def test_intervals_of_three_runs_hold_the_truth_in_95_of_100_cases() -> None:
    draws = np.random.default_rng(0).normal(0.7, 0.02, (8000, 3))
    intervals = [estimate(row).interval for row in draws]
    held = np.mean([ends is not None and ends[0] <= 0.7 <= ends[1] for ends in intervals])
    assert held == pytest.approx(0.95, abs=0.0075)


def test_differences_are_taken_run_by_run_with_the_same_seed() -> None:
    hard = {0: -0.1, 1: 0.0, 2: 0.1}  # what a seed does to both variants
    runs = [run("none", seed, 0.6 + effect) for seed, effect in hard.items()]
    runs += [
        run("cost", seed, 0.62 + hard[seed] + noise) for seed, noise in ((2, 0.001), (0, -0.001), (1, 0))
    ]
    row = summarise(runs, baseline="none")[1]
    assert row.variant == "cost"
    assert row.difference is not None
    assert row.difference.mean == pytest.approx(0.02)
    assert row.difference.std == pytest.approx(0.001)
    assert row.estimate.std is not None
    assert row.estimate.std > 0.09


def test_a_run_without_its_counterpart_is_in_no_difference() -> None:
    runs = [run("none", 0, 0.5), run("none", 1, 0.7), run("cost", 0, 0.6), run("cost", 2, 0.1)]
    row = summarise(runs, baseline="none")[1]
    assert row.difference is not None
    assert (row.difference.n, row.difference.mean) == (1, pytest.approx(0.1))


def test_the_baseline_itself_has_no_difference_and_none_has_without_a_baseline() -> None:
    runs = [run("none", 0, 0.5), run("cost", 0, 0.6)]
    assert summarise(runs, baseline="none")[0].difference is None
    assert [row.difference for row in summarise(runs)] == [None, None]


def test_the_seeds_of_a_fold_are_one_value(tmp_path: Path) -> None:
    values = {(0, 1): 0.6, (1, 1): 0.62, (0, 2): 0.8, (1, 2): 0.84}
    runs = [folded(tmp_path, seed, fold, accuracy=value) for (seed, fold), value in values.items()]
    row = summarise(runs, ["emotion.accuracy"])[0]
    assert (row.runs, row.estimate.n) == (4, 2)
    assert row.estimate.mean == pytest.approx((0.61 + 0.82) / 2)
    assert row.estimate.std == pytest.approx(0.21 / math.sqrt(2))


def test_an_undefined_figure_is_counted_and_left_out() -> None:
    row = summarise([run("none", 0, None), run("none", 1, 0.5)], ["emotion.accuracy"])[0]
    assert (row.runs, row.of, row.estimate.mean) == (1, 2, 0.5)


def test_a_variant_that_lacks_a_figure_has_no_row_of_it() -> None:
    rows = summarise([run("both", 0, 0.5, mse=0.2), run("one", 0, 0.5)], ["vad.valence.mse"])
    assert [(row.metric, row.variant) for row in rows] == [("vad.valence_mse", "both")]


def test_a_figure_of_the_split_that_selected_is_named_best_on_test_and_nothing_else() -> None:
    runs = [run("a", 0, 0.9, selected="test"), run("b", 0, 0.5)]
    assert choose(["emotion.accuracy"], runs) == ["best on test: emotion.accuracy", "emotion.accuracy"]
    rows = summarise(runs, ["emotion.accuracy"], baseline="b")
    assert [(row.metric, row.variant) for row in rows] == [
        ("best on test: emotion.accuracy", "a"),
        ("emotion.accuracy", "b"),
    ]
    assert rows[0].difference is None
    assert "emotion.accuracy" not in runs[0].figures
    assert figure_title(rows[0].metric) == "best on test: emotion: accuracy (WAR)"


def test_the_fold_is_no_part_of_the_split_that_a_figure_is_named_for() -> None:
    whole = record(0.5) | {"selected_on": "test of fold 12", "reported_on": "test of fold 12"}
    assert "best on test: emotion.accuracy" in Run("a", 0, 12, whole, Path()).figures


@pytest.mark.parametrize(("chosen_on", "named"), [("test", "best on test: "), ("validation", "")])
def test_a_figure_on_the_split_that_chose_the_model_a_run_started_from_is_named_so_too(
    chosen_on: str, named: str
) -> None:
    choice = {"model": "mini", "dataset": "faces", "split": chosen_on, "fingerprint": "0"}
    later = record(0.5) | {"selected_on": None, "init": {"source": "mini", "choices": [choice]}}
    assert f"{named}emotion.accuracy" in Run("a", 0, None, later, Path()).figures


def test_an_unknown_figure_is_an_error_that_names_the_nearest_and_all_others() -> None:
    with pytest.raises(RecipeError) as caught:
        choose(["emotion.accuracy", "emotion.acuracy"], [run("a", 0, 0.5)])
    text = str(caught.value)
    assert "metrics.1: the runs have no figure 'emotion.acuracy'. Did you mean 'emotion.accuracy'?" in text
    assert "model.macs" in text


def folded(
    folder: Path, seed: int, fold: int, accuracy: float = 0.5, n: int = 20, ids: str = "own", **more: Any
) -> Run:
    """A run of one fold with predictions of n samples, those of a fold being the same whatever the seed."""
    rng = np.random.default_rng([seed, fold])
    p = rng.dirichlet(np.ones(3), n).astype(np.float32)
    true = np.random.default_rng(fold).integers(0, 3, n)
    place = folder / f"seed-{seed}" / f"fold-{fold}"
    place.mkdir(parents=True)
    columns = {
        "id": [f"{fold if ids == 'own' else 0}-{i}" for i in range(n)],
        "emotion.label": [LABELS[i] for i in p.argmax(1)],
        "emotion.true": [LABELS[i] if position else None for position, i in enumerate(true)],
        **{f"emotion.p_{label}": p[:, column] for column, label in enumerate(LABELS)},
    }
    parquet.write_table(pa.table(columns), place / "predictions.parquet")
    return Run("a", seed, fold, record(accuracy, **more), place)


def plain_pool(runs: list[Run]) -> tuple[float, float]:
    """Accuracy and mean recall of all predictions with a truth, by scikit-learn."""
    rows = [row for r in runs for row in parquet.read_table(r.folder / "predictions.parquet").to_pylist()]
    pairs = [(row["emotion.true"], row["emotion.label"]) for row in rows if row["emotion.true"] is not None]
    true, guess = zip(*pairs, strict=True)
    return float(accuracy_score(true, guess)), float(recall_score(true, guess, average="macro"))


def test_pooled_figures_are_those_of_all_folds_predictions_together(tmp_path: Path) -> None:
    runs = [folded(tmp_path, 0, fold, n=n) for fold, n in ((1, 11), (2, 35), (3, 20))]
    for found in runs:
        found.record["result"]["heads"]["emotion"]["metrics"]["uar"] = entry(0.4)
    rows = {row.metric: row for row in summarise(runs)}
    accuracy, uar = plain_pool(runs)
    pooled = rows["emotion.accuracy"].pooled
    assert pooled is not None
    assert pooled["value"] == pytest.approx(accuracy)
    assert pooled["interval"][0] < accuracy < pooled["interval"][1]
    assert (rows["emotion.uar"].pooled or {})["value"] == pytest.approx(uar)


def test_with_several_seeds_the_pooled_figure_is_their_mean_without_an_interval(tmp_path: Path) -> None:
    runs = [folded(tmp_path, seed, fold) for seed in (0, 1) for fold in (1, 2)]
    pooled = summarise(runs, ["emotion.accuracy"])[0].pooled
    expected = np.mean([plain_pool(runs[:2])[0], plain_pool(runs[2:])[0]])
    assert pooled == {"value": pytest.approx(expected), "interval": None}


def test_nothing_is_pooled_where_folds_report_the_same_samples(tmp_path: Path) -> None:
    runs = [folded(tmp_path, 0, fold, ids="shared") for fold in (1, 2)]
    assert summarise(runs, ["emotion.accuracy"])[0].pooled is None


def test_values_are_pooled_over_known_truths_and_given_on_the_annotations_scale_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    runs, errors = [], []
    for fold, n in ((1, 9), (2, 30)):
        predicted, true = rng.uniform(-1, 1, (2, n))
        errors += [(a - b) ** 2 for a, b in list(zip(predicted, true, strict=True))[1:]]
        columns = {
            "id": [f"{fold}-{i}" for i in range(n)],
            "vad.valence": predicted,
            "vad.valence_true": [None, *true[1:]],
        }
        place = tmp_path / f"{fold}"
        place.mkdir()
        parquet.write_table(pa.table(columns), place / "predictions.parquet")
        whole = record(0.5, mse=0.1)
        del whole["result"]["heads"]["emotion"]
        scaled = {"scale": [-2, 2], "metrics": {"valence_mse": entry(0.4)}}
        whole["result"]["heads"]["vad"] |= {"dimensions": {"valence": n - 1}, "source_scale": scaled}
        runs.append(Run("a", 0, fold, whole, place))
    rows = summarise(runs, ["vad.valence.mse", "vad.source.valence.mse"])
    pooled = [(row.pooled or {})["value"] for row in rows]
    assert pooled == pytest.approx([np.mean(errors), 4 * np.mean(errors)])


def test_pooled_figures_of_the_split_that_selected_have_that_name_alone(tmp_path: Path) -> None:
    runs = [folded(tmp_path, 0, fold, selected="test") for fold in (1, 2)]
    rows = summarise(runs)
    assert [row.metric for row in rows] == ["best on test: emotion.accuracy"]
    assert rows[0].pooled is not None


def test_the_summary_is_written_for_people_and_for_programs(tmp_path: Path) -> None:
    runs = [
        Run(variant, seed, None, record(value + seed / 100, mse=0.2), tmp_path / variant / f"seed-{seed}")
        for variant, value in (("none", 0.5), ("cost|a", 0.6))
        for seed in (0, 1)
    ]
    rows = summarise(runs, ["emotion.accuracy", "model.macs"], "none")
    text = write_summary(
        tmp_path, "sweep", "title", runs, rows, baseline="none", failures={"x/seed-1": "nan\nat step 3"}
    )
    assert text == (tmp_path / "sweep.md").read_text()
    assert "| emotion: accuracy (WAR) | cost\\|a | 2 | 60.50 % | 0.71 % |" in text
    assert "| +10.00 % | [10.00, 10.00] | better |" in text
    assert "over seeds" in text
    assert "with the same seed;" in text
    assert "- x/seed-1: nan at step 3" in text
    with (tmp_path / "sweep.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [(line["metric"], line["variant"]) for line in table[:2]] == [
        ("emotion.accuracy", "none"),
        ("emotion.accuracy", "cost|a"),
    ]
    assert float(table[1]["difference"]) == pytest.approx(0.1)
    assert table[0]["difference"] == ""
    whole = json.loads((tmp_path / "sweep.json").read_text())
    assert whole["runs"][0]["folder"] == "none/seed-0"
    assert whole["runs"][0]["figures"]["vad.valence_mse"] == 0.2
    assert whole["failed"] == [{"run": "x/seed-1", "error": "nan\nat step 3"}]
    assert (tmp_path / "sweep.png").stat().st_size > 5000


def test_more_of_a_cost_is_not_called_better(tmp_path: Path) -> None:
    runs = []
    for variant, macs in (("none", 34), ("cost", 60)):
        for seed in (0, 1):
            whole = record(0.5)
            whole["model"]["macs"] = macs
            runs.append(Run(variant, seed, None, whole, tmp_path))
    text = write_summary(tmp_path, "s", "t", runs, summarise(runs, ["model.macs"], "none"), baseline="none")
    assert "better" not in text
    assert "worse" not in text


@pytest.mark.parametrize(
    ("points", "key"),
    [
        ({"a": {"clips": 1}, "b": {"clips": 3}, "none": {}}, "clips"),
        ({"a": {"clips": 1, "name": "fan"}, "b": {"clips": 3, "name": "mean"}}, "clips"),
        ({"a": {"clips": 1, "frames": 2}, "b": {"clips": 3, "frames": 5}}, None),
        ({"a": {"flip": True}, "b": {"flip": False}}, None),
        ({"a": {"clips": 1}, "b": {"clips": 1}}, None),
        ({"a": {}}, None),
    ],
)
def test_the_one_numeric_key_of_a_grid_is_the_axis_of_the_picture(points: dict, key: str | None) -> None:
    assert numeric_key(points) == key


@pytest.mark.parametrize(
    "finished",
    [
        {"none": "validation", "as-published": "validation"},
        {"none": "validation", "as-published": "test", "clips=1": "validation", "clips=3": "validation"},
        {"none": "test", "as-published": "validation", "clips=1": "validation", "clips=3": "validation"},
    ],
    ids=["no run of the grid", "one variant named otherwise", "the first figure named otherwise"],
)
def test_variants_without_the_key_of_the_grid_are_drawn_too(tmp_path: Path, finished: dict[str, str]) -> None:
    runs = [
        Run(variant, 0, None, record(0.5, selected=selected), tmp_path)
        for variant, selected in finished.items()
    ]
    points = {"none": {}, "as-published": {}, "clips=1": {"clips": 1}, "clips=3": {"clips": 3}}
    write_summary(tmp_path, "sweep", "title", runs, summarise(runs), points=points)
    assert (tmp_path / "sweep.png").stat().st_size > 5000


def test_the_figures_are_on_disk_before_they_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise OSError("no fonts")

    monkeypatch.setattr(summary_report, "draw_summary", fails)
    runs = [Run(variant, 0, None, record(0.5), tmp_path) for variant in ("none", "cost")]
    with pytest.raises(OSError, match="no fonts"):
        write_summary(tmp_path, "sweep", "title", runs, summarise(runs))
    assert {path.name for path in tmp_path.iterdir()} == {"sweep.md", "sweep.csv", "sweep.json"}
