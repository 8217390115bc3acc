"""The pictures of a run and of a measured split."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emozoo import registry
from emozoo.data.samples import Samples
from emozoo.errors import DataError, EmozooWarning, RecipeError
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
        path, places, _category(samples), labels, title=f"features, t-SNE (n = {len(features):,})"
    )
    return [path]


def _category(samples: Samples) -> np.ndarray:
    """Return each sample's most probable category; -1 for unlabelled ones."""
    label = samples.targets.label.cpu()
    return np.where(label.isnan().any(1), -1, label.nan_to_num().argmax(1))


def draw_result(
    folder: Path, model: EmotionModel, samples: Samples, outputs: dict[str, Tensor], result: dict[str, Any]
) -> list[Path]:
    """Draw what each head made of a split: confusion and reliability, predicted against annotated VAD."""
    pictures: list[Path] = []
    category = _category(samples)
    columns: dict[str, Tensor] = {}  # of each dimension, what the first head that has it says
    for name, measured in result["heads"].items():
        title = f"{name}, {result['split']} (n = {measured['n']:,})"
        if measured["task"] == "classification":
            pictures += [folder / f"{name}_confusion.png", folder / f"{name}_reliability.png"]
            plots.confusion_matrix(pictures[-2], measured["confusion"], model.labels, title=title)
            ece = measured["metrics"]["ece"]["value"]
            plots.reliability_diagram(pictures[-1], measured["reliability"], ece=ece, title=title)
        elif measured["task"] == "vad":
            head: Any = model.heads[name]
            truth = samples.targets.vad.cpu().numpy()[:, head.columns]
            pictures.append(folder / f"{name}_scatter.png")
            plots.vad_scatter(
                pictures[-1], outputs[name].numpy(), truth, head.dimensions,
                category=category, labels=model.labels, title=title,
            )  # fmt: skip
            own = dict(zip(head.dimensions, outputs[name].unbind(1), strict=True))
            columns = own | columns
            pictures += _draw_space(folder / f"{name}_space.png", model, own, samples, title)
    if not any(path.name.endswith("_space.png") for path in pictures):
        columns = {name: columns[name] for name in DIMENSIONS if name in columns}
        count = int((~samples.targets.vad.isnan()).all(1).sum())
        title = f"{', '.join(columns)}, {result['split']} (n = {count:,})"
        pictures += _draw_space(folder / "space.png", model, columns, samples, title)
    if found := result.get("rich_clips"):
        pictures.append(folder / "activation.png")
        title = f"activation map, {result['split']} (n = {found['n']:,})"
        plots.activation_map(pictures[-1], found["activation"], chance=found["chance"], title=title)
    return pictures + _draw_violations(folder / "violations.png", model, samples, outputs)


def _draw_space(
    path: Path, model: EmotionModel, columns: dict[str, Tensor], samples: Samples, title: str
) -> list[Path]:
    """Draw three dimensions, by name, in their space, with the published places of the labels that have one."""
    dimensions = tuple(columns)
    truth = samples.targets.vad.cpu().numpy()[:, [DIMENSIONS.index(name) for name in dimensions]]
    if len(dimensions) < 3 or np.isnan(truth).any(1).all():
        return []
    try:
        norms = registry.build("consistency", "prototype", {}, model.labels, dimensions, where="picture")
        places = norms.prototypes.masked_fill(norms.known[:, None] == 0, float("nan")).numpy()
    except RecipeError:  # nobody says where any of these labels lies
        places = None
    plots_vad.vad_space(
        path, torch.stack([*columns.values()], 1).numpy(), truth, dimensions, _category(samples), model.labels,
        prototypes=places, title=title,
    )  # fmt: skip
    return [path]


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
