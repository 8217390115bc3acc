"""Accuracy by the quality of the picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from emozoo.contracts import Targets
from emozoo.data.media import Images
from emozoo.data.preprocess import Preprocessor
from emozoo.data.samples import Samples
from emozoo.errors import DataError
from emozoo.evaluation.slices import accuracy_by_quality, smaller_faces
from emozoo.recipe import Preprocess


def samples(pixels: torch.Tensor, label: torch.Tensor) -> Samples:
    ids = [str(number) for number in range(len(pixels))]
    targets = Targets(label, torch.full((len(pixels), 3), float("nan")))
    return Samples(ids, targets, Images(ids, Preprocessor(Preprocess()), pixels))


def test_each_quarter_holds_a_quarter_of_the_images_and_its_own_accuracy() -> None:
    rng = np.random.default_rng(0)
    level = rng.permutation(200)
    noise = rng.integers(0, 20, (200, 1, 12, 12))
    pixels = torch.from_numpy((level[:, None, None, None] + noise).astype(np.uint8))
    label = torch.eye(2)[torch.zeros(200, dtype=torch.long)]
    right = torch.from_numpy(level >= 100)  # the darker half is always taken for the other class
    logits = torch.where(right[:, None], torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
    rows = accuracy_by_quality(logits, samples(pixels, label), resamples=100)
    assert [(row["by"], row["quarter"]) for row in rows] == [
        (name, quarter) for name in ("brightness", "contrast", "sharpness") for quarter in (1, 2, 3, 4)
    ]
    dark = rows[:4]
    assert [row["n"] for row in dark] == [50] * 4
    assert dark[0]["accuracy"]["value"] == 0
    assert dark[3]["accuracy"]["value"] == 1
    assert [row["high"] for row in dark[:3]] == [row["low"] for row in dark[1:]]
    means = np.sort(pixels.float().mean((1, 2, 3)).numpy())
    assert (dark[0]["low"], dark[3]["high"]) == pytest.approx((means[0], means[-1]))


def test_a_checkerboard_is_sharper_than_the_same_picture_blurred() -> None:
    board = (np.indices((12, 12)).sum(0) % 2 * 200).astype(np.uint8)
    flat = np.full((12, 12), 100, np.uint8)
    pixels = torch.from_numpy(np.stack([board] * 50 + [flat] * 150))[:, None]
    label = torch.eye(2)[torch.zeros(200, dtype=torch.long)]
    logits = torch.tensor([[1.0, 0.0]] * 50 + [[0.0, 1.0]] * 150)
    rows = {
        (row["by"], row["quarter"]): row
        for row in accuracy_by_quality(logits, samples(pixels, label), resamples=0)
    }
    assert rows["sharpness", 4]["n"] == 50
    assert rows["sharpness", 4]["accuracy"]["value"] == 1
    assert rows["sharpness", 4]["high"] > 1000


def test_few_or_unlabelled_samples_and_videos_give_nothing() -> None:
    label = torch.full((200, 2), float("nan"))
    pixels = torch.zeros(200, 1, 12, 12, dtype=torch.uint8)
    assert accuracy_by_quality(torch.zeros(200, 2), samples(pixels, label)) == []
    few = samples(pixels[:50], torch.eye(2)[torch.zeros(50, dtype=torch.long)])
    assert accuracy_by_quality(torch.zeros(50, 2), few) == []
    lazy = Samples(few.ids, few.targets, Images(few.ids, Preprocessor(Preprocess()), None))
    assert accuracy_by_quality(torch.zeros(50, 2), lazy) == []


def test_a_smaller_face_is_what_pillow_makes_of_it_and_everything_else_stays() -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 1, 48, 48), np.uint8))
    before = samples(pixels, torch.eye(5))
    found = smaller_faces(before, 16)
    for small, picture in zip(found.media.pixels[:, 0], pixels[:, 0], strict=True):
        reduced = Image.fromarray(picture.numpy()).resize((16, 16), Image.Resampling.BOX)
        expected = np.asarray(reduced.resize((48, 48), Image.Resampling.BILINEAR), int)
        assert np.abs(small.numpy() - expected).max() <= 1, "Pillow rounds twice"
    assert (found.ids, found.targets) == (before.ids, before.targets)
    assert torch.equal(before.media.pixels, pixels)
    assert found.fingerprint != before.fingerprint


def test_a_face_is_made_smaller_and_never_larger_and_a_video_is_refused() -> None:
    images = samples(torch.zeros(3, 1, 48, 48, dtype=torch.uint8), torch.eye(3))
    with pytest.raises(DataError, match="must be from 1 to 47: the model sees 48 pixels; it is 48"):
        smaller_faces(images, 48)
    features = replace(images, media=replace(images.media, features=torch.zeros(3, 64)))
    with pytest.raises(DataError, match="for images that fit in memory, not for videos"):
        smaller_faces(features, 16)
