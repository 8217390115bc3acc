"""Predictions of any photo, alone or among many, equal what evaluation computes, and survive broken files."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from small import photos, tiny_model

from emozoo.data.samples import load_samples
from emozoo.errors import DataError, RecipeError, UnknownComponentError
from emozoo.evaluation.evaluate import evaluate
from emozoo.model import EmotionModel
from emozoo.prediction.answers import PLACE
from emozoo.prediction.inputs import expand
from emozoo.prediction.predictions import Prediction, Predictions, stream
from emozoo.prediction.writers import ParquetWriter, form_of, open_writer

DIMENSIONS = ("valence", "arousal", "dominance")


@pytest.fixture(scope="module")
def model() -> EmotionModel:
    return tiny_model()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six photos, one of them broken, one in a folder below, beside a file that is no image."""
    place = tmp_path / "photos"
    (place / "below").mkdir(parents=True)
    for name, pixels in zip("abde", photos(4), strict=True):
        Image.fromarray(pixels).save(place / f"{name}.png")
    Image.fromarray(photos(1, seed=9)[0]).save(place / "below" / "f.PNG")
    (place / "c.png").write_bytes(b"no image at all")
    (place / "notes.txt").write_text("no image and not called one")
    return place


def crops(model: EmotionModel, source: Any, **options: Any) -> Any:
    """Predict pictures that are faces already."""
    return model.predict(source, faces="none", **options)


def close(first: Prediction, second: Prediction, tolerance: float = 1e-6) -> bool:
    one, two = first.to_row(), second.to_row()
    numbers = [name for name, value in one.items() if isinstance(value, float)]
    return first.label == second.label and all(abs(one[name] - two[name]) <= tolerance for name in numbers)


# --- one photo ------------------------------------------------------------------------------------------------


def forms_of(pixels: np.ndarray, place: Path) -> dict[str, Any]:
    Image.fromarray(pixels).save(place / "photo.png")
    colour = np.repeat(pixels[..., None], 3, axis=2)
    return {
        "path": place / "photo.png",
        "text": str(place / "photo.png"),
        "bytes": (place / "photo.png").read_bytes(),
        "bytes in a file": io.BytesIO((place / "photo.png").read_bytes()),
        "open file": open(place / "photo.png", "rb"),
        "PIL": Image.fromarray(pixels),
        "PIL RGB": Image.fromarray(colour),
        "array": pixels,
        "array with a channel": pixels[..., None],
        "colour array": colour,
        "floating array": pixels / 255,
        "floating colour array": (colour / 255).astype(np.float32),
        "array in another order": np.asfortranarray(pixels),
        "tensor": torch.from_numpy(pixels),
        "tensor with a channel": torch.from_numpy(pixels)[None],
        "colour tensor": torch.from_numpy(colour).permute(2, 0, 1),
        "floating tensor": torch.from_numpy(pixels / 255),
        "tensor with a gradient": torch.from_numpy(pixels / 255).requires_grad_(),
    }


def test_every_form_of_a_photo_gives_the_same_prediction(model: EmotionModel, tmp_path: Path) -> None:
    forms = forms_of(photos(1)[0], tmp_path)
    expected = crops(model, forms["path"])
    for name, form in forms.items():
        assert crops(model, form).heads == expected.heads, name
        assert crops(model, form).source == (str(form) if name in ("path", "text") else "image")


def test_a_prediction_is_the_softmax_and_the_values_of_the_outputs(model: EmotionModel) -> None:
    pixels = photos(1)[0]
    found = crops(model, pixels)
    outputs = model.predict_outputs(torch.from_numpy(pixels)[None, None])
    exponentials = np.exp(outputs["emotion"][0].double().numpy())
    expected = dict(zip(model.labels, exponentials / exponentials.sum(), strict=True))
    assert found.probabilities == pytest.approx(expected, abs=1e-6)
    assert found.label == max(expected, key=expected.__getitem__)
    assert found.vad == pytest.approx(dict(zip(DIMENSIONS, outputs["vad"][0].tolist(), strict=True)))
    assert found.vad_scale == (-1, 1)


@pytest.mark.parametrize(
    ("media", "message"),
    [
        (np.zeros((2, 2, 2, 2), np.uint8), r"shape \(2, 2, 2, 2\); arrays are \(H, W\) or \(H, W, 3\)"),
        (np.zeros((5, 5, 2), np.uint8), r"shape \(5, 5, 2\)"),
        (np.zeros((0, 5), np.uint8), r"shape \(0, 5\)"),
        (np.zeros(5, np.uint8), r"shape \(5,\)"),
        (torch.zeros(2, 5, 5), r"shape \(5, 5, 2\)"),
        (np.full((5, 5), 7.0), r"floating pixels must lie in \[0, 1\]; pass uint8 for 0..255"),
        (np.full((5, 5), -0.1), "floating pixels must lie"),
        (np.full((5, 5), np.nan), "floating pixels must lie"),
        (np.zeros((5, 5), np.int64), "pixels are int64; pass uint8"),
        (np.zeros((5, 5), bool), "pixels are bool"),
        (
            7,
            "cannot read a int; give a path, the bytes of a file, a file opened in binary mode, a PIL image, an",
        ),
        (io.StringIO("text"), "cannot read a StringIO; give .* a file opened in binary mode"),
        (io.BytesIO(b"none"), "image: not an image that can be read"),
        (None, "cannot read a NoneType"),
        (b"", "not an image that can be read"),
        ("nowhere.png", "nowhere.png: there is no file nowhere.png"),
        ("", "image: an empty path is no file"),
        ("https://example.org/a.jpg", "addresses are not fetched; download it first"),
        (
            "https://example.org/a.mp4",
            "https://example.org/a.mp4: addresses are not fetched; download it first",
        ),
        (torch.zeros(5, 5, device="meta"), "a meta tensor has no pixels to read"),
        (torch.zeros(5, 5).to_sparse(), "a sparse tensor has no pixels to read"),
    ],
)
def test_what_is_no_photo_is_refused_with_what_is_wanted(
    model: EmotionModel, media: Any, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        crops(model, media)


def test_a_broken_file_alone_raises_with_its_path(model: EmotionModel, folder: Path) -> None:
    with pytest.raises(DataError, match=r"photos/c\.png: not an image that can be read"):
        crops(model, folder / "c.png")


def test_a_photo_that_breaks_only_when_it_is_decoded_raises_too(model: EmotionModel, tmp_path: Path) -> None:
    path = tmp_path / "half.png"
    Image.fromarray(photos(1, 200)[0]).save(path)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(DataError, match=r"half\.png: damaged image"):
        crops(model, path)
    with pytest.raises(DataError, match="image: damaged image"):
        crops(model, Image.open(path))


def test_a_path_may_begin_with_the_home_folder(
    model: EmotionModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    assert close(crops(model, "~/photos/a.png"), crops(model, folder / "a.png"))
    assert len(crops(model, "~/photos")) == len(crops(model, "~/photos/**/*.[pP][nN][gG]")) == 5


# --- many photos ----------------------------------------------------------------------------------------------


def test_a_list_keeps_its_order_and_what_is_broken_in_it_stops_nothing(
    model: EmotionModel, folder: Path
) -> None:
    pixels = photos(1, seed=4)[0]
    found = crops(
        model, [folder / "b.png", folder / "c.png", pixels, "nowhere.png", folder / "a.png"], batch_size=2
    )
    assert [item.source for item in found] == [str(folder / "b.png"), "image 2", str(folder / "a.png")]
    assert [failure.source for failure in found.errors] == [str(folder / "c.png"), "nowhere.png"]
    assert "not an image" in found.errors[0].reason
    assert "there is no file nowhere.png" in found.errors[1].reason
    alone = [crops(model, folder / "b.png"), crops(model, pixels), crops(model, folder / "a.png")]
    assert all(close(one, two) for one, two in zip(found, alone, strict=True))


def test_an_iterator_is_taken_as_it_comes(model: EmotionModel, folder: Path) -> None:
    taken: list[str] = []

    def pictures() -> Iterator[Path]:
        for name in "abd":
            taken.append(name)
            yield folder / f"{name}.png"

    found = stream(model, pictures(), faces="none", batch_size=1)
    next(found)
    assert taken == ["a"]
    assert [item.source for item in crops(model, pictures())] == [str(folder / f"{n}.png") for n in "abd"]


def test_hidden_files_of_a_folder_are_left_out(model: EmotionModel, folder: Path) -> None:
    expected = [item.source for item in crops(model, folder)]
    for name in ("._a.png", ".thumbs/a.png", "__MACOSX/a.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(folder / "a.png", folder / name)
    assert [item.source for item in crops(model, folder)] == expected


def test_a_path_that_the_system_does_not_take_stops_nothing(model: EmotionModel, folder: Path) -> None:
    long = "x" * 300
    sources = [
        folder / "a.png",
        f"{long}.jpg",
        f"{long}.mp4",
        "nul\0.png",
        "/proc/self/mem",
        folder / "b.png",
    ]
    found = crops(model, sources)
    assert [item.source for item in found] == [str(folder / "a.png"), str(folder / "b.png")]
    assert [failure.source for failure in found.errors] == [str(source) for source in sources[1:5]]
    reasons = [failure.reason for failure in found.errors]
    assert reasons[0].endswith(": File name too long")
    assert reasons[1].endswith(": File name too long")
    assert "there is no file nul" in reasons[2]
    if os.path.exists("/proc/self/mem"):
        assert reasons[3] == "/proc/self/mem: Input/output error"
    assert len(crops(model, sources, frame_rate=25).errors) == 4


@pytest.mark.parametrize("name", ["x" * 300 + ".jpg", "data:image/png;base64," + "A" * 9000])
def test_a_path_that_is_too_long_alone_is_refused_in_a_few_words(model: EmotionModel, name: str) -> None:
    with pytest.raises(
        DataError, match=r"^(x{99}|data:image/png).* characters\): File name too long$"
    ) as caught:
        crops(model, name)
    assert len(str(caught.value)) < 200


def test_a_folder_that_may_not_be_listed_is_an_error_of_its_own(
    model: EmotionModel, folder: Path, tmp_path: Path
) -> None:
    frames, locked = tmp_path / "videos" / "frames", tmp_path / "videos" / "locked"
    shutil.copytree(folder / "below", frames)
    locked.mkdir(mode=0)
    try:
        if os.access(locked, os.R_OK):
            pytest.skip("this user may list every folder")
        found = crops(model, tmp_path / "videos", frame_rate=25)
        assert [item.source for item in found] == [str(frames)]
        assert [failure.reason for failure in found.errors] == [f"{locked}: Permission denied"]
        with pytest.raises(DataError, match=r"locked: Permission denied"):
            crops(model, locked, frame_rate=25)
    finally:
        locked.chmod(0o700)


def test_a_folder_means_its_images_at_any_depth_in_order(model: EmotionModel, folder: Path) -> None:
    found = crops(model, folder)
    assert [Path(item.source).name for item in found] == ["a.png", "b.png", "f.PNG", "d.png", "e.png"]
    assert [Path(failure.source).name for failure in found.errors] == ["c.png"]


def test_photos_and_videos_of_a_folder_that_are_of_no_kind_that_is_read_are_said(
    model: EmotionModel, folder: Path
) -> None:
    names = ["g.HEIC", "h.avif", "i.mxf"]
    for name in names:
        (folder / name).write_bytes(b"another kind")
    found = crops(model, folder)
    errors = {Path(failure.source).name: failure.reason for failure in found.errors}
    wanted = "files are not read; convert a photo to JPEG or PNG, a video to MP4"
    for name in names:
        assert errors[name] == f"{folder / name}: {Path(name).suffix} {wanted}"


def test_a_photo_with_the_suffix_of_another_kind_is_that_photo(model: EmotionModel, folder: Path) -> None:
    shutil.copy(folder / "a.png", folder / "a.heic")
    assert crops(model, folder / "a.heic").heads == crops(model, folder / "a.png").heads


def test_a_pattern_means_the_files_that_match_it(model: EmotionModel, folder: Path) -> None:
    found = crops(model, f"{folder}/[ab].*")
    assert [Path(item.source).name for item in found] == ["a.png", "b.png"]
    assert [Path(item.source).name for item in crops(model, f"{folder}/**/f.*")] == ["f.PNG"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(model: EmotionModel, folder: Path) -> None:
    shutil.copy(folder / "a.png", folder / "[ab].png")
    assert isinstance(crops(model, folder / "[ab].png"), Prediction)


def test_a_folder_or_pattern_without_images_is_refused(model: EmotionModel, tmp_path: Path) -> None:
    (tmp_path / "empty.png").mkdir()
    with pytest.raises(DataError, match=r"holds no images or videos \(\.3gp, .*\.bmp, .*\.gif"):
        crops(model, tmp_path)
    for pattern in ("*.jpg", "*"):
        with pytest.raises(DataError, match="no file matches"):
            crops(model, f"{tmp_path}/{pattern}")


def test_no_photos_give_no_predictions(model: EmotionModel) -> None:
    assert len(crops(model, [])) == 0


def test_nothing_but_broken_files_gives_nothing_but_errors(model: EmotionModel, folder: Path) -> None:
    found = crops(model, [folder / "c.png"] * 5, batch_size=2)
    assert (len(found), len(found.errors)) == (0, 5)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_the_batch_size_does_not_change_what_is_predicted(model: EmotionModel, batch_size: int) -> None:
    media = list(photos(10))
    whole = crops(model, media, batch_size=10)
    assert all(
        close(one, two) for one, two in zip(whole, crops(model, media, batch_size=batch_size), strict=True)
    )


def test_a_stream_reads_no_further_ahead_than_a_batch(model: EmotionModel) -> None:
    read = 0

    def media() -> Iterator[np.ndarray]:
        nonlocal read
        for pixels in photos(1, 16).repeat(200, 0):
            read += 1
            yield pixels

    for done, _ in enumerate(stream(model, media(), faces="none", batch_size=8)):
        assert read <= done + 8
    assert read == 200


@pytest.mark.parametrize(
    ("option", "error", "message"),
    [
        (
            {"tta": "ten_crop"},
            RecipeError,
            r"'ten_crop': choose one of none, flip, ten-crop\. Did you mean 'ten-crop'",
        ),
        ({"tta": None}, RecipeError, "None: choose one of none, flip, ten-crop"),
        (
            {"faces": None},
            DataError,
            r'faces is None: give "auto", the name of a detector, .* or "none" for pictures',
        ),
        ({"faces": False}, DataError, 'faces is False: give "auto"'),
        ({"faces": "dlip"}, UnknownComponentError, "Did you mean 'dlib'"),
        (
            {"batch_size": 0},
            DataError,
            "batch_size is 0: so many images go through the model at once, from 1",
        ),
        ({"batch_size": -1}, DataError, "batch_size is -1"),
        ({"batch_size": 2.5}, DataError, "batch_size is 2.5"),
        ({"batch_size": None}, DataError, "batch_size is None"),
    ],
)
def test_an_option_without_meaning_is_refused_before_anything_is_read(
    model: EmotionModel, option: dict[str, Any], error: type[Exception], message: str
) -> None:
    def unread() -> Iterator[Any]:
        pytest.fail("it was read")
        yield

    with pytest.raises(error, match=message):
        stream(model, unread(), **{"faces": "none", **option})
    for source in (photos(1)[0], []):
        with pytest.raises(error, match=message):
            model.predict(source, **{"faces": "none", **option})


# --- the same as evaluation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("tta", ["none", "flip", "ten-crop"])
@pytest.mark.parametrize("colour", ["grey", "rgb"])
def test_prediction_and_evaluation_give_a_photo_the_same_outputs(
    tmp_path: Path, tta: Any, colour: str
) -> None:
    from datasets import ClassLabel, Dataset, Features, Value
    from datasets import Image as ImageColumn

    channels = 1 if colour == "grey" else 3
    shape = {"size": 40, "crop": 36, "colour": colour, "mean": [0.4] * channels, "std": [0.3] * channels}
    model = tiny_model(preprocess=shape)
    rng = np.random.default_rng(1)
    paths = []
    for index, (width, height) in enumerate([(40, 40), (90, 60), (33, 71), (200, 41)]):
        paths.append(str(tmp_path / f"{index}.png"))
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(paths[-1])
    features = Features(
        id=Value("string"),
        image=ImageColumn(decode=False),
        split=Value("string"),
        label=ClassLabel(names=["happy"]),
    )
    images = [{"path": path, "bytes": None} for path in paths]
    columns = {"id": paths, "image": images, "split": ["test"] * 4, "label": [0] * 4}
    samples = load_samples(Dataset.from_dict(columns, features=features), model.labels, model.preprocessor)
    _, outputs = evaluate(model, samples, split="test", tta=tta, resamples=10)
    expected = model.decode(outputs)
    assert [item.heads for item in crops(model, paths, tta=tta)] == expected
    for path, parts in zip(paths, expected, strict=True):
        alone = crops(model, path, tta=tta)
        assert close(alone, Prediction.from_parts(path, parts))


# --- as data --------------------------------------------------------------------------------------------------


def test_a_prediction_is_plain_json(model: EmotionModel) -> None:
    tree = crops(model, photos(1)[0]).to_dict()
    assert json.loads(json.dumps(tree, allow_nan=False)) == tree
    assert list(tree) == ["source", "label", "probabilities", "vad", "vad_scale"]
    assert tree["vad_scale"] == [-1, 1]
    assert list(tree["probabilities"]) == list(model.labels)


def test_a_row_has_the_columns_of_every_row_one_a_category_and_one_a_dimension(model: EmotionModel) -> None:
    item = crops(model, photos(1)[0])
    row = item.to_row()
    assert list(row) == [
        *PLACE,
        "label",
        "confidence",
        *(f"p_{name}" for name in model.labels),
        *DIMENSIONS,
    ]
    assert row["confidence"] == max(item.probabilities.values()) == row[f"p_{item.label}"]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_what_is_written_reads_back_as_it_was(
    model: EmotionModel, folder: Path, tmp_path: Path, suffix: str
) -> None:
    shutil.move(folder / "a.png", folder / 'ä, "b"\n.png')
    found = crops(model, folder)
    path = found.write(tmp_path / "out" / f"p.{suffix}")
    if suffix == "jsonl":
        assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == [
            i.to_dict() for i in found
        ]
    elif suffix == "parquet":
        assert pq.read_table(path).to_pylist() == found.to_rows()
    else:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        texts = [
            {name: "" if value is None else str(value) for name, value in row.items()}
            for row in found.to_rows()
        ]
        assert rows == texts
        assert [float(row["valence"]) for row in rows] == [row["valence"] for row in found.to_rows()]
    assert [item.name for item in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_no_predictions_make_an_empty_file(tmp_path: Path, suffix: str) -> None:
    path = Predictions().write(tmp_path / f"p.{suffix}")
    assert (pq.read_table(path).num_rows if suffix == "parquet" else path.stat().st_size) == 0


def test_the_text_for_people_is_a_line_a_photo(model: EmotionModel, tmp_path: Path) -> None:
    item = Prediction.from_parts(
        "a.png",
        {
            "e": {"label": "sad", "probabilities": {"sad": 0.75, "happy": 0.25}},
            "v": {"valence": -0.5, "arousal": 0.125},
        },
    )
    path = Predictions([item]).write(tmp_path / "p.txt")
    assert path.read_text() == "a.png  sad 75%  valence -0.50  arousal +0.12\n"


def test_many_rows_are_written_in_parts_and_read_back_whole() -> None:
    buffer = io.BytesIO()
    writer = ParquetWriter(buffer)
    for index in range(9000):
        writer.add(Prediction.from_parts(f"{index}.png", {"v": {"valence": index / 9000}}))
        assert len(writer.rows) < 4097
    writer.close()
    buffer.seek(0)
    table = pq.read_table(buffer)
    assert table["source"].to_pylist() == [f"{index}.png" for index in range(9000)]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_a_crash_leaves_the_older_file_and_no_half_of_a_new_one(
    model: EmotionModel, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"p.{suffix}"
    path.write_text("the older file")
    item = crops(model, photos(1)[0])

    def crash() -> None:
        with open_writer(path, form_of(path)) as writer:
            writer.add(item)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crash()
    assert path.read_text() == "the older file"
    assert list(tmp_path.iterdir()) == [path]


def test_a_suffix_that_names_no_format_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"use \.jsonl, \.csv or \.parquet, or give the format"):
        Predictions().write(tmp_path / "p.xlsx")
    assert form_of(Path("P.CSV")) == "csv"
    (tmp_path / "p.csv").mkdir()
    with pytest.raises(DataError, match="is a folder; name a file to write to"):
        Predictions().write(tmp_path / "p.csv")


def test_a_file_name_that_is_not_utf8_is_written_with_its_bytes_escaped(
    model: EmotionModel, tmp_path: Path
) -> None:
    name = tmp_path / b"m\xfcde.png".decode(errors="surrogateescape")
    try:
        Image.fromarray(photos(1)[0]).save(name)
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    found = crops(model, [name])
    for suffix in ("jsonl", "csv", "parquet"):
        found.write(tmp_path / f"p.{suffix}")
    assert found[0].source.endswith("m\\udcfcde.png")


# --- other sets of heads --------------------------------------------------------------------------------------


def test_a_model_without_a_vad_head_gives_no_vad() -> None:
    item = tiny_model(heads={"emotion": {"name": "classification"}}).predict(photos(1)[0], faces="none")
    assert item.vad is None
    assert list(item.to_dict()) == ["source", "label", "probabilities"]
    assert "valence" not in item.to_row()


def test_a_model_without_a_classification_head_gives_no_label(tmp_path: Path) -> None:
    model = tiny_model(heads={"v": {"name": "vad", "dimensions": ["arousal", "valence"]}})
    found = crops(model, list(photos(2)))
    item = found[0]
    assert (item.label, item.probabilities) == (None, None)
    assert list(item.vad) == ["valence", "arousal"]
    assert item.vad["arousal"] == item.heads["v"]["arousal"]
    assert set(item.to_row()) == {*PLACE, "valence", "arousal"}
    found.write(tmp_path / "p.txt")
    assert len((tmp_path / "p.txt").read_text().splitlines()) == 2


def test_the_first_of_two_heads_of_a_task_speaks_and_the_other_is_kept_under_its_name() -> None:
    heads = {
        "coarse": {"name": "classification"},
        "fine": {"name": "classification"},
        "mood": {"name": "vad", "dimensions": ["valence"]},
        "affect": {"name": "vad"},
    }
    item = tiny_model(heads=heads).predict(photos(1)[0], faces="none")
    assert item.label == item.heads["coarse"]["label"]
    affect = item.heads["affect"]
    mood = item.heads["mood"]["valence"]
    assert item.vad == {"valence": mood, "arousal": affect["arousal"], "dominance": affect["dominance"]}
    assert list(item.to_dict()["heads"]) == list(heads)
    row = item.to_row()
    assert row["label"] == item.heads["coarse"]["label"]
    assert row["fine.label"] == item.heads["fine"]["label"]
    assert row["fine.p_sad"] == item.heads["fine"]["probabilities"]["sad"]
    assert row["valence"] == item.heads["mood"]["valence"]
    assert row["affect.valence"] == affect["valence"]
    assert row["dominance"] == affect["dominance"]


def test_a_head_of_another_task_is_kept_with_its_numbers() -> None:
    item = Prediction.from_parts("a", {"own": {"score": 2, "words": ["x"]}, "v": {"valence": 0.5}})
    assert item.to_dict()["heads"]["own"] == {"score": 2, "words": ["x"]}
    row = {name: value for name, value in item.to_row().items() if value is not None}
    assert row == {"source": "a", "face": 0, "own.score": 2, "valence": 0.5}


# --- real media -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["single_face.jpg", "BWPictureHuman.jpg", "Image_with_alpha.png", "multi_face.jpg"]
)
def test_real_photos_are_predicted_as_their_pixels_are(
    model: EmotionModel, real_data: Path, name: str
) -> None:
    path = real_data / "media" / name
    found = crops(model, path)
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGBA"), dtype=np.uint16)
    on_black = ((pixels[..., :3] * pixels[..., 3:] + 127) // 255).astype(np.uint8)
    assert close(found, crops(model, on_black))


def test_a_video_that_is_not_named_as_one_is_called_a_video(
    model: EmotionModel, real_data: Path, tmp_path: Path
) -> None:
    shutil.copy(real_data / "media" / "single_face.mp4", tmp_path / "clip.qt")
    with pytest.raises(DataError, match=r"clip\.qt: a video, not an image"):
        crops(model, tmp_path / "clip.qt")


def test_a_folder_of_real_media_gives_its_photos_and_videos(model: EmotionModel, real_data: Path) -> None:
    found = crops(model, real_data / "media", every=50)
    assert len(found) == 10
    assert found.errors == []
    assert [type(item).__name__ for item in found].count("Timeline") == 5
    everything = crops(model, str(real_data / "media" / "*"), every=50)
    assert [item.source for item in everything] == [item.source for item in found]
    assert len(expand(real_data / "media")) == 5
