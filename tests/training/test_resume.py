"""A run that is stopped and resumed is the run that was never stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from small import RECIPE, photos
from torch import nn

from emozoo.errors import CorruptModelError, DataError, Interrupted, ResumeError, TrainingError
from emozoo.labels import DIMENSIONS
from emozoo.recipe import Optimizer
from emozoo.records import read_record
from emozoo.training import checkpoint
from emozoo.training.data import load_training_data
from emozoo.training.optim import make_optimizer
from emozoo.training.progress import Progress
from emozoo.training.run import train
from emozoo.training.trainer import Trainer

OPTIONS = (
    "train.epochs=3",
    "train.checkpoint_steps=2",
    "train.ema=0.9",
    "train.augment={rotate=10, erase=0.3, mixup=0.2}",
    "train.consistency=[{name='prototype', weight=0.1}]",
)
"""Everything that has a state or draws random numbers."""


def weights(run: Path) -> dict[str, torch.Tensor]:
    newest = checkpoint.latest(run / "checkpoints")
    assert newest is not None
    return {
        f"{stem}.{name}": value
        for stem in ("learner", "average", "optimizer")
        if (newest / f"{stem}.safetensors").exists()
        for name, value in load_file(newest / f"{stem}.safetensors").items()
    }


def assert_same_run(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    records = [read_record(run) for run in (one, other)]
    for record in records:
        for row in record["history"]:
            row.pop("seconds")
    assert records[0]["history"] == records[1]["history"]
    assert records[0]["result"] == records[1]["result"]
    assert records[0]["best"] == records[1]["best"]


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def start(recipe_file: Path, out: Path, *more: str) -> subprocess.Popen[bytes]:
    options = [word for option in OPTIONS for word in ("--set", option)]
    command = [sys.executable, "-m", "emozoo", "train", str(recipe_file), "--out", str(out), "--cpu"]
    command += options + list(more)
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ})


def wait_for_checkpoint(out: Path, process: subprocess.Popen[bytes], after: int = 0) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        found = sorted((out / "checkpoints").glob("last-*"))
        if found and int(found[-1].name.split("-")[1]) > after:
            return
        time.sleep(0.005)
    raise AssertionError(f"no checkpoint was written: {process.communicate()[1].decode()[-2000:]}")


def test_a_run_killed_in_mid_epoch_and_resumed_is_bit_identical_to_one_that_was_not(
    recipe_file: Path, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = start(recipe_file, killed, "--set", "train.checkpoint_steps=1")
    wait_for_checkpoint(killed, process, after=3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "run.json").exists(), "the run ended before it was killed: the test proves nothing"
    assert start(recipe_file, killed, "--set", "train.checkpoint_steps=1", "--resume").wait() == 0
    assert start(recipe_file, whole, "--set", "train.checkpoint_steps=1").wait() == 0
    assert_same_run(whole, killed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_with_a_checkpoint_and_says_how_to_go_on(
    recipe_file: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "run"
    process = start(recipe_file, out, "--set", "train.epochs=2000")
    wait_for_checkpoint(out, process)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert b"interrupted at step" in error
    assert b"--resume" in error
    assert checkpoint.latest(out / "checkpoints") is not None


@pytest.mark.parametrize("batch", [20, 140], ids=["seven steps an epoch", "one step an epoch"])
def test_a_signal_at_the_last_step_of_an_epoch_loses_nothing_of_that_epoch(
    tiny_recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    recipe = tiny_recipe(f"train.batch_size={batch}")
    whole = train(recipe, tmp_path / "whole", cpu=True)
    step = Trainer._step

    def interrupted_in_the_last_step(self: Trainer, pieces: object) -> object:
        if self.progress.step == self.steps_per_epoch - 1:
            self.signal = signal.SIGTERM
        return step(self, pieces)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", interrupted_in_the_last_step)
        with pytest.raises(Interrupted):
            train(recipe, tmp_path / "stopped", cpu=True)
    train(recipe, tmp_path / "stopped", resume=True, cpu=True)
    assert_same_run(whole, tmp_path / "stopped")


def test_resuming_with_another_recipe_lists_the_keys_that_differ(tiny_recipe, tmp_path: Path) -> None:
    train(tiny_recipe("train.epochs=1"), tmp_path / "run", cpu=True)
    (tmp_path / "run" / "run.json").unlink()
    changed = tiny_recipe("train.epochs=2", "train.optimizer.lr=0.5", "train.optimizer.eps=1e-6")
    with pytest.raises(ResumeError) as caught:
        train(changed, tmp_path / "run", resume=True, cpu=True)
    assert "train.epochs: was 1, is 2" in str(caught.value)
    assert "train.optimizer.lr: was 0.01, is 0.5" in str(caught.value)
    assert "train.optimizer.eps: was null, is 1e-06" in str(caught.value)
    assert "batch_size" not in str(caught.value)


def test_a_run_goes_on_though_the_words_of_its_card_were_changed(tiny_recipe, tmp_path: Path) -> None:
    train(tiny_recipe("train.epochs=1"), tmp_path / "run", cpu=True)
    (tmp_path / "run" / "run.json").unlink()
    train(tiny_recipe("train.epochs=1", "card.summary=Other words."), tmp_path / "run", resume=True, cpu=True)
    assert "Other words." in (tmp_path / "run" / "run.json").read_text()


def test_a_run_of_an_older_emozoo_goes_on_where_keys_that_are_new_since_have_their_defaults(
    tiny_recipe, tmp_path: Path
) -> None:
    sgd = "train.optimizer={name='sgd', lr=0.01}"
    train(tiny_recipe("train.epochs=1", sgd), tmp_path / "run", cpu=True)
    (tmp_path / "run" / "run.json").unlink()
    newest = checkpoint.latest(tmp_path / "run" / "checkpoints")
    assert newest is not None
    state = checkpoint.read_state(newest)
    del state["recipe"]["train"]["optimizer"]["momentum"], state["recipe"]["train"]["clip_norm"]
    (newest / "state.json").write_text(json.dumps(state))
    train(tiny_recipe("train.epochs=1", sgd), tmp_path / "run", resume=True, cpu=True)
    assert read_record(tmp_path / "run")["resumed"]


def test_resuming_on_other_data_is_refused(
    tiny_recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny_recipe("train.epochs=1"), tmp_path / "run", cpu=True)
    (tmp_path / "run" / "run.json").unlink()
    identity = Trainer.identity.func
    other = property(lambda self: {**identity(self), "fingerprint": "0" * 64})
    monkeypatch.setattr(Trainer, "identity", other)
    with pytest.raises(ResumeError, match="other training data"):
        train(tiny_recipe("train.epochs=1"), tmp_path / "run", resume=True, cpu=True)


def test_a_folder_with_a_run_is_not_trained_into_again_by_accident(tiny_recipe, tmp_path: Path) -> None:
    train(tiny_recipe("train.epochs=1"), tmp_path / "run", cpu=True)
    with pytest.raises(TrainingError, match="holds a run already; go on with --resume"):
        train(tiny_recipe("train.epochs=1"), tmp_path / "run", cpu=True)


def test_resuming_a_finished_run_changes_nothing(tiny_recipe, tmp_path: Path) -> None:
    folder = train(tiny_recipe("train.epochs=1"), tmp_path / "run", cpu=True)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    train(tiny_recipe("train.epochs=1"), tmp_path / "run", resume=True, cpu=True)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_finished_run_of_another_recipe_is_not_taken_for_this_one(tiny_recipe, tmp_path: Path) -> None:
    train(tiny_recipe("train.epochs=1"), tmp_path / "run", cpu=True)
    with pytest.raises(ResumeError, match=r"finished run of another recipe.*\n  train.epochs: was 1, is 7"):
        train(tiny_recipe("train.epochs=7"), tmp_path / "run", resume=True, cpu=True)


def test_a_place_that_is_not_the_models_to_take_is_refused_before_training(
    tiny_recipe, tmp_path: Path
) -> None:
    place = tmp_path / "run" / "model"
    place.mkdir(parents=True)
    (place / ".DS_Store").touch()
    (place / "notes.txt").touch()
    with pytest.raises(CorruptModelError, match="is not a model folder"):
        train(tiny_recipe("train.epochs=1"), tmp_path / "run", cpu=True)
    assert not (tmp_path / "run" / "checkpoints").exists()
    (place / "notes.txt").unlink()
    assert (train(tiny_recipe("train.epochs=1"), tmp_path / "run", cpu=True) / "run.json").is_file()


def image_folders(root: Path, broken: bool) -> tuple[str, ...]:
    """Write pictures of two splits, one of the reported perhaps broken; return the keys that name them."""
    for split, count in (("train", 10), ("test", 3)):
        for number, pixels in enumerate(photos(2 * count, 24)):
            folder = root / split / ("happy", "sad")[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    if broken:
        (root / "test" / "happy" / "bad.png").write_bytes(b"no picture")
    named = "data={name='folders', report='test'}", f"data.root='{root}'"
    return (*named, "model.heads.vad=null", "train.epochs=1", "train.batch_size=6")


def test_where_the_reported_split_cannot_be_read_it_is_said_that_training_is_done_and_how_to_measure(
    tiny_recipe, tmp_path: Path
) -> None:
    recipe = tiny_recipe(*image_folders(tmp_path / "data", broken=True))
    with pytest.raises(DataError, match=r"(?s)bad\.png.*training is done.*--resume"):
        train(recipe, tmp_path / "run", cpu=True)
    (tmp_path / "data" / "test" / "happy" / "bad.png").unlink()
    record = read_record(train(recipe, tmp_path / "run", resume=True, cpu=True))
    assert (record["resumed"], record["result"]["n"]) == (True, 6)


def test_a_reported_split_without_targets_is_refused_before_training(
    tiny_recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe("data.report='test'", "train.epochs=1")

    def load(recipe, model):
        data = load_training_data(recipe, model)
        count, chosen = len(data.rows), set(data.splits.report)
        unknown = {
            name: [None if row in chosen else value for row, value in enumerate(data.rows[name])]
            for name in ("label", *DIMENSIONS)
            if name in data.rows.column_names
        }
        rows = data.rows
        for name, values in unknown.items():
            feature = rows.features[name]
            rows = rows.remove_columns(name).add_column(name, values, feature=feature)
        assert len(rows) == count
        return replace(data, rows=rows)

    with pytest.raises(
        DataError, match=r"split 'test' has no targets for any head of this model.*data\.report"
    ):
        train(recipe, tmp_path / "run", cpu=True, load=load)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_checkpoint_that_was_being_written_when_the_power_went_is_ignored(tmp_path: Path) -> None:
    checkpoint.write(tmp_path, "last", 7, {"learner": {"w": torch.ones(2)}}, {"step": 7})
    half = tmp_path / ".writing-abc"
    half.mkdir()
    (half / "learner.safetensors").write_bytes(b"half")
    assert checkpoint.latest(tmp_path) == tmp_path / "last-00000007"
    assert not half.exists()


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    written = checkpoint.write(tmp_path, "last", 7, {"learner": {"w": torch.ones(2)}}, {"step": 7})
    (written / "learner.safetensors").write_bytes(b"junk")
    (written / "state.json").write_text("{")
    with pytest.raises(ResumeError, match=r"learner.safetensors cannot be read"):
        checkpoint.read_tensors(written, "learner")
    with pytest.raises(ResumeError, match=r"state.json cannot be read"):
        checkpoint.read_state(written)


def test_checkpoints_hold_no_pickle(tiny_recipe, tmp_path: Path) -> None:
    folder = train(tiny_recipe("train.epochs=1"), tmp_path / "run", cpu=True)
    suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert suffixes <= {".safetensors", ".json", ".jsonl", ".parquet", ".md", ".html", ".png"}


def test_the_log_of_a_resumed_run_has_each_step_once(recipe_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(recipe_file, out, "--set", "train.epochs=6")
    wait_for_checkpoint(out, process, after=9)
    process.kill()
    process.wait()
    assert start(recipe_file, out, "--set", "train.epochs=6", "--resume").wait() == 0
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    epochs = [line["epoch"] for line in lines if "epoch" in line]
    assert epochs == list(range(1, 7))


def test_a_run_killed_before_its_first_checkpoint_leaves_no_lines_in_the_log_of_the_next(
    tiny_recipe, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text('{"step": 7, "epoch": 1}\n{"step": 14, "loss": 2.0}\n')
    train(tiny_recipe("train.epochs=1"), tmp_path / "run", resume=True, cpu=True)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [7, 7]


def test_a_part_of_the_loss_that_is_called_as_a_key_of_training_has_a_key_of_its_own() -> None:
    progress = Progress()
    progress.step = 14
    progress.add(1.0, {"emotion": 0.5, "step": 0.25, "loss": 0.3})
    row = progress.close_epoch(7)
    assert {key: row[key] for key in ("epoch", "step", "loss")} == {"epoch": 2, "step": 14, "loss": 1.0}
    assert {key: row[key] for key in ("emotion", "step.loss", "loss.loss")} == {
        "emotion": 0.5,
        "step.loss": 0.25,
        "loss.loss": 0.3,
    }


def test_a_part_without_a_target_in_a_batch_is_not_counted_in_the_epochs_mean() -> None:
    progress = Progress()
    for value in (0.5, float("nan"), 1.5):
        progress.add(1.0, {"vad": value, "other": float("nan")})
    row = progress.close_epoch(3)
    assert row["vad"] == 1.0
    assert "other" not in row


@pytest.mark.parametrize("name", ["adamw", "lamb", "adan"])
def test_an_optimiser_goes_on_from_its_state_wherever_it_keeps_it(name: str) -> None:
    def build() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
        return module, make_optimizer(Optimizer(name=name, lr=0.01), module)

    def step(module: nn.Module, optimizer: torch.optim.Optimizer, seeds: range) -> None:
        for seed in seeds:
            optimizer.zero_grad()
            module(torch.randn(8, 5, generator=torch.Generator().manual_seed(seed))).square().sum().backward()
            optimizer.step()

    (whole, one), (stopped, two), (resumed, three) = build(), build(), build()
    step(whole, one, range(10))
    step(stopped, two, range(5))
    tensors, plain = checkpoint.flatten_optimizer(two)
    resumed.load_state_dict(stopped.state_dict())
    checkpoint.restore_optimizer(three, tensors, json.loads(json.dumps(plain)))
    step(resumed, three, range(5, 10))
    for expected, found in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(found, expected)
