"""Twelve small pictures in every form of FER2013."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from emozoo.labels import FER2013_LABELS
from emozoo_datasets.fer2013_forms import ORIGINAL

LABELS = [0, 1, 2, 3, 4, 5, 6, 3, 0, 6, 1, 4]
USAGES = ["Training"] * 6 + ["PublicTest"] * 3 + ["PrivateTest"] * 3
SPLITS = ["train"] * 6 + ["public_test"] * 3 + ["private_test"] * 3
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 48, 48)).astype(np.uint8)
TEXTS = [" ".join(map(str, image.ravel())) for image in PIXELS]


def write(path: Path, header: list[str], rows) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_original(path: Path, **changes) -> Path:
    """Write fer2013.csv; changes are {column: {row: text}}."""
    columns = {"emotion": list(LABELS), "pixels": list(TEXTS), "Usage": list(USAGES)}
    for column, cells in changes.items():
        for row, text in cells.items():
            columns[column][row] = text
    return write(path, list(columns), zip(*columns.values(), strict=True))


def make_the_samples_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the original have no more than these twelve images, so that their rows in it are known."""
    for split in ("train", "public_test", "private_test"):
        monkeypatch.setitem(ORIGINAL, split, (SPLITS.index(split), SPLITS.count(split)))


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def decode(image: dict) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image["bytes"]) if image["bytes"] else image["path"]))


def assert_original_rows(rows, splits=SPLITS, labels=LABELS):
    """Whatever the form: the same pictures with the same labels in the same splits."""
    assert rows.features["label"].names == list(FER2013_LABELS)
    expected = {
        image.tobytes(): pair for image, pair in zip(PIXELS, zip(splits, labels, strict=True), strict=True)
    }
    found = {decode(row["image"]).tobytes(): (row["split"], row["label"]) for row in rows}
    assert found == expected
    assert len(set(rows["id"])) == len(rows) == len(PIXELS)


def original_csv(folder):
    write_original(folder / "fer2013.csv")


def icml_csv(folder):
    write(
        folder / "icml_face_data.csv",
        ["emotion", " Usage", " pixels"],
        zip(LABELS, USAGES, TEXTS, strict=True),
    )
    write(folder / "train.csv", ["emotion", "pixels"], [])  # lies beside it in the challenge's archive


def csv_by_split(folder):
    for name, part in (("train", slice(0, 6)), ("val", slice(6, 9)), ("test", slice(9, 12))):
        write(folder / f"{name}.csv", ["emotion", "pixels"], zip(LABELS[part], TEXTS[part], strict=True))


def hdf5(folder):
    import h5py

    with h5py.File(folder / "data.h5", "w") as file:
        for usage in dict.fromkeys(USAGES):
            of_split = np.array(USAGES) == usage
            file.create_dataset(
                f"{usage}_pixel", dtype="uint8", data=PIXELS[of_split].reshape(-1, 2304).tolist()
            )
            file.create_dataset(f"{usage}_label", dtype="int64", data=np.array(LABELS)[of_split].tolist())


def parquet_shards(folder):
    """As Hugging Face has it, with the classes in another order, told by their names."""
    names = ["happiness", "Neutral", "anger", "fear", "disgust", "surprise", "sadness"]
    theirs = ["happy", "neutral", "angry", "fear", "disgust", "surprise", "sad"]
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    (folder / "data").mkdir()
    for name, part in (("train", slice(0, 6)), ("validation", slice(6, 9)), ("test", slice(9, 12))):
        table = pa.table(
            {
                "image": [{"bytes": png(image), "path": None} for image in PIXELS[part]],
                "label": [theirs.index(FER2013_LABELS[label]) for label in LABELS[part]],
            }
        )
        pq.write_table(
            table.replace_schema_metadata(metadata), folder / "data" / f"{name}-00000-of-00001.parquet"
        )


def parquet_with_splits(folder):
    image = [{"bytes": png(one), "path": None} for one in PIXELS]
    votes = [[10 * (vote == [4, 5, 6, 1, 3, 2, 0][label]) for vote in range(10)] for label in LABELS]
    pq.write_table(
        pa.table({"image": image, "label": LABELS, "split": USAGES, "ferplus_votes": votes}),
        folder / "all.parquet",
    )


def class_folders(folder, names=("Training", "PublicTest", "PrivateTest"), prefixed=False):
    words = dict(zip(dict.fromkeys(USAGES), names, strict=True))
    for split in names:
        for label in FER2013_LABELS:
            (folder / split / label).mkdir(parents=True, exist_ok=True)
    for number, (image, label, usage) in enumerate(zip(PIXELS, LABELS, USAGES, strict=True)):
        name = f"{usage}_{number}.png" if prefixed else f"im{number}.png"
        Image.fromarray(image).save(folder / words[usage] / FER2013_LABELS[label] / name)
