"""Folds: each is trained by itself, all are summarised, and what is summarised is called by its name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet
from sklearn.metrics import accuracy_score, recall_score
from small import RECIPE, install
from typer.testing import CliRunner

from emozoo.cli.app import app
from emozoo.errors import DataError, RecipeError
from emozoo.recipe import Data
from emozoo.records import read_record
from emozoo.training import run
from emozoo.training.folds import choose_folds, parse_folds

READER = '''
from typing import ClassVar
import io
import numpy as np
from PIL import Image
from datasets import ClassLabel, Dataset, Features, Image as ImageColumn, Value

NAMES = ["angry", "happy", "sad"]

class Threefold:
    """Noise whose mean is its class, in three folds of different size, counted 1, 2 and 4."""

    title: ClassVar[str] = "Threefold"
    licence: ClassVar[str] = "none"
    citation: ClassVar[str] = "none"
    vad_scale = None

    def __init__(self, root=None, *, noise: float = 40.0):
        self.noise = noise

    @classmethod
    def recognises(cls, root):
        return False

    def read(self):
        rng = np.random.default_rng(0)
        rows = []
        for i in range(66):
            pixels = np.clip(rng.normal(80 + 40 * (i % 3), self.noise, (24, 24)), 0, 255).astype(np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, format="PNG")
            fold = 1 if i < 12 else 2 if i < 36 else 4
            rows.append({"id": f"i{i}", "image": {"bytes": buffer.getvalue(), "path": None}, "split": "all",
                         "label": i % 3, "fold": fold, "subject": f"s{i // 3}"})
        features = {"id": Value("string"), "image": ImageColumn(decode=False), "split": Value("string"),
                    "label": ClassLabel(names=NAMES), "fold": Value("int32"), "subject": Value("string")}
        return Dataset.from_list(rows, features=Features(features))

    def check(self):
        return []
'''

TINY = """
name = "tiny"
[model]
labels = ["angry", "happy", "sad"]
preprocess = { size = 24, crop = 20 }
backbone = { name = "resnet18", stem = "strided", width = 8 }
heads = { emotion = { name = "classification" } }
[data]
name = "threefold"
report = "test"
[train]
epochs = 1
batch_size = 16
precision = "fp32"
optimizer = { name = "adamw", lr = 0.01 }
"""
FOLDS = (1, 2, 4)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory):
    """A folder with the tiny recipe, while the reader of a dataset with folds is installed."""
    folder = tmp_path_factory.mktemp("folds")
    (folder / "tiny.toml").write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        site = folder / "site"
        site.mkdir()
        install(patch, site, "emozoo-threefold", "1.0", {"datasets/threefold": "Threefold"}, READER)
        patch.chdir(folder)
        for name in ("draw_history", "draw_result"):
            patch.setattr(run, name, lambda *_: [])
        yield folder


@pytest.fixture(scope="module")
def trained(place: Path) -> tuple[Path, str]:
    """All folds trained, fold 2 by itself before: the folder, and what was printed in the end."""
    emozoo("train", "tiny.toml", "--fold", "2", "--cpu")
    (place / "before").write_text(str((place / "runs" / "tiny" / "fold-2" / "run.json").stat().st_mtime_ns))
    return place / "runs" / "tiny", emozoo("train", "tiny.toml", "--folds", "all", "--cpu")


def emozoo(*arguments: str, status: int = 0) -> str:
    done = CliRunner().invoke(app, arguments, catch_exceptions=status != 0)
    assert done.exit_code == status, done.output
    return done.output if done.exception is None else f"{done.output}{done.exception}"


def predictions(folder: Path, *folds: int) -> list[dict]:
    return [
        row for f in folds for row in parquet.read_table(folder / f"fold-{f}/predictions.parquet").to_pylist()
    ]


def test_a_fold_is_tested_on_and_all_others_are_trained_on(trained: tuple[Path, str]) -> None:
    folder, _ = trained
    for fold, n in zip(FOLDS, (12, 24, 30), strict=True):
        record = read_record(folder / f"fold-{fold}")
        assert record["recipe"]["data"]["fold"] == fold
        assert record["result"]["n"] == n
        roles = record["data"]["roles"]
        assert roles["train"]["n"] + roles["select"]["n"] == 66 - n
    assert {row["id"] for row in predictions(folder, *FOLDS)} == {f"i{i}" for i in range(66)}


def test_folds_that_are_finished_stay_as_they_are(place: Path, trained: tuple[Path, str]) -> None:
    now = (trained[0] / "fold-2" / "run.json").stat().st_mtime_ns
    assert str(now) == (place / "before").read_text()


def test_accuracy_and_mean_recall_are_summarised_over_folds_and_pooled(trained: tuple[Path, str]) -> None:
    folder, said = trained
    rows = {row["metric"]: row for row in json.loads((folder / "folds.json").read_text())["rows"]}
    assert list(rows) == ["emotion.accuracy", "emotion.uar"]
    for name, score in (("accuracy", accuracy_score), ("uar", recall_score)):
        options = {"average": "macro"} if name == "uar" else {}
        each = [scored(predictions(folder, fold), score, options) for fold in FOLDS]
        found = rows[f"emotion.{name}"]
        assert found["estimate"]["mean"] == pytest.approx(np.mean(each))
        assert found["estimate"]["std"] == pytest.approx(np.std(each, ddof=1))
        assert found["pooled"]["value"] == pytest.approx(scored(predictions(folder, *FOLDS), score, options))
    assert (folder / "folds.md").read_text() in said
    assert "| emotion: accuracy (WAR) | tiny | 3 |" in said


def scored(rows: list[dict], score, options: dict) -> float:
    true, guess = ([row[f"emotion.{column}"] for row in rows] for column in ("true", "label"))
    return float(score(true, guess, **options))


def test_a_checkpoint_chosen_on_the_test_fold_gives_figures_of_that_name_only(place: Path) -> None:
    text = (place / "tiny.toml").read_text().replace('report = "test"', 'select = "test"')
    (place / "best.toml").write_text(text)
    said = emozoo("train", "best.toml", "--folds", "1,2", "--out", "best", "--cpu")
    assert "| best on test: emotion: accuracy (WAR) | tiny | 2 |" in said
    assert "| emotion: accuracy" not in said
    assert "measured on the split that chose the checkpoint, or that of a model" in said
    assert "best on test: emotion.uar" in (place / "best" / "folds.csv").read_text()


def test_the_literatures_practice_is_one_option_away_from_a_recipe_that_reports_the_test_split(
    place: Path,
) -> None:
    said = emozoo(
        "train", "tiny.toml", "--fold", "1", "--out", "peeking", "--cpu", "--set", "data.select=test"
    )
    assert "chose the checkpoint" in said
    record = read_record(place / "peeking")
    assert record["selected_on"] == record["reported_on"] == "test of fold 1"
    assert record["data"]["roles"]["train"]["n"] == 66 - 12, "nothing is held out"


def test_folds_that_fail_are_listed(place: Path) -> None:
    options = ("--out", "failed", "--cpu", "--set", "data.select=validation")
    said = emozoo("train", "tiny.toml", "--folds", "1,2", *options, status=1)
    assert "Runs that failed (2)" in said
    assert "- fold-2: the dataset has no split 'validation'" in said


def test_a_sweep_has_a_run_for_each_seed_and_fold(place: Path) -> None:
    (place / "sweep.toml").write_text(
        'name = "few"\nrecipe = "tiny.toml"\nseeds = [0, 1]\nfolds = [1, 2]\nmetrics = ["emotion.accuracy"]\n'
    )
    said = emozoo("sweep", "sweep.toml", "--cpu")
    folders = {f"few/seed-{seed}/fold-{fold}" for seed in (0, 1) for fold in (1, 2)}
    found = {run["folder"] for run in json.loads((place / "sweeps/few/sweep.json").read_text())["runs"]}
    assert found == folders
    assert "Runs of one fold share its samples" in said
    row = json.loads((place / "sweeps/few/sweep.json").read_text())["rows"][0]
    assert (row["runs"], row["estimate"]["n"]) == (4, 2)


@pytest.mark.parametrize(
    ("text", "folds"), [("all", "all"), ("3", [3]), ("1,2,5", [1, 2, 5]), (" 2, 1 ", [2, 1])]
)
def test_folds_are_all_or_numbers(text: str, folds: object) -> None:
    assert parse_folds(text) == folds


@pytest.mark.parametrize("text", ["", "0", "1,1", "a", "1-3", "1,,2"])
def test_other_folds_are_an_error_that_says_how_to_write_them(text: str) -> None:
    with pytest.raises(RecipeError, match="write all, or different numbers from 1 on, such as 1,2,5"):
        parse_folds(text)


def test_a_fold_that_the_dataset_has_not_is_an_error_that_lists_those_it_has(place: Path) -> None:
    with pytest.raises(DataError, match="dataset 'threefold' has no fold 3, 5; it has 1, 2, 4"):
        choose_folds(Data(name="threefold"), [3, 2, 5])
    assert choose_folds(Data(name="threefold"), "all") == [1, 2, 4]


def test_a_dataset_without_folds_says_so(place: Path) -> None:
    (place / "plain.toml").write_text(RECIPE)
    said = emozoo("train", "plain.toml", "--folds", "all", status=1)
    assert "dataset 'synthetic' has no folds" in said


def test_one_fold_and_several_cannot_be_asked_for_at_once(place: Path) -> None:
    assert "give one of them" in emozoo("train", "tiny.toml", "--fold", "1", "--folds", "all", status=1)
