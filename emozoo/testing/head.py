"""The contract of heads."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from emozoo import options as option_checks
from emozoo.contracts import Targets
from emozoo.errors import PluginLoadError
from emozoo.evaluation.metrics import classification_measure, on_source_scale, vad_measure
from emozoo.evaluation.pictures import draw_categories
from emozoo.evaluation.report import result_tables
from emozoo.labels import DIMENSIONS, FER2013_LABELS
from emozoo.testing.parts import (
    COMPANIONS,
    check_evaluation,
    check_folder,
    check_gradients,
    check_module,
    check_places,
    check_shape,
    check_state,
    close,
    seeded,
)
from emozoo.testing.subject import Subject, check_options

SAMPLES, UNKNOWN = 12, 5


def check_head(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    loss: Mapping[str, Any] | None = None,
    labels: Sequence[str] = FER2013_LABELS,
    in_features: int = 32,
) -> None:
    """Check that a head keeps `emozoo.contracts.Head`: output, loss, prediction and measurement.

    Args:
        name: as recipes name it, "emozoo-mypaper:compound".
        options: those that differ from the defaults.
        loss: options of its criterion, as in `train.losses`.
        labels: the model's labels.
        in_features: D, the size of the features; a multiple of 32.

    Raises:
        ContractError: it does not; says what, where, and how to mend it.
        EmozooError: there is no such component, or it does not take the options.
    """
    subject = Subject("head", name, options, in_features, tuple(labels))
    check_options(subject)
    module = subject.build()
    check_module(subject, module, task=str, out_features=int)
    x = seeded(SAMPLES, in_features)
    output = check_evaluation(subject, module, _run, x)
    check_shape(subject, output, (SAMPLES, module.out_features), f"the output for {tuple(x.shape)}")
    check_places(subject, module, _run, x, output)
    _check_task(subject, module, labels)
    targets = some_targets(SAMPLES, len(labels))
    criterion = _criterion(subject, module, targets, dict(loss or {}))
    _check_loss(subject, criterion, output, targets)
    check_gradients(subject, module, lambda built, features: criterion(_run(built, features), targets), x)
    _check_decoding(subject, module, output, labels)
    measured = _check_measure(subject, module, output, targets)
    _check_shown(subject, module, measured, output, targets, labels)
    check_state(subject, module)
    tables = {"backbone": {"name": "resnet18", "stem": "strided", "width": in_features // 32 * 4}}
    tables["heads"] = {**COMPANIONS["heads"], "tested": subject.table}
    check_folder(subject, seeded(2, 1, 32, 32), "heads.tested", labels=tuple(labels), **tables)


def _run(module: Any, x: Tensor) -> Tensor:
    return module(x)


def some_targets(count: int, classes: int) -> Targets:
    """Return targets that are all known: hard labels in turn, and values in [-1, 1]."""
    label = torch.eye(classes)[torch.arange(count) % classes]
    return Targets(label, seeded(count, len(DIMENSIONS)).tanh())


def _with_unknown(output: Tensor, targets: Targets) -> tuple[Tensor, Targets]:
    """Return a batch with further samples of which nothing is known."""
    classes = targets.label.shape[1]
    label = torch.cat([targets.label, torch.full((UNKNOWN, classes), torch.nan)])
    vad = torch.cat([targets.vad, torch.full((UNKNOWN, len(DIMENSIONS)), torch.nan)])
    return torch.cat([output, seeded(UNKNOWN, output.shape[1]).tanh()]), Targets(label, vad)


def _check_task(subject: Subject, module: Any, labels: Sequence[str]) -> None:
    """Check what consistency costs need of the two tasks that they know."""
    if module.task == "classification":
        subject.require(
            module.out_features == len(labels),
            f"it has {module.out_features} outputs for {len(labels)} labels",
            "A head of task 'classification' has one logit a label, in their order; give it another task otherwise",
        )
    if module.task == "vad":
        dimensions = tuple(getattr(module, "dimensions", ()))
        subject.require(
            dimensions and set(dimensions) <= set(DIMENSIONS) and len(dimensions) == module.out_features,
            f"dimensions is {dimensions} for {module.out_features} outputs",
            f"A head of task 'vad' names each output's dimension in self.dimensions, of {', '.join(DIMENSIONS)}",
        )


def _criterion(subject: Subject, module: Any, targets: Targets, given: dict[str, Any]) -> Any:
    """Build the criterion as training does, from all training targets, some of them unknown."""
    subject.require(
        callable(getattr(type(module), "criterion", None)),
        "it has no method criterion",
        "Add it: see emozoo.contracts",
    )
    try:
        checked = option_checks.check_options(type(module).criterion, given, "train.losses.tested")
    except PluginLoadError as error:
        subject.fail(str(error), "Give every keyword-only parameter of criterion a type")
    _, train = _with_unknown(torch.zeros(len(targets), 1), targets)
    with subject.doing("criterion(train) with some targets missing"):
        return module.criterion(train, **checked)


def _check_loss(subject: Subject, criterion: Any, output: Tensor, targets: Targets) -> None:
    """Check that the loss is a finite scalar to which samples without targets contribute nothing."""
    batch, unknown = _with_unknown(output.detach(), targets)
    batch.requires_grad_()
    with subject.doing("the loss of a batch with missing targets"):
        whole, known = criterion(batch, unknown), criterion(output, targets)
        nothing = criterion(batch[-UNKNOWN:], unknown.select(slice(-UNKNOWN, None)))
    for value in (whole, known, nothing):
        check_shape(subject, value, (), "the loss")
    remedy = "Leave out rows whose target is NaN, and divide by the number of the others, at least 1"
    subject.require(
        known.isfinite() and known != 0,
        f"the loss of random output is {known.item()}",
        "Return a finite number; 0 is the loss of a batch without targets",
    )
    subject.require(
        nothing == 0, f"the loss of a batch without any target is {nothing.item()}, not 0", remedy
    )
    subject.require(
        close(whole, known),
        f"samples without targets change the loss from {known.item():.6g} to {whole.item():.6g}",
        remedy,
    )
    with subject.doing("the backward pass of losses with missing targets"):
        (gradient,) = torch.autograd.grad(whole + nothing, batch)
    subject.require(
        gradient.isfinite().all() and not gradient[-UNKNOWN:].any(),
        "samples without targets have a gradient",
        "Replace NaN targets before the loss is computed (torch.where and masks after it pass NaN gradients on)",
    )


def _check_decoding(subject: Subject, module: Any, output: Tensor, labels: Sequence[str]) -> None:
    with subject.doing("decode(output)"):
        parts = module.decode(output)
    fitting = (
        isinstance(parts, list) and len(parts) == len(output) and all(isinstance(p, dict) for p in parts)
    )
    subject.require(
        fitting, f"decode returned {_short(parts)}", "Return a list with a dictionary for each sample"
    )
    try:
        json.dumps(parts, allow_nan=False)
    except (TypeError, ValueError) as error:
        subject.fail(f"decode returned what JSON cannot hold: {error}", "Return plain numbers: use .tolist()")
    if module.task == "classification":
        for part in parts:
            probabilities = part.get("probabilities", {})
            subject.require(
                list(probabilities) == list(labels)
                and abs(sum(probabilities.values()) - 1) < 1e-3
                and part.get("label") in labels,
                f"decode returned {_short(part)}",
                "A head of task 'classification' gives label and probabilities, one of each label, summing to 1",
            )
    if module.task == "vad":
        for part in parts:
            subject.require(
                set(module.dimensions) <= part.keys(),
                f"decode returned {_short(part)}",
                "A head of task 'vad' gives each dimension's value under its name",
            )


def _check_measure(subject: Subject, module: Any, output: Tensor, targets: Targets) -> dict[str, Any]:
    """Check that the samples with a target are measured, and no others; return the measure, with intervals."""
    batch, unknown = _with_unknown(output, targets)
    with subject.doing("measure(output, targets)"):
        whole, known = module.measure(batch, unknown), module.measure(output, targets)
        resampled = module.measure(output, targets, resamples=20)
        nothing = module.measure(batch[-UNKNOWN:], unknown.select(slice(-UNKNOWN, None)))["n"]
    try:
        json.dumps(resampled, allow_nan=False)
        found = [known["n"], known["metrics"][known["primary"]]["value"]]
        intervals = [entry["interval"] for entry in resampled["metrics"].values()]
    except (TypeError, ValueError, KeyError) as error:
        subject.fail(
            f"measure returned {_short(resampled)} ({type(error).__name__}: {error})",
            'Return {"n", "primary", "metrics": {name: {"value", "interval"}}} in JSON values, None for undefined',
        )
    subject.require(
        known["n"] == len(output) and whole["n"] == known["n"] and whole["metrics"] == known["metrics"],
        f"samples without targets change the measurement: n is {whole['n']} of {known['n']}, "
        f"{known['primary']} {whole['metrics'][known['primary']]['value']} instead of {found[1]}",
        "Measure the samples that have a target; n is how many they are",
    )
    subject.require(
        nothing == 0, f"n of samples without any target is {nothing}", "Leave them out, and return n = 0"
    )
    subject.require(
        all(interval is None or len(interval) == 2 for interval in intervals),
        f"intervals are {_short(intervals)}",
        "An interval is (low, high), or None where there is none",
    )
    return resampled


def _check_shown(
    subject: Subject,
    module: Any,
    measured: dict[str, Any],
    output: Tensor,
    targets: Targets,
    labels: Sequence[str],
) -> None:
    """Check that a measure has what cards, reports and pictures show of its task, in the form that they expect."""
    wanted: dict[str, Any] = {"metrics": {}}
    if module.task == "classification":
        wanted = classification_measure(output.softmax(1), targets.category, labels)
    elif module.task == "vad":
        columns = [DIMENSIONS.index(name) for name in module.dimensions]
        wanted = vad_measure(output, targets.vad[:, columns], module.dimensions)
    missing = [f"metrics.{name}" for name in wanted["metrics"] if name not in measured["metrics"]]
    missing += [name for name in wanted if name not in measured]
    subject.require(
        not missing,
        f"measure returns no {', no '.join(missing)}",
        f"A head of task {module.task!r} returns what {module.task}_measure of emozoo.evaluation.metrics does",
    )
    with subject.doing(
        "showing what measure returned",
        "Names that the measures of emozoo.evaluation.metrics have mean the same here",
    ):
        if {"dimensions", "baseline"} <= measured.keys():
            measured = {**measured, "source_scale": on_source_scale(measured, (1, 9))}
        list(result_tables({"heads": {"tested": measured}}))
        with tempfile.TemporaryDirectory() as folder:
            draw_categories(Path(folder), "tested", measured, "")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
