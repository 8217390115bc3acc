"""Metrics of classification and of valence, arousal and dominance, from all predictions of a split at once.

Every metric here but the calibration error is a function of sums over samples. The same function therefore
gives the value, from the plain sums, and its bootstrap interval, from the sums of resampled samples. What is
undefined (a correlation with a constant, a recall without samples) is None, never NaN, and survives JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emozoo.errors import ContractError

Array = NDArray[np.float64]

CALIBRATION_BINS = 15

_PROBABILITY_FLOOR = float(np.finfo(np.float64).eps)
_DRAWS_AT_ONCE = 2**22


def classification_measure(
    probabilities: ArrayLike, target: ArrayLike, labels: Sequence[str], *, resamples: int = 0, seed: int = 0
) -> dict[str, Any]:
    """Measure predicted class probabilities (N, C) against true class indices (N,), C = len(labels) >= 2.

    Metrics: `accuracy` (WAR), `uar` (mean recall) and `f1` (macro), both over the classes that have samples,
    `top2` (three classes or more), `nll` (nats, probabilities floored at 2e-16) and `ece` (expected
    calibration error, 15 equal bins, Guo et al. 2017), which has no interval: resampling biases it upwards.

    Returns:
        {"n", "primary": "accuracy", "metrics": {name: {"value", "interval"}},
        "per_class": [{"label", "n", "precision", "recall", "f1", "recall_interval"}],
        "confusion": C x C counts with a row for each true class,
        "reliability": [{"low", "high", "n", "confidence", "accuracy"}],
        "majority_baseline": accuracy of always guessing the most frequent class of these targets}.
        Intervals are bootstrap 95 % percentile intervals (Efron 1979) over samples, None without `resamples`.

    Raises:
        ContractError: shapes disagree, a row is not a distribution, or a target is not a class index.
    """
    p, y = _checked_classes(probabilities, target, len(labels))
    columns = _class_columns(p, y)
    point = _class_statistics(columns.sum(0), len(labels))
    draws = _class_statistics(resampled_sums(columns, resamples, seed), len(labels))
    metrics = {name: _entry(value, draws[name]) for name, value in point.items() if np.ndim(value) == 0}
    if len(labels) < 3:
        del metrics["top2"]
    reliability = _reliability(p, y)
    gaps = [row["n"] * abs(row["confidence"] - row["accuracy"]) for row in reliability if row["n"]]
    metrics["ece"] = {"value": sum(gaps) / len(y) if len(y) else None, "interval": None}
    support = np.bincount(y, minlength=len(labels))
    return {
        "n": len(y),
        "primary": "accuracy",
        "metrics": metrics,
        "per_class": [
            {
                "label": label,
                "n": int(support[index]),
                "precision": _number(point["precision"][index]),
                "recall": _number(point["recall"][index]),
                "f1": _number(point["f1_by_class"][index]),
                "recall_interval": _interval(draws["recall"][:, index]),
            }
            for index, label in enumerate(labels)
        ],
        "confusion": _confusion(y, p.argmax(1), len(labels)).tolist(),
        "reliability": reliability,
        "majority_baseline": float(support.max() / len(y)) if len(y) else None,
    }


def vad_measure(
    predicted: ArrayLike,
    target: ArrayLike,
    dimensions: Sequence[str],
    *,
    baseline: ArrayLike | None = None,
    resamples: int = 0,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure predicted values (N, d) in [-1, 1] against targets (N, d), d = len(dimensions).

    Metrics, by dimension (`valence_ccc`) and as the mean over the dimensions where it is defined (`ccc`):
    `ccc` (Lin 1989, population variances), `pearson`, `mse`, `rmse`, `mae`, and `sagr`, the share of samples
    whose sign is right (Nicolaou et al. 2011; a target of exactly 0 only agrees with exactly 0).

    Args:
        predicted: values in [-1, 1].
        target: values in [-1, 1], NaN where missing.
        dimensions: names of the d columns.
        baseline: (d,) the constant predictor to print beside the model, the training mean; without it the
            mean of these targets, whose squared error no constant beats.
        resamples: bootstrap resamples for 95 % percentile intervals, over samples; 0 for none.
        seed: seed of the resampling.

    Returns:
        {"n": samples with any target, "primary": "ccc", "metrics": {name: {"value", "interval"}},
        "dimensions": {dimension: n},
        "baseline": {"source", "values": {dimension: value}, "metrics": {name: value}}}.

    Raises:
        ContractError: shapes disagree, or a prediction is not finite.
    """
    x, y = _checked_values(predicted, target, dimensions)
    known = ~np.isnan(y)
    constant = _mean(y, known) if baseline is None else _array(baseline)
    if constant.shape != (len(dimensions),):
        raise ContractError(
            f"the baseline has shape {constant.shape}, not one value for each of {len(dimensions)}"
        )
    columns, offset = _value_columns(x, y)
    point = _named(_value_statistics(columns.sum(0), offset), dimensions)
    draws = _named(_value_statistics(resampled_sums(columns, resamples, seed), offset), dimensions)
    flat_columns, flat_offset = _value_columns(np.broadcast_to(constant, y.shape), y)
    flat = _named(_value_statistics(flat_columns.sum(0), flat_offset), dimensions)
    return {
        "n": int(known.any(1).sum()),
        "primary": "ccc",
        "metrics": {name: _entry(value, draws[name]) for name, value in point.items()},
        "dimensions": dict(zip(dimensions, known.sum(0).tolist(), strict=True)),
        "baseline": {
            "source": "mean of these targets" if baseline is None else "training mean",
            "values": {name: _number(value) for name, value in zip(dimensions, constant, strict=True)},
            "metrics": {name: _number(value) for name, value in flat.items()},
        },
    }


def on_source_scale(measured: Mapping[str, Any], scale: tuple[float, float]) -> dict[str, Any]:
    """Return the errors of a `vad_measure` on the annotation's scale (low, high), which [-1, 1] stands for.

    Returns:
        {"scale": [low, high], "metrics": {"valence_mse": {"value", "interval"}, ...},
        "baseline": {"valence_mse": value, ...}}, of `mse`, `rmse` and `mae`; the other metrics know no scale.
    """
    unit = (scale[1] - scale[0]) / 2
    powers = {"mse": 2, "rmse": 1, "mae": 1}
    factors = {n: unit ** powers[kind] for n in measured["metrics"] if (kind := n.split("_")[-1]) in powers}

    def scaled(value: float | None, name: str) -> float | None:
        return None if value is None else value * factors[name]

    metrics = {}
    for name in factors:
        entry = measured["metrics"][name]
        interval = entry["interval"] and [scaled(end, name) for end in entry["interval"]]
        metrics[name] = {"value": scaled(entry["value"], name), "interval": interval}
    baseline = {name: scaled(measured["baseline"]["metrics"][name], name) for name in factors}
    return {"scale": list(scale), "metrics": metrics, "baseline": baseline}


def paired_difference(a: ArrayLike, b: ArrayLike, *, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Return the mean difference a - b of two values (N,) known for the same samples, with its interval.

    For example correctness (0 or 1) of two models, or their squared errors: resampling whole pairs takes out
    what makes a sample hard for both, so the interval is narrower than those of the two means suggest.

    Returns:
        {"n", "value", "interval"}, the interval being the bootstrap 95 % percentile interval over pairs.

    Raises:
        ContractError: the two are not vectors of equal length.
    """
    first, second = _array(a), _array(b)
    if first.ndim != 1 or first.shape != second.shape:
        raise ContractError(
            f"paired values must be two vectors of equal length, not {first.shape} and {second.shape}"
        )
    difference = first - second
    n = len(difference)
    draws = resampled_sums(difference[:, None], resamples, seed)[:, 0] / max(n, 1)
    return {"n": n, **_entry(difference.mean() if n else np.float64("nan"), draws)}


def resampled_sums(columns: Array, resamples: int, seed: int) -> Array:
    """Return the sums (resamples, ...) over samples drawn from (N, ...) with replacement, N at a time.

    Fewer than two samples say nothing about their spread: the result then has no rows.
    """
    n, shape = len(columns), columns.shape[1:]
    if n < 2:
        return np.empty((0, *shape))
    flat = columns.reshape(n, -1)
    generator = np.random.default_rng(seed)
    sums = np.empty((resamples, flat.shape[1]))
    at_once = max(1, _DRAWS_AT_ONCE // n)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = generator.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
        sums[start : start + rows] = counts.astype(np.float64) @ flat
    return sums.reshape(resamples, *shape)


def _class_columns(p: Array, y: NDArray[np.int64]) -> Array:
    """Per sample (N, 3C + 2): true class, predicted class and hit, one-hot each; hit in top two; -log p."""
    classes = np.arange(p.shape[1])
    of_true = p[np.arange(len(y)), y][:, None]
    # Ties go to the lower index, as argmax breaks them, so a uniform prediction is no hit by accident.
    rank = ((p > of_true) | ((p == of_true) & (classes < y[:, None]))).sum(1)
    true = y[:, None] == classes
    guessed = p.argmax(1)[:, None] == classes
    surprise = -np.log(np.maximum(of_true, _PROBABILITY_FLOOR))
    return np.hstack([true, guessed, true & guessed, rank[:, None] < 2, surprise], dtype=np.float64)


def _class_statistics(sums: Array, classes: int) -> dict[str, Array]:
    """Metrics (...) and per-class metrics (..., C) from sums (..., 3C + 2) of the columns above."""
    support, guessed, hits = np.split(sums[..., : 3 * classes], 3, axis=-1)
    n, present = support.sum(-1), support > 0
    recall = _ratio(hits, support)
    # A class without samples has no F1 and no part in the means, even if it was predicted: such a prediction
    # already costs the recall of the class it was taken from.
    f1 = np.where(present, _ratio(2 * hits, support + guessed), np.nan)
    return {
        "accuracy": _ratio(hits.sum(-1), n),
        "uar": _mean(recall, present, axis=-1),
        "f1": _mean(f1, present, axis=-1),
        "top2": _ratio(sums[..., -2], n),
        "nll": _ratio(sums[..., -1], n),
        "recall": recall,
        "precision": _ratio(hits, guessed),
        "f1_by_class": f1,
    }


def _reliability(p: Array, y: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Return count, mean confidence and accuracy of the samples in each of 15 equal bins of confidence."""
    confidence, hit = p.max(1), p.argmax(1) == y
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    index = np.clip(np.digitize(confidence, edges, right=True) - 1, 0, CALIBRATION_BINS - 1)
    counts, confidences, hits = (
        np.bincount(index, weights, CALIBRATION_BINS) for weights in (np.ones(len(y)), confidence, hit)
    )
    return [
        {
            "low": float(edges[bin]),
            "high": float(edges[bin + 1]),
            "n": int(counts[bin]),
            "confidence": _number(_ratio(confidences[bin], counts[bin])),
            "accuracy": _number(_ratio(hits[bin], counts[bin])),
        }
        for bin in range(CALIBRATION_BINS)
    ]


def _value_columns(x: Array, y: Array) -> tuple[Array, Array]:
    """Per sample and dimension (N, 9, d) the moments, zero where missing; and mean x - mean y (d,).

    The moments are taken around the means, where their differences lose no digits.
    """
    known = ~np.isnan(x + y)
    y = np.where(known, y, 0)
    mean_x, mean_y = _mean(x, known), _mean(y, known)
    dx, dy, error = x - mean_x, y - mean_y, x - y
    moments = [
        np.ones_like(y),
        dx,
        dy,
        dx * dx,
        dy * dy,
        dx * dy,
        error**2,
        np.abs(error),
        np.sign(x) == np.sign(y),
    ]
    return np.where(known[:, None], np.stack(moments, axis=1), 0), mean_x - mean_y


def _value_statistics(sums: Array, offset: Array) -> dict[str, Array]:
    """Metrics (..., d) from sums (..., 9, d) of the columns above."""
    n = sums[..., 0, :]
    x, y, xx, yy, xy, squared, absolute, agree = np.moveaxis(_ratio(sums[..., 1:, :], n[..., None, :]), -2, 0)
    variance_x, variance_y = _variance(xx, x), _variance(yy, y)
    covariance = np.where((variance_x > 0) & (variance_y > 0), xy - x * y, 0)
    enough = n >= 2
    ccc = _ratio(2 * covariance, variance_x + variance_y + (x - y + offset) ** 2)
    pearson = np.clip(_ratio(covariance, np.sqrt(variance_x * variance_y)), -1, 1)
    return {
        "ccc": np.where(enough, ccc, np.nan),
        "pearson": np.where(enough, pearson, np.nan),
        "mse": squared,
        "rmse": np.sqrt(squared),
        "mae": absolute,
        "sagr": agree,
    }


def _variance(mean_square: Array, mean: Array) -> Array:
    """Variance, being exactly 0 where only rounding is left of it: a constant is a constant."""
    variance = mean_square - mean**2
    return np.where(variance > 1e-12 * mean_square, variance, 0)


def _named(statistics: Mapping[str, Array], dimensions: Sequence[str]) -> dict[str, Array]:
    """Name metrics (..., d): the mean over the dimensions where it is defined first, then each dimension."""
    means = {name: _mean(value, ~np.isnan(value), axis=-1) for name, value in statistics.items()}
    each = {
        f"{dimension}_{name}": value[..., index]
        for index, dimension in enumerate(dimensions)
        for name, value in statistics.items()
    }
    return means | each


def _confusion(y: NDArray[np.int64], guessed: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    return np.bincount(y * classes + guessed, minlength=classes**2).reshape(classes, classes)


def _ratio(numerator: Any, denominator: Any) -> Any:
    """Divide; 0 / 0 is undefined, NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.true_divide(numerator, denominator)


def _mean(values: Array, known: NDArray[np.bool_], axis: int = 0) -> Array:
    """Mean of the known values along an axis, NaN where there are none."""
    return _ratio(np.where(known, values, 0).sum(axis), known.sum(axis))


def _entry(value: Any, draws: Array) -> dict[str, Any]:
    return {"value": _number(value), "interval": _interval(draws)}


def _number(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def _interval(draws: Array) -> list[float] | None:
    """Return the 2.5 and 97.5 % percentiles of the draws in which the metric is defined."""
    defined = draws[~np.isnan(draws)]
    return np.quantile(defined, [0.025, 0.975]).tolist() if len(defined) else None


def _array(values: Any) -> Array:
    """Return float64 numpy values of a list, an array or a tensor on any device."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().double()
    return np.asarray(values, dtype=np.float64)


def _checked_classes(
    probabilities: ArrayLike, target: ArrayLike, classes: int
) -> tuple[Array, NDArray[np.int64]]:
    p, y = _array(probabilities), _array(target)
    if classes < 2 or y.ndim != 1 or p.shape != (len(y), classes):
        raise ContractError(
            f"probabilities have shape {p.shape} and targets {y.shape}: "
            f"with {classes} labels they must be (N, {classes}) and (N,), with two labels or more"
        )
    # Half precision rounds a sum of probabilities by a percent; logits miss by far more.
    if not (np.all(p >= 0) and np.allclose(p.sum(1), 1, rtol=0, atol=0.02)):
        raise ContractError(
            "a row of the probabilities is not a distribution (>= 0, sum 1): pass softmax, not logits"
        )
    if not np.isin(y, np.arange(classes)).all():
        wrong = y[~np.isin(y, np.arange(classes))][0]
        raise ContractError(
            f"target {wrong:g} is not a class index 0..{classes - 1}: leave unlabelled samples out"
        )
    return p, y.astype(np.int64)


def _checked_values(
    predicted: ArrayLike, target: ArrayLike, dimensions: Sequence[str]
) -> tuple[Array, Array]:
    x, y = _array(predicted), _array(target)
    if y.ndim != 2 or x.shape != y.shape or y.shape[1] != len(dimensions):
        raise ContractError(
            f"predicted values have shape {x.shape} and targets {y.shape}: "
            f"both must be (N, {len(dimensions)}), for {', '.join(dimensions)}"
        )
    bad = ~np.isfinite(x).all(1)
    if bad.any():
        raise ContractError(
            f"the prediction of sample {bad.argmax()} is not finite: {x[bad.argmax()].tolist()}"
        )
    return x, y
