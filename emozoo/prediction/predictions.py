"""Predictions: one result a photo or a video, collections that write themselves, and the prediction loop."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emozoo.errors import DataError
from emozoo.prediction.answers import Answer, Box, corners, place, said
from emozoo.prediction.inputs import MEDIA_SUFFIXES, expand, is_video, name_of, reading
from emozoo.prediction.writers import Format, form_of, open_writer
from emozoo.printable import shortened

if TYPE_CHECKING:
    from emozoo.model import EmotionModel
    from emozoo.prediction.faces import FaceDetector
    from emozoo.prediction.photos import Photos
    from emozoo.prediction.timeline import Timeline
    from emozoo.prediction.videos import Windowing
    from emozoo.recipe import TTA


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction(Answer):
    """What a model says of one photo: of its face, or of the largest of its faces.

    Attributes:
        source: the path, or "image" for pixels that were handed over.
        detector: the qualified name of the detector that looked for faces; None where the photo was taken for one.
        box: where the face is; None where none looked, or none was found.
        score: of that face, on the detector's scale.
        others: what is said of the photo's other faces, the largest first.
    """

    source: str
    detector: str | None = None
    box: Box | None = None
    score: float | None = None
    others: tuple[Prediction, ...] = ()

    @classmethod
    def from_parts(cls, source: str, parts: dict[str, dict[str, Any]], **more: Any) -> Prediction:
        """Gather a prediction from the heads' parts; the first head of a task speaks for the photo."""
        return cls(source=source, **said(parts), **more)

    @property
    def faces(self) -> tuple[Prediction, ...]:
        """Every face of the photo, the largest first; none where none was found."""
        return (self, *self.others) if self.heads else ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; where faces were looked for, a list of them."""
        if self.detector is None:
            return {"source": self.source, **self.answer()}
        faces = [{"box": list(f.box or ()), "score": f.score, **f.answer()} for f in self.faces]
        return {"source": self.source, "detector": self.detector, "faces": faces}

    def to_row(self, face: int = 0) -> dict[str, Any]:
        """Return one flat row: where the face is (see `emozoo.prediction.answers.PLACE`), and what is said of it."""
        return place(self.source, face=face, **corners(self.box)) | self.columns()

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a flat row for each face; where none was found, one that says of which photo."""
        return [face.to_row(number) for number, face in enumerate(self.faces)] or [place(self.source)]

    def to_lines(self) -> list[str]:
        """Return lines for people: one a face."""
        if self.detector is None:
            return [f"{self.source}  {self.words()}"]
        lines = [f"{self.source}  face {n}  {face.words()}" for n, face in enumerate(self.faces)]
        return lines or [f"{self.source}  no face found"]


@dataclass(frozen=True, slots=True)
class Failure:
    """A file of a batch that could not be predicted, and why."""

    source: str
    reason: str


@dataclass(slots=True)
class Predictions(Sequence["Prediction | Timeline"]):
    """Results of many photos and videos, in their order, and what could not be read."""

    items: list[Prediction | Timeline] = field(default_factory=list)
    errors: list[Failure] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]

    def to_rows(self) -> list[dict[str, Any]]:
        """Return flat rows, one a face of a photo and one a window of a video; `pandas.DataFrame(rows)` is a table.

        What holds no face that was found has one row, whose `face` is None.
        """
        return [row for item in self.items for row in item.to_rows()]

    def write(self, path: str | Path, form: Format | None = None) -> Path:
        """Write to a file; the format follows from its suffix (.jsonl, .csv, .parquet) where not given."""
        path = Path(path)
        with open_writer(path, form or form_of(path)) as writer:
            for item in self.items:
                writer.add(item)
        return path


def predict(
    model: EmotionModel,
    source: Any,
    *,
    faces: str | FaceDetector,
    windowing: Windowing,
    tta: TTA,
    batch_size: int,
) -> Prediction | Timeline | Predictions:
    """Predict one source or many; see `EmotionModel.predict`."""
    lazy = isinstance(source, Iterator) and not hasattr(source, "read")  # an open file is an iterator, too
    many = source if lazy else expand(source, MEDIA_SUFFIXES, frames=windowing.frame_rate is not None)
    options: Any = {"faces": faces, "windowing": windowing, "tta": tta, "batch_size": batch_size}
    if many is None:
        [item] = stream(model, [source], name="image", **options)
        if isinstance(item, Failure):
            raise DataError(item.reason)
        return item
    result = Predictions()
    for item in stream(model, many, **options):
        if isinstance(item, Failure):
            result.errors.append(item)
        else:
            result.items.append(item)
    return result


def stream(
    model: EmotionModel,
    media: Iterable[Any],
    *,
    faces: str | FaceDetector = "auto",
    windowing: Windowing | None = None,
    tta: TTA = "none",
    batch_size: int = 32,
    name: str | None = None,
) -> Iterator[Prediction | Timeline | Failure]:
    """Predict media in constant memory, photos batch by batch, yielding results and failures in the order given.

    Args:
        model: the model.
        media: photos and videos.
        faces: see `EmotionModel.predict`.
        windowing: how videos are walked through.
        tta: test-time augmentation.
        batch_size: images a forward pass.
        name: what pixels are called; else "image" and their number.

    Raises:
        DataError, RecipeError: an argument has no meaning; at once, before anything is read.
        DetectorUnavailableError, UnknownComponentError: see `emozoo.prediction.faces.open_detector`.
    """
    from emozoo.data.preprocess import check_tta
    from emozoo.prediction.detection import find_detector
    from emozoo.prediction.photos import Photos
    from emozoo.prediction.videos import Windowing

    views = check_tta(tta)
    if not isinstance(batch_size, Integral) or batch_size < 1:
        raise DataError(f"batch_size is {batch_size!r}: so many images go through the model at once, from 1")
    return _results(
        Photos(model, find_detector(faces), views, batch_size), media, windowing or Windowing(), name
    )


def _results(
    photos: Photos, media: Iterable[Any], windowing: Windowing, name: str | None
) -> Iterator[Prediction | Timeline | Failure]:
    from emozoo.data.preprocess import absent
    from emozoo.prediction.videos import predict_video

    how: Any = {"tta": photos.tta, "batch_size": photos.batch_size}
    for position, item in enumerate(media):
        called = name_of(item, name or f"image {position}")
        item = os.path.expanduser(item) if isinstance(item, str | Path) else item
        if not is_video(item, frames=windowing.frame_rate is not None):
            yield from photos.add(item, called)
            continue
        yield from photos.flush()
        try:
            with reading(called):
                if not os.path.exists(item):
                    raise DataError(f"{shortened(called)}: {absent(item)}")
                seen = predict_video(photos.model, Path(item), photos.detector, windowing, **how)
            yield seen
        except DataError as error:
            yield Failure(called, str(error))
    yield from photos.flush()
