"""Knowledge distillation (Hinton et al. 2015, arXiv:1503.02531): learning from the answers of trained models.

The teachers are asked about the very batch that the student sees, augmented and mixed as it is, in every step anew:
"consistent teaching" (Beyer et al. 2022, arXiv:2106.05237).
"""

from __future__ import annotations

import json
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from emozoo.errors import RecipeError
from emozoo.model import EmotionModel, lay_out
from emozoo.recipe import Distillation, ModelConfig
from emozoo.selection import origin
from emozoo.zoo import load


class Teachers:
    """Trained models that a student learns from: in evaluation mode, without gradients.

    They are no module, and no part of one: checkpoints, optimiser and the wrapper of processes know nothing of them.

    Attributes:
        weight: their share of the loss of each head that they teach.
        temperature: what logits are divided by, the student's as the teachers'.
        tasks: the task of each of the student's heads.
        models: the teachers, each with the names of the heads that it teaches.
    """

    def __init__(self, config: Distillation, student: EmotionModel, device: torch.device) -> None:
        """Load the teachers.

        Raises:
            RecipeError: one sees other input than the student, means other labels or dimensions by a head of the same
                name, or has no head in common with it.
            EmozooError: one cannot be loaded; see `emozoo.load`.
        """
        self.weight, self.temperature = config.weight, config.temperature
        self.tasks = {name: str(head.task) for name, head in student.heads.items()}
        self.models: list[tuple[EmotionModel, list[str]]] = []
        for index, name in enumerate(config.teachers):
            where, teacher = f"train.distillation.teachers.{index}: {name}", load(name, "cpu")
            _check_input(where, teacher.config, student.config)
            heads = _shared_heads(where, teacher, student)
            lay_out(teacher.to(device))
            self.models.append((teacher, heads))

    def record(self) -> list[dict[str, Any]]:
        """Return which weights teach which heads, as a record of a run keeps it."""
        return [{**origin(teacher.source), "heads": heads} for teacher, heads in self.models]

    def answers(self, x: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Return what the teachers say of the student's input: for each head (B, K), the mean of those that teach it.

        Of categories that is the mean of their probabilities at the temperature; of VAD, of their values.
        """
        found: dict[str, list[Tensor]] = {}
        with torch.no_grad():
            for teacher, heads in self.models:
                outputs = teacher(x, mask).heads
                for name in heads:
                    output = outputs[name].float()
                    vad = self.tasks[name] == "vad"
                    found.setdefault(name, []).append(output if vad else self._softened(output).exp())
            return {name: torch.stack(each).mean(0) for name, each in found.items()}

    def loss(self, name: str, output: Tensor, answer: Tensor) -> Tensor:
        """Return how far a head's raw output (B, K) is from the teachers' answer, labelled or not; a mean over B.

        Of categories it is T^2 * KL(teachers || student), both at temperature T, so that gradients keep their size
        whatever T is (Hinton et al. 2015, section 2); of VAD, the mean squared error.
        """
        if self.tasks[name] == "vad":
            return F.mse_loss(output, answer)
        return self.temperature**2 * F.kl_div(self._softened(output), answer, reduction="batchmean")

    def _softened(self, logits: Tensor) -> Tensor:
        """Return log-probabilities at the temperature."""
        return (logits / self.temperature).log_softmax(1)


def _check_input(where: str, teacher: ModelConfig, student: ModelConfig) -> None:
    """Refuse a teacher that was made for another input: it would answer, but wrongly."""
    its, own = _input(teacher), _input(student)
    lines = [
        f"  {key}: the teacher has {json.dumps(its[key])}, the student {json.dumps(own[key])}"
        for key in own
        if its[key] != own[key]
    ]
    if lines:
        raise RecipeError(
            f"{where}: a teacher sees the student's batches, and so needs the same input; these keys differ:\n"
            + "\n".join(lines)
        )


def _input(config: ModelConfig) -> dict[str, Any]:
    """Return what decides what a model sees of a face that has been cut out."""
    tree = config.model_dump(mode="json", include={"preprocess", "sampling"})
    seen = {f"model.preprocess.{key}": value for key, value in tree["preprocess"].items()}
    del seen["model.preprocess.face_margin"]
    return {**seen, "model.sampling": tree["sampling"]}


def _shared_heads(where: str, teacher: EmotionModel, student: EmotionModel) -> list[str]:
    """Return the names of the heads that a teacher can teach: both have them, for the same task."""
    its, own = teacher.meanings(), student.meanings()
    shared = [name for name in own if name in its and its[name][0] == own[name][0]]
    if not shared:
        raise RecipeError(
            f"{where}: it has nothing to teach: of its heads ({_tasks(teacher)}) none is, by name and task, one of "
            f"the student's ({_tasks(student)})"
        )
    for name in shared:
        (what, theirs), (_, wanted) = its[name], own[name]
        if theirs != wanted:
            raise RecipeError(
                f"{where}: the {what} of its head {name!r} are {', '.join(theirs)}; the student's are "
                f"{', '.join(wanted)}: they must be the same, in the same order"
            )
    return shared


def _tasks(model: EmotionModel) -> str:
    return ", ".join(f"{name}: {head.task}" for name, head in model.heads.items())
