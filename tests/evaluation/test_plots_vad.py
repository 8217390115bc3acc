"""Pictures of VAD are real and follow their data; contradictions are counted as a plain loop counts them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small import tiny_model

from emozoo.contracts import Targets
from emozoo.evaluation import plots_vad
from emozoo.evaluation.violations import expected_violations, rules
from emozoo.labels import DIMENSIONS

LABELS = ("angry", "happy", "sad")


def space(path: Path, seed: int) -> None:
    generator = np.random.default_rng(seed)
    target = generator.uniform(-1, 1, (30, 3))
    target[::4, 1] = np.nan
    prototypes = np.array([[-0.5, 0.6, 0.3], [0.8, 0.5, 0.5], [np.nan] * 3])
    plots_vad.vad_space(
        path, 0.5 * np.nan_to_num(target), target, DIMENSIONS, generator.integers(-1, 3, 30), LABELS,
        prototypes=prototypes, title="a",
    )  # fmt: skip


def calibration(path: Path, seed: int) -> None:
    generator = np.random.default_rng(seed)
    expected = generator.random((50, 3))
    plots_vad.violation_calibration(path, expected, generator.random((50, 3)) < expected)


@pytest.mark.parametrize("draw", [space, calibration])
def test_a_picture_is_a_png_that_shows_its_data(tmp_path: Path, draw: Callable[[Path, int], None]) -> None:
    for name, seed in (("a", 1), ("again", 1), ("b", 2)):
        draw(tmp_path / f"{name}.png", seed)
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG"
        assert min(image.size) > 300
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def test_expected_contradictions_are_those_of_each_category_by_its_probability() -> None:
    model = tiny_model()
    generator = torch.Generator().manual_seed(0)
    outputs = {
        "emotion": torch.randn(9, 7, generator=generator),
        "vad": torch.rand(9, 3, generator=generator) * 2 - 1,
    }
    label = torch.eye(7)[torch.arange(9) % 7]
    label[4] = float("nan")
    found = expected_violations(model, outputs, Targets(label, torch.full((9, 3), float("nan"))))
    used = rules(model)
    assert found is not None
    assert used is not None
    table = used.cost.table
    rows = [row for row in range(9) if row != 4]
    for place, row in enumerate(rows):
        probabilities = outputs["emotion"][row].softmax(0)
        for dimension in range(3):
            value = float(outputs["vad"][row, dimension])
            state = 0 if value > 0.25 else 2 if value < -0.25 else 1
            broken = [float(table[c, dimension, state] > 0) for c in range(7)]
            expected = sum(float(p) * b for p, b in zip(probabilities, broken, strict=True))
            assert float(found[0][place, dimension]) == pytest.approx(expected, abs=1e-6)
            assert bool(found[1][place, dimension]) == bool(broken[row % 7])
    assert len(found[0]) == len(rows)


def test_expected_contradictions_are_of_the_dimensions_of_all_vad_heads() -> None:
    dimensions = ("valence", "arousal", "dominance")
    heads = {name: {"name": "vad", "dimensions": [name]} for name in dimensions}
    apart = tiny_model(heads={"emotion": {"name": "classification"}, **heads})
    generator = torch.Generator().manual_seed(0)
    logits, vad = torch.randn(9, 7, generator=generator), torch.rand(9, 3, generator=generator) * 2 - 1
    targets = Targets(torch.eye(7)[torch.arange(9) % 7], torch.full((9, 3), float("nan")))
    one = expected_violations(tiny_model(), {"emotion": logits, "vad": vad}, targets)
    columns = dict(zip(dimensions, vad.split(1, 1), strict=True))
    many = expected_violations(apart, {"emotion": logits, **columns}, targets)
    assert one is not None
    assert many is not None
    assert one[0].shape == (9, 3)
    assert all(torch.equal(first, second) for first, second in zip(one, many, strict=True))


def test_a_model_without_vad_has_no_rules() -> None:
    assert rules(tiny_model(heads={"emotion": {"name": "classification"}})) is None
