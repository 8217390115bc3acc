"""A frozen backbone sees each image once, whatever the fold, and the last epoch may be the one that is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small import RECIPE

from emozoo.cli.extract import extract as extract_features
from emozoo.data import features
from emozoo.data.features import extract
from emozoo.data.samples import load_samples
from emozoo.errors import DataError, EmozooWarning, ResumeError, WeightsUnavailableError
from emozoo.evaluation.evaluate import evaluate
from emozoo.folder import load_model
from emozoo.layout import MODEL
from emozoo.model import EmotionModel
from emozoo.recipe import Recipe
from emozoo.records import read_record
from emozoo.training.data import load_training_data
from emozoo.training.init import initialise
from emozoo.training.run import train


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each forward pass of a frozen backbone has had."""
    counts: list[int] = []
    forward = features._features

    def counted(model: EmotionModel, pixels: torch.Tensor) -> torch.Tensor:
        counts.append(len(pixels))
        return forward(model, pixels)

    monkeypatch.setattr(features, "_features", counted)
    return counts


def pixels(recipe: Recipe, model: EmotionModel):
    return load_training_data(recipe, model).train


def test_cached_features_are_those_that_are_computed_and_any_part_of_a_dataset_finds_its_own(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path, seen: list[int]
) -> None:
    model = EmotionModel(tiny_recipe().model)
    samples = pixels(tiny_recipe(), model)
    plain = extract(model, samples).media.fetch(torch.arange(len(samples))).x
    part = pixels(tiny_recipe("data.labels=['happy', 'sad']"), model)
    seen.clear()
    found = extract(model, part, tmp_path).media.fetch(torch.arange(len(part))).x
    assert sum(seen) == len(part)
    whole = extract(model, samples, tmp_path).media.fetch(torch.arange(len(samples))).x
    assert sum(seen) == len(samples)
    torch.testing.assert_close(whole, plain)
    again = extract(model, part, tmp_path).media.fetch(torch.arange(len(part))).x
    assert sum(seen) == len(samples)
    assert torch.equal(again, found)


def test_another_backbone_has_a_cache_of_its_own_and_a_damaged_one_is_named(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path, seen: list[int]
) -> None:
    model = EmotionModel(tiny_recipe().model)
    samples = pixels(tiny_recipe(), model)
    extract(model, samples, tmp_path)
    with torch.no_grad():
        next(model.backbone.parameters()).add_(0.1)
    extract(model, samples, tmp_path)
    assert sum(seen) == 2 * len(samples)
    assert len(list(tmp_path.iterdir())) == 2
    for path in tmp_path.iterdir():
        path.write_bytes(b"not tensors")
    with pytest.raises(DataError, match=r"is no cache of features .* delete it"):
        extract(model, samples, tmp_path)


def test_features_have_the_fingerprint_of_the_images_that_they_are_of(
    tiny_recipe: Callable[..., Recipe],
) -> None:
    frozen = tiny_recipe("train.freeze=true")
    prints = [
        pixels(recipe, EmotionModel(recipe.model)).fingerprint for recipe in (tiny_recipe(), frozen, frozen)
    ]
    assert len(set(prints)) == 1, "runs that differ in their backbones alone can be compared"


def test_a_frozen_run_does_not_go_on_with_another_backbone(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    model = EmotionModel(tiny_recipe().model)
    model.save(tmp_path / "start")
    recipe = tiny_recipe("train.freeze=true", "train.epochs=1", f"train.init='dir:{tmp_path / 'start'}'")
    train(recipe, tmp_path / "run", cpu=True)
    (tmp_path / "run" / "run.json").unlink()
    with torch.no_grad():
        next(model.backbone.parameters()).add_(0.1)
    model.save(tmp_path / "start")
    with pytest.raises(ResumeError, match="another backbone"):
        train(recipe, tmp_path / "run", resume=True, cpu=True)


def test_select_by_last_keeps_the_last_epoch_and_selects_on_nothing(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny_recipe("train.select_by='last'", "train.epochs=3", "train.optimizer.lr=0.3")
    record = read_record(train(recipe, tmp_path / "run", cpu=True))
    assert record["best"] == {"metric": "last", "value": 3.0, "epoch": 3, "step": 21}
    assert record["selected_on"] is None
    accuracy = record["history"][-1]["select.emotion.accuracy"]
    assert (
        f"loss {record['history'][-1]['loss']:.3f}, emotion.accuracy {accuracy:.4f}\n"
        in capsys.readouterr().err
    )


def test_each_of_several_copies_starts_from_the_one_backbone_of_a_model(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    one = EmotionModel(tiny_recipe().model)
    one.save(tmp_path / "one")
    recipe = tiny_recipe(
        "model.backbone={name='separate', copies=2, backbone={name='resnet18', stem='strided', width=8}}",
        "model.heads.emotion.part=[1, 2]", "model.heads.vad.part=[2, 2]", f"train.init='dir:{tmp_path / 'one'}'",
    )  # fmt: skip
    several = EmotionModel(recipe.model)
    found = initialise(several, recipe)
    assert found is not None
    assert found["tensors"] == found["of"]
    for copy in several.backbone.copies:
        for name, value in one.backbone.state_dict().items():
            assert torch.equal(copy.state_dict()[name], value), name


def test_a_result_of_several_views_is_of_the_images_and_not_of_their_centres_features(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = tiny_recipe(
        "train.freeze=true", "train.epochs=1", "data.tta='ten-crop'", "data.samples=70",
        "data.validation_samples=35", "data.test_samples=35",
    )  # fmt: skip
    folder = train(recipe, tmp_path / "run", cpu=True)
    model = load_model(folder / MODEL, "cpu")
    data = load_training_data(recipe, model)
    reported = load_samples(data.rows.select(data.splits.report), model.labels, model.preprocessor)
    found, _ = evaluate(model, reported, split="test", tta="ten-crop", resamples=0)
    recorded = read_record(folder)["result"]
    assert recorded["tta"] == "ten-crop"
    for metric, value in found["heads"]["vad"]["metrics"].items():
        assert recorded["heads"]["vad"]["metrics"][metric]["value"] == pytest.approx(value["value"], abs=1e-5)


@pytest.mark.parametrize("copies", [False, True])
def test_a_start_whose_weights_fit_another_backbone_is_warned_of(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path, recwarn: pytest.WarningsRecorder, copies: bool
) -> None:
    def recipe(strides: list[int], *more: str) -> Recipe:
        one = f"{{name='resnet18', stem='strided', width=8, strides={strides}}}"
        several = f"{{name='separate', copies=2, backbone={one}}}"
        parts = [f"model.heads.{head}.part=[{place}, 2]" for place, head in enumerate(("emotion", "vad"), 1)]
        settings = [f"model.backbone={several}", *parts] if copies and more else [f"model.backbone={one}"]
        return tiny_recipe(*settings, *more)

    EmotionModel(recipe([1, 1, 2, 2]).model).save(tmp_path / "start")
    init = f"train.init='dir:{tmp_path / 'start'}'"
    same, other = recipe([1, 1, 2, 2], init), recipe([1, 2, 2, 2], init)
    initialise(EmotionModel(same.model), same)
    assert not [each for each in recwarn if each.category is EmozooWarning]
    with pytest.warns(
        EmozooWarning, match=r"another backbone:\n  model.backbone.strides: was \[1, 1, 2, 2\], is"
    ):
        initialise(EmotionModel(other.model), other)


def test_a_start_whose_weights_are_not_published_names_that_of_a_run_too(
    tiny_recipe: Callable[..., Recipe],
) -> None:
    recipe = tiny_recipe("train.init=resnet18-fer2013")
    with pytest.raises(WeightsUnavailableError, match=r"train\.init=dir:runs/resnet18-fer2013/model"):
        initialise(EmotionModel(recipe.model), recipe)


def test_a_run_finds_the_features_that_extract_has_left_though_its_backbone_begins_at_random(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path, seen: list[int]
) -> None:
    (tmp_path / "tiny.toml").write_text(RECIPE)
    extract_features(str(tmp_path / "tiny.toml"), tmp_path / "cache", None, ["train.seed=3"])
    assert seen
    seen.clear()
    cache = f"data.cache='{tmp_path / 'cache'}'"
    train(
        tiny_recipe("train.freeze=true", "train.epochs=1", "train.seed=3", cache), tmp_path / "run", cpu=True
    )
    assert not seen
