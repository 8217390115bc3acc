"""Tables and pictures of the VAD study, from the folder of its sweeps: `python report.py sweeps`.

Every figure comes from the runs' records and predictions. Errors are on the annotation's scale, -2 to 2. Predictions of
all folds are pooled: each of the annotated images counts once for each seed; a difference is paired by image and
seed, with a bootstrap 95 % interval over images.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from emozoo.evaluation import plots, plots_vad
from emozoo.evaluation.metrics import paired_difference, vad_measure
from emozoo.labels import DIMENSIONS, FER2013_LABELS
from emozoo.registry import build

UNIT = 2.0  # the annotation's scale, -2 to 2, in units of the model's, -1 to 1
SWEEPS = ("vad-costs", "vad-heads", "vad-models")
BASELINES = {"vad-models": "VAD", "vad-heads": "linear"}


@dataclass(frozen=True)
class Variant:
    """What the models of a variant say of the N annotated images, in the order of their ids.

    Attributes:
        seeds: those of which all folds are there.
        fold, category: (N,) the fold that each image was held out in, and its true category.
        probabilities: (seeds, N, C).
        predicted: (seeds, N, 3), NaN for a dimension that no head predicts.
        true: (N, 3).
        records: of all runs.
    """

    seeds: tuple[str, ...]
    fold: np.ndarray
    category: np.ndarray
    probabilities: np.ndarray
    predicted: np.ndarray
    true: np.ndarray
    records: list[dict[str, Any]]

    @property
    def errors(self) -> np.ndarray:
        """Squared errors (seeds, N, 3) on the annotation's scale."""
        return (UNIT * (self.predicted - self.true)) ** 2

    @property
    def right(self) -> np.ndarray:
        """Whether the category is right (N,), the mean over seeds."""
        return (self.probabilities.argmax(2) == self.category).mean(0)

    @property
    def violated(self) -> np.ndarray:
        """Whether each value contradicts the predicted category (seeds, N, 3)."""
        cost = build("consistency", "step", {}, FER2013_LABELS, DIMENSIONS, where="report")
        logits, values = torch.from_numpy(self.probabilities).log(), torch.from_numpy(self.predicted)
        known = values.nan_to_num()
        broken = [(cost.per_dimension(p, v) > 0).numpy() for p, v in zip(logits, known, strict=True)]
        return np.array(broken) & ~np.isnan(self.predicted)

    def agreement(self, metric: str) -> list[float | None]:
        """Return a metric of each dimension over all images, the mean over seeds; None where nothing predicts it."""
        found: list[float | None] = []
        for column in range(3):
            pairs = [(p[:, [column]], self.true[:, [column]]) for p in self.predicted]
            if np.isnan(pairs[0][0]).any():
                found.append(None)
            else:
                values = [vad_measure(p, t, ["x"])["metrics"][f"x_{metric}"]["value"] for p, t in pairs]
                found.append(float(np.mean(values)))
        return found


def read(folder: Path) -> dict[str, Variant]:
    """Return the variants of a sweep's folder, each of the seeds that have all folds."""
    runs: dict[str, dict[str, dict[int, Path]]] = defaultdict(lambda: defaultdict(dict))
    for record in sorted(folder.glob("*/seed-*/fold-*/run.json")):
        variant, seed, fold = record.parts[-4:-1]
        runs[variant][seed][int(fold.removeprefix("fold-"))] = record.parent
    folds = max((len(found) for seeds in runs.values() for found in seeds.values()), default=0)
    found = {}
    for variant, seeds in runs.items():
        complete = {seed: paths for seed, paths in seeds.items() if len(paths) == folds}
        if complete:
            found[variant] = _variant(complete)
    return found


def _variant(seeds: dict[str, dict[int, Path]]) -> Variant:
    columns = [
        _columns([(fold, pq.read_table(path / "predictions.parquet")) for fold, path in paths.items()])
        for paths in seeds.values()
    ]
    records = [
        json.loads((path / "run.json").read_text()) for paths in seeds.values() for path in paths.values()
    ]
    stacked = {name: np.stack([found[name] for found in columns]) for name in ("probabilities", "predicted")}
    first = {name: columns[0][name] for name in ("fold", "category", "true")}
    return Variant(tuple(seeds), **first, **stacked, records=records)


def _columns(tables: list[tuple[int, Any]]) -> dict[str, np.ndarray]:
    """Return the predictions of all folds, sorted by id; heads are found by what their columns are called."""
    rows: dict[str, list[Any]] = defaultdict(list)
    for fold, table in tables:
        names, values = table.column_names, table.to_pydict()
        heads = {d: next((n.split(".")[0] for n in names if n.endswith(f".{d}")), None) for d in DIMENSIONS}
        for row, name in enumerate(values["id"]):
            rows["id"].append(name)
            rows["fold"].append(fold)
            rows["category"].append(FER2013_LABELS.index(values["emotion.true"][row]))
            rows["probabilities"].append([values[f"emotion.p_{label}"][row] for label in FER2013_LABELS])
            rows["predicted"].append([values[f"{h}.{d}"][row] if h else np.nan for d, h in heads.items()])
            rows["true"].append([values[f"{h}.{d}_true"][row] if h else np.nan for d, h in heads.items()])
    order = np.argsort(rows["id"])
    return {name: np.asarray(found)[order] for name, found in rows.items() if name != "id"}


def guesses(one: Variant) -> dict[str, np.ndarray]:
    """Return what knows no image but its fold (the training mean), or its true category (the oracle): (N, 3) each."""
    constant, oracle = np.empty_like(one.true), np.empty_like(one.true)
    for fold in np.unique(one.fold):
        inside, train = one.fold == fold, one.fold != fold
        constant[inside] = one.true[train].mean(0)
        for category in np.unique(one.category):
            oracle[inside & (one.category == category)] = one.true[train & (one.category == category)].mean(0)
    return {"training mean (constant)": constant, "mean of the true class (oracle)": oracle}


def table(variants: dict[str, Variant], baseline: str) -> Iterator[str]:
    """Yield a sweep's table in Markdown, the baseline and what needs no model first."""
    heads = [
        "variant",
        "seeds",
        *(f"{m} {d}" for m in ("MSE", "CCC", "r") for d in "VAD"),
        "violations",
        "accuracy",
    ]
    yield f"| {' | '.join([*heads, 'MSE, difference', 'violations, difference, points'])} |"
    yield "|:--|--:|" + "--:|" * 13
    base = variants[baseline]
    if not np.isnan(base.true).any():
        for name, values in guesses(base).items():
            errors = ((UNIT * (values - base.true)) ** 2).mean(0)
            yield f"| *{name}* | | " + " | ".join(f"{e:.3f}" for e in errors) + " | |" + " |" * 9
    for name, one in {baseline: base, **variants}.items():
        cells = [*one.errors.mean((0, 1)), *one.agreement("ccc"), *one.agreement("pearson")]
        shown = ["" if cell is None or np.isnan(cell) else f"{cell:.3f}" for cell in cells]
        difference = ["", ""] if name == baseline else _differences(one, base)
        shares = [f"{one.violated.any(2).mean():.1%}", f"{one.right.mean():.1%}"]
        yield f"| {name} | {len(one.predicted)} | " + " | ".join([*shown, *shares, *difference]) + " |"


def shared_seeds(one: Variant, base: Variant) -> tuple[list[int], list[int]]:
    """Return where the seeds that both have stand in each."""
    seeds = [seed for seed in one.seeds if seed in base.seeds]
    return [one.seeds.index(seed) for seed in seeds], [base.seeds.index(seed) for seed in seeds]


def paired(one: Variant, base: Variant) -> dict[str, Any]:
    """Return the difference of the mean squared errors over the dimensions that both predict, paired by image."""
    here, there = shared_seeds(one, base)
    first, second = one.errors[here].mean(0), base.errors[there].mean(0)
    both = ~np.isnan(first + second).any(0)
    return paired_difference(first[:, both].mean(1), second[:, both].mean(1))


def _differences(one: Variant, base: Variant) -> list[str]:
    """Return the differences of error and of violations, each with its interval."""
    here, there = shared_seeds(one, base)
    error = paired(one, base)
    first, second = one.violated[here], base.violated[there]
    both = ~np.isnan(one.predicted + base.predicted[:1]).any(
        (0, 1)
    )  # a rule counts where both have a value for it
    rules = paired_difference(*(v[..., both].any(2).mean(0) for v in (first, second)))
    return [
        "{:+.3f} [{:+.3f}, {:+.3f}]".format(error["value"], *error["interval"]),
        "{:+.1f} [{:+.1f}, {:+.1f}]".format(*(100 * x for x in (rules["value"], *rules["interval"]))),
    ]


def pairs_table(variants: dict[str, Variant], suffix: str = "+consistency") -> Iterator[str]:
    """Yield what consistency changes in each model: with it minus without, paired by image and seed."""
    yield "| model | seeds | MSE, difference | violations, difference, points | accuracy, difference, points |"
    yield "|:--|--:|--:|--:|--:|"
    for name, one in variants.items():
        if name.endswith(suffix) and (base := variants.get(name.removesuffix(suffix))):
            error, rules = _differences(one, base)
            accuracy = paired_difference(one.right, base.right)
            cells = (100 * x for x in (accuracy["value"], *accuracy["interval"]))
            seeds = len(shared_seeds(one, base)[0])
            yield "| {} | {} | {} | {} | {:+.1f} [{:+.1f}, {:+.1f}] |".format(
                name.removesuffix(suffix), seeds, error, rules, *cells
            )


def accuracy_table(variants: dict[str, Variant], baseline: str) -> Iterator[str]:
    """Yield the accuracy on PublicTest after the last epoch: of the classifier that was trained beside the values."""
    key = "select.emotion.accuracy"
    means = {name: [r["history"][-1].get(key, np.nan) for r in one.records] for name, one in variants.items()}
    yield "| variant | accuracy, mean of the runs | lowest | highest | difference, points |"
    yield "|:--|--:|--:|--:|--:|"
    for name, values in means.items():
        change = 100 * (np.mean(values) - np.mean(means[baseline]))
        yield f"| {name} | {np.mean(values):.2%} | {min(values):.2%} | {max(values):.2%} | {change:+.2f} |"


def draw(folder: Path, sweeps: dict[str, dict[str, Variant]]) -> Iterator[tuple[str, str]]:
    """Draw the pictures; yield each one's file name and caption."""
    costs = sweeps["vad-costs"]
    norms = build(
        "consistency", "prototype", {}, FER2013_LABELS, DIMENSIONS, where="report"
    ).prototypes.numpy()
    for name, file in (("none", "space.png"), ("hinge,equations", "space-hinge.png")):
        one = costs[name]
        plots_vad.vad_space(
            folder / file, one.predicted[0], one.true, DIMENSIONS, one.category, FER2013_LABELS,
            prototypes=norms, title=f"{name}: held-out annotated images (n = {len(one.true)})",
        )  # fmt: skip
        yield (
            file,
            f"Predicted values and the categories' places, {name}: the paper's Figure 1 with data in it.",
        )
        expected, violated = _contradictions(one)
        calibration = file.replace("space", "violations")
        title = f"{name} (n = {len(expected)} images x 3)"
        plots_vad.violation_calibration(folder / calibration, expected, violated, title=title)
        yield calibration, f"Contradictions that the model expects and those there are, {name}."
    chosen = ["none", "step", "hinge,equations", "prototype,annotated", "prototype,pad"]
    histories = {n: [r["history"] for r in costs[n].records] for n in chosen if n in costs}
    keys = {"loss": "training loss", "vad": "VAD loss, training", "emotion": "category loss, training"}
    _curves(folder / "losses.png", histories, keys, "with and without consistency")
    yield "losses.png", "Losses with and without consistency (its Figures 4 to 7); `none` lies under `step`."
    for sweep, variants in sweeps.items():
        _forest(folder / f"{sweep}.png", variants, BASELINES.get(sweep, "none"), sweep)
        yield (
            f"{sweep}.png",
            f"Difference of the mean squared error from the baseline, {sweep}: left is better.",
        )


def _contradictions(one: Variant) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, 3) how likely a value is to contradict the category, and whether it does."""
    cost = build("consistency", "step", {}, FER2013_LABELS, DIMENSIONS, where="report")
    values = torch.from_numpy(one.predicted[0])
    classes = torch.eye(len(FER2013_LABELS), dtype=values.dtype).log()
    each = torch.stack(
        [cost.per_dimension(row.expand(len(values), -1), values) > 0 for row in classes], 1
    ).numpy()
    return (one.probabilities[0][..., None] * each).sum(1), each[np.arange(len(each)), one.category]


def _curves(
    path: Path,
    histories: dict[str, list[list[dict[str, Any]]]],
    keys: dict[str, str],
    title: str,
) -> None:
    """Draw figures of several variants epoch by epoch: the mean over each one's runs, and their range.

    Args:
        path: the PNG file.
        histories: by variant, each run's records of its epochs.
        keys: what to draw, a panel each: its key in a record and how it is called.
        title: a heading.
    """
    with plots.picture(path, (4.2 * len(keys), 3.6)) as figure:
        for number, (key, name) in enumerate(keys.items(), 1):
            axes = figure.add_subplot(1, len(keys), number)
            for (variant, runs), (colour, marker) in zip(histories.items(), plots.styles(), strict=False):
                if any(key not in row for run in runs for row in run):
                    continue
                epochs = [row["epoch"] for row in runs[0]]
                values = np.array([[row[key] for row in run] for run in runs], dtype=float)
                axes.plot(epochs, values.mean(0), color=colour, marker=marker, markersize=4, label=variant)
                axes.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.12, linewidth=0)
            axes.set(xlabel="epoch", title=name)
            axes.legend(fontsize=8)
        figure.suptitle(title, x=0.01, ha="left")


def _forest(path: Path, variants: dict[str, Variant], baseline: str, title: str) -> None:
    """Draw each variant's difference from the baseline with its interval."""
    found = {name: paired(one, variants[baseline]) for name, one in variants.items() if name != baseline}
    with plots.picture(path, (7.2, 1.2 + 0.32 * len(found))) as figure:
        axes = figure.add_subplot()
        axes.axvline(0, color="#2b2b2b", linewidth=1, linestyle="--")
        for row, result in enumerate(found.values()):
            low, high = result["interval"]
            better, worse = high < 0, low > 0
            colour = plots.COLOURS[0] if better else plots.COLOURS[1] if worse else plots.COLOURS[6]
            axes.plot([low, high], [row, row], color=colour, linewidth=2)
            axes.plot(result["value"], row, color=colour, marker="o")
        axes.set_yticks(range(len(found)), list(found))
        axes.invert_yaxis()
        axes.set(xlabel=f"MSE (-2..2) minus that of {baseline}, 95 % interval over images", title=title)


def main(place: Path) -> None:
    """Write results.md and the pictures beside this file."""
    here = Path(__file__).parent
    sweeps = {name: read(place / name) for name in SWEEPS if (place / name).is_dir()}
    (here / "pictures").mkdir(exist_ok=True)
    lines = ["# The VAD study: results", "", __doc__.partition("\n\n")[2].strip(), ""]
    for sweep, variants in sweeps.items():
        baseline = BASELINES.get(sweep, "none")
        lines += [
            f"## {sweep}",
            "",
            f"Differences are from `{baseline}`.",
            "",
            *table(variants, baseline),
            "",
        ]
        if sweep == "vad-costs":
            lines += ["Category on PublicTest (n = 3,589):", "", *accuracy_table(variants, baseline), ""]
        if sweep == "vad-models":
            lines += ["With consistency minus without:", "", *pairs_table(variants), ""]
    lines += ["## Pictures", ""]
    for file, caption in draw(here / "pictures", sweeps):
        lines += [f"{caption}", "", f"![{caption}](pictures/{file})", ""]
    (here / "results.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
