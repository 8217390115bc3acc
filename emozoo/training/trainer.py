"""The training loop: accelerate for devices and processes, every random number a function of seed and step."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from emozoo.contracts import Targets
from emozoo.data.augment import Augmenter, mix
from emozoo.data.features import backbone_key
from emozoo.data.media import Batch
from emozoo.errors import Interrupted, RecipeError, ResumeError, TrainingError, suggest
from emozoo.evaluation.evaluate import measure, run
from emozoo.model import EmotionModel, lay_out
from emozoo.recipe import Recipe, parse_recipe
from emozoo.records import changes, recipe_changes, recipe_record
from emozoo.training import checkpoint
from emozoo.training.data import TrainingData
from emozoo.training.distillation import Teachers
from emozoo.training.objective import Learner
from emozoo.training.optim import MovingAverage, learning_rate, make_optimizer
from emozoo.training.progress import Progress
from emozoo.training.tracker import JsonlTracker

LAST = "last"
"""The value of `train.select_by` that keeps the last epoch, so that no split selects."""

WINDOW = 20
"""Steps between looks at the loss: on a GPU each look waits for it."""


class Trainer:
    """One run of a recipe over one set of data.

    All that changes while it runs is the weights, the optimiser's state and `progress`; a checkpoint holds exactly
    these. The order of samples, the augmentation and dropout are functions of (seed, step), so a run that is killed
    and resumed computes what it would have computed.
    """

    def __init__(self, recipe: Recipe, data: TrainingData, model: EmotionModel, accelerator: Accelerator,
                 folder: Path, teachers: Teachers | None = None) -> None:  # fmt: skip
        train = recipe.train
        self.recipe, self.train, self.data, self.folder = recipe, train, data, folder
        self.accelerator, self.device = accelerator, accelerator.device
        self.model = model.to(self.device)
        lay_out(self.model)
        self.learner = Learner(self.model, train, data.train.targets, teachers).to(self.device)
        self.optimizer = make_optimizer(train.optimizer, self.learner.model, self.learner.costs)
        self.augmenter = Augmenter(train.augment, model.preprocessor)
        self.tracker = next((t for t in accelerator.trackers if isinstance(t, JsonlTracker)), None)
        self.wrapped, self.prepared = accelerator.prepare(self.learner, self.optimizer)
        self.average = MovingAverage(self.model, train.ema) if train.ema else None
        self.batch, self.micro = _batch_sizes(recipe, len(data.train), accelerator.num_processes)
        self.steps_per_epoch = max(1, len(data.train) // self.batch)
        self.total_steps = self.steps_per_epoch * train.epochs
        self.selector = _selector(recipe, self.model, data)
        self.progress = Progress()
        self.signal = 0  # what this process was sent
        self.agreed = 0  # what all processes know that one was sent, at the same step

    @property
    def evaluated(self) -> EmotionModel:
        """The model that is measured and kept: the moving average where there is one."""
        return self.average.model if self.average else self.model

    def run(self) -> None:
        """Train to the end, or raise `Interrupted` after a signal, with a checkpoint written."""
        if self.tracker and self.accelerator.is_main_process:
            self.tracker.rewind(self.progress.step)
        with _signals(self), self._bar() as bar:
            while self.progress.step < self.total_steps:
                self._epoch(bar)
                self._end_epoch(bar)
                if self._agree_to_stop() and self.progress.step < self.total_steps:
                    self._end(bar)

    def _epoch(self, bar: Any) -> None:
        epoch = self.progress.step // self.steps_per_epoch
        order = epoch_order(len(self.data.train), self.train.seed, epoch)
        batches = order[: self.steps_per_epoch * self.batch].split(self.batch)[
            self.progress.step % self.steps_per_epoch :
        ]
        self.wrapped.train()
        started = time.monotonic()
        window: list[tuple[Tensor, dict[str, Tensor]]] = []
        for pieces in self._fetch(batches):
            window.append(self._step(pieces))
            self.progress.step += 1
            bar.update()
            if self._look(window):
                self.progress.seconds += time.monotonic() - started
                started = time.monotonic()
                self._pause(bar)
        self.progress.seconds += time.monotonic() - started

    def _fetch(self, batches: tuple[Tensor, ...]) -> Iterator[list[tuple[slice, Tensor, Batch]]]:
        """Yield this process's micro-batches of each batch: (slice of the batch, the batch's samples, input)."""
        rank = self.accelerator.process_index
        per_process = len(batches[0]) // self.accelerator.num_processes
        starts = range(rank * per_process, (rank + 1) * per_process, self.micro)
        slices = [slice(start, start + self.micro) for start in starts]
        draw = (self.train.seed, self.progress.step // self.steps_per_epoch)
        fetched = self.data.train.batches((batch[part] for batch in batches for part in slices), draw)
        for order in batches:
            yield [(part, order, next(fetched)[1]) for part in slices]

    def _step(self, pieces: list[tuple[slice, Tensor, Batch]]) -> tuple[Tensor, dict[str, Tensor]]:
        """Do one optimiser step; return the loss and its parts, on the device."""
        step = self.progress.step
        rng = np.random.default_rng([self.train.seed, step])
        draws = self.augmenter.draw(self.batch, rng)
        entropy = np.random.SeedSequence([self.train.seed, step, self.accelerator.process_index])
        torch.manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> 1))
        for group in self.optimizer.param_groups:
            group["lr"] = self.train.optimizer.lr * self._rate(step)
        losses = []
        for number, (part, order, batch) in enumerate(pieces):
            last = number == len(pieces) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.wrapped):
                loss, parts = self._forward(batch, self._targets(order, part), draws.part(part), rng)
                self.accelerator.backward(loss / len(pieces))
            losses.append((loss.detach(), parts))
        self._clip()
        self.prepared.step()
        self.prepared.zero_grad()
        if self.average:
            self.average.update(step + 1)
        return _mean(losses)

    def _rate(self, step: int) -> float:
        return learning_rate(self.train.schedule, step, self.steps_per_epoch, self.train.epochs)

    def _targets(self, order: Tensor, part: slice) -> Targets:
        """Return the targets of a part of a batch, with those of the whole batch, among which they count."""
        known = self.data.train.targets
        whole = known.select(order.to(known.label.device)).to(self.device)
        return replace(whole.select(part), whole=whole)

    def _forward(
        self, batch: Batch, targets: Targets, draws: Any, rng: np.random.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        batch = batch.to(self.device)
        if batch.x.is_floating_point():
            return self.wrapped(batch.x, targets, batch.mask, features=True)
        x, mask = self.augmenter(batch.x, draws), batch.mask
        x, targets = mix(x, targets, self.train.augment, rng)
        if mask is not None and (self.train.augment.mixup or self.train.augment.cutmix):
            mask = mask & mask.flip(0)  # of a mixture, the frames that both have
        return self.wrapped(x, targets, mask)

    def _clip(self) -> None:
        """Clip the norm of all gradients, then each value; they are unscaled once, as fp16 needs it."""
        norm, value = self.train.clip_norm, self.train.clip_value
        if norm:
            self.accelerator.clip_grad_norm_(self.learner.parameters(), norm)
        elif value:
            self.accelerator.unscale_gradients()
        if value:
            torch.nn.utils.clip_grad_value_(self.learner.parameters(), value)

    def _look(self, window: list[tuple[Tensor, dict[str, Tensor]]]) -> bool:
        """Every few steps add the window's losses up and check them; say whether a pause is due."""
        step = self.progress.step
        at_checkpoint = bool(self.train.checkpoint_steps) and step % self.train.checkpoint_steps == 0
        if not (
            at_checkpoint
            or step % WINDOW == 0
            or step % self.steps_per_epoch == 0
            or self._alone_and_stopped()
        ):
            return False
        names = list(window[0][1])
        values = torch.stack([torch.stack([loss, *parts.values()]) for loss, parts in window])
        for back, row in enumerate(self._over_processes(values).tolist(), 1 - len(window)):
            if not math.isfinite(row[0]):
                self._not_finite(f"the loss became {row[0]} at", step - 1 + back)
            self.progress.add(row[0], dict(zip(names, row[1:], strict=True)))
        loss = self.progress.last["loss"]
        self.accelerator.log({"loss": loss, "lr": self.optimizer.param_groups[0]["lr"]}, step=step)
        window.clear()
        return self._agree_to_stop() or at_checkpoint

    def _over_processes(self, values: Tensor) -> Tensor:
        """Return the mean over the processes, each of which has seen its share of the batch."""
        values = values.double()
        if self.accelerator.num_processes == 1:
            return values
        return self.accelerator.gather(values[None]).mean(0)

    def _alone_and_stopped(self) -> bool:
        return bool(self.signal) and self.accelerator.num_processes == 1

    def _agree_to_stop(self) -> bool:
        """Say whether any process has been told to stop; all of them must ask at the same step."""
        self.agreed = self.signal
        if self.accelerator.num_processes > 1:
            self.agreed = int(self.accelerator.gather(torch.tensor([self.signal], device=self.device)).max())
        return bool(self.agreed)

    def _not_finite(self, what: str, step: int) -> NoReturn:
        order = epoch_order(len(self.data.train), self.train.seed, step // self.steps_per_epoch)
        start = step % self.steps_per_epoch * self.batch
        ids = [self.data.train.ids[i] for i in order[start : start + self.batch].tolist()]
        raise TrainingError(
            f"{what} step {step} (epoch {step // self.steps_per_epoch}); nothing was overwritten, "
            f"the last checkpoint is from before. The batch's ids: {', '.join(ids)}. "
            "Lower train.optimizer.lr, set train.clip_norm, or try train.precision=fp32."
        )

    def _pause(self, bar: Any) -> None:
        """Write a checkpoint in mid-epoch; end here if a signal asked for it.

        After an epoch's last step it is the end of the epoch that measures and writes.
        """
        if self.progress.step % self.steps_per_epoch == 0:
            return
        size = torch.nn.utils.get_total_norm(self.learner.parameters(), math.inf)
        if not size.isfinite():
            self._not_finite(f"the weights became {size.item()} after", self.progress.step - 1)
        self.save()
        if self.agreed:
            self._end(bar)

    def _end(self, bar: Any) -> NoReturn:
        bar.close()
        raise Interrupted(self.agreed, self.progress.step)

    def _end_epoch(self, bar: Any) -> None:
        """Measure on the selection split, keep the best, write a checkpoint."""
        outputs = run(self.evaluated, self.data.select, accelerator=self.accelerator)
        wrong = [value for each in outputs.values() for value in each[~each.isfinite()].tolist()]
        if wrong:
            self._not_finite(
                f"the answers to the selection split became {wrong[0]} after", self.progress.step - 1
            )
        measured = measure(self.evaluated, outputs, self.data.select.targets)
        row = self.progress.close_epoch(self.steps_per_epoch)
        row |= {
            f"select.{h}.{m}": v["value"] for h, part in measured.items() for m, v in part["metrics"].items()
        }
        row |= {"select.loss": self._select_loss(outputs), "lr": self.optimizer.param_groups[0]["lr"]}
        self.progress.history.append(row)
        self.accelerator.log({key: v for key, v in row.items() if v is not None}, step=self.progress.step)
        value = float(row["epoch"]) if self.selector == LAST else row[f"select.{self.selector}"]
        if self.progress.is_best(self.selector, value) and self.accelerator.is_main_process:
            tensors = {"model": self.evaluated.state_dict()}
            checkpoint.write(self.checkpoints, "best", self.progress.step, tensors, self.progress.best)
        self.save()
        main = [f"{head}.{part['primary']}" for head, part in measured.items()][:1]
        text = self._epoch_text(row, main if self.selector == LAST else [self.selector])
        bar.set_postfix_str(text)
        if bar.disable and self.accelerator.is_main_process and "TQDM_DISABLE" not in os.environ:
            sys.stderr.write(f"{self.recipe.name}: epoch {row['epoch']} of {self.train.epochs}: {text}\n")

    def _epoch_text(self, row: Mapping[str, Any], metrics: list[str]) -> str:
        """Return what is said of an epoch: its loss, some of its figures, the best that selects."""
        figures = {name: row[f"select.{name}"] for name in metrics}
        if self.selector != LAST:
            figures["best"] = self.progress.best["value"]
        texts = [f"{name} {'-' if value is None else f'{value:.4f}'}" for name, value in figures.items()]
        return ", ".join([f"loss {row['loss']:.3f}", *texts])

    def _select_loss(self, outputs: dict[str, Tensor]) -> float | None:
        on_device = {name: value.to(self.device) for name, value in outputs.items()}
        with torch.no_grad():
            total, _ = self.learner.loss(on_device, self.data.select.targets.to(self.device))
        return float(total) if math.isfinite(float(total)) else None

    @property
    def checkpoints(self) -> Path:
        """Where this run's checkpoints lie."""
        return self.folder / "checkpoints"

    def save(self) -> None:
        """Write a checkpoint of everything that changes while a run runs."""
        if self.accelerator.is_main_process:
            optimizer, plain = checkpoint.flatten_optimizer(self.optimizer)
            tensors = {"learner": self.learner.state_dict(), "optimizer": optimizer}
            if self.average:
                tensors["average"] = self.average.model.state_dict()
            scaler = self.accelerator.scaler.state_dict() if self.accelerator.scaler else None
            state = {
                "progress": self.progress.state(),
                "optimizer": plain,
                "scaler": scaler,
                **self.identity,
            }
            checkpoint.write(self.checkpoints, "last", self.progress.step, tensors, state)
        self.accelerator.wait_for_everyone()

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must share with the run that resumes it; hashing the data is done once."""
        return {
            "recipe": recipe_record(self.recipe),
            "fingerprint": self.data.train.fingerprint,
            "backbone": backbone_key(self.model) if self.train.freeze else None,
            "teachers": self.learner.teachers.record() if self.learner.teachers else None,
        }

    def resume(self) -> bool:
        """Take up the newest checkpoint; False where there is none.

        Raises:
            ResumeError: recipe, data, frozen backbone or teachers are not those of the checkpoint; lists the keys
                that differ.
        """
        found = checkpoint.latest(self.checkpoints)
        if found is None:
            return False
        state = checkpoint.read_state(found)
        before = parse_recipe(
            state["recipe"], where=str(found)
        )  # keys that are new since have their defaults
        changed = recipe_changes(recipe_record(before), self.identity["recipe"])
        if changed:
            raise ResumeError(
                f"{self.folder} was started with another recipe; these keys differ:\n" + "\n".join(changed)
                + "\nResume with the recipe as it was, or train into another folder (--out)."
            )  # fmt: skip
        if state["fingerprint"] != self.identity["fingerprint"]:
            raise ResumeError(f"{self.folder} was started on other training data (their fingerprints differ)")
        if state.get("backbone") != self.identity["backbone"]:
            raise ResumeError(
                f"{self.folder} was started on the features of another backbone: the weights that it starts from "
                "(train.init) have changed since. Train into another folder (--out)."
            )
        others = changes(state.get("teachers"), self.identity["teachers"], "teachers")
        if others:
            raise ResumeError(f"{self.folder} was started with other teachers:\n" + "\n".join(others))
        self.learner.load_state_dict(checkpoint.read_tensors(found, "learner"))
        checkpoint.restore_optimizer(
            self.optimizer, checkpoint.read_tensors(found, "optimizer"), state["optimizer"]
        )
        if self.average:
            self.average.model.load_state_dict(checkpoint.read_tensors(found, "average"))
        if self.accelerator.scaler and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.progress = Progress.from_state(state["progress"])
        return True

    def load_best(self) -> EmotionModel:
        """Return the measured model with the weights of the best epoch."""
        best = checkpoint.latest(self.checkpoints, "best")
        if best is None:
            raise TrainingError("no epoch could be measured on the selection split, so none was kept")
        self.evaluated.load_state_dict(checkpoint.read_tensors(best, "model"))
        return self.evaluated

    def _bar(self) -> Any:
        """Return the main process's progress bar, for a terminal; a log gets a line an epoch instead."""
        from tqdm import tqdm

        return tqdm(
            total=self.total_steps, initial=self.progress.step, desc=self.recipe.name, unit="step",
            dynamic_ncols=True, smoothing=0.05, mininterval=1.0,
            disable=None if self.accelerator.is_main_process else True,
        )  # fmt: skip


def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """Return the order of an epoch's samples: a function of seed and epoch alone."""
    return torch.from_numpy(np.random.default_rng([seed, 2**31 + epoch]).permutation(count))


def _batch_sizes(recipe: Recipe, samples: int, processes: int) -> tuple[int, int]:
    """Return samples per step over all processes, and per forward pass of one process."""
    train = recipe.train
    parts = processes * train.accumulate
    batch = min(train.batch_size, samples // parts * parts)
    if batch % parts or batch == 0:
        raise RecipeError(
            f"train.batch_size: {batch} samples a step do not divide over {processes} process(es) x "
            f"train.accumulate={train.accumulate}; choose a multiple of {parts}"
        )
    return batch, batch // parts


def _selector(recipe: Recipe, model: EmotionModel, data: TrainingData) -> str:
    """Return "head.metric" that chooses the checkpoint, or LAST.

    Raises:
        RecipeError: the selection split has no such metric, or can never define it, as it does of random answers.
    """
    if recipe.train.select_by == LAST:
        return LAST
    measured = _of_random_answers(model, data.select.targets)
    values = {f"{h}.{m}": v["value"] for h, part in measured.items() for m, v in part["metrics"].items()}
    known = [name for name, value in values.items() if value is not None]
    first = next((f"{head}.{part['primary']}" for head, part in measured.items()), "any head")
    wanted = recipe.train.select_by or first
    if wanted in known:
        return wanted
    split = data.splits.select_name
    able = f"It can measure: {', '.join(known) or 'nothing, it has no targets'}"
    if wanted in values:
        count = measured[wanted.partition(".")[0]]["n"]
        raise RecipeError(
            f"train.select_by: {wanted!r} has no value on the selection split {split!r}, whatever is answered: too "
            f"few samples ({count}), or their targets are all alike. {able}"
        )
    raise RecipeError(
        f"train.select_by: the selection split {split!r} cannot measure {wanted!r}.{suggest(wanted, known)} {able}"
    )


def _of_random_answers(model: EmotionModel, targets: Targets) -> dict[str, Any]:
    """Return what is measured of answers that mean nothing, but differ from sample to sample; see `measure`."""
    generator = torch.Generator().manual_seed(0)
    answers = {
        name: torch.rand(len(targets), head.out_features, generator=generator)
        for name, head in model.heads.items()
    }
    return measure(model, answers, targets)


def _mean(losses: list[tuple[Tensor, dict[str, Tensor]]]) -> tuple[Tensor, dict[str, Tensor]]:
    total = torch.stack([loss for loss, _ in losses]).mean()
    return total, {name: torch.stack([parts[name] for _, parts in losses]).mean() for name in losses[0][1]}


@contextmanager
def _signals(trainer: Trainer) -> Generator[None]:
    """Have SIGINT and SIGTERM end the run after the step in hand."""

    def note(number: int, frame: Any) -> None:  # noqa: ARG001
        trainer.signal = number

    import threading

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
