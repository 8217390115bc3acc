"""The models that come with emozoo are what was saved, they are small, and what they say of real faces is true."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors import safe_open

import emozoo
from emozoo.data.reading import data_for, open_reader
from emozoo.folder import verify_golden
from emozoo.labels import FER2013_LABELS
from emozoo.zoo import entries

BUNDLED = {entry.name: entry for entry in entries() if entry.weights is not None}
LIMIT = {"image": 6e6, "video": 8e6}
"""Bytes of weights that a distribution may hold."""


def test_four_models_come_with_emozoo():
    assert set(BUNDLED) == {"mini-fer2013", "vad-mini-fer2013", "ceflnet-planted", "fan-planted"}


@pytest.mark.parametrize("name", BUNDLED)
def test_each_is_small_stored_in_half_precision_and_gives_its_golden_outputs(name):
    entry, model = BUNDLED[name], emozoo.load(name)
    path = entry.folder / "model.safetensors"
    assert path.stat().st_size <= LIMIT[entry.summary()["task"]]
    with safe_open(path, "pt") as stored:
        kernels = [key for key in stored.keys() if "conv" in key and key.endswith("weight")]  # noqa: SIM118
        assert {stored.get_slice(key).get_dtype() for key in kernels} == {"F16"}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert verify_golden(model, entry.folder) < 1e-3


@pytest.mark.parametrize("name", ["mini-fer2013", "vad-mini-fer2013"])
def test_of_real_faces_they_name_about_as_many_rightly_as_their_card_says(name, real_data):
    rows = open_reader(data_for(real_data / "fer2013", None, [])).read()
    rows = rows.select([i for i, split in enumerate(rows["split"]) if split == "public_test"][:600])
    model = emozoo.load(name)
    images = torch.stack([model.preprocessor.decode(row["image"]["bytes"], row["id"]) for row in rows])
    said = model.predict_outputs(images)["emotion"].argmax(1).numpy()
    accuracy = (np.asarray(model.labels)[said] == np.asarray(FER2013_LABELS)[rows["label"]]).mean()
    result = BUNDLED[name].record["result"]["heads"]["emotion"]["metrics"]["accuracy"]["value"]
    assert accuracy == pytest.approx(result, abs=0.055), "three standard errors of 600 images"


def test_of_a_smiling_person_in_a_photo_it_says_happy_and_a_positive_valence(real_data):
    said = emozoo.load("vad-mini-fer2013").predict(real_data / "media" / "single_face.jpg", faces="dlib")
    assert said.label == "happy"
    assert said.vad["valence"] > 0.2


@pytest.mark.parametrize("name", ["ceflnet-planted", "fan-planted"])
def test_of_a_person_who_smiles_in_a_video_it_says_happy_and_of_an_empty_scene_nothing(name, real_data):
    model = emozoo.load(name)
    timeline = model.predict(real_data / "media" / "single_face.mp4", faces="dlib")
    assert [track.label for track in timeline.tracks] == ["happy"]
    assert not model.predict(real_data / "media" / "no_face.mp4", faces="dlib").tracks
