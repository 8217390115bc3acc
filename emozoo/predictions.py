"""Predictions as data: one object a photo, collections that write themselves, and the prediction loop."""

from __future__ import annotations

import csv
import glob
import json
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TextIO

from emozoo.errors import DataError
from emozoo.labels import DIMENSIONS

if TYPE_CHECKING:
    from emozoo.data.preprocess import TTA
    from emozoo.model import EmotionModel

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".gif"}
)
FORMATS = ("table", "jsonl", "csv", "parquet")
Format = Literal["table", "jsonl", "csv", "parquet"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says of one photo.

    Attributes:
        source: the path, or "image" for pixels that were handed over.
        heads: each head's part, by the recipe's head names.
        label: the most probable category; None for a model without a classification head.
        probabilities: of each category, summing to 1.
        vad: predicted dimensions by name, on `vad_scale`; None for a model without a VAD head.
        vad_scale: the scale of `vad`.
    """

    source: str
    heads: dict[str, dict[str, Any]]
    label: str | None = None
    probabilities: dict[str, float] | None = None
    vad: dict[str, float] | None = None
    vad_scale: tuple[float, float] = (-1.0, 1.0)

    @classmethod
    def from_parts(cls, source: str, parts: dict[str, dict[str, Any]]) -> Prediction:
        """Gather a prediction from the heads' parts; the first head of a task speaks for the photo."""
        label, vad = ({} if name is None else parts[name] for name in _speakers(parts))
        values = {name: vad[name] for name in DIMENSIONS if name in vad}
        return cls(source, parts, label.get("label"), label.get("probabilities"), values or None)

    @property
    def confidence(self) -> float | None:
        """The probability of the label."""
        return None if self.label is None or self.probabilities is None else self.probabilities[self.label]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        tree: dict[str, Any] = {"source": self.source}
        if self.label is not None:
            tree |= {"label": self.label, "probabilities": self.probabilities}
        if self.vad is not None:
            tree |= {"vad": self.vad, "vad_scale": list(self.vad_scale)}
        if len(self.heads) > (self.label is not None) + (self.vad is not None):
            tree["heads"] = self.heads
        return tree

    def to_row(self) -> dict[str, Any]:
        """Return one flat row: source, label, confidence, a column a category and one a dimension.

        What further heads say stands in columns that begin with the head's name, such as "compound.label".
        """
        row: dict[str, Any] = {"source": self.source}
        speakers = _speakers(self.heads)
        for name in sorted(self.heads, key=lambda name: "label" not in self.heads[name]):
            prefix = "" if name in speakers else f"{name}."
            row |= {prefix + key: value for key, value in _columns(self.heads[name]).items()}
        return row


def _speakers(parts: Mapping[str, Mapping[str, Any]]) -> tuple[str | None, str | None]:
    """Return the names of the first head that gives a label and the first that gives a dimension."""
    label = next((name for name, part in parts.items() if "label" in part), None)
    vad = next((name for name, part in parts.items() if part.keys() & set(DIMENSIONS)), None)
    return label, vad


def _columns(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return a head's part of a prediction as columns: its label, probabilities and numbers."""
    row: dict[str, Any] = {}
    if "probabilities" in part:
        row |= {"label": part["label"], "confidence": part["probabilities"][part["label"]]}
        row |= {f"p_{name}": value for name, value in part["probabilities"].items()}
    return row | {name: value for name, value in part.items() if isinstance(value, int | float)}


@dataclass(frozen=True, slots=True)
class Failure:
    """A file of a batch that could not be predicted, and why."""

    source: str
    reason: str


@dataclass(slots=True)
class Predictions(Sequence[Prediction]):
    """Predictions of many photos, in their order, and what could not be read."""

    items: list[Prediction] = field(default_factory=list)
    errors: list[Failure] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]

    def to_rows(self) -> list[dict[str, Any]]:
        """Return flat rows, one a photo; `pandas.DataFrame(rows)` is a table of them."""
        return [item.to_row() for item in self.items]

    def write(self, path: str | Path, form: Format | None = None) -> Path:
        """Write to a file; the format follows from its suffix (.jsonl, .csv, .parquet) where not given."""
        path = Path(path)
        with open_writer(path, form or form_of(path)) as writer:
            for item in self.items:
                writer.add(item)
        return path


def form_of(path: Path) -> Format:
    """Return the format that a file's suffix means."""
    forms: dict[str, Format] = {".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet", ".txt": "table"}
    if path.suffix.lower() not in forms:
        raise DataError(
            f"{path}: the suffix names no format; use .jsonl, .csv or .parquet, or give the format"
        )
    return forms[path.suffix.lower()]


def predict(
    model: EmotionModel, source: Any, *, tta: TTA = "none", batch_size: int = 32
) -> Prediction | Predictions:
    """Predict one source or many; see `EmotionModel.predict`."""
    many = expand(source)
    if many is None:
        name = _name(source, "image")
        images = model.preprocessor.decode(source, name)[None]
        return Prediction.from_parts(name, model.decode(model.predict_outputs(images, tta))[0])
    result = Predictions()
    for item in stream(model, many, tta=tta, batch_size=batch_size):
        if isinstance(item, Failure):
            result.errors.append(item)
        else:
            result.items.append(item)
    return result


def expand(source: Any) -> list[Any] | None:
    """Return the media that a list, folder or glob pattern stands for; None for a single one.

    Raises:
        DataError: a folder holds no images, or a pattern matches nothing.
    """
    if isinstance(source, list | tuple):
        return list(source)
    if not isinstance(source, str | Path) or source == "":
        return None
    path = Path(source)
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
        if not found:
            raise DataError(f"{path} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
        return found
    if not path.exists() and glob.has_magic(str(source)):
        matches = [match for match in sorted(glob.glob(str(source), recursive=True)) if Path(match).is_file()]
        if not matches:
            raise DataError(f"no file matches {source}")
        return matches
    return None


def stream(
    model: EmotionModel, media: Iterable[Any], *, tta: TTA = "none", batch_size: int = 32
) -> Iterator[Prediction | Failure]:
    """Predict media batch by batch in constant memory, yielding results and failures in the order given."""
    import torch

    batch: list[tuple[str, Any]] = []

    def flush() -> Iterator[Prediction | Failure]:
        good = [image for _, image in batch if not isinstance(image, DataError)]
        decoded = iter(model.decode(model.predict_outputs(torch.stack(good), tta)) if good else [])
        for name, image in batch:
            if isinstance(image, DataError):
                yield Failure(name, str(image))
            else:
                yield Prediction.from_parts(name, next(decoded))
        batch.clear()

    for position, item in enumerate(media):
        name = _name(item, f"image {position}")
        try:
            batch.append((name, model.preprocessor.decode(item, name)))
        except DataError as error:
            batch.append((name, error))
        if len(batch) == batch_size:
            yield from flush()
    yield from flush()


def _name(item: Any, otherwise: str) -> str:
    """Return what a photo is called; a file name that is not UTF-8 could not be written down as it is."""
    if not isinstance(item, str | Path):
        return otherwise
    return str(item).encode(errors="backslashreplace").decode()


@contextmanager
def open_writer(output: Path | None, form: Format) -> Generator[TextWriter | ParquetWriter]:
    """Give a writer to a file, which appears when it is complete, or to the terminal where there is none."""
    if output is None:
        yield TextWriter(sys.stdout, form)
        return
    if output.is_dir():
        raise DataError(f"{output} is a folder; name a file to write to")
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f".{output.name}.part")
    try:
        if form == "parquet":
            with open(temporary, "wb") as file, closing(ParquetWriter(file)) as writer:
                yield writer
        else:
            with open(temporary, "w", encoding="utf-8", newline="") as file:
                yield TextWriter(file, form)
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)


class TextWriter:
    """Writes predictions as lines: JSON, CSV with a header, or text for people."""

    def __init__(self, file: TextIO, form: Format) -> None:
        self.file, self.form = file, form
        self.table = csv.writer(file, lineterminator="\n")
        self.columns: list[str] = []

    def add(self, item: Prediction) -> None:
        """Write one prediction."""
        if self.form == "csv":
            row = item.to_row()
            if not self.columns:
                self.columns = list(row)
                self.table.writerow(self.columns)
            self.table.writerow([row[name] for name in self.columns])
        else:
            line = (
                json.dumps(item.to_dict(), ensure_ascii=False) if self.form == "jsonl" else table_line(item)
            )
            self.file.write(line + "\n")


class ParquetWriter:
    """Writes predictions as a Parquet table, some thousands of rows at a time."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.rows: list[dict[str, Any]] = []
        self.parquet: Any = None

    def add(self, item: Prediction) -> None:
        """Write one prediction."""
        self.rows.append(item.to_row())
        if len(self.rows) >= 4096:
            self._flush()

    def close(self) -> None:
        """Write what is left."""
        if self.rows or self.parquet is None:
            self._flush()
        self.parquet.close()

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pylist(self.rows)
        self.parquet = self.parquet or pq.ParquetWriter(self.file, table.schema)
        self.parquet.write_table(table)
        self.rows.clear()


def table_line(item: Prediction) -> str:
    """Return a prediction as a line for people."""
    parts = [item.source]
    if item.label is not None and item.probabilities is not None:
        parts.append(f"{item.label} {item.probabilities[item.label]:.0%}")
    if item.vad is not None:
        parts.append("  ".join(f"{name} {value:+.2f}" for name, value in item.vad.items()))
    return "  ".join(parts)
