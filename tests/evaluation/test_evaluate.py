"""Measuring a model over a split."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from emozoo import create
from emozoo.contracts import Targets
from emozoo.data.reading import open_reader, read
from emozoo.data.samples import Samples, load_samples
from emozoo.errors import DataError, EmozooWarning
from emozoo.evaluation.evaluate import evaluate, evaluate_on_disk, predictions_table, run, violations
from emozoo.evaluation.pictures import draw_result
from emozoo.model import EmotionModel
from emozoo.recipe import Data, ModelConfig

CONFIG = {
    "preprocess": {"size": 24, "crop": 20},
    "backbone": {"name": "resnet18", "stem": "strided", "width": 4},
    "heads": {"emotion": {"name": "classification"}, "vad": {"name": "vad"}},
}
CLASSES = {"emotion": {"name": "classification"}}
READER = {"name": "synthetic", "size": 24, "samples": 140, "validation_samples": 70, "test_samples": 70}


@pytest.fixture(scope="module")
def model() -> EmotionModel:
    return create(ModelConfig.model_validate(CONFIG), seed=0).eval()


@pytest.fixture(scope="module")
def samples(model: EmotionModel) -> Samples:
    rows = read(open_reader(Data.model_validate(READER)), "synthetic")
    test = rows.filter(lambda split: split == "test", input_columns="split")
    return load_samples(test, model.labels, model.preprocessor)


def test_outputs_come_in_the_samples_order_whatever_the_batch(model: EmotionModel, samples: Samples) -> None:
    whole, pieces = run(model, samples), run(model, samples, batch_size=9)
    for name, value in whole.items():
        torch.testing.assert_close(value, pieces[name], atol=1e-5, rtol=0)
    one = model.predict_outputs(samples.fetch(torch.tensor([41])).x)
    torch.testing.assert_close(whole["emotion"][41:42], one["emotion"], atol=1e-5, rtol=0)


def test_ten_crop_is_the_mean_over_ten_views(model: EmotionModel, samples: Samples) -> None:
    images = samples.fetch(torch.arange(5)).x.float() / 255
    expected = []
    for flipped in (images, images.flip(-1)):
        for top, left in ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2)):
            crop = flipped[..., top : top + 20, left : left + 20]
            with torch.no_grad():
                expected.append(model((crop - 0.5) / 0.25).heads["emotion"])
    found = model.predict_outputs(samples.fetch(torch.arange(5)).x, "ten-crop")["emotion"]
    torch.testing.assert_close(found, torch.stack(expected).mean(0), atol=1e-5, rtol=0)


def test_evaluating_leaves_a_model_in_training_as_it_was(model: EmotionModel, samples: Samples) -> None:
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run(model, samples)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.eval()


def test_heads_without_targets_are_left_out_and_none_at_all_is_an_error(
    model: EmotionModel, samples: Samples
) -> None:
    nan = float("nan")
    half = replace(samples, targets=Targets(samples.targets.label, samples.targets.vad * nan))
    result, _ = evaluate(model, half, split="test", resamples=10)
    assert list(result["heads"]) == ["emotion"]
    none = replace(half, targets=Targets(half.targets.label * nan, half.targets.vad))
    with pytest.raises(DataError, match="has no targets for any head"):
        evaluate(model, none, split="test")


def test_a_head_of_a_task_of_its_own_is_measured_by_the_targets_that_it_learns_from(
    samples: Samples,
) -> None:
    model = create(ModelConfig.model_validate({**CONFIG, "heads": {"own": {"name": "vad"}}}), seed=0).eval()
    model.heads["own"].task = "pleasure"
    unlabelled = replace(samples, targets=Targets(samples.targets.label * float("nan"), samples.targets.vad))
    result, _ = evaluate(model, unlabelled, split="test", resamples=10)
    assert (result["heads"]["own"]["task"], result["heads"]["own"]["n"]) == ("pleasure", 70)


def test_the_violation_rate_is_that_of_a_plain_count(model: EmotionModel, samples: Samples) -> None:
    outputs = run(model, samples)
    found: Any = violations(model, outputs, samples.targets)
    band = found["zero_band"]
    signs = {
        "angry": (-1, 1, 1),
        "disgust": (-1, 1, 1),
        "fear": (-1, 0, 0),
        "happy": (1, 1, 1),
        "surprise": (0, 1, 0),
    }

    def broken(label: str, column: int, value: float) -> bool:
        sign = 0 if abs(value) <= band else np.sign(value)
        if label == "neutral":
            return sign != 0
        if label == "sad":
            return sign >= 0 if column == 0 else sign > 0
        wanted = signs[label][column]
        return wanted != 0 and sign != wanted

    predicted = [model.labels[i] for i in outputs["emotion"].argmax(1)]
    rows = [
        [broken(label, c, v) for c, v in enumerate(row)]
        for label, row in zip(predicted, outputs["vad"].tolist(), strict=True)
    ]
    assert found["violation_rate"] == pytest.approx(np.mean([any(row) for row in rows]))
    assert list(found["per_dimension"].values()) == pytest.approx(np.mean(rows, axis=0).tolist())
    assert found["annotation_n"] == 70


def test_violations_of_dimensions_in_heads_of_their_own_are_those_of_one_head_of_all(
    model: EmotionModel, samples: Samples
) -> None:
    apart = {name: {"name": "vad", "dimensions": [name]} for name in ("arousal", "valence", "dominance")}
    again = {"name": "vad", "dimensions": ["dominance", "valence"]}
    heads = {"emotion": {"name": "classification"}, **apart, "again": again}
    other = create(ModelConfig.model_validate({**CONFIG, "heads": heads}))
    generator = torch.Generator().manual_seed(0)
    vad = torch.rand(70, 3, generator=generator) * 2 - 1
    outputs = {"emotion": torch.randn(70, 7, generator=generator), "vad": vad}
    valence, arousal, dominance = vad.split(1, 1)
    split = {"emotion": outputs["emotion"], "arousal": arousal, "valence": valence, "dominance": dominance}
    split["again"] = -torch.cat([dominance, valence], 1)
    one, many = (violations(m, o, samples.targets) for m, o in ((model, outputs), (other, split)))
    assert one == many
    assert one is not None
    assert one["violation_rate"] > max(one["per_dimension"].values())


def test_models_without_both_heads_or_without_rules_have_no_violation_rate(samples: Samples) -> None:
    single = create(ModelConfig.model_validate({**CONFIG, "heads": {"emotion": {"name": "classification"}}}))
    assert violations(single.eval(), run(single, samples), samples.targets) is None
    other = create(ModelConfig.model_validate({**CONFIG, "labels": ["yes", "no"]}))
    label = torch.zeros(70, 2)
    assert violations(other, run(other, samples), Targets(label, samples.targets.vad)) is None


def test_the_predictions_table_holds_truth_beside_prediction(model: EmotionModel, samples: Samples) -> None:
    outputs = run(model, samples)
    table = predictions_table(model, samples, outputs)
    assert table["id"].to_pylist() == samples.ids
    expected = [model.labels[i] for i in samples.targets.label.argmax(1)]
    assert table["emotion.true"].to_pylist() == expected
    assert table["vad.arousal"].to_pylist() == pytest.approx(outputs["vad"][:, 1].tolist())
    assert table["vad.arousal_true"].to_pylist() == pytest.approx(samples.targets.vad[:, 1].tolist())
    total = sum(np.array(table[f"emotion.p_{name}"].to_pylist()) for name in model.labels)
    assert total == pytest.approx(np.ones(70))


def test_a_dataset_with_other_labels_is_refused_by_name(tmp_path: Path) -> None:
    config = {**CONFIG, "labels": ["angry", "disgust", "fear", "happy", "sad", "surprise"]}
    model = create(ModelConfig.model_validate(config))
    with pytest.raises(DataError, match=r"label.* 'neutral', which the model does not"):
        evaluate_on_disk(
            model, None, tmp_path, name="six", split="test", reader="synthetic",
            options=["size=24", "samples=14", "validation_samples=7", "test_samples=7"],
        )  # fmt: skip


def test_a_measurement_of_smaller_faces_says_so(model: EmotionModel, tmp_path: Path) -> None:
    more: Any = {
        "name": "m", "split": "test", "reader": "synthetic",
        "options": ["size=24", "samples=14", "validation_samples=7", "test_samples=140"],
    }  # fmt: skip
    small = evaluate_on_disk(model, None, tmp_path / "small", **more, face_size=6)
    whole = evaluate_on_disk(model, None, tmp_path / "whole", **more)
    assert small["face_size"] == 6
    assert "face size: 6" in (tmp_path / "small" / "report.md").read_text()
    assert "face_size" not in whole
    assert small["fingerprint"] != whole["fingerprint"]


SMALL: dict[str, Any] = {
    "name": "m", "split": "test", "reader": "synthetic",
    "options": ["size=24", "samples=14", "validation_samples=7", "test_samples=7"],
}  # fmt: skip


@pytest.mark.parametrize(
    "other", [{"tta": "flip"}, {"options": [*SMALL["options"], "seed=3"]}, {"face_size": 6}]
)
def test_the_measurement_of_something_else_is_not_written_over(
    model: EmotionModel, tmp_path: Path, other: dict[str, Any]
) -> None:
    evaluate_on_disk(model, None, tmp_path, **SMALL)
    evaluate_on_disk(model, None, tmp_path, **SMALL)  # the same again may be
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(
        DataError, match=r"holds the measurement of something else \(.*name another folder with --out"
    ):
        evaluate_on_disk(model, None, tmp_path, **SMALL | other)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_a_folder_that_cannot_be_is_refused_before_anything_is_measured(
    model: EmotionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emozoo.evaluation.evaluate.evaluate", lambda *a, **k: pytest.fail("it was measured"))
    (tmp_path / "file").write_text("")
    with pytest.raises(
        DataError, match=r"file is no folder that can be written to .*; name another with --out"
    ):
        evaluate_on_disk(model, None, tmp_path / "file", **SMALL)


def test_figures_are_written_whatever_becomes_of_the_pictures(
    model: EmotionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any) -> None:
        raise RuntimeError("no picture")

    monkeypatch.setattr("emozoo.evaluation.evaluate.draw_result", fail)
    with pytest.raises(RuntimeError, match="no picture"):
        evaluate_on_disk(model, None, tmp_path, **SMALL)
    assert json.loads((tmp_path / "metrics.json").read_text())["n"] == 7
    assert (tmp_path / "predictions.parquet").is_file()


def test_too_few_samples_for_a_picture_of_features_lose_nothing(model: EmotionModel, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    options = [
        "size=24",
        "samples=14",
        "validation_samples=7",
        "test_samples=3",
        "labels=['angry','happy','sad']",
    ]
    with pytest.warns(EmozooWarning, match="t-SNE of [1-3] samples shows nothing; it was not drawn"):
        evaluate_on_disk(model, None, tmp_path, **SMALL | {"options": options}, tsne=True)
    assert (tmp_path / "report.md").is_file()


def test_tsne_without_scikit_learn_is_refused_before_the_data_are_read(
    model: EmotionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"t-SNE needs scikit-learn: pip install 'emozoo\[tsne\]'"):
        evaluate_on_disk(model, None, tmp_path, **SMALL | {"reader": "nothing"}, tsne=True)


def test_images_that_a_model_of_videos_is_measured_on_are_said_to_be_none(tmp_path: Path) -> None:
    config = {**CONFIG, "sampling": {"name": "uniform", "frames": 2}, "aggregator": {"name": "mean"}}
    options = ["size=24", "samples=14", "validation_samples=7", "test_samples=7"]
    with pytest.warns(EmozooWarning, match=r"m is a model of videos.* Is --reader missing\?"):
        evaluate_on_disk(
            create(ModelConfig.model_validate(config)), None, tmp_path,
            name="m", split="test", reader="synthetic", options=options,
        )  # fmt: skip


def test_real_faces_are_measured_with_their_majority_baseline(real_data: Path, tmp_path: Path) -> None:
    model = create(
        ModelConfig.model_validate({**CONFIG, "preprocess": {"size": 48, "crop": 44}}), seed=0
    ).eval()
    result = evaluate_on_disk(
        model, real_data / "fer2013", tmp_path, name="untrained", split="public_test",
        options=[f"vad='{real_data / 'fer2013-vad'}'"],
    )  # fmt: skip
    assert result["n"] == 3589
    assert result["heads"]["emotion"]["majority_baseline"] == pytest.approx(895 / 3589)
    assert result["heads"]["vad"]["n"] == 31
    assert result["dataset"].startswith("FER2013")


def test_dimensions_in_heads_of_their_own_are_drawn_in_one_space(samples: Samples, tmp_path: Path) -> None:
    heads = {name: {"name": "vad", "dimensions": [name]} for name in ("dominance", "valence", "arousal")}
    found, images = {}, {}
    for folder, parts in (("one", {"vad": {"name": "vad"}}), ("three", heads)):
        split = create(ModelConfig.model_validate({**CONFIG, "heads": {**CLASSES, **parts}}), seed=0).eval()
        (tmp_path / folder).mkdir()
        result, outputs = evaluate(split, samples, split="test", resamples=0)
        images[folder] = draw_result(tmp_path / folder, split, samples, outputs, result)
        found[folder] = {path.name for path in images[folder] if "space" in path.name}
    assert found == {"one": {"vad_space.png"}, "three": {"space.png"}}
    assert (tmp_path / "three" / "space.png").stat().st_size > 20_000
