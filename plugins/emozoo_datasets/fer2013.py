"""FER2013 in every form that people have it in, with FER+ labels and VAD annotations where asked for."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from emozoo.contracts import Finding
from emozoo.errors import DataError, EmozooWarning
from emozoo.labels import DIMENSIONS, FER2013_LABELS
from emozoo_datasets import ferplus as ferplus_labels
from emozoo_datasets.fer2013_files import VAD_RANGE, read_form
from emozoo_datasets.fer2013_forms import ORIGINAL, SIDE, Form, Rows, find_form, header, is_fer2013
from emozoo_datasets.fer2013_joins import annotated_folds, join_annotations, join_votes, read_annotations
from emozoo_datasets.image_checks import Problems, Report, count_classes, doubles, size_of, some, stop
from emozoo_datasets.rows import make_dataset, unique

if TYPE_CHECKING:
    from datasets import Dataset

_COUNTS = (3995, 436, 4097, 7215, 4830, 3171, 4965)
"""Images of each class in the original training split, in the order of FER2013_LABELS."""


class Fer2013:
    """Kind `dataset`: 35,887 grey faces of 48x48 pixels in seven categories (Goodfellow et al. 2013).

    Splits are called train, public_test (the challenge's validation) and private_test (its test), and test
    where a copy has merged those two.

    Args:
        root: a file or folder in one of the forms of `fer2013_forms`.
        vad: a CSV of valence, arousal, dominance (-2 to 2) by source_name or row, or a folder of such;
            relative to the dataset's folder, or else to the working directory.
        ferplus: FER+'s fer2013new.csv, by the same rule; found by itself where it lies in the dataset's
            folder, and not needed where there is a column ferplus_votes.
        annotation: whose labels: FER2013's own; FER+'s majority; or FER+'s distribution over the categories,
            as `label_probabilities`, beside its most probable label. Images whose votes settle nothing are
            unlabelled.
        contempt: with FER+ labels, have contempt as an eighth category.
        drop_not_faces: leave out images of which FER+ says that they show no face.
        drop_doubles: leave out images of other splits that are, pixel for pixel, in the training split too.
        blend: with FER2013's own labels, the share of FER+'s distribution in the training split's targets,
            where its votes settle something; labels of other splits stay what they are.
        translate_votes: blend with what FER2013's labels would say of an image with such votes, which a
            regression over the training split tells, and not with what FER+ says.
        vad_folds: divide the training images that have VAD into so many folds, evenly over the categories
            and the same on every machine; images without VAD, and other splits, are in none. 0 is off.
        vad_only: leave out training images without VAD.

    Raises:
        DataError: the path holds no form of FER2013.
        ValueError: the options contradict each other.
    """

    title: ClassVar[str] = "FER2013"
    licence: ClassVar[str] = (
        "For research, under the terms of the Kaggle challenge; the images were found by web search and "
        "belong to their owners. FER+ labels: MIT."
    )
    citation: ClassVar[str] = (
        "Goodfellow et al. (2013), Challenges in Representation Learning: A Report on Three Machine Learning "
        "Contests, ICONIP. FER+: Barsoum et al. (2016), ICMI. VAD: Huo & Ge (2024)."
    )
    vad_scale: tuple[float, float] | None

    def __init__(
        self,
        root: Path | None,
        *,
        vad: str | None = None,
        ferplus: str | None = None,
        annotation: Literal["fer2013", "ferplus-majority", "ferplus-probability"] = "fer2013",
        contempt: bool = False,
        drop_not_faces: bool = False,
        drop_doubles: bool = False,
        blend: float = 0.0,
        translate_votes: bool = False,
        vad_folds: int = 0,
        vad_only: bool = False,
    ) -> None:
        if not 0 <= blend <= 1 or (blend and annotation != "fer2013"):
            raise ValueError('blend is a share from 0 to 1, and for annotation = "fer2013" alone')
        if translate_votes and not blend:
            raise ValueError("translate_votes is about what is blended in: give the share of it, blend")
        if contempt and annotation == "fer2013":
            raise ValueError(
                'contempt is a label of FER+ only: set annotation = "ferplus-majority" or another'
            )
        if vad_folds < 0 or vad_folds == 1:
            raise ValueError("vad_folds is 0, or how many folds there are: 2 or more")
        if root is None:
            raise DataError("FER2013 does not come with emozoo: give your copy, such as --data fer2013.csv")
        self._form = _form(root)
        self._folder = root if root.is_dir() else root.parent
        self._vad = self._path(vad)
        self._ferplus = self._path(
            ferplus or ("fer2013new.csv" if (self._folder / "fer2013new.csv").exists() else None)
        )
        self._annotation = annotation
        self._contempt = contempt
        self._drop_not_faces = drop_not_faces
        self._drop_doubles = drop_doubles
        self._blend = blend
        self._translate_votes = translate_votes
        self._vad_folds = vad_folds
        self._vad_only = vad_only
        self.vad_scale = VAD_RANGE if vad is not None or _has_vad(self._form) else None

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Say, from names and headers alone, whether a folder or file holds FER2013."""
        form = find_form(root)
        return form is not None and is_fer2013(form)

    def read(self) -> Dataset:
        """Return all rows; images stay encoded.

        Raises:
            DataError: names the file, row and column of what cannot be used.
        """
        rows, left_out = self._rows(stop)
        if left_out:
            warnings.warn(
                f"{len(left_out):,} VAD annotations match no image and are left out, the first at "
                f"{': '.join(left_out[0])}. `emozoo data check` lists them.",
                EmozooWarning,
                stacklevel=2,
            )
        if self._drop_not_faces:
            rows = rows.select(~ferplus_labels.not_a_face(rows.votes))
        if self._drop_doubles:
            rows = rows.select(~doubles(rows.image.to_pylist(), rows.split.tolist(), of="train"))
        if self._vad_only:
            rows = rows.select((rows.split != "train") | ~np.isnan(rows.vad).any(axis=1))
        if not len(rows):
            raise DataError(f"{self._form.files[0]} holds no images of FER2013")
        columns: dict[str, Any] = {
            "id": _ids(rows),
            "image": rows.image,
            "split": rows.split,
            **self._labels(rows),
        }
        if self.vad_scale is not None:
            columns |= _canonical_vad(rows, self.vad_scale)
        if self._vad_folds:
            columns["fold"] = annotated_folds(rows, columns["id"], self._vad_folds)
        names = ferplus_labels.LABELS if self._contempt else FER2013_LABELS
        return make_dataset(columns, names)

    def check(self) -> Sequence[Finding]:
        """Look at rows, sizes of images, labels against FER+, annotations, split sizes."""
        problems = Problems()
        rows, left_out = self._rows(problems, checking=True)
        if not len(rows):
            problems(str(self._form.files[0]), "holds no image that can be used")
            return problems.findings()
        ids, labels = _ids(rows), [None if label < 0 else label for label in rows.label.tolist()]
        splits = rows.split.tolist()
        return [
            Finding(
                "info",
                str(self._folder),
                f"FER2013 as {self._form.kind}: {len(self._form.files)} file(s) or folder(s)",
            ),
            *problems.findings(),
            *count_classes(splits, labels, FER2013_LABELS),
            *_check_splits(rows),
            *_check_votes(rows, ids),
            *(Finding("warning", where, why) for where, why in left_out),
            *_count_vad(rows),
            *_check_sizes(rows, ids),
        ]

    def _path(self, path: str | None) -> Path | None:
        """Return an option's path: absolute, or in the dataset's folder, or else as given."""
        if path is None:
            return None
        here = self._folder / Path(path).expanduser()
        return here if here.exists() else Path(path).expanduser()

    def _rows(self, report: Report, checking: bool = False) -> tuple[Rows, list[tuple[str, str]]]:
        """Return all rows with what is joined to them, and the VAD annotations that match none of them."""
        rows = read_form(self._form, report)
        self._join_votes(rows, report, checking)
        if self._vad is None:
            return rows, []
        annotations = read_annotations(self._vad, report)
        left_out = join_annotations(rows, annotations)
        if annotations and len(left_out) == len(annotations):
            report(str(self._vad), f"no annotation matches an image; the first: {': '.join(left_out[0])}")
        return rows, left_out

    def _join_votes(self, rows: Rows, report: Report, checking: bool) -> None:
        """Give rows their FER+ votes where options ask for them, or where a check can make use of them."""
        asked = self._annotation != "fer2013" or self._drop_not_faces or self._blend > 0
        if not np.isnan(rows.votes).any():
            return
        if self._ferplus is not None and (asked or (checking and (rows.row >= 0).all())):
            join_votes(rows, self._ferplus, report)
        elif asked:
            problem = (
                "holds no FER+ votes, which the options ask for; put fer2013new.csv (of Microsoft's FERPlus "
                "repository) there, or name it with the option ferplus; or do without it, by --set data.blend=0 --set "
                "data.translate_votes=false, say"
            )
            report(str(self._folder), problem)

    def _labels(self, rows: Rows) -> dict[str, Any]:
        """Return the columns label and, for FER+'s distribution or a share of it, label_probabilities."""
        if self._annotation == "fer2013":
            own = {"label": [None if label < 0 else label for label in rows.label.tolist()]}
            return own | ({"label_probabilities": self._blended(rows)} if self._blend else {})
        make = (
            ferplus_labels.majority if self._annotation == "ferplus-majority" else ferplus_labels.probability
        )
        labels = make(rows.votes, self._contempt)
        known = ~np.isnan(labels[:, 0])
        best = [int(row.argmax()) if usable else None for row, usable in zip(labels, known, strict=True)]
        if self._annotation == "ferplus-majority":
            return {"label": best}
        soft = [row.tolist() if usable else None for row, usable in zip(labels, known, strict=True)]
        return {"label": best, "label_probabilities": soft}

    def _blended(self, rows: Rows) -> list[list[float] | None]:
        """Return one-hot labels mixed with what the votes say; None where they say nothing, or out of training."""
        trained = (rows.split == "train") & (rows.label >= 0)
        if self._translate_votes:
            votes = ferplus_labels.as_fer2013(rows.votes, np.where(trained, rows.label, -1)).round(4)
        else:
            votes = ferplus_labels.probability(rows.votes, contempt=False)
        hard = np.eye(len(FER2013_LABELS))[np.maximum(rows.label, 0)]
        mixed = (1 - self._blend) * hard + self._blend * votes
        usable = trained & ~np.isnan(votes[:, 0])
        return [row.tolist() if known else None for row, known in zip(mixed, usable, strict=True)]


def _form(root: Path) -> Form:
    form = find_form(root) if root.exists() else None
    if form is None:
        raise DataError(
            f"{root} {'holds no FER2013 that emozoo knows' if root.exists() else 'does not exist'}; give "
            "fer2013.csv, icml_face_data.csv, a folder of train.csv and test.csv, data.h5, parquet files, or "
            "a folder of train/<class>/* and test/<class>/*"
        )
    return form


def _has_vad(form: Form) -> bool:
    return form.kind == "CSV" and any(set(DIMENSIONS) <= set(header(path)) for path in form.files)


def _ids(rows: Rows) -> list[str]:
    """Return file names where known, else split and row, of fer2013.csv where known, else in the split."""
    position = np.zeros(len(rows), np.int64)
    for split in np.unique(rows.split):
        of_split = rows.split == split
        position[of_split] = np.arange(of_split.sum())
    number = rows.row if (rows.row >= 0).all() else position
    named = zip(rows.name.tolist(), rows.split.tolist(), number.tolist(), strict=True)
    return unique([name or f"{split}/{row}" for name, split, row in named])


def _canonical_vad(rows: Rows, scale: tuple[float, float]) -> dict[str, list[float | None]]:
    low, high = scale
    values = 2 * (rows.vad - low) / (high - low) - 1
    return {
        name: [None if np.isnan(value) else value for value in column.tolist()]
        for name, column in zip(DIMENSIONS, values.T, strict=True)
    }


def _check_splits(rows: Rows) -> list[Finding]:
    """Report splits that are merged, of another size than the original, or with classes in another order."""
    findings = []
    for split in np.unique(rows.split).tolist():
        labels = rows.label[rows.split == split]
        counts = np.bincount(labels[labels >= 0], minlength=len(FER2013_LABELS))
        if split == "test":
            message = (
                "the public and the private test are merged and cannot be told apart: select on a held-out "
                "part of train, and do not compare results with published PrivateTest figures"
            )
            findings.append(Finding("warning", split, message))
        elif len(labels) != ORIGINAL.get(split, (0, 0))[1]:
            original = f"{ORIGINAL[split][1]:,}" if split in ORIGINAL else "no such split"
            message = (
                f"{len(labels):,} images, the original has {original}: do not compare with published results"
            )
            findings.append(Finding("warning", split, message))
        elif split == "train" and sorted(counts) == sorted(_COUNTS) and tuple(counts) != _COUNTS:
            message = (
                f"the classes are in another order than {', '.join(FER2013_LABELS)}, which number {_COUNTS}"
            )
            findings.append(Finding("error", split, message))
    return findings


def _check_votes(rows: Rows, ids: Sequence[str]) -> list[Finding]:
    """Report what FER+ says: images of no face, images nobody could judge, and labels that contradict it."""
    known = ~np.isnan(rows.votes).any(1)
    if not known.any():
        return []
    findings = []
    unknown = 2 * rows.votes[:, ferplus_labels.EMOTIONS] > rows.votes.sum(1)
    for mask, message in (
        (
            ferplus_labels.not_a_face(rows.votes),
            "images show no face, says FER+; drop_not_faces = true leaves them out",
        ),
        (unknown, "images show no known emotion, says FER+: their FER2013 labels are doubtful"),
    ):
        if mask.any():
            first = [ids[i] for i in np.flatnonzero(mask)[:4]]
            findings.append(Finding("warning", some(first), f"{mask.sum():,} {message}"))
    votes = ferplus_labels.majority(rows.votes, contempt=False)
    judged = ~np.isnan(votes[:, 0]) & (rows.label >= 0)
    if judged.any():
        agreement = float(np.mean(votes[judged].argmax(1) == rows.label[judged]))
        text = f"{agreement:.1%} of {judged.sum():,} labels agree with FER+'s majority"
        if agreement < 0.5:  # two thirds of the original's agree
            text += ": the labels seem to be in another order than " + ", ".join(FER2013_LABELS)
        findings.append(Finding("error" if agreement < 0.5 else "info", "FER+", text))
    return findings


def _check_sizes(rows: Rows, ids: Sequence[str]) -> list[Finding]:
    """Report images of another size than the original's; those that are none are reported elsewhere."""
    sizes = map(size_of, rows.image.to_pylist())
    odd = [name for name, size in zip(ids, sizes, strict=True) if size not in (None, (SIDE, SIDE))]
    message = f"{len(odd):,} images are not {SIDE}x{SIDE} pixels as the original is"
    return [Finding("warning", some(odd), message)] if odd else []


def _count_vad(rows: Rows) -> list[Finding]:
    known = rows.split[~np.isnan(rows.vad).all(axis=1)]
    counts = [(split, int(np.sum(known == split))) for split in np.unique(rows.split).tolist()]
    return [
        Finding("info", split, f"{n:,} images have valence, arousal, dominance") for split, n in counts if n
    ]
