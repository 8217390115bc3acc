"""Pictures are real, differ where their data differ, and are drawn without pyplot."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from emozoo.evaluation import plots
from emozoo.evaluation.metrics import classification_measure
from emozoo.evaluation.pictures import draw_history

LABELS = ("angry", "happy", "sad")
VAD = ("valence", "arousal", "dominance")


def confusion(path: Path, seed: int) -> None:
    plots.confusion_matrix(path, np.random.default_rng(seed).integers(0, 300, (3, 3)), LABELS, title="a, b")


def curves(path: Path, seed: int) -> None:
    rows = [
        {"epoch": e, "loss": seed + 1 / e, "val_loss": None, "accuracy": e / 9, "lr": 0.1}
        for e in range(1, 8)
    ]
    plots.training_curves(path, rows, best=5)


def scatter(path: Path, seed: int) -> None:
    generator = np.random.default_rng(seed)
    target = generator.uniform(-1, 1, (40, 3))
    target[::4, 1] = np.nan
    category = generator.integers(-1, 3, 40)
    plots.vad_scatter(path, 0.5 * np.nan_to_num(target), target, VAD, category=category, labels=LABELS)


def reliability(path: Path, seed: int) -> None:
    generator = np.random.default_rng(seed)
    measure = classification_measure(generator.dirichlet([1, 1, 1], 90), generator.integers(0, 3, 90), LABELS)
    plots.reliability_diagram(path, measure["reliability"], ece=measure["metrics"]["ece"]["value"])


def faces(path: Path, seed: int) -> None:
    images = np.random.default_rng(seed).integers(0, 255, (5, 1, 24, 24), dtype=np.uint8)
    plots.face_grid(path, images, ["happy"] * 5, correct=[True, False, None, True, False])


DRAWINGS = [confusion, curves, scatter, reliability, faces]


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(plots._STYLE, "figure.dpi", 60)


def colours(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)


@pytest.mark.parametrize("draw", DRAWINGS)
def test_each_picture_is_a_png_that_follows_its_data_and_nothing_else(
    draw: Callable[[Path, int], None], tmp_path: Path
) -> None:
    draw(tmp_path / "a.png", 1)
    with Image.open(tmp_path / "a.png") as image:
        assert min(image.size) > 120
        ink = (np.asarray(image.convert("L")) < 200).mean()
    assert 0.005 < ink < 0.8
    assert len(colours(tmp_path / "a.png")) > 50

    draw(tmp_path / "same.png", 1)
    draw(tmp_path / "other.png", 2)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "same.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "other.png").read_bytes()


def test_a_face_is_shown_as_it_is_with_a_frame_that_says_right_or_wrong(tmp_path: Path) -> None:
    image = np.zeros((1, 3, 16, 16), np.uint8)
    image[:, 0], image[:, 1], image[:, 2] = 200, 30, 90
    frames = {True: (0x00, 0x72, 0xB2), False: (0xD5, 0x5E, 0x00)}
    for correct, frame in frames.items():
        plots.face_grid(tmp_path / "face.png", image, ["x"], correct=[correct])
        found = {tuple(row) for row in colours(tmp_path / "face.png").tolist()}
        assert (200, 30, 90) in found
        assert frame in found
        assert frames[not correct] not in found


def test_a_perfect_confusion_matrix_is_dark_on_the_diagonal_and_white_beside_it(tmp_path: Path) -> None:
    plots.confusion_matrix(tmp_path / "c.png", np.diag([5, 7, 9]), LABELS)
    found = {tuple(row) for row in colours(tmp_path / "c.png").tolist()}
    assert {(8, 48, 107), (247, 251, 255)} <= found  # both ends of the colour map Blues


def test_an_activation_map_is_dark_where_the_weight_is_and_empty_where_no_video_is(tmp_path: Path) -> None:
    plots.activation_map(tmp_path / "a.png", [[1.0, 0.0], None], chance=0.5)
    found = {tuple(row) for row in colours(tmp_path / "a.png").tolist()}
    assert {(8, 48, 107), (247, 251, 255)} <= found


@pytest.mark.parametrize("classes", [2, 21])
def test_any_number_of_classes_can_be_drawn_even_without_samples(classes: int, tmp_path: Path) -> None:
    labels = [f"$\\class{i}$" for i in range(classes)]  # no formula, though it looks like one
    plots.confusion_matrix(tmp_path / "c.png", np.zeros((classes, classes), int), labels)
    plots.embedding(tmp_path / "p.png", np.zeros((classes, 2)), np.arange(classes), labels)
    assert (tmp_path / "c.png").stat().st_size > 5000
    assert len(colours(tmp_path / "p.png")) > 50


def test_a_dimension_without_targets_is_drawn_as_undefined(tmp_path: Path) -> None:
    plots.vad_scatter(tmp_path / "s.png", np.zeros((4, 1)), np.full((4, 1), np.nan), ["valence"])
    assert (tmp_path / "s.png").stat().st_size > 5000


def test_categories_beyond_the_colours_still_differ_by_marker() -> None:
    pairs = [pair for pair, _ in zip(plots.styles(), range(40), strict=False)]
    assert len(set(pairs)) == 40


def test_drawing_needs_neither_pyplot_nor_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from emozoo.evaluation import plots;"
        "before = 'matplotlib' in sys.modules;"
        f"plots.confusion_matrix(Path({str(tmp_path / 'c.png')!r}), [[1, 0], [0, 1]], ['a', 'b']);"
        "print(before, sorted({'matplotlib.pyplot', 'torch'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False []"


@pytest.mark.parametrize(
    ("metric", "drawn"), [("vad.ccc", "select.vad.ccc"), ("last", "select.emotion.accuracy")]
)
def test_a_runs_curves_show_the_figure_that_selects_or_else_the_first_heads_main_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str, drawn: str
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(plots, "training_curves", lambda path, epochs, **more: given.update(more))
    row = {"epoch": 1, "loss": 1.0, "select.emotion.accuracy": 0.5, "select.vad.ccc": 0.1, "select.loss": 1.0}
    draw_history(tmp_path, [row], {"metric": metric, "epoch": 1})
    assert given == {"scores": [drawn], "best": 1}


def test_the_curves_of_one_epoch_stand_at_that_epoch_and_at_no_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks: list[list[float]] = []

    @contextmanager
    def looked_at(path: Path, size: tuple[float, float]) -> Iterator[Any]:
        from matplotlib.figure import Figure

        figure = Figure(figsize=size)
        yield figure
        ticks.extend(list(axes.get_xticks()) for axes in figure.axes)

    monkeypatch.setattr(plots, "picture", looked_at)
    plots.training_curves(tmp_path / "a.png", [{"epoch": 1, "loss": 1.0, "lr": 0.1}], best=1)
    assert [{tick for tick in row if tick % 1} for row in ticks] == [set(), set()]
    assert all(1.0 in row for row in ticks)
