"""Several runs, one after another or side by side, each an ordinary run folder; and their summary."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.state import AcceleratorState

from emozoo.data.features import backbone_key
from emozoo.errors import EmozooError, Interrupted
from emozoo.evaluation.summary import Run, summarise
from emozoo.evaluation.summary_report import Point, write_summary
from emozoo.model import EmotionModel
from emozoo.recipe import Recipe
from emozoo.records import read_record
from emozoo.training.data import TrainingData, load_training_data
from emozoo.training.run import another_recipe, finished, train

ERROR = "error.txt"
"""What went wrong, in the folder of a run that failed."""

_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Planned:
    """A run to be: what is varied, the recipe and how it was written, and the run's folder.

    Attributes:
        variant: name of what is varied besides seed and fold.
        recipe: the recipe, seed and fold in it.
        source: the recipe file or zoo name that it was made from, with `overrides`.
        overrides: assignments such as "train.epochs=3".
        folder: the run's folder.
        name: what the run is called in messages.
    """

    variant: str
    recipe: Recipe
    source: str
    overrides: tuple[str, ...]
    folder: Path
    name: str


@dataclass(frozen=True, slots=True)
class How:
    """How runs are carried out: side by side or not, on what, and logged where."""

    jobs: int = 1
    cpu: bool = False
    trackers: tuple[str, ...] = ()
    say: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Report:
    """What the summary of runs is called, and what it shows."""

    folder: Path
    stem: str
    title: str
    metrics: tuple[str, ...] = ()
    baseline: str | None = None
    points: dict[str, Point] | None = None


def run_and_summarise(planned: Sequence[Planned], report: Report, how: How) -> dict[str, str]:
    """Carry runs out, those that are finished excepted, and write a summary; return {run: what went wrong}.

    Of a run that is finished the model, the record and the report stay; checkpoints are for going on with it.

    Raises:
        RecipeError: no run has a figure of a name in `report.metrics`; all of them are finished.
        Interrupted: a signal ended a run; everything can be resumed.
    """
    failures: dict[str, str] = {}
    report.folder.mkdir(parents=True, exist_ok=True)
    for number, (run, problem) in enumerate(carry_out(planned, how), 1):
        if not PartialState(cpu=how.cpu).is_main_process:
            continue
        if problem is None:  # hundreds of runs would leave gigabytes that nothing reads again
            shutil.rmtree(run.folder / "checkpoints", ignore_errors=True)
        else:
            failures[run.name] = problem
        how.say(
            f"[{number}/{len(planned)}] {run.name}: {'done' if problem is None else f'failed: {problem}'}"
        )
    if PartialState(cpu=how.cpu).is_main_process:
        order = {
            variant: index for index, variant in enumerate(dict.fromkeys(run.variant for run in planned))
        }
        ended = [_ended(run) for run in planned if run.name not in failures]
        ended.sort(key=lambda run: order[run.variant])
        rows = summarise(ended, report.metrics, report.baseline) if ended else []
        text = write_summary(
            report.folder, report.stem, report.title, ended, rows,
            baseline=report.baseline, points=report.points, failures=failures,
        )  # fmt: skip
        how.say(f"\n{text}")
    return failures


def carry_out(planned: Sequence[Planned], how: How) -> Iterator[tuple[Planned, str | None]]:
    """Train what is not finished yet; yield each run as it ends, with what went wrong or None."""
    waiting = []
    for run in planned:
        if finished(run.folder):
            yield run, another_recipe(run.recipe, run.folder)
        else:
            waiting.append(run)
    yield from _side_by_side(waiting, how) if how.jobs > 1 else _one_by_one(waiting, how)


def _ended(run: Planned) -> Run:
    train, data = run.recipe.train, run.recipe.data
    return Run(run.variant, train.seed, data.fold, read_record(run.folder), run.folder)


def _one_by_one(planned: Sequence[Planned], how: How) -> Iterator[tuple[Planned, str | None]]:
    """Train in this process; runs that follow each other share their data where its settings are the same."""
    load = SharedData()
    for run in planned:
        how.say(f"{run.name} ...")
        AcceleratorState._reset_state()  # or else it would refuse another precision than the run before
        (run.folder / ERROR).unlink(missing_ok=True)
        problem = None
        try:
            train(run.recipe, run.folder, resume=True, trackers=how.trackers, cpu=how.cpu, load=load)
        except Interrupted:
            raise
        except Exception as error:
            problem = str(error) if isinstance(error, EmozooError) else f"{type(error).__name__}: {error}"
            _note(run, traceback.format_exc())
        yield run, problem


class SharedData:
    """Reads the data of a recipe, or gives those of the recipe before where it reads the same."""

    def __init__(self) -> None:
        self.key: Any = None
        self.data: TrainingData | None = None

    def __call__(self, recipe: Recipe, model: EmotionModel) -> TrainingData:
        """Return a recipe's data; only the last ones are kept."""
        key = _data_key(recipe, model)
        if self.data is None or key != self.key:
            self.data = None  # before the next are read: both may not fit
            self.data, self.key = load_training_data(recipe, model), key
        return self.data


def _data_key(recipe: Recipe, model: EmotionModel) -> Any:
    """Return what data depend on; those of a frozen backbone are its features, and so depend on its weights."""
    frozen = backbone_key(model) if recipe.train.freeze else None
    return recipe.data, recipe.model.model_dump(exclude={"aggregator", "heads"}), frozen


def _side_by_side(planned: Sequence[Planned], how: How) -> Iterator[tuple[Planned, str | None]]:
    """Train each run as `emozoo train` in a process of its own; if this one is stopped, stop them all."""
    waiting = list(reversed(planned))
    running: list[tuple[Planned, subprocess.Popen[bytes]]] = []
    try:
        while waiting or running:
            while waiting and len(running) < how.jobs:
                run = waiting.pop()
                how.say(f"{run.name} ...")
                running.append((run, _start(run, how)))
            time.sleep(_POLL_SECONDS)
            ended = [(run, process) for run, process in running if process.poll() is not None]
            for run, process in ended:
                running.remove((run, process))
                yield run, _problem(run, process.returncode)
    finally:
        for _, process in running:
            process.terminate()
        for _, process in running:
            process.wait()


def _start(run: Planned, how: How) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "emozoo", "train", run.source]
    command += ["--out", str(run.folder), "--resume"]
    command += [word for assignment in run.overrides for word in ("--set", assignment)]
    command += [word for tracker in how.trackers for word in ("--track", tracker)]
    command += ["--cpu"] * how.cpu
    threads = max(1, (os.cpu_count() or 1) // how.jobs)
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ, "TQDM_DISABLE": "1"}
    run.folder.mkdir(parents=True, exist_ok=True)
    with (run.folder / ERROR).open("wb") as errors:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, env=environment)


def _problem(run: Planned, status: int) -> str | None:
    """Return what a process that has ended said; its warnings are not kept if all went well."""
    path = run.folder / ERROR
    if status == 0:
        path.unlink(missing_ok=True)
        return None
    lines = path.read_text(encoding="utf-8", errors="replace").strip()
    return lines.rpartition("error: ")[2] or f"it ended with status {status}"


def _note(run: Planned, text: str) -> None:
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / ERROR).write_text(text, encoding="utf-8")
