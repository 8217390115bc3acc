"""Samples: labels by name, missing targets as NaN, the same images lazily as in memory, every broken one listed."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, List, Value
from datasets import Image as ImageColumn
from PIL import Image
from small import photos

from emozoo.data import media as module
from emozoo.data.preprocess import Preprocessor
from emozoo.data.samples import Samples, load_samples
from emozoo.errors import ContractError, DataError
from emozoo.recipe import Preprocess

LABELS = ("angry", "happy", "neutral")
PREPROCESSOR = Preprocessor(Preprocess(size=20, crop=16))
SOURCE = ["Neutral", "anger", "Happiness"]


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def rows(
    labels: list[int | None], names: list[str] = SOURCE, media: list[bytes] | None = None, **more: Any
) -> Dataset:
    """A dataset as a reader returns it, one photo of noise a row."""
    count = len(labels)
    media = media or [png(pixels) for pixels in photos(count, 20)]
    columns = {
        "id": [f"photo-{index}" for index in range(count)],
        "image": [{"bytes": data, "path": None} for data in media],
        "split": ["train"] * count,
        "label": labels,
        **more,
    }
    features = {"id": Value("string"), "image": ImageColumn(decode=False), "split": Value("string")}
    features |= {"label": ClassLabel(names=names)}
    if "label_probabilities" in more:
        features["label_probabilities"] = List(Value("float64"))
    features |= {name: Value("float32") for name in more if name != "label_probabilities"}
    return Dataset.from_dict(columns, features=Features(features))


def load(data: Dataset, labels: tuple[str, ...] = LABELS, **more: Any) -> Samples:
    return load_samples(data, labels, PREPROCESSOR, **more)


def same(first: torch.Tensor, second: torch.Tensor) -> bool:
    return torch.equal(first.nan_to_num(nan=-9), second.nan_to_num(nan=-9))


# --- targets --------------------------------------------------------------------------------------------------


def test_labels_are_matched_by_name_and_never_by_position() -> None:
    label = load(rows([0, 1, 2, 0])).targets.label
    names = [LABELS[row.argmax()] for row in label]
    assert names == ["neutral", "angry", "happy", "neutral"]
    assert torch.equal(label.sum(1), torch.ones(4))


def test_a_label_that_the_model_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"the dataset has the label.* 'Surprise', which the model does not"):
        load(rows([0, 0], names=["happy", "Surprise"]))


def test_a_row_without_a_label_has_no_label_and_counts_for_none() -> None:
    samples = load(rows([0, None, 2]))
    assert samples.targets.label[1].isnan().all()
    assert not samples.targets.label[[0, 2]].isnan().any()
    assert samples.counts(LABELS) == {"angry": 0, "happy": 1, "neutral": 1}


def test_soft_labels_come_in_the_model_s_order_and_take_precedence_where_there_are_any() -> None:
    soft = [[0.2, 0.3, 0.5], None, [1.0, 0.0, 0.0]]
    label = load(rows([2, 1, None], label_probabilities=soft)).targets.label
    expected = torch.tensor([[0.3, 0.5, 0.2], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(label, expected)


def test_two_spellings_of_one_category_add_up() -> None:
    data = rows([0, 1], names=["happy", "joy"], label_probabilities=[[0.25, 0.75], None])
    assert torch.equal(load(data).targets.label, torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]))


def test_soft_labels_of_another_length_are_refused() -> None:
    with pytest.raises(ContractError, match="row 1 has 2 label_probabilities for 3 labels"):
        load(rows([0, 1], label_probabilities=[[0.2, 0.3, 0.5], [0.5, 0.5]]))
    with pytest.raises(ContractError, match="row 0 has 4 label_probabilities for 3 labels"):
        load(rows([0, 1], label_probabilities=[[0.25] * 4, None]), only=["neutral"])


def test_vad_stands_in_the_order_valence_arousal_dominance_with_nan_where_missing() -> None:
    samples = load(rows([0, 1, 2], dominance=[0.5, None, -1.0], valence=[None, 0.25, 1.0]))
    nan = math.nan
    assert same(samples.targets.vad, torch.tensor([[nan, nan, 0.5], [0.25, nan, nan], [1.0, nan, -1.0]]))
    assert samples.counts(LABELS) == {"angry": 1, "happy": 1, "neutral": 1, "valence": 2, "dominance": 2}


@pytest.mark.parametrize("value", [1.5, -2.0, math.inf])
def test_vad_on_another_scale_is_refused(value: float) -> None:
    with pytest.raises(DataError, match=r"VAD values outside \[-1, 1\]; its reader must map its scale"):
        load(rows([0, 1], valence=[0.0, value]))


def test_only_some_categories_can_be_used_under_any_spelling() -> None:
    data = rows([0, 1, 2, None, 2], valence=[0.0, 0.1, 0.2, 0.3, 0.4])
    samples = load(data, ("happy", "neutral"), only=["joy", "neutral"])
    assert samples.ids == ["photo-0", "photo-2", "photo-4"]
    assert torch.equal(samples.targets.label, torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]))
    torch.testing.assert_close(samples.targets.vad[:, 0], torch.tensor([0.0, 0.2, 0.4]))
    everything = load(data)
    assert torch.equal(samples.media.pixels, everything.media.pixels[[0, 2, 4]])


def test_a_row_labelled_as_none_is_of_no_category_that_is_used() -> None:
    samples = load(rows([0, -1, 2, None]), only=["happy", "neutral"])
    assert samples.ids == ["photo-0", "photo-2"]


def test_soft_labels_are_divided_among_the_categories_that_are_used() -> None:
    soft = [[0.2, 0.2, 0.6], [0.0, 1.0, 0.0], None, [0.3, 0.5, 0.2], [1.0, 0.0, 0.0]]
    data = rows([2, 2, 2, 1, 0], label_probabilities=soft)
    samples = load(data, ("happy", "neutral"), only=["joy", "neutral"])
    assert samples.ids == ["photo-0", "photo-1", "photo-2", "photo-4"]
    expected = torch.tensor([[0.75, 0.25], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(samples.targets.label, expected)


def test_a_category_to_use_that_the_dataset_lacks_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        DataError, match=r"data\.labels: the dataset has no label 'hapy'\. Did you mean 'happy'"
    ):
        load(rows([0, 1, 2]), only=["hapy", "neutral"])


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(DataError, match="the split holds no samples"):
        load(rows([0, 1]).select([]))
    with pytest.raises(DataError, match="the split holds no samples"):
        load(rows([0, 0]), only=["happy"])


# --- images ---------------------------------------------------------------------------------------------------


@pytest.fixture
def lazily(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEMORY_BUDGET", 0)


def test_images_are_decoded_once_and_kept_where_they_fit() -> None:
    pixels = photos(5, 20)
    samples = load(rows([0] * 5))
    assert torch.equal(samples.media.pixels[:, 0], torch.from_numpy(pixels))
    assert samples.media.pixels.dtype == torch.uint8
    assert torch.equal(samples.fetch(torch.tensor([3, 0, 3])).x, samples.media.pixels[[3, 0, 3]])


def test_images_over_the_budget_are_decoded_as_they_come_and_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = rows([0, 1, 2] * 5)
    order = torch.tensor([4, 1, 14, 1, 0, 9, 7]).split(3)
    kept = [(index.tolist(), batch.x) for index, batch in load(data).batches(order)]
    monkeypatch.setattr(module, "MEMORY_BUDGET", 15 * 20 * 20 - 1)
    lazy = load(data)
    assert lazy.media.pixels is None
    came = [(index.tolist(), batch.x) for index, batch in lazy.batches(order)]
    assert [index for index, _ in came] == [index for index, _ in kept] == [part.tolist() for part in order]
    assert all(torch.equal(one, two) for (_, one), (_, two) in zip(kept, came, strict=True))
    monkeypatch.setattr(module, "MEMORY_BUDGET", 15 * 20 * 20)
    assert load(data).media.pixels is not None


def test_images_are_read_from_files_as_from_bytes(tmp_path: Path) -> None:
    data = rows([0, 1, 2])
    paths = [tmp_path / f"{index}.png" for index in range(3)]
    for path, row in zip(paths, data["image"], strict=True):
        path.write_bytes(row["bytes"])
    images = [{"bytes": None, "path": str(path)} for path in paths]
    features = data.features
    on_disk = data.remove_columns("image").add_column("image", images, feature=features["image"])
    assert torch.equal(load(on_disk).media.pixels, load(data).media.pixels)
    assert load(on_disk).fingerprint == load(data).fingerprint


def test_every_broken_image_is_listed_and_not_the_first_alone() -> None:
    media = [png(pixels) for pixels in photos(6, 20)]
    media[1], media[4] = b"broken", media[4][:60]
    with pytest.raises(DataError) as caught:
        load(rows([0] * 6, media=media))
    text = str(caught.value)
    assert text.startswith("2 of 6 images cannot be read:")
    assert "photo-1: not an image" in text
    assert "photo-4: damaged image" in text
    assert "`emozoo data check PATH` lists all problems" in text


def test_a_long_list_of_broken_images_says_how_many_more_there_are() -> None:
    with pytest.raises(DataError, match="30 of 30 images cannot be read") as caught:
        load(rows([0] * 30, media=[b"broken"] * 30))
    assert str(caught.value).count("photo-") == 20
    assert "and 10 more" in str(caught.value)


def test_a_broken_image_that_is_decoded_lazily_stops_its_batch_by_name(lazily: None) -> None:
    media = [png(pixels) for pixels in photos(4, 20)]
    media[3] = b"broken"
    batches = load(rows([0] * 4, media=media)).batches(torch.arange(4).split(2))
    next(batches)
    with pytest.raises(DataError, match="photo-3: not an image"):
        next(batches)


def test_batches_may_be_left_half_way(lazily: None) -> None:
    batches = load(rows([0] * 6)).batches(torch.arange(6).split(2))
    next(batches)
    batches.close()


# --- fingerprints ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [0, 1 << 30], ids=["lazy", "in memory"])
def test_the_fingerprint_changes_with_every_pixel_label_value_and_id_and_with_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, budget: int
) -> None:
    monkeypatch.setattr(module, "MEMORY_BUDGET", budget)
    pixels = photos(3, 20)
    plain = rows([0, 1, 2], valence=[0.0, 0.5, None])
    first = load(plain).fingerprint
    assert load(rows([0, 1, 2], valence=[0.0, 0.5, None])).fingerprint == first
    changed = pixels.copy()
    changed[2, 19, 19] ^= 1
    renamed = plain.map(lambda row: {"id": row["id"].replace("photo-2", "photo-3")})
    others = [
        rows([0, 1, 2], valence=[0.0, 0.5, None], media=[png(image) for image in changed]),
        rows([0, 2, 2], valence=[0.0, 0.5, None]),
        rows([0, 1, None], valence=[0.0, 0.5, None]),
        rows([0, 1, 2], valence=[0.0, 0.5, 0.0]),
        rows([0, 1, 2], valence=[0.0, 0.51, None]),
        rows([0, 1, 2], arousal=[0.0, 0.5, None]),
        plain.select([1, 0, 2]),
        plain.select([0, 1]),
        renamed,
    ]
    prints = [load(other).fingerprint for other in others]
    assert first not in prints
    assert len(set(prints)) == len(prints)


def test_the_fingerprint_of_files_that_are_decoded_lazily_is_of_what_they_hold(
    lazily: None, tmp_path: Path
) -> None:
    def on_disk(folder: Path, pixels: np.ndarray) -> Dataset:
        folder.mkdir()
        path = folder / "photo.bmp"  # as long whatever it shows
        Image.fromarray(pixels).save(path)
        data = rows([0])
        image = [{"bytes": None, "path": str(path)}]
        return data.remove_columns("image").add_column("image", image, feature=data.features["image"])

    pixels = photos(1, 20)[0]
    changed = pixels.copy()
    changed[0, 0] ^= 1
    first, moved, other = (
        on_disk(tmp_path / name, p) for name, p in zip("abc", (pixels, pixels, changed), strict=True)
    )
    assert load(first).fingerprint == load(moved).fingerprint
    assert load(first).fingerprint != load(other).fingerprint


def test_moving_to_a_device_changes_no_value() -> None:
    samples = load(rows([0, None, 2], valence=[0.5, None, -0.5]))
    moved = samples.to(torch.device("cpu"))
    assert moved.fingerprint == samples.fingerprint
    assert torch.equal(moved.media.pixels, samples.media.pixels)


def test_real_faces_decode_to_the_pixels_of_their_files(real_data: Path) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(real_data / "fer2013" / "public_test.parquet", columns=["image", "label"]).slice(
        0, 50
    )
    media = [row["bytes"] for row in table["image"].to_pylist()]
    names = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    labels = table["label"].to_pylist()
    data = rows(labels, names=names, media=media)
    samples = load_samples(data, tuple(names[::-1]), Preprocessor(Preprocess()))
    for image, data_ in zip(samples.media.pixels, media, strict=True):
        assert (image[0].numpy() == np.asarray(Image.open(io.BytesIO(data_)))).all()
    assert samples.targets.label.argmax(1).tolist() == [6 - label for label in labels]
