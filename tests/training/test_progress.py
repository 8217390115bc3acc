"""Which epoch of a run is its best one."""

from __future__ import annotations

import pytest

from emozoo.training.progress import Progress


def best_epoch(metric: str, values: list[float | None]) -> int | None:
    """Return which epoch is kept of those that scored these values."""
    progress = Progress()
    for epoch, value in enumerate(values, 1):
        progress.history.append({"epoch": epoch})
        progress.is_best(metric, value)
    return progress.best["epoch"]


@pytest.mark.parametrize("metric", ["emotion.accuracy", "vad.ccc", "vad.valence_pearson", "last"])
def test_the_epoch_of_the_highest_score_is_the_best(metric: str) -> None:
    assert best_epoch(metric, [0.2, 0.5, 0.5, None, 0.1]) == 2


@pytest.mark.parametrize("metric", ["emotion.nll", "emotion.ece", "vad.rmse", "vad.mae", "vad.valence_mse"])
def test_the_epoch_of_the_lowest_error_is_the_best(metric: str) -> None:
    assert best_epoch(metric, [None, 0.5, 0.2, 0.2, 0.3, None]) == 3
