"""What several runs say together: means, intervals over runs, paired differences from a baseline, pooled folds.

The figures of one run are named "HEAD.METRIC", such as "emotion.accuracy" and "vad.valence_mse". Where the split
that a figure was measured on is the one that chose the checkpoint, or that of a model the run comes from, its name
says so ("best on test: emotion.accuracy"), and it stands nowhere under the plain name.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emozoo.errors import RecipeError, suggest
from emozoo.evaluation.evaluate import PREDICTIONS, RESAMPLES
from emozoo.evaluation.metrics import classification_measure, on_source_scale, vad_measure
from emozoo.evaluation.tables import metric_title
from emozoo.selection import chosen_by_report

BEST_ON = "best on "


@dataclass(frozen=True, slots=True)
class Run:
    """One finished run: what was varied, its record, and the folder that it lies in."""

    variant: str
    seed: int
    fold: int | None
    record: Mapping[str, Any]
    folder: Path

    @property
    def figures(self) -> dict[str, float | None]:
        """Every figure of the run by name; None where it is undefined."""
        result, model, prefix = self.record["result"], self.record["model"], self.prefix
        named = {name: found["value"] for name, found in head_figures(result["heads"]).items()}
        if result.get("consistency"):
            named["consistency.violation_rate"] = result["consistency"]["violation_rate"]
        if result.get("rich_clips"):
            named["rich_clips.accuracy"] = result["rich_clips"]["value"]
        named = {prefix + name: value for name, value in named.items()}
        costs = {f"model.{key}": model.get(key) for key in ("parameters", "macs")}
        return {**named, **costs, "training.seconds": self.record["training_seconds"]}

    @property
    def prefix(self) -> str:
        """What stands before the name of a figure whose split also chose the checkpoint, or one it comes from."""
        return f"{BEST_ON}{self.reported_on}: " if chosen_by_report(self.record) else ""

    @property
    def reported_on(self) -> str:
        """The split that the figures were measured on, whatever the fold."""
        return self.record["reported_on"].removesuffix(f" of fold {self.fold}")


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean of n values, their standard deviation (n - 1), and the t interval of the mean.

    The interval is Student's, 95 %: mean +- t(0.975, n - 1) std / sqrt(n). A single value has neither.
    """

    n: int
    mean: float
    std: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one variant.

    Attributes:
        metric: the figure's name.
        variant: the variant's name.
        runs: runs in which the figure is defined.
        of: runs of the variant.
        estimate: over the runs; over the folds, where there are several, each the mean of its seeds.
        difference: the same of the differences from the baseline, run by run with the same seed and fold.
        pooled: {"value", "interval"} of the predictions of all folds together, the mean over seeds; the interval
            is a bootstrap over samples and there for one seed only.
    """

    metric: str
    variant: str
    runs: int
    of: int
    estimate: Estimate
    difference: Estimate | None = None
    pooled: Mapping[str, Any] | None = None


def estimate(values: Iterable[float]) -> Estimate:
    """Return mean, standard deviation and 95 % t interval of one value or more."""
    found = np.fromiter(values, np.float64)
    n, mean = len(found), float(found.mean())
    if n < 2:
        return Estimate(n, mean, None, None)
    std = float(found.std(ddof=1))
    reach = t_quantile(n - 1) * std / math.sqrt(n)
    return Estimate(n, mean, std, (mean - reach, mean + reach))


def t_quantile(freedom: int) -> float:
    """Return the t between whose negative and itself lie 95 % of Student's distribution, by bisection."""
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_share(middle, freedom) < 0.95 else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def _t_share(angle: float, freedom: int) -> float:
    """Return P(|t| <= sqrt(freedom) tan(angle)): Abramowitz & Stegun (1964), 26.7.3 and 26.7.4."""
    sine, cosine, odd = math.sin(angle), math.cos(angle), freedom % 2
    total, term = 0.0, cosine**odd
    for k in range(odd, freedom - 1, 2):
        total += term
        term *= (k + 1) / (k + 2) * cosine**2
    return (angle + sine * total) * 2 / math.pi if odd else sine * total


def head_figures(heads: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return {"HEAD.METRIC": {"value", "interval"}}, and "HEAD.source.METRIC" on the annotation's own scale."""
    named = {}
    for head, measured in heads.items():
        named |= {f"{head}.{metric}": found for metric, found in measured["metrics"].items()}
        source = measured.get("source_scale", {}).get("metrics", {})
        named |= {f"{head}.source.{metric}": found for metric, found in source.items()}
    return named


def figure_title(metric: str) -> str:
    """Return how people call a figure: "best on test: emotion.uar" -> "best on test: emotion: UAR"."""
    before, colon, name = metric.rpartition(": ")
    source, _, last = name.rpartition(".")
    return f"{before}{colon}{source.replace('.', ', ')}: {metric_title(last)}"


def choose(wanted: Sequence[str], runs: Sequence[Run]) -> list[str]:
    """Return the names of the wanted figures, "vad.valence.mse" being another way to write "vad.valence_mse".

    Without any wanted, each head's main metric and a classification's mean recall.

    Raises:
        RecipeError: no run has such a figure; the message lists those there are.
    """
    known = dict.fromkeys(name for run in runs for name in run.figures)
    chosen: dict[str, None] = {}
    for position, name in enumerate(wanted or _main_figures(runs)):
        found = [key for key in known if _plain(key) == _plain(name)]
        if not found:
            plain = list(dict.fromkeys(key.rpartition(": ")[2] for key in known))
            raise RecipeError(
                f"metrics.{position}: the runs have no figure {name!r}.{suggest(name, plain)} "
                f"They have: {', '.join(plain)}"
            )
        chosen |= dict.fromkeys(found)
    return list(chosen)


def _main_figures(runs: Sequence[Run]) -> Iterator[str]:
    heads = {name: head for run in runs for name, head in run.record["result"]["heads"].items()}
    for name, measured in heads.items():
        yield f"{name}.{measured['primary']}"
        if "uar" in measured["metrics"]:
            yield f"{name}.uar"


def _plain(name: str) -> str:
    return name.rpartition(": ")[2].replace(".", "_")


def summarise(runs: Sequence[Run], metrics: Sequence[str] = (), baseline: str | None = None) -> list[Row]:
    """Return a row for each figure and variant, figure by figure, the variants in the order of the runs.

    Args:
        runs: finished runs.
        metrics: names of figures, as `choose` takes them.
        baseline: the variant that the others are compared with.

    Raises:
        RecipeError: no run has a figure of that name.
    """
    by_fold = len({run.fold for run in runs}) > 1
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.variant].append(run)
    figures = {name: {(run.seed, run.fold): run.figures for run in group} for name, group in groups.items()}
    pooled = {name: pooled_figures(group) if by_fold else {} for name, group in groups.items()}
    rows = []
    for metric in choose(metrics, runs):
        values = {name: _defined(of_run, metric) for name, of_run in figures.items()}
        for name, own in values.items():
            if not own:
                continue
            other = values.get(baseline, {}) if baseline not in (None, name) else {}
            shared = {key: own[key] - other[key] for key in own if key in other}
            rows.append(
                Row(
                    metric, name, len(own), len(figures[name]), estimate(_units(own, by_fold)),
                    estimate(_units(shared, by_fold)) if shared else None, pooled[name].get(metric),
                )
            )  # fmt: skip
    return rows


Key = tuple[int, int | None]
"""Seed and fold of a run."""


def _defined(figures: Mapping[Key, Mapping[str, float | None]], metric: str) -> dict[Key, float]:
    return {key: float(value) for key, named in figures.items() if (value := named.get(metric)) is not None}


def _units(values: Mapping[Key, float], by_fold: bool) -> list[float]:
    """Return the values that vary independently: seeds of one fold share its samples, so their mean is one."""
    if not by_fold:
        return list(values.values())
    folds: dict[int | None, list[float]] = defaultdict(list)
    for (_, fold), value in values.items():
        folds[fold].append(value)
    return [float(np.mean(found)) for found in folds.values()]


def pooled_figures(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Return {name: {"value", "interval"}} of all folds' predictions together, averaged over seeds.

    Nothing where a sample is in several folds' reported splits: that would count it more than once.
    """
    seeds: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        seeds[run.seed].append(run)
    pooled = [_pool(group) for group in seeds.values()]
    if len(pooled) == 1:
        return pooled[0]
    means = {}
    for name in dict.fromkeys(name for found in pooled for name in found):
        values = [found[name]["value"] for found in pooled if name in found]
        if None not in values:
            means[name] = {"value": float(np.mean(values)), "interval": None}
    return means


def _pool(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Measure the predictions of several runs as if one model had made them."""
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.concat_tables([parquet.read_table(run.folder / PREDICTIONS) for run in runs])
    if len(set(table["id"].to_pylist())) < len(table):
        return {}
    columns = {name: np.array(table[name].to_pylist()) for name in table.column_names}
    heads = {}
    for name, recorded in runs[0].record["result"]["heads"].items():
        if recorded["task"] == "classification":
            heads[name] = _classification(columns, name)
        elif recorded["task"] == "vad":
            heads[name] = _vad(columns, name, recorded)
    return {runs[0].prefix + name: dict(found) for name, found in head_figures(heads).items()}


def _classification(columns: Mapping[str, np.ndarray], head: str) -> dict[str, Any]:
    start = f"{head}.p_"
    labels = [name.removeprefix(start) for name in columns if name.startswith(start)]
    true = columns[f"{head}.true"]
    known = np.array([label is not None for label in true])
    probabilities = np.stack([columns[start + label] for label in labels], axis=1)
    target = [labels.index(label) for label in true[known]]
    return classification_measure(probabilities[known], target, labels, resamples=RESAMPLES)


def _vad(columns: Mapping[str, np.ndarray], head: str, recorded: Mapping[str, Any]) -> dict[str, Any]:
    dimensions = list(recorded["dimensions"])
    predicted, true = (
        np.stack([columns[f"{head}.{name}{suffix}"].astype(np.float64) for name in dimensions], axis=1)
        for suffix in ("", "_true")
    )
    measured = vad_measure(predicted, true, dimensions, resamples=RESAMPLES)
    if "source_scale" in recorded:
        measured["source_scale"] = on_source_scale(measured, tuple(recorded["source_scale"]["scale"]))
    return measured
