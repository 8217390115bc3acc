"""A sweep is ordinary runs and one summary: what its file may say, what is trained, kept, resumed and reported."""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from small import RECIPE
from typer.testing import CliRunner

from emozoo.cli.app import app
from emozoo.errors import Interrupted, RecipeError, TrainingError
from emozoo.model import EmotionModel
from emozoo.recipe import Recipe, load_recipe
from emozoo.records import read_record, recipe_record
from emozoo.training import run, runs
from emozoo.training.run import _accelerator, train
from emozoo.training.runs import How, SharedData
from emozoo.training.sweep import load_sweep, plan, run_sweep
from emozoo.trees import toml

SMALL = 'set = ["train.epochs=1", "data.samples=42", "data.validation_samples=21", "data.test_samples=21"]\n'


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a sweep of the tiny recipe, given what else its file says."""
    (tmp_path / "tiny.toml").write_text(RECIPE)

    def make(text: str) -> Path:
        (tmp_path / "sweep.toml").write_text(f'name = "few"\nrecipe = "tiny.toml"\n{text}')
        return tmp_path / "sweep.toml"

    return make


def names(path: Path) -> list[str]:
    return [variant.name for variant in load_sweep(path).variants()]


VARIANTS = """
seeds = [0, 1]
metrics = ["emotion.accuracy", "vad.valence.mse"]
baseline = "none"
{small}
[[variant]]
name = "none"
[[variant]]
name = "slow"
set = ["train.optimizer.lr=0.001"]
"""


class TestTheFile:
    def test_variants_are_the_named_ones_and_then_every_combination_of_the_grid(self, write) -> None:
        path = write(
            '[[variant]]\nname = "none"\n[grid]\n"train.epochs" = [1, 2]\n"train.optimizer.lr" = [0.1, 1.0]\n'
        )
        combined = ["epochs=1,lr=0.1", "epochs=1,lr=1.0", "epochs=2,lr=0.1", "epochs=2,lr=1.0"]
        assert names(path) == ["none", *combined]
        assert load_sweep(path).variants()[2].point == {"train.epochs": 1, "train.optimizer.lr": 1.0}

    def test_without_variants_the_recipe_itself_is_the_only_one(self, write) -> None:
        assert names(write("")) == ["few"]

    def test_grid_keys_that_end_alike_are_told_apart_and_values_make_names_of_folders(self, write) -> None:
        path = write(
            '[grid]\n"train.consistency.0.weight" = [0.5]\n"train.losses.vad.weight" = [2]\n'
            '"model.backbone" = [{ name = "timm/resnet10t" }]\n"model.preprocess.mean.0" = [0.5]\n'
        )
        assert names(path) == ["consistency.0.weight=0.5,vad.weight=2,backbone=timm_resnet10t,mean.0=0.5"]

    @pytest.mark.parametrize(
        "value", [1, 0.1, True, 'a "quoted" \\ text', ["x", 1.5], {"name": "fan", "a b": {"c": [1, 2]}}]
    )
    def test_a_value_of_the_grid_survives_being_written_as_an_assignment(self, value: Any) -> None:
        assert tomllib.loads(f"value = {toml(value)}")["value"] == value

    def test_what_the_file_sets_then_the_command_line_then_the_seed_make_the_recipe(
        self, write, tmp_path
    ) -> None:
        path = write(
            'seeds = [7]\nset = ["train.epochs=3", "train.batch_size=8"]\n[grid]\n"train.epochs" = [5]\n'
        )
        (planned,) = plan(load_sweep(path), str(tmp_path / "tiny.toml"), ["train.batch_size=4"], tmp_path)
        train = planned.recipe.train
        assert (train.epochs, train.batch_size, train.seed) == (5, 4, 7)
        assert planned.folder == tmp_path / "epochs=5" / "seed-7"
        assert load_recipe(planned.source, planned.overrides) == planned.recipe

    def test_where_the_data_lie_is_kept_by_variants_that_name_another_reader(self, write, tmp_path) -> None:
        path = write("set = [\"data={name='folders'}\"]\n")
        (planned,) = plan(load_sweep(path), str(tmp_path / "tiny.toml"), ["data.root='photos'"], tmp_path)
        assert (planned.recipe.data.name, planned.recipe.data.root) == ("folders", "photos")

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("seed = [1]", "seed: unknown key. Did you mean 'seeds'?"),
            ("seeds = []", "seeds: "),
            ("seeds = [1, 1]", "seeds: a value is listed twice"),
            ('folds = "al"', "Did you mean 'all'?"),
            ('[[variant]]\nnam = "x"', "variant.0.name: missing; it is required"),
            ('[[variant]]\nname = "a/b"', "variant.0.name: "),
            ('[[variant]]\nname = "x"\n[[variant]]\nname = "x"', "variant: two variants are called 'x'"),
            ('[grid]\n"train.epochs" = 3', "grid.train.epochs: should be a list (given: 3)"),
            ('baseline = "nome"\n[[variant]]\nname = "none"', "no variant 'nome'. Did you mean 'none'?"),
            ('set = ["train.seed=3"]', "set.0: train.seed is set by the sweep itself; use its key 'seeds'"),
            ('[grid]\n"data.fold" = [1]', "grid.data.fold: data.fold is set by the sweep itself"),
            ("seeds = [1", "is not valid TOML"),
        ],
    )
    def test_a_mistake_in_the_file_is_an_error_that_names_file_and_key(
        self, write, text: str, problem: str
    ) -> None:
        path = write(text)
        with pytest.raises(RecipeError) as caught:
            load_sweep(path)
        assert str(path) in str(caught.value)
        assert problem in str(caught.value)

    def test_the_mistakes_of_all_variants_are_listed_before_anything_is_trained(
        self, write, tmp_path: Path
    ) -> None:
        path = write(
            '[[variant]]\nname = "a"\nset = ["train.epoch=1"]\n[[variant]]\nname = "b"\nset = ["train.x=1"]\n'
        )
        with pytest.raises(RecipeError) as caught:
            run_sweep(path, [], tmp_path / "out", How())
        assert "variant 'a'" in str(caught.value)
        assert "train.epoch: unknown key. Did you mean 'epochs'?" in str(caught.value)
        assert "variant 'b'" in str(caught.value)
        assert not (tmp_path / "out").exists()

    def test_a_figure_of_no_head_is_refused_before_anything_is_trained(self, write, tmp_path: Path) -> None:
        with pytest.raises(RecipeError, match=r"metrics.0: 'emotoin.uar' is of no head .* mean 'emotion'"):
            run_sweep(write('metrics = ["emotoin.uar"]'), [], tmp_path / "out", How())


def without_pictures(patch: pytest.MonkeyPatch) -> None:
    """Leave out what takes most of a tiny run's time."""
    for name in ("draw_history", "draw_result"):
        patch.setattr(run, name, lambda *_: [])


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], int]:
    """A finished sweep of two variants and two seeds: its folder, what it said, how often data were read."""
    place = tmp_path_factory.mktemp("sweep")
    (place / "tiny.toml").write_text(RECIPE)
    (place / "sweep.toml").write_text(f'name = "few"\nrecipe = "tiny.toml"\n{VARIANTS.format(small=SMALL)}')
    said: list[str] = []
    reads = []
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        load = runs.load_training_data
        patch.setattr(runs, "load_training_data", lambda *given: reads.append(1) or load(*given))
        failures = run_sweep(place / "sweep.toml", [], place / "out", How(cpu=True, say=said.append))
    assert failures == {}
    return place, said, len(reads)


def test_every_run_of_a_sweep_is_what_train_makes_of_the_recipe(
    swept: tuple[Path, list[str], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_pictures(monkeypatch)
    place, _, _ = swept
    small = tomllib.loads(SMALL)["set"]
    recipe = load_recipe(place / "tiny.toml", [*small, "train.optimizer.lr=0.001", "train.seed=1"])
    alone = read_record(train(recipe, tmp_path / "alone", cpu=True))
    record = read_record(place / "out" / "slow" / "seed-1")
    assert record["result"] == alone["result"]
    assert record["recipe"] == recipe_record(recipe)
    assert (place / "out" / "slow" / "seed-1" / "model" / "model.safetensors").is_file()


def test_the_table_holds_the_means_of_the_runs_and_their_paired_differences(
    swept: tuple[Path, list[str], int],
) -> None:
    place, said, _ = swept
    values = {
        (variant, seed): read_record(place / "out" / variant / f"seed-{seed}")["result"]["heads"]["vad"][
            "metrics"
        ]["valence_mse"]["value"]
        for variant in ("none", "slow")
        for seed in (0, 1)
    }
    whole = json.loads((place / "out" / "sweep.json").read_text())
    row = next(r for r in whole["rows"] if (r["metric"], r["variant"]) == ("vad.valence_mse", "slow"))
    assert row["estimate"]["mean"] == pytest.approx((values["slow", 0] + values["slow", 1]) / 2)
    differences = [values["slow", seed] - values["none", seed] for seed in (0, 1)]
    assert row["difference"]["mean"] == pytest.approx(sum(differences) / 2)
    assert len(whole["rows"]) == 4
    assert (place / "out" / "sweep.md").read_text() in said[-1]
    assert {"sweep.md", "sweep.csv", "sweep.json", "sweep.png"} <= {p.name for p in (place / "out").iterdir()}


def test_runs_that_read_the_same_data_read_them_once(swept: tuple[Path, list[str], int]) -> None:
    assert swept[2] == 1


def test_a_finished_run_of_a_sweep_keeps_its_model_and_no_checkpoints(
    swept: tuple[Path, list[str], int],
) -> None:
    folders = [path.parent for path in (swept[0] / "out").glob("*/seed-*/run.json")]
    assert folders
    assert all((folder / "model" / "model.safetensors").is_file() for folder in folders)
    assert not [folder for folder in folders if (folder / "checkpoints").exists()]


def test_a_sweep_that_is_repeated_trains_nothing_again(swept: tuple[Path, list[str], int]) -> None:
    place, _, _ = swept
    before = {path: path.stat().st_mtime_ns for path in (place / "out").glob("*/*/**/*")}
    assert len(before) > 20
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "train", None)
        run_sweep(place / "sweep.toml", [], place / "out", How(cpu=True))
    assert {path: path.stat().st_mtime_ns for path in (place / "out").glob("*/*/**/*")} == before


def test_finished_runs_of_a_sweep_that_has_changed_are_not_passed_off_as_the_new_ones(
    swept: tuple[Path, list[str], int],
) -> None:
    place, _, _ = swept
    changed = (place / "sweep.toml").read_text().replace("lr=0.001", "lr=0.002")
    (place / "changed.toml").write_text(changed)
    failures = run_sweep(place / "changed.toml", [], place / "out", How(cpu=True))
    assert list(failures) == ["slow/seed-0", "slow/seed-1"]
    assert "train.optimizer.lr: was 0.001, is 0.002" in failures["slow/seed-0"]
    assert "Runs that failed (2)" in (place / "out" / "sweep.md").read_text()


def test_data_are_read_again_where_their_settings_or_a_frozen_backbone_differ(
    monkeypatch: pytest.MonkeyPatch, tiny_recipe: Callable[..., Recipe]
) -> None:
    reads = []
    monkeypatch.setattr(runs, "load_training_data", lambda recipe, model: reads.append(recipe) or object())
    load: Any = SharedData()
    for overrides in (
        (),
        ("train.seed=1",),
        ("model.heads.emotion.dropout=0.1",),
        ("data.seed=1",),
        ("data.seed=1", "model.preprocess.crop=16"),
        ("train.freeze=true",),
        ("train.freeze=true", "train.optimizer.lr=0.5"),
        ("train.freeze=true", "train.seed=1"),
    ):
        recipe = tiny_recipe(*overrides)
        torch.manual_seed(recipe.train.seed)
        load(recipe, EmotionModel(recipe.model))
    assert len(reads) == 5


FAKE = {"heads": {"emotion": {"task": "classification", "primary": "accuracy", "metrics": {}}}}


def fake_train(recipe: Recipe, folder: Path, **_: Any) -> Path:
    """Stand in for a training run: write a record and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    metrics = {"accuracy": {"value": 0.5 + recipe.train.seed / 10, "interval": None}}
    heads = {"emotion": FAKE["heads"]["emotion"] | {"metrics": metrics}}
    record = {
        "recipe": recipe_record(recipe), "result": {"heads": heads}, "model": {}, "training_seconds": 1.0,
        "selected_on": "validation", "reported_on": "test", "data": {"title": "faces"},
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def test_a_run_that_fails_is_listed_and_the_others_go_on(
    write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def some_fail(recipe: Recipe, folder: Path, **more: Any) -> Path:
        if recipe.train.seed == 1:
            raise TrainingError("the loss became nan at step 3")
        if recipe.train.seed == 2:
            raise MemoryError("no room")
        return fake_train(recipe, folder, **more)

    monkeypatch.setattr(runs, "train", some_fail)
    path = write('seeds = [0, 1, 2, 3]\nmetrics = ["emotion.accuracy"]\n')
    failures = run_sweep(path, [], tmp_path / "out", How(cpu=True))
    assert failures == {"few/seed-1": "the loss became nan at step 3", "few/seed-2": "MemoryError: no room"}
    text = (tmp_path / "out" / "sweep.md").read_text()
    assert "| few | 2 | 65.00 % |" in text
    assert "- few/seed-1: the loss became nan at step 3" in text
    assert "some_fail" in (tmp_path / "out" / "few" / "seed-2" / "error.txt").read_text()
    monkeypatch.setattr(runs, "train", fake_train)
    assert run_sweep(path, [], tmp_path / "out", How(cpu=True)) == {}
    assert not list((tmp_path / "out").glob("*/*/error.txt"))
    assert "| few | 4 | 65.00 % |" in (tmp_path / "out" / "sweep.md").read_text()


def test_a_signal_ends_the_sweep_and_not_only_the_run(
    write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def interrupted(recipe: Recipe, folder: Path, **_: Any) -> Path:
        started.append(folder)
        raise Interrupted(15, 3)

    monkeypatch.setattr(runs, "train", interrupted)
    with pytest.raises(Interrupted):
        run_sweep(write("seeds = [0, 1]\n"), [], tmp_path / "out", How(cpu=True))
    assert len(started) == 1


def test_a_run_is_resumed_where_it_was_stopped(
    write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    monkeypatch.setattr(
        runs, "train", lambda *args, **options: given.append(options["resume"]) or fake_train(*args)
    )
    run_sweep(write('metrics = ["emotion.accuracy"]\n'), [], tmp_path / "out", How(cpu=True))
    assert given == [True]


def test_runs_of_different_precision_can_follow_each_other(
    write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(recipe: Recipe, folder: Path, **_: Any) -> Path:
        assert _accelerator(recipe.train, folder, (), cpu=True).mixed_precision == recipe.train.precision
        return fake_train(recipe, folder)

    monkeypatch.setattr(runs, "train", prepare)
    path = write('metrics = ["emotion.accuracy"]\n[grid]\n"train.precision" = ["bf16", "fp16"]\n')
    assert run_sweep(path, [], tmp_path / "out", How(cpu=True)) == {}
    AcceleratorState._reset_state()


def test_runs_side_by_side_are_the_same_runs_and_one_that_fails_is_listed(
    write, tmp_path: Path, swept: tuple[Path, list[str], int]
) -> None:
    path = write(SMALL + '[grid]\n"model.backbone.width" = [8, -1]\n')
    failures = run_sweep(path, [], tmp_path / "out", How(jobs=2, cpu=True))
    place = tmp_path / "out" / "width=8" / "seed-0"
    assert read_record(place)["result"] == read_record(swept[0] / "out" / "none" / "seed-0")["result"]
    assert not (place / "error.txt").exists()
    assert list(failures) == ["width=-1/seed-0"]
    assert "model.backbone.width: should be greater than 0" in failures["width=-1/seed-0"]


def test_what_stops_a_sweep_stops_its_processes_with_a_checkpoint_each(
    write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (planned,) = plan(
        load_sweep(write('set = ["train.epochs=100000"]')), str(tmp_path / "tiny.toml"), [], tmp_path / "out"
    )
    wait = time.sleep

    def stopped_once_there_is_a_checkpoint(seconds: float) -> None:
        wait(seconds)
        if any((planned.folder / "checkpoints").glob("last-*")):
            raise KeyboardInterrupt

    monkeypatch.setattr(runs.time, "sleep", stopped_once_there_is_a_checkpoint)
    with pytest.raises(KeyboardInterrupt):
        list(runs.carry_out([planned], How(jobs=2, cpu=True)))
    assert "interrupted at step" in (planned.folder / "error.txt").read_text()


def test_a_sweep_with_failures_ends_with_status_1(
    write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: Any, **__: Any) -> Path:
        raise TrainingError("no room")

    monkeypatch.setattr(runs, "train", fail)
    done = CliRunner().invoke(app, ["sweep", str(write("")), "--out", str(tmp_path / "out"), "--cpu"])
    assert done.exit_code == 1
    assert "[1/1] few/seed-0: failed: no room" in done.output
    assert "Runs that failed (1)" in done.output
