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
from emozoo.files import complete
from emozoo.prediction.answers import PLACE

FORMATS = ("table", "jsonl", "csv", "parquet")
Format = Literal["table", "jsonl", "csv", "parquet"]


class Result(Protocol):
    """What can be written: the result of one photo or video."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        ...

    def to_rows(self) -> list[dict[str, Any]]:
        """Return flat rows: one a face of a photo, one a window of a video; one without an answer where no face is."""
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
def open_writer(output: Path | None, form: Format) -> Generator[Writer]:
    """Give a writer to a file, or to the terminal where there is none.

    A file appears when it is complete; an older one stays where something went wrong. Setting `writer.target` changes
    where the file appears; None discards it.
    """
    if output is None:
        with closing(TextWriter(sys.stdout, form)) as writer:
            yield writer
        return
    if output.is_dir():
        raise DataError(f"{output} is a folder; name a file to write to")
    with complete(output) as place:
        if form == "parquet":
            with open(place, "wb") as file, closing(ParquetWriter(file, output)) as writer:
                yield writer
        else:
            with (
                open(place, "w", encoding="utf-8", newline="") as file,
                closing(TextWriter(file, form, output)) as writer,
            ):
                yield writer
        if writer.target is None:
            place.unlink()
        else:
            place.replace(writer.target)


class Writer:
    """Writes results one after the other.

    Attributes:
        target: the file that they are to be in at the end, if any.
        items: how many there were.
    """

    def __init__(self, target: Path | None = None) -> None:
        self.target, self.items = target, 0
        self.rows: list[dict[str, Any]] = []

    def add(self, item: Result) -> None:
        """Write one result."""
        self.items += 1
        self.rows.extend(item.to_rows())

    def close(self) -> None:
        """Write what is left."""
        raise NotImplementedError

    def _answered(self) -> bool:
        """Say whether a row tells the columns of an answer; those of files without a face do not."""
        return any(len(row) > len(PLACE) for row in self.rows)

    def _columns(self) -> list[str]:
        return list(max(self.rows, key=len, default=PLACE))


class TextWriter(Writer):
    """Writes results as lines: JSON, CSV with a header, or text for people."""

    def __init__(self, file: TextIO, form: Format, target: Path | None = None) -> None:
        super().__init__(target)
        self.file, self.form = file, form
        self.table = csv.writer(file, lineterminator="\n")
        self.columns: list[str] = []

    def add(self, item: Result) -> None:
        """Write one result."""
        if self.form == "csv":
            super().add(item)
            if self.columns or self._answered():
                self._flush()
            return
        self.items += 1
        if self.form == "jsonl":
            self.file.write(json.dumps(item.to_dict(), ensure_ascii=False) + "\n")
        else:
            self.file.write("\n".join([*item.to_lines(), ""]))

    def close(self) -> None:
        """Write what is left: rows of files without a face, before one with one."""
        if self.rows:
            self._flush()

    def _flush(self) -> None:
        if not self.columns:
            self.columns = self._columns()
            self.table.writerow(self.columns)
        self.table.writerows([row.get(name) for name in self.columns] for row in self.rows)
        self.rows.clear()


class ParquetWriter(Writer):
    """Writes results as a Parquet table, some thousands of rows at a time."""

    def __init__(self, file: BinaryIO, target: Path | None = None) -> None:
        super().__init__(target)
        self.file = file
        self.parquet: Any = None

    def add(self, item: Result) -> None:
        """Write one result."""
        super().add(item)
        if len(self.rows) >= 4096 and (self.parquet is not None or self._answered()):
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
            found = pa.table({name: [row.get(name) for row in self.rows] for name in self._columns()}).schema
            # A column that is empty so far, such as the box of pictures that are faces already, may fill later.
            known = [pa.field(f.name, pa.float64()) if pa.types.is_null(f.type) else f for f in found]
            self.parquet = pq.ParquetWriter(self.file, pa.schema(known))
        self.parquet.write_table(pa.Table.from_pylist(self.rows, schema=self.parquet.schema))
        self.rows.clear()
