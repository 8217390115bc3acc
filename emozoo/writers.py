"""Writing predictions: JSON lines, CSV, Parquet, and text for people; to a file or to the terminal."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, TextIO

from emozoo.errors import DataError

FORMATS = ("table", "jsonl", "csv", "parquet")
Format = Literal["table", "jsonl", "csv", "parquet"]


class Result(Protocol):
    """What can be written: the result of one photo or video."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        ...

    def to_rows(self) -> list[dict[str, Any]]:
        """Return flat rows that all have the same columns: one a face of a photo, one a window of a video."""
        ...

    def to_lines(self) -> list[str]:
        """Return lines for people."""
        ...


def form_of(path: Path) -> Format:
    """Return the format that a file's suffix means."""
    forms: dict[str, Format] = {".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet", ".txt": "table"}
    if path.suffix.lower() not in forms:
        raise DataError(
            f"{path}: the suffix names no format; use .jsonl, .csv or .parquet, or give the format"
        )
    return forms[path.suffix.lower()]


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
    """Writes results as lines: JSON, CSV with a header, or text for people."""

    def __init__(self, file: TextIO, form: Format) -> None:
        self.file, self.form = file, form
        self.table = csv.writer(file, lineterminator="\n")
        self.columns: list[str] = []

    def add(self, item: Result) -> None:
        """Write one result."""
        if self.form == "csv":
            for row in item.to_rows():
                if not self.columns:
                    self.columns = list(row)
                    self.table.writerow(self.columns)
                self.table.writerow([row[name] for name in self.columns])
        elif self.form == "jsonl":
            self.file.write(json.dumps(item.to_dict(), ensure_ascii=False) + "\n")
        else:
            self.file.write("\n".join([*item.to_lines(), ""]))


class ParquetWriter:
    """Writes results as a Parquet table, some thousands of rows at a time."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.rows: list[dict[str, Any]] = []
        self.parquet: Any = None

    def add(self, item: Result) -> None:
        """Write one result."""
        self.rows.extend(item.to_rows())
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

        if self.parquet is None:
            found = pa.Table.from_pylist(self.rows).schema
            # A column that is empty so far, such as the box of pictures that are faces already, may fill later.
            known = [pa.field(f.name, pa.float64()) if pa.types.is_null(f.type) else f for f in found]
            self.parquet = pq.ParquetWriter(self.file, pa.schema(known))
        self.parquet.write_table(pa.Table.from_pylist(self.rows, schema=self.parquet.schema))
        self.rows.clear()
