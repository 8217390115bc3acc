"""A whole run: data, training, the final measurement, the model folder, the record, the report and its pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from emozoo.card import render_card
from emozoo.data.samples import load_targets
from emozoo.errors import DataError, RecipeError, ResumeError, TrainingError
from emozoo.evaluation.evaluate import evaluate, write_predictions
from emozoo.evaluation.pictures import draw_history, draw_result
from emozoo.evaluation.report import write_report
from emozoo.files import complete
from emozoo.folder import check_place, save_model
from emozoo.layout import MODEL, RUN
from emozoo.model import EmotionModel
from emozoo.recipe import Recipe, Train, parse_recipe
from emozoo.records import read_record, recipe_changes, recipe_record
from emozoo.selection import validation_note
from emozoo.training import record
from emozoo.training.data import TrainingData, load_training_data
from emozoo.training.distillation import Teachers
from emozoo.training.init import initialise
from emozoo.training.tracker import JsonlTracker
from emozoo.training.trainer import LAST, Trainer
from emozoo.trees import write_tree
from emozoo.versions import hardware, versions


def train(
    recipe: Recipe, folder: Path, *, resume: bool = False, trackers: Sequence[str] = (), cpu: bool = False,
    load: Callable[[Recipe, EmotionModel], TrainingData] = load_training_data,
) -> Path:  # fmt: skip
    """Train a recipe and return the run's folder.

    The folder ends with: model/ (the model folder), run.json (the record), predictions.parquet and report.md,
    report.html and pictures of the reported split, metrics.jsonl, checkpoints/.

    Args:
        recipe: what to train.
        folder: the run's folder; made if need be.
        resume: go on from the folder's newest checkpoint, or start if there is none; a finished run stays as it is.
        trackers: names of accelerate's trackers to log to besides the JSON-lines one.
        cpu: do not use an accelerator even where there is one.
        load: how the data are read; several runs in one process may share them.

    Raises:
        TrainingError: the folder holds another run, the loss is not finite, or a signal ended the run.
        DataError: something cannot be read, or the reported split has no targets.
        CorruptModelError: something else lies where the model is to be.
    """
    if resume and finished(folder):
        if other := another_recipe(recipe, folder):
            raise ResumeError(f"{other}\nTrain into another folder (--out), or leave out what differs.")
        return folder
    _check_folder(folder, resume)
    accelerator = _accelerator(recipe.train, folder, trackers, cpu)
    clock = time.monotonic()
    torch.manual_seed(recipe.train.seed)
    model = EmotionModel(recipe.model)
    provenance = initialise(model, recipe)
    if recipe.train.freeze:
        model.backbone.requires_grad_(False)
    config = recipe.train.distillation
    teachers = Teachers(config, model, accelerator.device) if config else None
    data = load(recipe, model.to(accelerator.device)).to(accelerator.device)
    _check_report(recipe, data, model)
    trainer = Trainer(recipe, data, model, accelerator, folder, teachers)
    resumed = trainer.resume() if resume else False
    trainer.run()
    best = trainer.load_best()
    run_record = {
        "format": record.RECORD_FORMAT,
        "name": recipe.name,
        "started": trainer.progress.started,
        "resumed": resumed,
        "recipe": recipe_record(recipe),
        "init": provenance,
        **({"teachers": teachers.record()} if teachers else {}),
        "model": record.model_record(best),
        "precision": accelerator.mixed_precision.replace("no", "fp32"),
        "versions": versions(),
        "hardware": hardware(accelerator.device, accelerator.num_processes),
        "history": trainer.progress.history,
        "best": trainer.progress.best,
    }
    _finish(recipe, folder, accelerator, data, best, run_record, time.monotonic() - clock)
    accelerator.end_training()
    return folder


def finished(folder: Path) -> bool:
    """Say whether a run's folder holds a finished run."""
    return (folder / RUN).is_file()


def another_recipe(recipe: Recipe, folder: Path) -> str | None:
    """Say in which keys a finished run is of another recipe; keys that are new since have their defaults."""
    try:
        recorded = parse_recipe(read_record(folder)["recipe"], where=f"{folder} holds an older run")
    except RecipeError as error:
        return str(error)
    differ = recipe_changes(recipe_record(recorded), recipe_record(recipe))
    if not differ:
        return None
    return f"{folder} holds a finished run of another recipe; these keys differ:\n" + "\n".join(differ)


def _check_folder(folder: Path, resume: bool) -> None:
    check_place(folder / MODEL)
    if resume:
        return
    if finished(folder) or (folder / "checkpoints").exists():
        raise TrainingError(
            f"{folder} holds a run already; go on with --resume, or train into another folder (--out)"
        )


def _check_report(recipe: Recipe, data: TrainingData, model: EmotionModel) -> None:
    """Refuse, before training, a reported split that its rows show to measure nothing."""
    targets = load_targets(data.rows.select(data.splits.report), recipe.model.labels, recipe.data.labels)
    heads = model.heads.values()
    if all((targets.vad if head.task == "vad" else targets.label).isnan().all() for head in heads):
        raise DataError(
            f"split {data.splits.report_name!r} has no targets for any head of this model: report another (data.report)"
        )


def _accelerator(config: Train, folder: Path, trackers: Sequence[str], cpu: bool) -> Accelerator:
    from accelerate.utils import ProjectConfiguration

    precision = resolve_precision(config.precision, cpu)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        accelerator = Accelerator(
            mixed_precision="no" if precision == "fp32" else precision,
            cpu=cpu,
            log_with=[JsonlTracker(folder), *trackers],
            project_config=ProjectConfiguration(
                project_dir=str(folder), logging_dir=str(folder / "tracking")
            ),
        )
    except ValueError as error:
        raise TrainingError(str(error)) from error
    accelerator.init_trackers("emozoo")
    missing = set(trackers) - {tracker.name for tracker in accelerator.trackers}
    if accelerator.is_main_process and missing:
        raise TrainingError(f"--track {', '.join(missing)}: not installed: pip install {' '.join(missing)}")
    return accelerator


def resolve_precision(wanted: str, cpu: bool) -> str:
    """Return what "auto" means here: bf16 where the hardware computes in it, else fp16 on a GPU and fp32 on a CPU."""
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available() and not cpu:
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    capabilities = torch.cpu.get_capabilities()
    return "bf16" if capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") else "fp32"


def _finish(
    recipe: Recipe, folder: Path, accelerator: Accelerator, data: TrainingData, model: EmotionModel,
    run_record: dict[str, Any], seconds: float,
) -> None:  # fmt: skip
    """Measure the reported split once, and write everything; run.json comes last and marks the run as finished."""
    try:
        samples = data.report(recipe, model)
        result, outputs = evaluate(
            model, samples,
            split=data.splits.report_name, tta=recipe.data.tta,
            vad_scale=data.reader.vad_scale, accelerator=accelerator,
        )  # fmt: skip
    except DataError as error:
        raise DataError(
            f"{error}\nThis is the reported split, and training is done: repeat with --resume, which then only measures"
        ) from error
    if not accelerator.is_main_process:
        return
    roles = {"train": data.train, "select": data.select}
    roles |= {"report": samples} if recipe.data.report is not None else {}
    run_record |= {
        "data": record.data_record(data, roles, recipe.model.labels),
        "result": result,
        "selected_on": None if recipe.train.select_by == LAST else data.splits.select_name,
        "reported_on": data.splits.report_name,
        "training_seconds": round(sum(row["seconds"] for row in run_record["history"]), 1),
        "session_seconds": round(seconds, 1),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    model = model.cpu()
    write_predictions(folder, model, samples, outputs)
    save_model(model, folder / MODEL, run_record, render_card(run_record))
    pictures = draw_history(folder, run_record["history"], run_record["best"])
    pictures += draw_result(folder, model, samples, outputs, result)
    facts = {"name": recipe.name, "dataset": data.reader.title, "versions": versions()}
    note = validation_note(run_record)
    write_report({**facts, **result, "notes": [note] if note else []}, folder, pictures)
    with complete(folder / RUN) as place:
        write_tree(place, run_record)
