"""The synthetic faces: what is drawn is what is labelled, always the same, and can be told apart."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from emozoo.contracts import DatasetReader
from emozoo.errors import DataError
from emozoo.labels import DIMENSIONS, FER2013_LABELS
from emozoo_datasets.drawn_faces import EXPRESSION, IDENTITY, FaceParameters, render
from emozoo_datasets.synthetic import ACCENT_CONTROLS, PAD, PROTOTYPES, Emotion, SyntheticFaces

RUSSELL_MEHRABIAN = {
    "happy": (0.81, 0.51, 0.46),
    "angry": (-0.51, 0.59, 0.25),
    "disgust": (-0.60, 0.35, 0.11),
    "fear": (-0.64, 0.60, -0.43),
    "sad": (-0.63, -0.27, -0.33),
    "surprise": (0.40, 0.67, -0.13),
    "neutral": (0.0, 0.0, 0.0),
}
COUNTS: dict[str, Any] = {"samples": 140, "validation_samples": 35, "test_samples": 70}


@pytest.fixture(scope="module")
def dataset():
    return SyntheticFaces(**COUNTS).read()


def pixels(row):
    return np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])))


def test_it_keeps_the_contract_of_a_dataset_reader(dataset):
    assert isinstance(SyntheticFaces(), DatasetReader)
    assert SyntheticFaces().vad_scale == (-1, 1)
    assert dataset.features["label"].names == list(FER2013_LABELS)
    assert dataset.features["image"].decode is False
    assert {dataset.features[name].dtype for name in (*DIMENSIONS, "intensity")} == {"float32"}
    assert len(set(dataset["id"])) == len(dataset) == 245
    assert Counter(dataset["split"]) == {"train": 140, "validation": 35, "test": 70}


def test_pictures_are_grey_png_files_of_the_size_asked_for(dataset):
    picture = Image.open(io.BytesIO(dataset[0]["image"]["bytes"]))
    assert (picture.format, picture.mode, picture.size) == ("PNG", "L", (48, 48))
    small = SyntheticFaces(samples=1, validation_samples=0, test_samples=0, size=32).read()
    assert pixels(small[0]).shape == (32, 32)


def test_a_face_is_the_same_whatever_it_is_drawn_with(dataset):
    reader = SyntheticFaces()
    for rows in ([0], [41, 3], range(20, 75), [139] * 3):
        parameters, emotion = reader.draw("train", rows)
        for picture, vad, row in zip(render(parameters), emotion.vad, rows, strict=True):
            np.testing.assert_array_equal(picture, pixels(dataset[row]))
            assert [dataset[row][name] for name in DIMENSIONS] == vad.tolist()


def test_more_samples_and_a_second_reading_leave_the_first_faces_as_they_were(dataset):
    longer = SyntheticFaces(samples=150, validation_samples=35, test_samples=70).read()
    assert longer.select(range(140)).to_list() == dataset.select(range(140)).to_list()
    assert longer.select(range(150, 255)).to_list() == dataset.select(range(140, 245)).to_list()


def test_another_seed_split_or_row_is_another_face():
    pictures = [
        render(SyntheticFaces(seed=seed).draw(split, [row])[0]).tobytes()
        for seed in (0, 1)
        for split in ("train", "validation", "test")
        for row in (0, 7, 14)
    ]
    assert len(set(pictures)) == len(pictures) == 18


def test_no_person_is_in_two_splits_and_a_person_stays_the_same(dataset):
    subjects = {split: set() for split in ("train", "validation", "test")}
    for row in dataset:
        subjects[row["split"]].add(row["subject"])
    assert {split: len(people) for split, people in subjects.items()} == {
        "train": 10,
        "validation": 3,
        "test": 5,
    }
    assert not subjects["train"] & subjects["test"]
    assert not (subjects["train"] | subjects["test"]) & subjects["validation"]
    people = {tuple(row) for split in subjects for row in SyntheticFaces().draw(split, range(28))[0].identity}
    assert len(people) == 2 * 3
    named = SyntheticFaces().draw("train", range(140))[0].identity
    of_subject = {
        name: {tuple(named[i]) for i in range(140) if dataset[i]["subject"] == name}
        for name in subjects["train"]
    }
    assert {len(identities) for identities in of_subject.values()} == {1}


def test_categories_are_balanced_in_each_split(dataset):
    counts = Counter((row["split"], row["label"]) for row in dataset)
    for split, count in (("train", 20), ("validation", 5), ("test", 10)):
        assert [counts[split, label] for label in range(7)] == [count] * 7


def test_vad_is_intensity_times_the_category_plus_the_accent(dataset):
    _, emotion = SyntheticFaces().draw("train", range(140))
    for row, accent in zip(dataset.select(range(140)), emotion.accent, strict=True):
        norm = RUSSELL_MEHRABIAN[FER2013_LABELS[row["label"]]]
        for dimension, name in enumerate(DIMENSIONS):
            expected = row["intensity"] * norm[dimension] + 0.15 * float(accent[dimension])
            assert row[name] == pytest.approx(expected, abs=1e-6)
            assert -1 <= row[name] <= 1
        neutral = FER2013_LABELS[row["label"]] == "neutral"
        assert row["intensity"] == 0 if neutral else 0.5 <= row["intensity"] <= 1


def test_no_accent_takes_vad_out_of_its_range():
    assert np.abs(PAD).max() + 0.15 <= 1


def test_an_emotion_shows_as_its_prototype_moved_by_intensity_and_accent():
    accent = np.array([[0, 0, 0], [0, -1, 0]], np.float32)
    emotion = Emotion(np.array([3, 6]), np.array([0.5, 0], np.float32), accent)
    shown = dict(zip(EXPRESSION, emotion.expression().T.tolist(), strict=True))
    assert shown["lip_corners"] == [0.5, 0]
    assert shown["upper_lid_raise"] == pytest.approx([0, -0.35])
    np.testing.assert_array_equal(emotion.expression(0.5)[0], 0.25 * PROTOTYPES[3])


def people(count):
    """Return as many people, each in the light and pose of their first picture, relaxed, without noise."""
    drawn, _ = SyntheticFaces().draw("test", range(0, 14 * count, 14))
    light = drawn.light.copy()
    light[:, -1] = 0
    return replace(drawn, light=light, expression=np.zeros_like(drawn.expression))


def with_expression(faces, expression):
    return replace(faces, expression=np.broadcast_to(np.float32(expression), faces.expression.shape))


@pytest.mark.parametrize("label", FER2013_LABELS[:-1])
def test_a_face_departs_from_its_neutral_picture_as_intensity_grows(label):
    faces = people(12)
    neutral = render(faces).astype(float)
    prototype = PROTOTYPES[FER2013_LABELS.index(label)]
    distances = [
        np.abs(render(with_expression(faces, level * prototype)) - neutral).mean((1, 2))
        for level in (0, 0.25, 0.5, 0.75, 1)
    ]
    assert (distances[0] == 0).all()
    assert (np.diff(distances, axis=0) > 0).all()


@pytest.mark.parametrize("dimension", range(3))
def test_an_accent_in_each_dimension_can_be_seen(dimension):
    faces = people(12)
    shown = [
        render(with_expression(faces, sign * ACCENT_CONTROLS[dimension])).astype(float) for sign in (-1, 1)
    ]
    assert (np.abs(shown[0] - shown[1]).max((1, 2)) > 25).all()


@pytest.mark.parametrize("control", range(len(EXPRESSION)))
def test_every_control_changes_the_face(control):
    faces = people(12)
    base = 0.5 * np.eye(len(EXPRESSION))[EXPRESSION.index("mouth_open")]
    moved = render(with_expression(faces, base + np.eye(len(EXPRESSION))[control]))
    assert (moved != render(with_expression(faces, base))).any((1, 2)).all()


def test_every_slider_of_identity_changes_the_face():
    faces = replace(people(1), identity=np.zeros((1, len(IDENTITY)), np.float32))
    faces = faces[np.zeros(len(IDENTITY), int)]
    changed = render(replace(faces, identity=np.eye(len(IDENTITY), dtype=np.float32)))
    same = (changed == render(faces)).all((1, 2))
    assert [name for name, unchanged in zip(IDENTITY, same, strict=True) if unchanged] == []


def test_a_turned_head_shows_its_features_on_that_side():
    faces = people(1)
    average = FaceParameters(
        *(np.zeros_like(part) for part in (faces.identity, faces.pose, faces.light)),
        faces.expression,
        faces.noise_seed,
    )
    centres = []
    for yaw in (-1, 0, 1):
        pose = average.pose.copy()
        pose[:, 0] = yaw
        surprised = with_expression(replace(average, pose=pose), PROTOTYPES[FER2013_LABELS.index("surprise")])
        mouth = render(surprised)[0, 28:46, 8:40] < 40
        centres.append(float(np.nonzero(mouth)[1].mean()) + 8)
    assert centres[0] < 21 < centres[1] == 23.5 < 26 < centres[2]


def test_a_linear_rule_on_pixels_names_unseen_faces_twice_as_well_as_chance_but_not_well():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    reader = SyntheticFaces()
    faces, emotion = reader.draw("train", range(1400))
    unseen, truth = reader.draw("test", range(700))
    known, new = (render(part)[:, ::3, ::3].reshape(len(part), -1) / 255 for part in (faces, unseen))
    fitted = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(known, emotion.label)
    assert 2 / 7 < fitted.score(new, truth.label) < 0.6


def test_what_a_face_shows_is_nearest_to_its_own_category_at_mean_intensity():
    shown, truth = SyntheticFaces().draw("test", range(1400))
    distances = ((shown.expression[:, None] - 0.75 * PROTOTYPES) ** 2).sum(-1)
    assert (distances.argmin(1) == truth.label).mean() > 0.99


def test_check_counts_people_and_categories_and_warns_of_imbalance():
    findings = SyntheticFaces(samples=70, validation_samples=10, test_samples=7).check()
    assert [(f.severity, f.subject) for f in findings] == [
        ("info", "train"), ("info", "validation"), ("warning", "validation"), ("info", "test"),
    ]  # fmt: skip
    assert findings[0].message.startswith("70 faces of 5 subjects: angry 10, disgust 10")
    assert "10 is not a multiple of 7" in findings[2].message


def test_a_data_path_is_refused_and_none_is_recognised(tmp_path):
    with pytest.raises(DataError, match=r"draws its faces itself .* leave the data path out"):
        SyntheticFaces(tmp_path)
    assert SyntheticFaces.recognises(Path(tmp_path)) is False


@pytest.mark.parametrize("option", [{"size": 8}, {"seed": -1}, {"images_per_subject": 0}, {"samples": 0}])
def test_options_out_of_range_are_named(option):
    with pytest.raises(ValueError, match=next(iter(option)).replace("samples", "train at least one")):
        SyntheticFaces(**option)


def test_the_options_of_a_recipe_are_checked_against_the_constructor():
    from emozoo.options import option_names
    from emozoo.registry import build

    assert set(option_names(SyntheticFaces)) == {
        "size", "samples", "validation_samples", "test_samples", "images_per_subject", "seed",
    }  # fmt: skip
    assert build("dataset", "synthetic", {"samples": 7}, None, where="data").counts["train"] == 7
