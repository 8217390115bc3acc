"""Metrics against scikit-learn and plain loops, and intervals against what they promise."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from emozoo.errors import ContractError
from emozoo.evaluation.metrics import (
    classification_measure,
    on_source_scale,
    paired_difference,
    resampled_sums,
    vad_measure,
)

LABELS = ("angry", "happy", "sad", "neutral")
VAD = ("valence", "arousal", "dominance")


def value(measure: dict, name: str) -> float | None:
    return measure["metrics"][name]["value"]


def random_case(seed: int, n: int, absent: bool = False) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    p = generator.dirichlet(np.full(len(LABELS), 0.7), n)
    y = np.array([generator.choice(len(LABELS), p=row) for row in p])
    return p, np.where(y == 2, 0, y) if absent else y


@given(seed=st.integers(0, 10_000), n=st.integers(1, 60), absent=st.booleans())
@settings(max_examples=60, deadline=None)
def test_classification_metrics_equal_those_of_scikit_learn(seed: int, n: int, absent: bool) -> None:
    p, y = random_case(seed, n, absent)
    measure = classification_measure(p, y, LABELS)
    guessed, present = p.argmax(1), np.unique(y)
    precision, recall, f1, support = oracle.precision_recall_fscore_support(
        y, guessed, labels=range(4), zero_division=np.nan
    )

    assert value(measure, "accuracy") == pytest.approx(oracle.accuracy_score(y, guessed), abs=1e-12)
    assert value(measure, "uar") == pytest.approx(
        oracle.recall_score(y, guessed, labels=present, average="macro"), abs=1e-12
    )
    assert value(measure, "f1") == pytest.approx(
        oracle.f1_score(y, guessed, labels=present, average="macro", zero_division=0), abs=1e-12
    )
    assert value(measure, "nll") == pytest.approx(oracle.log_loss(y, p, labels=range(4)), abs=1e-9)
    assert value(measure, "top2") == pytest.approx(
        oracle.top_k_accuracy_score(y, p, k=2, labels=range(4)), abs=1e-12
    )
    assert measure["confusion"] == oracle.confusion_matrix(y, guessed, labels=range(4)).tolist()
    for index, row in enumerate(measure["per_class"]):
        assert row["label"] == LABELS[index]
        assert row["n"] == support[index]
        expected = {"precision": precision[index], "recall": recall[index] if support[index] else math.nan}
        for name, number in expected.items():
            assert row[name] == (None if np.isnan(number) else pytest.approx(number, abs=1e-12))
        assert row["f1"] == (pytest.approx(np.nan_to_num(f1[index]), abs=1e-12) if support[index] else None)


def test_a_class_predicted_but_absent_from_the_targets_leaves_the_uar_alone() -> None:
    p = np.eye(4)[[0, 1, 2, 2]]
    y = np.array([0, 1, 1, 1])  # "sad" is guessed twice and never true
    measure = classification_measure(p, y, LABELS)
    assert value(measure, "uar") == pytest.approx((1 + 1 / 3) / 2)
    assert value(measure, "f1") == pytest.approx((1 + 0.5) / 2)
    sad = measure["per_class"][2]
    assert (sad["n"], sad["recall"], sad["f1"], sad["precision"]) == (0, None, None, 0.0)


def test_targets_of_one_class_only_give_that_class_alone_a_recall() -> None:
    p, _ = random_case(3, 50)
    measure = classification_measure(p, np.full(50, 3), LABELS, resamples=50)
    assert value(measure, "uar") == value(measure, "accuracy") == measure["per_class"][3]["recall"]
    assert measure["majority_baseline"] == 1.0
    assert [row["recall"] for row in measure["per_class"][:3]] == [None, None, None]
    assert [row["recall_interval"] for row in measure["per_class"][:3]] == [None, None, None]


def test_a_uniform_prediction_hits_the_first_class_only() -> None:
    measure = classification_measure(np.full((4, 4), 0.25), np.arange(4), LABELS)
    assert value(measure, "accuracy") == 0.25
    assert value(measure, "top2") == 0.5
    assert value(measure, "nll") == pytest.approx(math.log(4))


def test_the_majority_baseline_is_the_share_of_the_most_frequent_class() -> None:
    p, _ = random_case(0, 10)
    y = np.array([1] * 6 + [0] * 3 + [2])
    assert classification_measure(p, y, LABELS)["majority_baseline"] == 0.6


def test_the_calibration_error_equals_a_plain_loop_over_bins() -> None:
    p, y = random_case(1, 700)
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = [i for i in range(700) if low < p[i].max() <= low + 1 / 15]
        if inside:
            gap = np.mean([p[i].max() for i in inside]) - np.mean([p[i].argmax() == y[i] for i in inside])
            expected += abs(gap) * len(inside) / 700
    measure = classification_measure(p, y, LABELS)
    assert value(measure, "ece") == pytest.approx(expected, abs=1e-12)
    assert sum(row["n"] for row in measure["reliability"]) == 700


def test_a_sure_and_wrong_prediction_costs_a_finite_nll() -> None:
    assert value(classification_measure([[1.0, 0.0]], [1], ("a", "b")), "nll") == pytest.approx(
        36.04, abs=0.01
    )


def test_two_classes_have_no_top2() -> None:
    assert "top2" not in classification_measure([[0.4, 0.6]], [1], ("a", "b"))["metrics"]


@pytest.mark.parametrize("n", [0, 1, 2])
def test_measures_of_hardly_any_sample_are_json_without_nan(n: int) -> None:
    p, y = random_case(0, 2)
    values = np.zeros((n, 3))
    for measure in (
        classification_measure(p[:n], y[:n], LABELS, resamples=20),
        vad_measure(values, values, VAD, resamples=20),
        on_source_scale(vad_measure(values, values, VAD), (-2, 2)) | {"n": n},
    ):
        assert json.loads(json.dumps(measure, allow_nan=False))["n"] == n
    assert value(classification_measure(p[:0], y[:0], LABELS), "accuracy") is None


def test_one_sample_has_no_interval() -> None:
    measure = classification_measure([[0.2, 0.8]], [1], ("a", "b"), resamples=100)
    assert measure["metrics"]["accuracy"] == {"value": 1.0, "interval": None}


def test_one_sample_has_no_concordance_but_an_error() -> None:
    measure = vad_measure([[0.5]], [[0.25]], ["valence"])
    assert value(measure, "valence_ccc") is None
    assert value(measure, "valence_mse") == 0.0625


def test_tensors_lists_and_arrays_measure_the_same() -> None:
    p, y = random_case(5, 30)
    p = p.astype(np.float32)
    as_tensor = classification_measure(torch.tensor(p, requires_grad=True), torch.tensor(y), LABELS)
    assert as_tensor == classification_measure(p, y, LABELS)
    assert as_tensor == classification_measure(p.tolist(), y.tolist(), LABELS)
    half = torch.tensor(p).to(torch.bfloat16)
    assert value(classification_measure(half, y, LABELS), "nll") == pytest.approx(
        value(as_tensor, "nll"), rel=0.02
    )


@pytest.mark.parametrize(
    ("p", "y", "text"),
    [
        ([[2.0, -1.0, 0.0]], [0], "not a distribution"),
        ([[0.2, np.nan, 0.8]], [0], "not a distribution"),
        ([[3.0, 1.0, 2.0]], [0], "pass softmax, not logits"),
        ([[0.5, 0.5, 0.0]], [3], "target 3 is not a class index 0..2"),
        ([[0.5, 0.5, 0.0]], [-1], "leave unlabelled samples out"),
        ([[0.5, 0.5, 0.0]], [0.5], "target 0.5 is not a class index"),
        ([[0.5, 0.5]], [0], r"shape \(1, 2\)"),
        ([[0.5, 0.5, 0.0]], [0, 1], r"targets \(2,\)"),
    ],
)
def test_impossible_classification_input_is_refused(p: list, y: list, text: str) -> None:
    with pytest.raises(ContractError, match=text):
        classification_measure(p, y, ("a", "b", "c"))


def loop_vad(x: list[float], y: list[float]) -> dict[str, float | None]:
    """The metrics of one dimension, by the textbook and one number at a time."""
    pairs = [(a, b) for a, b in zip(x, y, strict=True) if not math.isnan(b)]
    n = len(pairs)
    mean_x, mean_y = sum(a for a, _ in pairs) / n, sum(b for _, b in pairs) / n
    var_x = sum((a - mean_x) ** 2 for a, _ in pairs) / n
    var_y = sum((b - mean_y) ** 2 for _, b in pairs) / n
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in pairs) / n
    mse = sum((a - b) ** 2 for a, b in pairs) / n
    spread = var_x + var_y + (mean_x - mean_y) ** 2
    return {
        "ccc": 2 * covariance / spread,
        "pearson": covariance / math.sqrt(var_x * var_y),
        "mse": mse,
        "rmse": math.sqrt(mse),
        "mae": sum(abs(a - b) for a, b in pairs) / n,
        "sagr": sum((a > 0) - (a < 0) == (b > 0) - (b < 0) for a, b in pairs) / n,
    }


def random_values(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    y = np.round(generator.uniform(-1, 1, (n, 3)), 1)  # zeros occur, as in integer annotations
    x = 0.5 * y + generator.normal(0.1, 0.3, y.shape)
    y[generator.random(y.shape) < 0.2] = np.nan
    y[:2] = [[0.5, -0.5, 0.1], [-0.3, 0.2, 0.9]]
    return x, y


@given(seed=st.integers(0, 10_000), n=st.integers(2, 50))
@settings(max_examples=60, deadline=None)
def test_vad_metrics_equal_a_plain_loop(seed: int, n: int) -> None:
    x, y = random_values(seed, n)
    measure = vad_measure(x, y, VAD)
    by_dimension = [loop_vad(x[:, d].tolist(), y[:, d].tolist()) for d in range(3)]
    for dimension, expected in zip(VAD, by_dimension, strict=True):
        for name, number in expected.items():
            assert value(measure, f"{dimension}_{name}") == pytest.approx(number, abs=1e-9)
    for name in by_dimension[0]:
        mean = sum(expected[name] for expected in by_dimension) / 3
        assert value(measure, name) == pytest.approx(mean, abs=1e-9)
    assert measure["dimensions"] == {d: int((~np.isnan(y[:, i])).sum()) for i, d in enumerate(VAD)}


@pytest.mark.parametrize("constant", [0.0, 0.1, 0.3, -0.7])
@pytest.mark.parametrize("n", [3, 1000])
def test_a_constant_prediction_has_ccc_zero_and_no_correlation(constant: float, n: int) -> None:
    y = np.random.default_rng(0).uniform(-1, 1, (n, 1))
    measure = vad_measure(np.full((n, 1), constant), y, ["valence"], resamples=100)
    assert measure["metrics"]["valence_ccc"] == {"value": 0.0, "interval": [0.0, 0.0]}
    assert measure["metrics"]["valence_pearson"] == {"value": None, "interval": None}
    assert value(measure, "valence_mse") == pytest.approx(np.mean((y - constant) ** 2))


def test_small_but_real_variation_is_no_constant() -> None:
    y = np.linspace(-1, 1, 100)[:, None]
    measure = vad_measure(0.3 + 1e-6 * y, y, ["valence"])
    assert value(measure, "valence_pearson") == pytest.approx(1, abs=1e-6)


def test_constant_targets_met_exactly_leave_the_ccc_undefined() -> None:
    measure = vad_measure(np.full((5, 1), 0.3), np.full((5, 1), 0.3), ["valence"])
    assert value(measure, "valence_ccc") is None
    assert value(measure, "valence_mse") == 0
    assert value(measure, "valence_sagr") == 1


def test_a_dimension_without_targets_is_undefined_and_no_part_of_the_mean() -> None:
    x, y = random_values(0, 40)
    y[:, 2] = np.nan
    measure = vad_measure(x, y, VAD, resamples=50)
    assert measure["metrics"]["dominance_mse"] == {"value": None, "interval": None}
    assert measure["baseline"]["values"]["dominance"] is None
    assert value(measure, "ccc") == pytest.approx(
        (value(measure, "valence_ccc") + value(measure, "arousal_ccc")) / 2
    )


def test_the_baseline_is_what_always_saying_the_training_mean_scores() -> None:
    x, y = random_values(1, 60)
    training = np.array([0.2, -0.1, 0.4])
    baseline = vad_measure(x, y, VAD, baseline=training)["baseline"]
    assert baseline["source"] == "training mean"
    assert baseline["values"] == dict(zip(VAD, training, strict=True))
    for index, dimension in enumerate(VAD):
        known = y[~np.isnan(y[:, index]), index]
        error = training[index] - known
        assert baseline["metrics"][f"{dimension}_mse"] == pytest.approx(np.mean(error**2))
        assert baseline["metrics"][f"{dimension}_rmse"] == pytest.approx(np.sqrt(np.mean(error**2)))
        assert baseline["metrics"][f"{dimension}_mae"] == pytest.approx(np.mean(np.abs(error)))
        assert baseline["metrics"][f"{dimension}_sagr"] == np.mean(np.sign(training[index]) == np.sign(known))
        assert baseline["metrics"][f"{dimension}_ccc"] == 0
        assert baseline["metrics"][f"{dimension}_pearson"] is None


def test_without_a_training_mean_the_baseline_is_the_best_constant_and_says_so() -> None:
    x, y = random_values(2, 60)
    baseline = vad_measure(x, y, VAD)["baseline"]
    assert baseline["source"] == "mean of these targets"
    assert baseline["metrics"]["valence_mse"] == pytest.approx(np.nanvar(y[:, 0]))


def test_errors_on_the_source_scale_are_those_of_rescaled_values() -> None:
    x, y = random_values(4, 80)
    small = on_source_scale(vad_measure(x, y, VAD, resamples=200), (-2, 2))
    large = vad_measure(2 * x, 2 * y, VAD, resamples=200)
    assert small["scale"] == [-2, 2]
    for name, entry in small["metrics"].items():
        assert entry["value"] == pytest.approx(value(large, name))
        assert entry["interval"] == pytest.approx(large["metrics"][name]["interval"])
        assert small["baseline"][name] == pytest.approx(large["baseline"]["metrics"][name])
    assert set(small["metrics"]) >= {"valence_mse", "arousal_rmse", "mae"}
    assert "valence_ccc" not in small["metrics"]


@pytest.mark.parametrize(
    ("x", "y", "options", "text"),
    [
        ([[0.1, 0.2]], [[0.1]], {}, r"shape \(1, 2\) and targets \(1, 1\)"),
        ([[0.1]], [[0.1]], {}, "both must be .N, 2., for valence, arousal"),
        ([[0.0, 0.0], [0.0, np.inf]], [[0.0, 0.0]] * 2, {}, "prediction of sample 1 is not finite"),
        ([[0.0, 0.0]], [[0.0, 0.0]], {"baseline": [0.0]}, "baseline has shape"),
    ],
)
def test_impossible_vad_input_is_refused(x: list, y: list, options: dict, text: str) -> None:
    with pytest.raises(ContractError, match=text):
        vad_measure(x, y, VAD[:2], **options)


def test_resampled_sums_are_sums_of_n_draws_with_replacement() -> None:
    sums = resampled_sums(np.hstack([np.ones((50, 1)), np.eye(50)]), 4000, seed=1)
    assert (sums[:, 0] == 50).all()
    counts = sums[:, 1:]
    assert (counts == counts.astype(int)).all()
    assert counts.mean(0) == pytest.approx(np.ones(50), abs=0.1)
    assert counts.var(0) == pytest.approx(np.full(50, 0.98), abs=0.15)  # binomial(50, 1/50)


def test_intervals_equal_a_plain_loop_over_the_same_statistic() -> None:
    p, y = random_case(7, 300)
    generator = np.random.default_rng(99)
    looped = []
    for _ in range(800):
        drawn = generator.integers(300, size=300)
        looped.append(oracle.balanced_accuracy_score(y[drawn], p[drawn].argmax(1)))
    expected = np.quantile(looped, [0.025, 0.975])
    interval = classification_measure(p, y, LABELS, resamples=3000)["metrics"]["uar"]["interval"]
    assert interval == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("seed", [43, 97, 1])
def test_a_resample_of_one_sample_drawn_thrice_has_no_correlation(seed: int) -> None:
    x, y = np.random.default_rng(seed).uniform(-1, 1, (2, 3, 1))
    draws = [list(draw) for draw in itertools.product(range(3), repeat=3) if len(set(draw)) > 1]
    possible = [np.corrcoef(x[draw, 0], y[draw, 0])[0, 1] for draw in draws]
    low, high = vad_measure(x, y, ["valence"], resamples=300)["metrics"]["valence_pearson"]["interval"]
    assert min(possible) - 1e-9 <= low <= high <= max(possible) + 1e-9


def test_intervals_cover_the_truth_about_95_times_in_100() -> None:
    covered = {"accuracy": 0, "ccc": 0, "paired": 0}
    truth_ccc = 2 * 0.6 / (1 + 1 + 0.3**2)
    for seed in range(300):
        generator = np.random.default_rng(seed)
        p = np.where(generator.random((120, 1)) < 0.7, [[0.9, 0.1]], [[0.1, 0.9]])
        accuracy = classification_measure(p, np.zeros(120, int), ("a", "b"), resamples=300)
        a, b = generator.normal(size=(2, 120, 1))
        ccc = vad_measure(a + 0.3, 0.6 * a + 0.8 * b, ["valence"], resamples=300)
        paired = paired_difference(a[:, 0] + 0.2, b[:, 0], resamples=300)
        for name, interval, truth in (
            ("accuracy", accuracy["metrics"]["accuracy"]["interval"], 0.7),
            ("ccc", ccc["metrics"]["valence_ccc"]["interval"], truth_ccc),
            ("paired", paired["interval"], 0.2),
        ):
            covered[name] += interval[0] <= truth <= interval[1]
    # 0.95 of 300 is 285, standard deviation 3.8; percentile intervals run a little short.
    assert all(270 <= count <= 297 for count in covered.values()), covered


def test_the_same_seed_gives_the_same_intervals_and_another_seed_others() -> None:
    p, y = random_case(0, 200)
    first = classification_measure(p, y, LABELS, resamples=200, seed=4)
    assert classification_measure(p, y, LABELS, resamples=200, seed=4) == first
    assert classification_measure(p, y, LABELS, resamples=200, seed=5) != first


def test_resampling_is_drawn_in_pieces_when_there_are_many_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = np.random.default_rng(0).random((30, 2))
    monkeypatch.setattr("emozoo.evaluation.metrics._DRAWS_AT_ONCE", 70)
    sums = resampled_sums(columns, 101, seed=0)
    assert sums.shape == (101, 2)
    assert len(np.unique(sums[:, 0])) == 101


def test_pairing_takes_out_what_both_models_find_hard() -> None:
    generator = np.random.default_rng(0)
    hard = generator.normal(size=400)
    a, b = hard + generator.normal(0.1, 0.1, 400), hard + generator.normal(0, 0.1, 400)
    paired = paired_difference(a, b)
    assert paired["n"] == 400
    assert paired["value"] == pytest.approx(np.mean(a) - np.mean(b))
    assert paired["interval"][0] > 0
    assert paired["interval"][1] - paired["interval"][0] < 0.04
    with pytest.raises(ContractError, match="two vectors of equal length"):
        paired_difference(a, b[:-1])


def test_a_thousand_resamples_of_a_test_split_take_less_than_a_second() -> None:
    p, y = random_case(0, 3589)
    start = time.process_time()
    classification_measure(p, y, LABELS, resamples=1000)
    assert time.process_time() - start < 1


def test_metrics_import_neither_torch_nor_matplotlib() -> None:
    code = (
        "import sys, emozoo.evaluation.metrics as m;"
        "m.vad_measure([[0.1]], [[0.2]], ['valence']);"
        "print(sorted({'torch', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
