"""Training on videos: what a recipe's sampling, folds, cache and frozen backbone do, from files to a loaded model."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value
from moving_squares import LABELS, Moving
from PIL import Image
from small import RECIPE, install
from typer.testing import CliRunner

from emozoo import create, load
from emozoo.cli.app import app
from emozoo.contracts import Targets
from emozoo.data import videos as videos_module
from emozoo.data.augment import Augmenter
from emozoo.data.features import extract
from emozoo.data.preprocess import Preprocessor
from emozoo.data.reading import open_reader, read, split_rows
from emozoo.data.samples import Samples, load_samples
from emozoo.data.sampling import Clips, Sliding, Uniform
from emozoo.errors import DataError, RecipeError
from emozoo.evaluation.evaluate import evaluate, evaluate_on_disk, run
from emozoo.recipe import Augment, Data, Preprocess, Recipe, parse_recipe
from emozoo.records import read_record
from emozoo.training.objective import Learner
from emozoo.training.run import train

SHAPE = Preprocessor(Preprocess(size=24, crop=20))
CLIPS = {"name": "clips", "frames": 12, "window": 10, "clips": 3, "length": 4, "stride": 3, "per_clip": 2}
TOML = """
name = "tiny"
model.labels = ["happy", "sad"]
model.preprocess = { size = 24, crop = 20 }
model.sampling = { name = "uniform", frames = 3 }
model.backbone = { name = "resnet18", stem = "strided", width = 8 }
model.aggregator = { name = "mean" }
model.heads.emotion = { name = "classification" }
data = { name = "moving", report = "test" }
train = { epochs = 1, batch_size = 4, precision = "fp32" }
"""


@pytest.fixture
def moving(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    site, points = tmp_path_factory.mktemp("site"), {"datasets/moving": "Moving"}
    install(monkeypatch, site, "emozoo-moving", "1.0", points, "from moving_squares import Moving")


def recipe(**changes: Any) -> Recipe:
    tree = tomllib.loads(RECIPE)
    tree["model"] |= {
        "labels": list(LABELS),
        "sampling": CLIPS,
        "aggregator": {"name": "ceflnet", "heads": 1},
        "heads": {"emotion": {"name": "classification"}},
    }
    tree["data"] = {"name": "moving", "report": "test"}
    tree["train"] |= {"batch_size": 4, "epochs": 4}
    for path, value in changes.items():
        *parents, key = path.split("__")
        table = tree
        for parent in parents:
            table = table[parent]
        table[key] = value
    return parse_recipe(tree)


def samples(reader: Moving, sampling: Any, **more: Any) -> Samples:
    return load_samples(reader.read(), LABELS, SHAPE, sampling=sampling, reader=reader, **more)


def places(batch: torch.Tensor) -> torch.Tensor:
    """The number of each frame, which its first pixel holds."""
    return batch[..., 0, 0, 0].long()


# --- samples --------------------------------------------------------------------------------------------------


def test_a_batch_of_videos_holds_the_frames_that_the_sampler_names() -> None:
    clips = Clips.model_validate(CLIPS)
    found = samples(Moving(None), clips)
    batch = found.fetch(torch.tensor([5, 0]))
    assert tuple(batch.x.shape) == (2, 3, 2, 1, 24, 24)
    assert batch.mask is not None
    assert batch.mask.all()
    for row, number in enumerate((5, 0)):
        assert places(batch.x[row]).tolist() == clips.sample(10 + number % 5).index.tolist()


def test_frames_are_drawn_anew_each_epoch_and_the_same_whatever_the_batch() -> None:
    found = samples(Moving(None), Uniform(name="uniform", frames=4))
    one = places(found.fetch(torch.tensor([3, 8, 4]), (7, 0)).x)
    assert torch.equal(places(found.fetch(torch.tensor([8]), (7, 0)).x)[0], one[1])
    others = [places(found.fetch(torch.tensor([8]), draw).x)[0].tolist() for draw in ((7, 1), (7, 2), (8, 0))]
    assert any(other != one[1].tolist() for other in others)


def test_videos_of_several_lengths_are_padded_and_masked() -> None:
    found = samples(Moving(None), Sliding(name="sliding", length=8, stride=4))
    batch = found.fetch(torch.tensor([0, 4]))  # 10 and 14 frames: windows at 0 and 4; at 0, 4 and 8
    assert batch.mask is not None
    assert batch.mask.sum((1, 2)).tolist() == [8 + 6, 8 + 8 + 6]
    real = places(batch.x)[1][batch.mask[1]]
    assert real.tolist() == [*range(8), *range(4, 12), *range(8, 14)]


def test_frames_kept_in_memory_on_disk_and_rendered_each_time_are_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clips, index = Clips.model_validate(CLIPS), torch.arange(24)
    held = samples(Moving(None), clips)
    assert held.media.held
    cached = samples(Moving(None), clips, cache=tmp_path)
    monkeypatch.setattr(videos_module.media, "MEMORY_BUDGET", 0)
    lazy = samples(Moving(None), clips)
    assert not lazy.media.held
    for draw in (None, (0, 3)):
        expected = held.fetch(index, draw).x
        assert torch.equal(cached.fetch(index, draw).x, expected)
        assert torch.equal(lazy.fetch(index, draw).x, expected)
    assert held.fingerprint == cached.fingerprint == lazy.fingerprint
    reader = Moving(None)
    again = samples(reader, clips, cache=tmp_path)
    assert reader.asked == 24 * videos_module.LOOKED_AT, "no more than what tells the videos apart"
    assert torch.equal(again.fetch(index).x, held.fetch(index).x)


def test_models_that_see_frames_of_one_size_share_a_cache(tmp_path: Path) -> None:
    reader: Any = Moving(None)
    for shape in (SHAPE, Preprocessor(Preprocess(size=24, crop=16, mean=(0.1,), std=(0.5,)))):
        for sampling in (Clips.model_validate(CLIPS), Uniform(name="uniform", frames=2)):
            load_samples(reader.read(), LABELS, shape, sampling=sampling, reader=reader, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    larger = Preprocessor(Preprocess(size=32, crop=20))
    load_samples(
        reader.read(), LABELS, larger, sampling=Uniform(name="uniform"), reader=reader, cache=tmp_path
    )
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_cache_is_refused_by_name(tmp_path: Path) -> None:
    clips = Clips.model_validate(CLIPS)
    samples(Moving(None), clips, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"{file.name} is no cache of frames.*delete it"):
        samples(Moving(None), clips, cache=tmp_path)


def test_every_video_that_cannot_be_read_is_listed(tmp_path: Path) -> None:
    paths = []
    for name in ("good", "empty", "also empty"):
        (tmp_path / name).mkdir()
        paths.append(str(tmp_path / name))
    for number in range(3):
        Image.new("L", (24, 24), number).save(tmp_path / "good" / f"{number}.png")
    columns = {"id": ["a", "b", "c"], "video": paths, "split": ["train"] * 3, "label": [0, 1, 0]}
    text, label = Value("string"), ClassLabel(names=list(LABELS))
    features = Features({"id": text, "video": text, "split": text, "label": label})
    rows = Dataset.from_dict(columns, features=features)
    with pytest.raises(DataError, match="2 of 3 videos cannot be read") as caught:
        load_samples(rows, LABELS, SHAPE, sampling=Uniform(name="uniform", frames=2))
    assert "empty" in str(caught.value)
    assert "also empty" in str(caught.value)
    one = load_samples(rows.select([0]), LABELS, SHAPE, sampling=Uniform(name="uniform", frames=2))
    assert places(one.fetch(torch.tensor([0])).x).tolist() == [[[0, 2]]]


def test_videos_need_a_model_that_samples_them() -> None:
    with pytest.raises(DataError, match=r"the dataset holds videos, and the model has no \[model.sampling\]"):
        samples(Moving(None), None)
    with pytest.raises(RecipeError, match="a model that samples videos needs an aggregator"):
        recipe(model__aggregator=None)


def test_all_frames_of_a_video_are_augmented_alike() -> None:
    augmenter = Augmenter(Augment(rotate=20, scale=0.2, brightness=0.3, erase=1.0), SHAPE)
    frame = torch.randint(
        0, 256, (2, 1, 1, 1, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    draws = augmenter.draw(2, np.random.default_rng(0))
    changed = augmenter(frame.expand(2, 3, 2, 1, 24, 24).contiguous(), draws)
    assert tuple(changed.shape) == (2, 3, 2, 1, 20, 20)
    for video, alone in zip(changed, augmenter(frame[:, 0, 0].contiguous(), draws), strict=True):
        assert all(torch.equal(one, alone) for one in video.flatten(0, 1))
    assert not torch.equal(changed[0], changed[1])


# --- evaluation -----------------------------------------------------------------------------------------------


def test_where_the_expression_is_known_it_is_measured_whether_the_heaviest_clip_shows_it() -> None:
    model, clips = create(recipe().model, seed=0), Clips.model_validate(CLIPS)
    found = samples(Moving(None, where=True), clips)
    result, _ = evaluate(model, found, split="all", resamples=10)
    weights = model.outputs(found.fetch(torch.arange(24)).x).clip_weights
    assert weights is not None
    hits = 0
    for n, weight in enumerate(weights):
        expression = set(range(n % 7, n % 7 + 3))
        shown = [len(expression & set(row)) for row in clips.sample(10 + n % 5).index.tolist()]
        hits += shown[int(weight.argmax())] == max(shown) and shown.count(max(shown)) == 1
    certain = result["rich_clips"]
    assert certain["n"] == 24
    assert certain["chance"] == pytest.approx(1 / 3)
    assert [len(row) for row in certain["activation"] if row] == [3] * 3
    assert certain["value"] >= hits / 24, "where several clips show as much of it, the nearest counts"
    assert "rich_clips" not in evaluate(model, samples(Moving(None), clips), split="all", resamples=10)[0]


def test_videos_whose_expression_no_clip_shows_count_neither_for_nor_against_the_clip_that_is_found() -> None:
    model, clips = create(recipe().model, seed=0), Clips.model_validate(CLIPS)
    found = samples(Moving(None, where=True), clips)
    assert found.extents is not None
    found.extents[:6] = torch.tensor([90, 99])
    located = evaluate(model, found, split="all", resamples=10)[0]["rich_clips"]
    assert (located["n"], located["unseen"]) == (18, 6)
    found.extents[:] = torch.tensor([90, 99])
    assert "rich_clips" not in evaluate(model, found, split="all", resamples=10)[0]


def test_where_videos_have_more_or_fewer_clips_nobody_asks_which_was_found() -> None:
    sliding = Sliding(name="sliding", length=3, stride=3)
    model = create(recipe(model__sampling=sliding.model_dump()).model, seed=0)
    found = samples(Moving(None, where=True), sliding)
    assert len({len(sliding.sample(count).index) for count in found.media.counts}) > 1
    assert "rich_clips" not in evaluate(model, found, split="all", resamples=10)[0]


def test_a_fold_is_measured_and_its_features_are_drawn(moving: None, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    model = create(recipe().model, seed=0)
    options = ["folds=true"]
    result = evaluate_on_disk(
        model, None, tmp_path, name="m", split="test", reader="moving", options=options, fold=2, tsne=True
    )
    assert (result["n"], result["split"]) == (8, "test of fold 2")
    assert (tmp_path / "features.png").stat().st_size > 5000


def test_a_fold_alone_means_its_test_split_and_a_test_split_needs_a_fold(
    moving: None, tmp_path: Path
) -> None:
    model = create(recipe().model, seed=0)
    more: Any = {"name": "m", "reader": "moving", "options": ["folds=true"]}
    assert evaluate_on_disk(model, None, tmp_path, fold=3, **more)["split"] == "test of fold 3"
    with pytest.raises(DataError, match=r"the dataset has the folds 1, 2, 3; name one with .*--fold"):
        evaluate_on_disk(model, None, tmp_path, split="test", **more)


# --- folds ----------------------------------------------------------------------------------------------------


def test_a_fold_is_the_test_split_and_all_others_train() -> None:
    rows = Moving(None, folds=True).read()
    splits = split_rows(rows, Data(name="moving", fold=2, report="test"))
    assert sorted(splits.report) == [n for n in range(24) if 1 + n // 2 % 3 == 2]
    assert sorted(splits.train + splits.select) == [n for n in range(24) if 1 + n // 2 % 3 != 2]
    assert not set(splits.train) & set(splits.select)
    assert (splits.train_name, splits.report_name) == ("train of fold 2", "test of fold 2")
    assert splits.select_name == "train (held-out 10%) of fold 2"


@pytest.mark.parametrize(
    ("folds", "fold", "message"),
    [
        (True, None, r"the dataset has the folds 1, 2, 3; name one with data\.fold \(--fold\)"),
        (True, 4, "the dataset has no fold 4; it has 1, 2, 3"),
        (False, 1, r"data\.fold is 1, but the dataset has no folds"),
    ],
)
def test_a_fold_must_be_named_where_there_are_folds(folds: bool, fold: int | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        split_rows(Moving(None, folds=folds).read(), Data(name="moving", fold=fold, report="test"))


# --- training -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"train__bn_per_frame": True}], ids=["batched", "bn per frame"])
def test_a_video_model_learns_and_loads_and_says_the_same(
    moving: None, tmp_path: Path, changes: dict
) -> None:
    train(recipe(data__count=96, **changes), tmp_path / "run", cpu=True)
    record = read_record(tmp_path / "run")
    assert record["result"]["n"] == 32
    assert record["result"]["heads"]["emotion"]["metrics"]["accuracy"]["value"] > 0.8
    model = load(tmp_path / "run" / "model", "cpu")
    assert model.config.sampling == Clips.model_validate(CLIPS)
    test = Moving(None, count=96).read().filter(lambda row: row["split"] == "test")
    found = load_samples(
        test, LABELS, model.preprocessor, sampling=model.config.sampling, reader=Moving(None)
    )
    logits = run(model, found)["emotion"]
    assert (logits.argmax(1) == found.targets.label.argmax(1)).float().mean() > 0.8
    whole = model.outputs(found.fetch(torch.arange(32)).x)
    assert whole.clip_weights is not None
    assert tuple(whole.clip_weights.shape) == (32, 3)
    assert whole.frame_weights is not None
    assert tuple(whole.frame_weights.shape) == (32, 3, 2)


def test_statistics_are_those_of_each_place_where_asked_for_and_of_all_frames_otherwise() -> None:
    model = create(recipe().model, seed=0).train()
    videos = torch.randn(4, 3, 2, 1, 20, 20)
    plain, placed = (model(videos, bn_per_frame=flag).features for flag in (False, True))
    assert not torch.allclose(plain, placed)
    frames = [model.backbone(videos[:, c, f]) for c in range(3) for f in range(2)]
    features = torch.stack(frames, 1).unflatten(1, (3, 2))
    torch.manual_seed(0)
    expected = model.aggregate(features).features
    torch.manual_seed(0)
    torch.testing.assert_close(model(videos, bn_per_frame=True).features, expected)
    model.eval()
    assert torch.equal(model(videos).features, model(videos, bn_per_frame=True).features)


def test_a_frozen_backbone_stays_and_the_rest_trains_on_its_features(moving: None, tmp_path: Path) -> None:
    create(recipe(), seed=3).save(tmp_path / "start")
    frozen = recipe(
        train__freeze=True, train__init=f"dir:{tmp_path / 'start'}", data__cache=str(tmp_path / "cache")
    )
    train(frozen, tmp_path / "run", cpu=True)
    before, after = (load(tmp_path / place, "cpu") for place in ("start", "run/model"))
    for (name, one), two in zip(before.state_dict().items(), after.state_dict().values(), strict=True):
        assert torch.equal(one, two) == name.startswith("backbone."), name
    record = read_record(tmp_path / "run")
    assert record["recipe"]["train"]["augment"]["flip"] == 0, "what was not done is not on record"
    assert record["recipe"]["data"]["cache"] is None
    assert len(list((tmp_path / "cache").iterdir())) == 3, "features of train, held-out and test"


def test_features_of_every_frame_are_those_of_the_model() -> None:
    model = create(recipe().model, seed=0)
    clips = Clips.model_validate(CLIPS)
    found = samples(Moving(None), clips)
    kept = extract(model, found)
    pixels, features = found.fetch(torch.arange(24), (0, 1)), kept.fetch(torch.arange(24), (0, 1))
    with torch.inference_mode():
        expected = model.outputs(pixels.x, mask=pixels.mask).heads["emotion"]
        model.eval()
        torch.testing.assert_close(model.aggregate(features.x, features.mask).heads["emotion"], expected)


def test_extract_computes_what_a_later_run_takes(moving: None, tmp_path: Path) -> None:
    create(recipe(), seed=3).save(tmp_path / "start")
    file, cache = tmp_path / "recipe.toml", tmp_path / "cache"
    file.write_text(TOML)
    changes = ["--set", f"train.init='dir:{tmp_path / 'start'}'"]
    whole = [
        "--set",
        "train.augment={flip = 0.3}",
        "--set",
        "train.orthogonal=0.1",
    ]  # as without train.freeze
    done = CliRunner().invoke(app, ["extract", str(file), "--cache", str(cache), *changes, *whole])
    assert done.output == f"features of 24 samples are in {cache}\n"
    written = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert len(written) == 3, "features of train, held-out and test"
    changes += [
        "--set",
        "train.freeze=true",
        "--set",
        f"data.cache='{cache}'",
        "--out",
        str(tmp_path / "run"),
    ]
    assert CliRunner().invoke(app, ["train", str(file), "--cpu", *changes]).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == written


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train__augment": {"flip": 0.5}}, r"freeze: the backbone runs once.*leave \[train.augment\] out"),
        ({"train__orthogonal": 0.1}, "freeze: the backbone is not trained; leave orthogonal"),
        ({"train__bn_per_frame": True}, "freeze: the backbone is not trained; leave orthogonal"),
    ],
)
def test_what_a_frozen_backbone_rules_out_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe(train__freeze=True, **changes)


def test_clips_cannot_be_kept_as_features() -> None:
    c3d = recipe(
        model__backbone={"name": "r3d"},
        model__aggregator={"name": "mean"},
        model__preprocess={"size": 24, "crop": 20, "colour": "rgb", "mean": [0.5] * 3, "std": [0.5] * 3},
    )
    model = create(c3d.model)
    with pytest.raises(RecipeError, match=r"train\.freeze needs a backbone that sees single frames"):
        extract(model, samples(Moving(None), Clips.model_validate(CLIPS)))


def test_clips_that_are_seen_whole_have_no_statistics_of_their_frames() -> None:
    r3d = recipe(
        model__backbone={"name": "r3d"}, model__aggregator={"name": "mean"}, train__bn_per_frame=True
    )
    targets = Targets(torch.eye(len(LABELS)), torch.full((len(LABELS), 3), torch.nan))
    with pytest.raises(
        RecipeError, match=r"train\.bn_per_frame: without effect on a backbone that sees clips"
    ):
        Learner(create(r3d.model), r3d.train, targets)


def test_a_run_on_videos_is_the_same_every_time(moving: None, tmp_path: Path) -> None:
    for name in ("one", "two"):
        train(recipe(train__epochs=2), tmp_path / name, cpu=True)
    one, two = (read_record(tmp_path / name)["history"] for name in ("one", "two"))
    for first, second in zip(one, two, strict=True):
        assert {k: v for k, v in first.items() if k != "seconds"} == {
            k: v for k, v in second.items() if k != "seconds"
        }


def test_the_reader_of_a_recipe_gives_its_rows(moving: None) -> None:
    assert len(read(open_reader(recipe().data), "moving")) == 24


def test_a_backbone_of_clips_trains(moving: None, tmp_path: Path) -> None:
    shape = {"size": 24, "crop": 20, "colour": "rgb", "mean": [0.5] * 3, "std": [0.5] * 3}
    clips = recipe(
        model__backbone={"name": "r3d"},
        model__aggregator={"name": "mean"},
        model__preprocess=shape,
        data__count=12,
        train__epochs=1,
    )
    train(clips, tmp_path / "run", cpu=True)
    assert load(tmp_path / "run" / "model", "cpu").input_kind == "clips"


def test_videos_of_whole_scenes_are_trained_and_measured_on_the_faces_in_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Faces are bright squares, a large one if happy and a small one if sad, somewhere on dark frames."""
    site = tmp_path / "site"
    site.mkdir()
    install(
        monkeypatch,
        site,
        "emozoo-bright",
        "1.0",
        {"detectors/bright": "Good"},
        "from faulty_detectors import Good",
    )
    rng = np.random.default_rng(0)
    for split, label, number in ((s, c, n) for s in ("train", "test") for c in LABELS for n in range(4)):
        folder = tmp_path / "data" / split / label / f"{label}-{split}-{number}"
        folder.mkdir(parents=True)
        for frame in range(3):
            picture = rng.integers(0, 100, (40, 60, 3)).astype(np.uint8)
            side, (top, left) = (20, 10)[LABELS.index(label)], rng.integers(0, 20, 2)
            picture[top : top + side, left : left + side] = 255
            Image.fromarray(picture).save(folder / f"{frame}.png")
    found = {"name": "bright", "threshold": 150}
    data = {"name": "videos", "root": str(tmp_path / "data"), "report": "test", "detector": found}
    options = {"sampling": {"name": "uniform", "frames": 3}, "aggregator": {"name": "mean"}}
    train(recipe(data=data, model__sampling=options["sampling"], model__aggregator=options["aggregator"]),
          tmp_path / "run", cpu=True)  # fmt: skip
    record = read_record(tmp_path / "run")
    assert record["data"]["faces"] == {"name": "emozoo-bright:bright", "threshold": 150}
    assert record["recipe"]["data"]["detector"] == found
    measured = evaluate_on_disk(
        load(tmp_path / "run" / "model"), tmp_path / "data", tmp_path / "eval", name="m", split="test",
        reader="videos", options=["detector.name=bright", "detector.threshold=150"],
    )  # fmt: skip
    assert measured["fingerprint"] == record["data"]["roles"]["report"]["fingerprint"]
    assert measured["faces"] == record["data"]["faces"]
    assert measured["heads"] == record["result"]["heads"]
    whole = evaluate_on_disk(
        load(tmp_path / "run" / "model"), tmp_path / "data", tmp_path / "whole", name="m", split="test",
        reader="videos",
    )  # fmt: skip
    assert whole["fingerprint"] != measured["fingerprint"]
    assert "faces" not in whole
