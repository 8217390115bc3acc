"""What a run does, step by step, and what it says when it cannot."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from emozoo.errors import EmozooWarning, RecipeError, TrainingError
from emozoo.folder import load_model, verify_golden
from emozoo.hashing import sha256
from emozoo.model import EmotionModel
from emozoo.recipe import Recipe
from emozoo.records import read_record
from emozoo.training.data import TrainingData, load_training_data
from emozoo.training.run import resolve_precision, train
from emozoo.training.trainer import epoch_order


def test_a_run_learns(tiny_recipe, tmp_path: Path) -> None:
    folder = train(
        tiny_recipe(
            "train.epochs=6",
            "data.samples=560",
            "model.backbone.width=8",
            "data.size=48",
            "model.preprocess={size=48, crop=44}",
        ),
        tmp_path / "run",
        cpu=True,
    )
    history = read_record(folder)["history"]
    assert history[-1]["loss"] < 0.9 * history[0]["loss"]
    assert history[-1]["select.loss"] < history[0]["select.loss"]


def test_a_finished_run_holds_model_record_report_predictions_and_pictures(
    tiny_recipe, tmp_path: Path
) -> None:
    folder = train(tiny_recipe("train.epochs=1"), tmp_path / "run", cpu=True)
    names = {path.name for path in folder.iterdir()}
    assert {"model", "run.json", "report.md", "report.html", "predictions.parquet", "metrics.jsonl"} <= names
    assert {"curves.png", "emotion_confusion.png", "vad_scatter.png"} <= names
    model = load_model(folder / "model", "cpu")
    assert verify_golden(model, folder / "model") == 0.0
    assert json.loads((folder / "model" / "run.json").read_text()) == read_record(folder)


def test_the_record_names_what_selected_and_what_reported(tiny_recipe, tmp_path: Path) -> None:
    record = read_record(train(tiny_recipe("train.epochs=1"), tmp_path / "run", cpu=True))
    assert (record["selected_on"], record["reported_on"]) == ("validation", "test")
    assert record["result"]["split"] == "test"
    assert {role: part["n"] for role, part in record["data"]["roles"].items()} == {
        "train": 140, "select": 70, "report": 70,
    }  # fmt: skip
    assert len({part["fingerprint"] for part in record["data"]["roles"].values()}) == 3
    assert record["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert record["recipe"]["train"]["seed"] == 0


def test_without_a_selection_split_part_of_the_training_split_selects(tiny_recipe, tmp_path: Path) -> None:
    recipe = tiny_recipe("train.epochs=1")
    data = recipe.data.model_copy(update={"select": None, "report": None})
    record = read_record(train(recipe.model_copy(update={"data": data}), tmp_path / "run", cpu=True))
    assert record["selected_on"] == record["reported_on"] == "train (held-out 10%)"
    roles = record["data"]["roles"]
    assert roles["train"]["n"] + roles["select"]["n"] == 140
    assert roles["select"]["n"] >= 7


def test_the_same_recipe_gives_the_same_run(tiny_recipe, tmp_path: Path) -> None:
    one, other = (read_record(train(tiny_recipe(), tmp_path / name, cpu=True)) for name in ("a", "b"))
    assert one["result"] == other["result"]
    third = read_record(train(tiny_recipe("train.seed=1"), tmp_path / "c", cpu=True))
    assert third["result"] != one["result"]


def test_accumulating_gradients_takes_the_step_of_the_whole_batch(tiny_recipe, tmp_path: Path) -> None:
    options = [
        "model.backbone={name='timm/test_vit', img_size=32}", "model.preprocess={size=32, crop=32}", "data.size=32",
        "model.heads.emotion.dropout=0", "train.epochs=1",
    ]  # fmt: skip
    results = []
    for parts in (1, 4):
        recipe = tiny_recipe(*options, f"train.accumulate={parts}")
        results.append(read_record(train(recipe, tmp_path / str(parts), cpu=True))["history"][-1])
    assert results[0]["loss"] == pytest.approx(results[1]["loss"], rel=1e-4)
    assert results[0]["select.loss"] == pytest.approx(results[1]["select.loss"], rel=1e-3)


def test_few_labels_weigh_the_same_however_a_batch_is_divided(tiny_recipe, tmp_path: Path) -> None:
    def sparse(recipe: Recipe, model: EmotionModel) -> TrainingData:
        data = load_training_data(recipe, model)
        data.train.targets.vad[torch.arange(len(data.train)) % 30 > 0] = float("nan")
        return data

    options = [
        "model.backbone={name='timm/test_vit', img_size=32}", "model.preprocess={size=32, crop=32}", "data.size=32",
        "model.heads.emotion.dropout=0", "train.epochs=1", "train.optimizer={name='sgd', lr=0.1}",
    ]  # fmt: skip
    rows = []
    for parts in (1, 4):
        recipe = tiny_recipe(*options, f"train.accumulate={parts}")
        rows.append(read_record(train(recipe, tmp_path / str(parts), cpu=True, load=sparse))["history"][-1])
    assert rows[0]["vad"] == pytest.approx(rows[1]["vad"], rel=1e-4)
    assert rows[0]["select.loss"] == pytest.approx(rows[1]["select.loss"], rel=1e-4)
    assert rows[0]["vad"] > 0.1, "batches without a label are not counted as batches without a loss"


def test_an_unstable_run_stops_with_the_step_and_the_ids(tiny_recipe, tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as caught:
        train(
            tiny_recipe("train.optimizer.name=sgd", "train.optimizer.lr=1e30", "train.losses.vad.weight=1e30"),
            tmp_path / "run", cpu=True,
        )  # fmt: skip
    text = str(caught.value)
    assert "the loss became" in text
    assert "at step" in text
    assert text.count("train-") == 20
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_cost_without_a_gradient_warns(tiny_recipe, tmp_path: Path) -> None:
    recipe = tiny_recipe("train.epochs=1", "train.consistency=[{name='step'}]")
    with pytest.warns(EmozooWarning, match="'step' carries no gradient"):
        train(recipe, tmp_path / "run", cpu=True)


def test_an_unknown_selection_metric_is_refused_before_training(tiny_recipe, tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"cannot measure 'emotion.acuracy'. Did you mean 'emotion.accuracy'"
    ):
        train(tiny_recipe("train.select_by=emotion.acuracy"), tmp_path / "run", cpu=True)


def test_a_batch_that_does_not_divide_is_refused(tiny_recipe, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"train.batch_size: 20 samples .* choose a multiple of 3"):
        train(tiny_recipe("train.accumulate=3"), tmp_path / "run", cpu=True)


def test_orthogonal_regularisation_shows_in_the_history(tiny_recipe, tmp_path: Path) -> None:
    record = read_record(
        train(tiny_recipe("train.epochs=1", "train.orthogonal=0.5"), tmp_path / "run", cpu=True)
    )
    assert record["history"][0]["orthogonal"] > 0


def test_a_run_can_start_from_the_weights_of_another(tiny_recipe, tmp_path: Path) -> None:
    first = train(tiny_recipe("train.epochs=1"), tmp_path / "first", cpu=True)
    recipe = tiny_recipe("train.epochs=1", f"train.init='dir:{first / 'model'}'", "train.optimizer.lr=1e-9")
    second = train(recipe, tmp_path / "second", cpu=True)
    record = read_record(second)
    assert record["init"]["source"] == "model"
    assert record["recipe"]["train"]["init"] == "dir:model", "no record names a place on a machine"
    assert record["init"]["sha256"] == sha256(first / "model" / "model.safetensors")
    assert record["init"]["tensors"] == record["init"]["of"]
    one, other = (load_model(run / "model", "cpu").state_dict() for run in (first, second))
    name = "backbone.layer4.1.conv2.weight"
    torch.testing.assert_close(one[name], other[name], atol=1e-6, rtol=0)


def test_each_epoch_visits_every_sample_once_in_an_order_of_its_own() -> None:
    orders = [epoch_order(1000, 0, epoch).tolist() for epoch in range(3)] + [epoch_order(1000, 1, 0).tolist()]
    assert all(sorted(order) == list(range(1000)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert epoch_order(1000, 0, 1).tolist() == orders[1]


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw", "lion"])
def test_optimisers_by_name_learn(tiny_recipe, tmp_path: Path, kind: str) -> None:
    lr = {"sgd": 0.05, "lion": 1e-3}.get(kind, 5e-3)
    recipe = tiny_recipe(f"train.optimizer={{name='{kind}', lr={lr}}}", "train.epochs=3", "data.samples=280")
    history = read_record(train(recipe, tmp_path / "run", cpu=True))["history"]
    assert history[-1]["loss"] < history[0]["loss"]


def test_trackers_get_what_the_log_gets(tiny_recipe, tmp_path: Path) -> None:
    folder = train(tiny_recipe("train.epochs=1"), tmp_path / "run", trackers=["tensorboard"], cpu=True)
    assert list((folder / "tracking").rglob("events.out.tfevents.*"))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["epoch"] == 1
    assert np.isfinite(lines[-1]["select.emotion.accuracy"])


def test_a_run_that_selects_by_an_error_keeps_the_epoch_that_has_the_lowest(
    tiny_recipe, tmp_path: Path
) -> None:
    settings = ["train.epochs=4", "train.select_by=vad.rmse", "train.losses.vad.weight=0", "data.samples=40"]
    record = read_record(train(tiny_recipe(*settings), tmp_path / "run", cpu=True))
    errors = [row["select.vad.rmse"] for row in record["history"]]
    assert len(set(errors)) == 4
    assert record["best"]["epoch"] == 1 + errors.index(min(errors))


@pytest.mark.parametrize("select_by", ["'vad.ccc'", "'vad.valence_pearson'"])
def test_a_selection_metric_that_the_split_can_never_define_is_refused_before_training(
    tiny_recipe, tmp_path: Path, select_by: str
) -> None:
    recipe = tiny_recipe("data.validation_samples=1", f"train.select_by={select_by}")
    said = (
        f"train.select_by: {select_by} has no value on the selection split 'validation', whatever is answered: "
        r"too few samples \(1\), or .* alike. It can measure: emotion.accuracy, .*vad.rmse"
    )
    with pytest.raises(RecipeError, match=said):
        train(recipe, tmp_path / "run", cpu=True)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_the_first_heads_main_metric_must_be_defined_on_the_selection_split_too(
    tiny_recipe, tmp_path: Path
) -> None:
    recipe = tiny_recipe("data.validation_samples=1", "model.heads={vad={name='vad'}}")
    with pytest.raises(RecipeError, match=r"train.select_by: 'vad.ccc' has no value"):
        train(recipe, tmp_path / "run", cpu=True)


@pytest.mark.parametrize(("generation", "expected"), [(7, "fp16"), (8, "bf16"), (9, "bf16")])
def test_automatic_precision_is_never_one_that_the_gpu_only_emulates(
    monkeypatch: pytest.MonkeyPatch, generation: int, expected: str
) -> None:
    gpu = SimpleNamespace(major=generation, minor=0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: gpu)
    monkeypatch.setattr(torch.cuda, "_check_bf16_tensor_supported", lambda device: True)
    assert resolve_precision("auto", cpu=False) == expected


@pytest.mark.parametrize("ema", [0, 0.9])
def test_a_run_whose_last_step_of_an_epoch_breaks_the_weights_stops_with_that_step_and_its_ids(
    tiny_recipe, tmp_path: Path, ema: float
) -> None:
    recipe = tiny_recipe("train.batch_size=140", "train.optimizer={name='sgd', lr=1e38}", f"train.ema={ema}")
    with pytest.raises(TrainingError, match="the answers to the selection split became") as caught:
        train(recipe, tmp_path / "run", cpu=True)
    text = str(caught.value)
    assert "after step 0 (epoch 0)" in text
    assert text.count("train-") == 140
    assert "train.optimizer.lr" in text
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_step_that_breaks_the_weights_leaves_the_checkpoint_before_it(tiny_recipe, tmp_path: Path) -> None:
    recipe = tiny_recipe(
        "train.checkpoint_steps=1", "train.optimizer={name='sgd', lr=1e38}", "train.losses.vad.weight=1e9"
    )
    with pytest.raises(
        TrainingError, match=r"the weights became (inf|nan|-inf) after step 0 \(epoch 0\)"
    ) as caught:
        train(recipe, tmp_path / "run", cpu=True)
    assert str(caught.value).count("train-") == 20
    assert not (tmp_path / "run" / "checkpoints").exists()
