"""The contract of dataset readers."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emozoo.contracts import DatasetReader, Finding
from emozoo.data.preprocess import Preprocessor
from emozoo.data.video import count_frames, read_frames
from emozoo.errors import DataError, EmozooError
from emozoo.labels import DIMENSIONS, canonical
from emozoo.recipe import Preprocess
from emozoo.testing.subject import Subject, check_options

SOME = 50
"""Images that are decoded."""

SOME_VIDEOS = 8
"""Videos that are opened."""


def check_dataset(name: str, options: Mapping[str, Any] | None = None, *, root: Path | None = None) -> None:
    """Check that a dataset reader keeps `emozoo.contracts.DatasetReader`.

    Args:
        name: as recipes name it, "emozoo-mydata:mydata".
        options: those that differ from the defaults.
        root: a small dataset of its kind, which the test may write; None for a reader of generated data.

    Raises:
        ContractError: it does not; says what, where, and how to mend it.
        EmozooError: there is no such component, or it does not take the options.
    """
    subject = Subject("dataset", name, options, root)
    check_options(subject)
    reader = subject.build()
    subject.require(
        isinstance(reader, DatasetReader),
        "it lacks a part of its contract",
        "Give it title, licence, citation, vad_scale, recognises, read and check",
    )
    _check_facts(subject, reader)
    _check_recognition(subject, reader, root)
    with subject.doing("read()"):
        rows, again = reader.read(), reader.read()
    names = _check_columns(subject, rows)
    for column in ("id", "label", "split"):
        subject.require(
            rows[column] == again[column], f"reading twice gives different {column}s", "Sort what you read"
        )
    _check_labels(subject, rows, names)
    _check_values(subject, reader, rows)
    _check_folds(subject, rows)
    if "image" in rows.column_names:
        _check_images(subject, rows)
    else:
        _check_videos(subject, reader, rows)
    _check_findings(subject, reader)


def _check_facts(subject: Subject, reader: Any) -> None:
    for key in ("title", "licence", "citation"):
        value = getattr(reader, key)
        told = isinstance(value, str) and value.strip()
        subject.require(told, f"{key} is {value!r}", "Records and cards quote it: say it in a sentence")
    scale = reader.vad_scale
    subject.require(
        scale is None or (len(scale) == 2 and scale[0] < scale[1]),
        f"vad_scale is {scale!r}",
        "Give (low, high) of the source's annotation, or None where it has none",
    )


def _check_recognition(subject: Subject, reader: Any, root: Path | None) -> None:
    """Check that `recognises` says no to what is no such dataset, and that reading such a place is a DataError."""
    with tempfile.TemporaryDirectory() as place:
        text = Path(place) / "notes.txt"
        text.write_text("nothing\n", encoding="utf-8")
        (Path(place) / "empty").mkdir()
        for path in (Path(place) / "empty", text):
            with subject.doing("recognises() of an empty folder or a text file", "Return False"):
                answer = type(reader).recognises(path)
            subject.require(
                answer is False,
                f"recognises says {answer!r} of an empty folder or a text file",
                "Return False",
            )
        if root is None:
            return
        try:
            subject.resolved.build(Path(place) / "empty").read()
        except DataError:
            return
        except Exception as error:
            subject.fail(
                f"an empty folder ends in {error!r}", "Raise a DataError that says what belongs there"
            )
        subject.fail(
            "an empty folder is read without an error", "Raise a DataError that says what belongs there"
        )


def _check_columns(subject: Subject, rows: Any) -> list[str]:
    """Check the columns and their types; return the label names."""
    from datasets import ClassLabel, Dataset, Image, Value

    subject.require(
        isinstance(rows, Dataset), f"read returned a {type(rows).__name__}", "Return a datasets.Dataset"
    )
    features = rows.features
    subject.require(len(rows), "read returned no rows", "Raise a DataError where there is nothing to read")
    subject.require(
        ("image" in features) != ("video" in features),
        f"the columns are {', '.join(features)}",
        "Give each row a picture, 'image', or a video, 'video'; not both",
    )
    wanted: dict[str, Any] = {"id": Value("string"), "split": Value("string")}
    optional: dict[str, Any] = {
        "image": Image(decode=False),
        "video": Value("string"),
        "subject": Value("string"),
    }
    optional |= {name: Value("int32") for name in ("frames", "fold")}
    optional |= {name: Value("float32") for name in DIMENSIONS}
    wanted |= {name: kind for name, kind in optional.items() if name in features}
    for name, kind in wanted.items():
        found = features.get(name)
        subject.require(
            found == kind, f"column {name!r} is {found}, not {kind}", "Build it with datasets.Features"
        )
    label = features.get("label")
    if not isinstance(label, ClassLabel):
        subject.fail(f"column 'label' is {label}", "Make it datasets.ClassLabel(names=[...])")
    for column in ("id", "split", *({"video"} & set(features))):
        full = all(isinstance(value, str) and value for value in rows[column])
        subject.require(full, f"a row has no {column}", "Give every row one")
    twice, count = Counter(rows["id"]).most_common(1)[0]
    subject.require(count == 1, f"{count} rows have the id {twice!r}", "Give each row an id of its own")
    return list(label.names)


def _check_labels(subject: Subject, rows: Any, names: Sequence[str]) -> None:
    spelled = Counter(canonical(name) for name in names)
    twice = [name for name, count in spelled.items() if count > 1]
    subject.require(
        not twice and all(spelled),
        f"label names are {list(names)}",
        "Name each category once, whatever its spelling",
    )
    wrong = {value for value in rows["label"] if value is not None and not 0 <= value < len(names)}
    subject.require(
        not wrong, f"labels {sorted(wrong)} are not among the {len(names)} names", "Unlabelled rows have None"
    )
    if "label_probabilities" not in rows.column_names:
        return
    for name, values in zip(rows["id"], rows["label_probabilities"], strict=True):
        subject.require(
            values is None
            or (len(values) == len(names) and min(values) >= 0 and abs(sum(values) - 1) < 1e-3),
            f"row {name!r} has label_probabilities {values}",
            f"Give {len(names)} probabilities that sum to 1, or None",
        )


def _check_values(subject: Subject, reader: Any, rows: Any) -> None:
    present = False
    for dimension in DIMENSIONS:
        values = rows[dimension] if dimension in rows.column_names else []
        for name, value in zip(rows["id"], values, strict=False):
            subject.require(
                value is None or (not math.isnan(value) and -1 <= value <= 1),
                f"row {name!r} has {dimension} {value}",
                "Map the source's scale to [-1, 1]; a missing value is None",
            )
            present = present or value is not None
    subject.require(
        reader.vad_scale is not None or not present,
        "there are valence, arousal or dominance values, but vad_scale is None",
        "Say on which scale (low, high) the source gives them",
    )


def _check_images(subject: Subject, rows: Any) -> None:
    preprocessor = Preprocessor(Preprocess())
    for name, image in zip(rows["id"][:SOME], rows["image"][:SOME], strict=True):
        try:
            preprocessor.decode(image["bytes"] or image["path"], name)
        except (EmozooError, TypeError) as error:
            subject.fail(
                f"the image of row {name!r}: {error}", "Give encoded bytes, or the path of an image file"
            )


def _check_folds(subject: Subject, rows: Any) -> None:
    folds = {value for value in rows["fold"] if value is not None} if "fold" in rows.column_names else set()
    subject.require(
        all(fold >= 1 for fold in folds), f"folds are {sorted(folds)}", "Count them from 1; None has no fold"
    )
    subject.require(
        not folds or len(set(rows["fold"])) > 1,
        f"every row is in fold {min(folds, default=0)}, so that nothing is left to train on",
        "A row's fold is the one that it is tested in; rows that none tests have None",
    )


def _check_videos(subject: Subject, reader: Any, rows: Any) -> None:
    """Open some videos, and compare what they hold with the rows."""
    named = rows["frames"] if "frames" in rows.column_names else [None] * len(rows)
    made = hasattr(reader, "render")
    for name, video, frames in list(zip(rows["id"], rows["video"], named, strict=True))[:SOME_VIDEOS]:
        if made:
            _check_render(subject, reader, name, video, frames)
            continue
        try:
            count = count_frames(video)
            read_frames(video, np.array([0, count - 1]))
        except DataError as error:
            subject.fail(
                f"the video of row {name!r}: {error}",
                "Give the path of a video file or of a folder of frames; a reader that makes videos has render",
            )
        subject.require(
            frames in (None, count),
            f"row {name!r} has frames {frames}, the video has {count}",
            "Count them, or give None",
        )


def _check_render(subject: Subject, reader: Any, name: str, video: str, frames: Any) -> None:
    """Check that a reader makes the frames asked for, and the same ones each time."""
    subject.require(
        isinstance(frames, int) and frames > 0,
        f"row {name!r} has frames {frames}",
        "Say how many frames each video has that render makes",
    )
    index = np.array([0, frames - 1, frames // 2])
    with subject.doing(f"render({video!r}, {index.tolist()})"):
        pixels, again = reader.render(video, index), reader.render(video, index[:1])
    shape = pixels.shape if isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 else None
    subject.require(
        shape is not None and shape[:1] + shape[3:] in ((3,), (3, 3)) and len(shape) > 2,
        f"render({video!r}) returns {getattr(pixels, 'dtype', type(pixels).__name__)} {np.shape(pixels)}",
        "Return uint8 (n, height, width) or (n, height, width, 3), a frame for each number",
    )
    subject.require(
        np.array_equal(pixels[0], again[0]),
        f"frame 0 of {video!r} is not the same each time",
        "Draw what is random from the video's name and the frame's number alone",
    )


def _check_findings(subject: Subject, reader: Any) -> None:
    with subject.doing("check()", "Report what is wrong as findings; raise nothing"):
        findings = list(reader.check())
    for finding in findings:
        subject.require(
            isinstance(finding, Finding) and finding.severity in ("error", "warning", "info"),
            f"check returned {finding!r}",
            "Return emozoo.contracts.Finding(severity, subject, message), severity being error, warning or info",
        )
