"""A student learns what its teachers answer, and nothing else about a run changes."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small import tiny_model

from emozoo.contracts import Targets
from emozoo.errors import CorruptModelError, Interrupted, RecipeError, ResumeError, UnknownModelError
from emozoo.hashing import sha256
from emozoo.model import EmotionModel
from emozoo.recipe import Distillation
from emozoo.records import read_record
from emozoo.training import checkpoint
from emozoo.training.distillation import Teachers
from emozoo.training.objective import Learner
from emozoo.training.run import train
from emozoo.training.trainer import Trainer

SMALL = {
    "preprocess": {"size": 24, "crop": 20},
    "backbone": {"name": "resnet18", "stem": "strided", "width": 8},
}
LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pictures of a run out: they take as long as the rest of so small a one."""
    for name in ("draw_history", "draw_result"):
        monkeypatch.setattr(f"emozoo.training.run.{name}", lambda *given: [])


def saved(folder: Path, seed: int = 1, **changes: Any) -> str:
    """Save a random model; return how a recipe names it as a teacher."""
    return f"dir:{tiny_model(seed, **{**SMALL, **changes}).save(folder)}"


def taught_by(*names: str, student: EmotionModel | None = None, **options: Any) -> Teachers:
    config = Distillation.model_validate({"teachers": names, **options})
    return Teachers(config, student or tiny_model(0, **SMALL), CPU)


def make(tiny_recipe, teachers: Teachers, *overrides: str) -> tuple[Learner, torch.Tensor, Targets]:
    """A student in evaluation mode, six images, and their targets."""
    recipe = tiny_recipe("model.heads.emotion.dropout=0", *overrides)
    torch.manual_seed(0)
    label = F.one_hot(torch.tensor([0, 3, 4, 6, 3, 1]), 7).float()
    targets = Targets(label, torch.rand(6, 3) * 2 - 1)
    learner = Learner(EmotionModel(recipe.model), recipe.train, targets, teachers).eval()
    return learner, torch.randn(6, 1, 20, 20), targets


def outputs_of(model: EmotionModel, images: torch.Tensor) -> dict[str, np.ndarray]:
    with torch.no_grad():
        return {name: value.double().numpy() for name, value in model(images).heads.items()}


def last_layer(model: EmotionModel) -> Any:
    head: Any = model.heads["emotion"]
    return head.layers[-1]


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max())
    return raised / raised.sum()


def divergence(teachers: list[np.ndarray], student: np.ndarray, temperature: float) -> float:
    """T^2 * KL(mean of the teachers || student), sample by sample and class by class."""
    total = 0.0
    for row, logits in enumerate(student):
        q = softmax(logits / temperature)
        p = np.mean([softmax(teacher[row] / temperature) for teacher in teachers], axis=0)
        total += sum(p[k] * (np.log(p[k]) - np.log(q[k])) for k in range(len(q)))
    return temperature**2 * total / len(student)


def test_the_loss_is_that_of_the_paper_for_the_mean_of_the_teachers(tiny_recipe, tmp_path: Path) -> None:
    names = [saved(tmp_path / str(seed), seed) for seed in (1, 2)]
    teachers = taught_by(*names, weight=0.3, temperature=4.0)
    learner, images, targets = make(
        tiny_recipe, teachers, "train.losses.emotion.weight=0.5", "train.losses.vad.weight=3",
        "train.consistency=[{name='expected-hinge', weight=0.25}]",
    )  # fmt: skip
    total, parts = learner(images, targets)
    student = outputs_of(learner.model, images)
    answers = [outputs_of(model, images) for model, _ in teachers.models]
    far = divergence([answer["emotion"] for answer in answers], student["emotion"], 4.0)
    wide = np.mean([answer["vad"] for answer in answers], axis=0) - student["vad"]
    assert far > 0.01
    assert float(parts["emotion.distillation"]) == pytest.approx(far, rel=1e-4)
    assert float(parts["vad.distillation"]) == pytest.approx(float((wide**2).mean()), rel=1e-4)
    labels = F.cross_entropy(torch.from_numpy(student["emotion"]), targets.label.double())
    assert float(parts["emotion"]) == pytest.approx(float(labels), rel=1e-4)
    squares = ((student["vad"] - targets.vad.numpy()) ** 2).mean()
    expected = 0.5 * (0.7 * float(labels) + 0.3 * far) + 3 * (0.7 * squares + 0.3 * (wide**2).mean())
    assert float(total.detach()) == pytest.approx(expected + 0.25 * float(parts["expected-hinge"]), rel=1e-4)


def test_gradients_keep_their_size_at_any_temperature(tiny_recipe, tmp_path: Path) -> None:
    name, sizes = saved(tmp_path / "teacher"), []
    for temperature in (10.0, 100.0):
        teachers = taught_by(name, weight=1.0, temperature=temperature)
        learner, images, targets = make(tiny_recipe, teachers, "train.losses.vad.weight=0")
        learner(images, targets)[0].backward()
        sizes.append(float(last_layer(learner.model).weight.grad.norm()))
    assert sizes[0] > 1e-3
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)


def test_samples_without_targets_are_taught_too(tiny_recipe, tmp_path: Path) -> None:
    learner, images, targets = make(tiny_recipe, taught_by(saved(tmp_path / "teacher"), weight=0.5))
    _, known = learner(images, targets)
    nothing = Targets(
        torch.full_like(targets.label, float("nan")), torch.full_like(targets.vad, float("nan"))
    )
    total, parts = learner(images, nothing)
    for name in ("emotion.distillation", "vad.distillation"):
        assert float(parts[name]) == float(known[name])
    halves = 0.5 * (parts["emotion.distillation"] + parts["vad.distillation"])
    assert float(total.detach()) == pytest.approx(float(halves))


def test_each_head_learns_from_the_teachers_that_have_it_and_else_from_labels_alone(
    tiny_recipe, tmp_path: Path
) -> None:
    only = saved(tmp_path / "one", 1, heads={"emotion": {"name": "classification"}})
    learner, images, targets = make(tiny_recipe, taught_by(only, weight=0.3))
    total, parts = learner(images, targets)
    assert parts.keys() == {"emotion", "emotion.distillation", "vad"}
    expected = 0.7 * parts["emotion"] + 0.3 * parts["emotion.distillation"] + parts["vad"]
    assert float(total.detach()) == pytest.approx(float(expected))
    both = taught_by(only, saved(tmp_path / "other", 2), weight=0.3)
    answers, said = both.answers(images), outputs_of(both.models[1][0], images)
    assert [row["heads"] for row in both.record()] == [["emotion"], ["emotion", "vad"]]
    assert np.allclose(answers["vad"], said["vad"], atol=1e-6)


def test_teachers_are_no_part_of_the_student_and_do_not_change(tiny_recipe, tmp_path: Path) -> None:
    teachers = taught_by(saved(tmp_path / "teacher"))
    learner, images, targets = make(tiny_recipe, teachers)
    alone = Learner(learner.model, tiny_recipe().train, targets)
    assert learner.state_dict().keys() == alone.state_dict().keys()
    assert len(list(learner.parameters())) == len(list(alone.parameters()))
    teacher = teachers.models[0][0]
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    learner.train()
    learner(images, targets)[0].backward()
    assert not any(module.training for module in teacher.modules())
    assert all(weight.grad is None for weight in teacher.parameters())
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    assert all(weight.grad is not None for weight in learner.model.parameters())


def test_teachers_compute_in_the_precision_of_the_run(tiny_recipe, tmp_path: Path) -> None:
    teachers = taught_by(saved(tmp_path / "teacher"))
    learner, images, targets = make(tiny_recipe, teachers)
    seen: list[torch.dtype] = []
    layer = last_layer(teachers.models[0][0])
    layer.register_forward_hook(lambda module, given, output: seen.append(output.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total, _ = learner(images, targets)
        assert teachers.answers(images)["emotion"].dtype == torch.float32
    assert seen == [torch.bfloat16] * 2
    assert total.dtype == torch.float32


def test_a_student_of_videos_learns_from_a_teacher_of_videos_and_neither_sees_padding(tmp_path: Path) -> None:
    video: dict[str, Any] = {"sampling": {"name": "uniform", "frames": 3}, "aggregator": {"name": "mean"}}
    student = tiny_model(0, **SMALL, **video)
    teachers = taught_by(saved(tmp_path / "teacher", **video), student=student)
    x = torch.randn(2, 1, 3, 1, 20, 20)
    mask = torch.tensor([[[True, True, True]], [[True, False, False]]])
    padded = x.clone()
    padded[1, :, 1:] = 7.0
    answers = teachers.answers(x, mask)
    assert torch.equal(answers["vad"], teachers.answers(padded, mask)["vad"])
    with torch.no_grad():
        alone = teachers.models[0][0](x[1:, :, :1], mask[1:, :, :1]).heads
    assert torch.allclose(answers["emotion"][1:], (alone["emotion"] / 2.0).softmax(1), atol=1e-6)


def test_with_no_share_left_for_labels_a_student_learns_what_its_teacher_says(
    tiny_recipe, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    images = torch.randn(32, 1, 20, 20) + torch.randn(32, 1, 1, 1)
    teacher = tiny_model(1, **SMALL)
    last = last_layer(teacher)
    with torch.no_grad():  # have it say different things, and be sure of them
        said = teacher(images).heads["emotion"]
        last.bias.copy_((last.bias - said.mean(0)) * 3 / said.std(0))
        last.weight.mul_((3 / said.std(0))[:, None])
    teachers = taught_by(f"dir:{teacher.save(tmp_path / 'teacher')}", weight=1.0)
    learner = make(tiny_recipe, teachers)[0]
    taught = teachers.answers(images)["emotion"].argmax(1)
    assert len(taught.unique()) >= 5
    wrong = Targets(F.one_hot((taught + 1) % 7, 7).float(), torch.zeros(32, 3))
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.01)
    learner.train()
    for _ in range(40):
        optimizer.zero_grad()
        learner(images, wrong)[0].backward()
        optimizer.step()
    found = learner.model(images).heads["emotion"].argmax(1)
    assert (found == taught).float().mean() >= 0.95


def interrupted(recipe: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, step: int = 3) -> None:
    take = Trainer._step

    def stopped(self: Trainer, pieces: Any) -> Any:
        if self.progress.step == step:
            self.signal = signal.SIGTERM
        return take(self, pieces)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", stopped)
        with pytest.raises(Interrupted):
            train(recipe, folder, cpu=True)


def test_a_teacher_sees_the_very_images_that_the_student_sees(
    tiny_recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = ("model.backbone={name='timm/test_vit', img_size=32}", "model.preprocess={size=32, crop=32}",
               "data.size=32", "data.samples=70", "model.heads.emotion.dropout=0")  # fmt: skip
    torch.manual_seed(3)
    model = EmotionModel(tiny_recipe(*network).model)
    own = f"dir:{model.save(tmp_path / 'own')}"
    recipe = tiny_recipe(
        *network, "train.batch_size=70", "train.augment={rotate=20, erase=0.5, mixup=0.4}",
        f"train.init={own!r}", f"train.distillation={{teachers=[{own!r}], weight=0.5}}",
    )  # fmt: skip
    interrupted(recipe, tmp_path / "run", monkeypatch, step=0)
    newest = checkpoint.latest(tmp_path / "run" / "checkpoints")
    assert newest is not None
    row = checkpoint.read_state(newest)["progress"]["history"][0]
    assert row["loss"] > 0.5
    assert abs(row["emotion.distillation"]) < 1e-6, "before its first step a copy answers as its teacher"
    assert row["vad.distillation"] < 1e-12


def finished_run(folder: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]], dict[str, Any]]:
    newest, record = checkpoint.latest(folder / "checkpoints"), read_record(folder)
    assert newest is not None
    for row in record["history"]:
        row.pop("seconds")
    return checkpoint.read_tensors(newest, "learner"), record["history"], record["result"]


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_teachers_without_a_share_change_nothing_and_a_run_without_them_says_nothing_of_them(
    tiny_recipe, tmp_path: Path
) -> None:
    teacher = saved(tmp_path / "teacher")
    options = ("train.epochs=1", "train.augment={rotate=10, erase=0.3, mixup=0.2}", "train.ema=0.9")
    plain = train(tiny_recipe(*options), tmp_path / "plain", cpu=True)
    recipe = tiny_recipe(*options, f"train.distillation={{teachers=[{teacher!r}], weight=0}}")
    weights, history, result = finished_run(train(recipe, tmp_path / "taught", cpu=True))
    own_weights, own_history, own_result = finished_run(plain)
    assert_same(own_weights, weights)
    assert own_result == result
    taught = {"emotion.distillation", "vad.distillation"}
    for own, row in zip(own_history, history, strict=True):
        assert row.keys() - own.keys() == taught
        assert own == {key: value for key, value in row.items() if key not in taught}
    record = read_record(plain)
    assert "teachers" not in record
    assert record["recipe"]["train"]["distillation"] is None


def test_a_taught_run_resumes_with_the_same_teachers_only_and_its_record_names_them(
    tiny_recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a" / "teacher"
    recipe = tiny_recipe("train.epochs=1", f"train.distillation={{teachers=[{saved(folder)!r}], weight=0.5}}")
    whole = train(recipe, tmp_path / "whole", cpu=True)
    record, weights = read_record(whole), sha256(folder / "model.safetensors")
    unknown = [{"model": "teacher"}]
    assert record["teachers"] == [
        {"source": "teacher", "sha256": weights, "choices": unknown, "heads": ["emotion", "vad"]}
    ]
    assert record["recipe"]["train"]["distillation"] == {
        "teachers": ["dir:teacher"], "weight": 0.5, "temperature": 2.0,
    }  # fmt: skip
    assert str(tmp_path) not in json.dumps(record), "no record names a place on a machine"
    interrupted(recipe, tmp_path / "run", monkeypatch)
    other = saved(tmp_path / "b" / "teacher", seed=2)
    changed = tiny_recipe("train.epochs=1", f"train.distillation={{teachers=[{other!r}], weight=0.5}}")
    with pytest.raises(ResumeError, match="was started with other teachers") as caught:
        train(changed, tmp_path / "run", resume=True, cpu=True)
    assert weights in str(caught.value)
    assert sha256(tmp_path / "b" / "teacher" / "model.safetensors") in str(caught.value)
    train(recipe, tmp_path / "run", resume=True, cpu=True)
    (one, *rest), (another, *others) = finished_run(whole), finished_run(tmp_path / "run")
    assert_same(one, another)
    assert rest == others


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"preprocess": {"size": 28, "crop": 20}},
         r"model.preprocess.size: the teacher has 28, the student 24$"),
        ({"preprocess": {"size": 24, "crop": 20, "colour": "rgb", "mean": (0.5,) * 3, "std": (0.2,) * 3}},
         r'colour: the teacher has "rgb", the student "grey"\n  model.preprocess.mean: the teacher has \[0.5, 0.5'),
        ({"sampling": {"name": "uniform", "frames": 3}, "aggregator": {"name": "mean"}},
         r'model.sampling: the teacher has \{"name": "uniform", "frames": 3, .*\}, the student null'),
        ({"labels": LABELS[::-1]},
         r"labels of its head 'emotion' are neutral, surprise, .*; the student's are angry, disgust, .*same order"),
        ({"heads": {"vad": {"name": "vad", "dimensions": ("arousal", "valence")}}},
         r"dimensions of its head 'vad' are arousal, valence; the student's are valence, arousal, dominance:"),
        ({"heads": {"vad": {"name": "classification"}, "mood": {"name": "vad"}}},
         r"nothing to teach: of its heads \(vad: classification, mood: vad\) none .* \(emotion: classification, vad"),
    ],
)  # fmt: skip
def test_a_teacher_that_means_something_else_is_refused(
    tmp_path: Path, changes: dict[str, Any], text: str
) -> None:
    names = saved(tmp_path / "good"), saved(tmp_path / "other", **changes)
    with pytest.raises(RecipeError, match=text) as caught:
        taught_by(*names)
    assert str(caught.value).startswith(f"train.distillation.teachers.1: {names[1]}: ")


def test_how_faces_are_cut_out_of_photos_is_no_matter_of_training(tmp_path: Path) -> None:
    name = saved(tmp_path / "teacher", preprocess={"size": 24, "crop": 20, "face_margin": 0.3})
    assert taught_by(name).record()[0]["heads"] == ["emotion", "vad"]


def test_a_teacher_that_is_not_there_is_named_before_any_data_are_read(tiny_recipe, tmp_path: Path) -> None:
    def load(recipe: Any, model: Any) -> Any:
        raise AssertionError("data were read")

    recipe = tiny_recipe(f"train.distillation={{teachers=['dir:{tmp_path}/none']}}")
    with pytest.raises(CorruptModelError, match=r"there is no model folder .*/none"):
        train(recipe, tmp_path / "run", cpu=True, load=load)
    recipe = tiny_recipe("train.distillation={teachers=['mini-fer2014']}")
    with pytest.raises(UnknownModelError, match="Did you mean 'mini-fer2013'"):
        train(recipe, tmp_path / "run", cpu=True, load=load)


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["train.distillation={teachers=[]}"], r"train.distillation.teachers"),
        (["train.distillation.weight=0.5"], r"train.distillation.teachers"),
        (["train.distillation={teachers=['a'], weight=1.5}"], r"train.distillation.weight.*1.5"),
        (["train.distillation={teachers=['a'], temperature=0}"], r"train.distillation.temperature.*0"),
        (["train.distillation={teachers=['a'], temprature=2}"], r"Did you mean 'temperature'"),
        (["train.distillation={teachers=['a']}", "train.freeze=true"],
         r"freeze: training sees features, teachers need images; leave distillation out"),
    ],
)  # fmt: skip
def test_a_wrong_table_is_refused(tiny_recipe, overrides: list[str], text: str) -> None:
    with pytest.raises(RecipeError, match=text):
        tiny_recipe(*overrides)
