"""The pictures of a run and of a measured split."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emozoo.data.samples import Samples
from emozoo.errors import DataError, EmozooWarning
from emozoo.evaluation import plots, plots_vad
from emozoo.evaluation.violations import expected_violations
from emozoo.labels import DIMENSIONS
from emozoo.model import EmotionModel


def draw_history(folder: Path, history: Sequence[dict[str, Any]], best: dict[str, Any]) -> list[Path]:
    """Draw losses, the selection metric and the learning rate of a run, epoch by epoch."""
    path = folder / "curves.png"
    epochs = [
        {key.replace("select.loss", "selection loss"): value for key, value in row.items()} for row in history
    ]
    figures = [name for name in history[-1] if name.startswith("select.") and name != "select.loss"]
    metric = f"select.{best['metric']}"  # of a run that kept its last epoch, the first head's main one stands first
    plots.training_curves(
        path, epochs, scores=[metric] if metric in figures else figures[:1], best=best["epoch"]
    )
    return [path]


def check_tsne() -> None:
    """Check that t-SNE can be computed here.

    Raises:
        DataError: scikit-learn is not installed.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise DataError("t-SNE needs scikit-learn: pip install 'emozoo[tsne]'")


def draw_features(folder: Path, features: Tensor, samples: Samples, labels: Sequence[str]) -> list[Path]:
    """Draw the samples by what the heads are given (N, D'), brought to the plane by t-SNE; not fewer than four."""
    from sklearn.manifold import TSNE

    if len(features) < 4:
        message = f"t-SNE of {len(features)} samples shows nothing; it was not drawn"
        warnings.warn(message, EmozooWarning, stacklevel=2)
        return []
    perplexity = min(30.0, (len(features) - 1) / 3)
    places = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(features.numpy())
    path = folder / "features.png"
    plots.embedding(
        path, places, samples.targets.category.cpu(), labels, title=f"features, t-SNE (n = {len(features):,})"
    )
    return [path]


def draw_result(
    folder: Path, model: EmotionModel, samples: Samples, outputs: dict[str, Tensor], result: dict[str, Any]
) -> list[Path]:
    """Draw what each head made of a split: confusion and reliability, predicted against annotated VAD."""
    pictures: list[Path] = []
    said: dict[str, Tensor] = {}  # of each dimension, what the first head that has it says
    for name, measured in result["heads"].items():
        title = f"{name}, {result['split']} (n = {measured['n']:,})"
        pictures += draw_categories(folder, name, measured, title)
        if measured["task"] == "vad":
            own = dict(zip(model.heads[name].dimensions, outputs[name].unbind(1), strict=True))
            said = own | said
            pictures += _draw_vad(folder, name, model, samples, own, title)
    if not any(path.name.endswith("_space.png") for path in pictures):
        said = {name: said[name] for name in DIMENSIONS if name in said}
        count = int((~samples.targets.vad.isnan()).all(1).sum())
        title = f"{', '.join(said)}, {result['split']} (n = {count:,})"
        pictures += _draw_space(folder / "space.png", model, said, samples, title)
    if found := result.get("rich_clips"):
        pictures.append(folder / "activation.png")
        title = f"activation map, {result['split']} (n = {found['n']:,})"
        plots.activation_map(pictures[-1], found["activation"], chance=found["chance"], title=title)
    return pictures + _draw_violations(folder / "violations.png", model, samples, outputs)


def draw_categories(folder: Path, name: str, measured: Mapping[str, Any], title: str) -> list[Path]:
    """Draw what there is of a head's measure of categories: confusion and reliability."""
    pictures: list[Path] = []
    if "confusion" in measured and "per_class" in measured:
        pictures.append(folder / f"{name}_confusion.png")
        labels = [row["label"] for row in measured["per_class"]]
        plots.confusion_matrix(pictures[-1], measured["confusion"], labels, title=title)
    if "reliability" in measured:
        pictures.append(folder / f"{name}_reliability.png")
        ece = measured["metrics"].get("ece", {}).get("value")
        plots.reliability_diagram(pictures[-1], measured["reliability"], ece=ece, title=title)
    return pictures


def _draw_vad(
    folder: Path, name: str, model: EmotionModel, samples: Samples, values: Mapping[str, Tensor], title: str
) -> list[Path]:
    """Draw a head's values against the annotated ones, dimension by dimension, and in their space if they are three."""
    scatter = folder / f"{name}_scatter.png"
    plots.vad_scatter(
        scatter, *_against_truth(values, samples), tuple(values),
        category=samples.targets.category.cpu(), labels=model.labels, title=title,
    )  # fmt: skip
    return [scatter, *_draw_space(folder / f"{name}_space.png", model, values, samples, title)]


def _draw_space(
    path: Path, model: EmotionModel, values: Mapping[str, Tensor], samples: Samples, title: str
) -> list[Path]:
    """Draw predicted and annotated values in their space, where there are three dimensions of both."""
    predicted, truth = _against_truth(values, samples)
    if len(values) < 3 or np.isnan(truth).any(1).all():
        return []
    category = samples.targets.category.cpu()
    plots_vad.vad_space(path, predicted, truth, tuple(values), category, model.labels, title=title)
    return [path]


def _against_truth(values: Mapping[str, Tensor], samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Return what is predicted and what is annotated of some dimensions, each (N, dimensions)."""
    columns = [DIMENSIONS.index(name) for name in values]
    predicted = torch.stack([*values.values()], 1) if values else torch.empty(len(samples), 0)
    return predicted.numpy(), samples.targets.vad.cpu().numpy()[:, columns]


def _draw_violations(
    path: Path, model: EmotionModel, samples: Samples, outputs: dict[str, Tensor]
) -> list[Path]:
    """Draw whether values contradict the true category as often as the model expects."""
    found = expected_violations(model, outputs, samples.targets)
    if found is None or not len(found[0]):
        return []
    expected, violated = found
    title = f"category against values (n = {len(expected):,})"
    plots_vad.violation_calibration(path, expected.numpy(), violated.numpy(), title=title)
    return [path]
