"""The study of planted expressions: its sweeps can be run as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from emozoo.model import EmotionModel
from emozoo.training.sweep import load_sweep, plan

STUDY = Path(__file__).parents[1] / "docs" / "studies" / "planted"


@pytest.mark.parametrize("name", ["table", "clips", "frames"])
def test_every_variant_is_a_model_that_builds_and_samples_whole_videos(name, tmp_path):
    sweep = load_sweep(STUDY / f"{name}.toml")
    runs = plan(sweep, sweep.recipe, (), tmp_path)
    assert len(runs) == len(sweep.variants()) * 3
    for run in runs[::3]:
        sampling = run.recipe.model.sampling
        assert sampling is not None
        assert sampling.sample(105).mask.all()
        assert EmotionModel(run.recipe.model).labels == run.recipe.model.labels
