"""Planted expressions: videos made of still images, in which it is known where the expression is."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from emozoo.contracts import DatasetReader, Finding
from emozoo.errors import DataError
from emozoo.labels import FER2013_LABELS, canonical
from emozoo.registry import build
from emozoo_datasets.image_checks import count_classes
from emozoo_datasets.planted_frames import Nuisances, Plant, render_frames
from emozoo_datasets.planted_images import Face, Pool, make_pools

if TYPE_CHECKING:
    from datasets import Dataset

TRAIN = "train"
TRAIN_VIDEOS, OTHER_VIDEOS = 4200, 1200
"""Videos of the split "train", and of each other split, unless the option `videos` says otherwise."""

CASTS = 20
"""Groups that the pictures of a split are dealt to, at most."""

Measure = Annotated[float, Field(ge=0, le=3)]
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, slots=True)
class Script:
    """What happens in a video."""

    holder: int
    """Place among the split's pictures of the neutral face that holds the video."""
    planted: Face
    plant: Plant


class Planted:
    """Kind `dataset`: a neutral face holds all frames but one stretch, in which an expressive face comes and goes.

    The expression is somebody else's: the sources know no identities, so the video fades from one person to
    another and back. What it asks of a model is to find the few frames that matter and to name what they show, under
    drifting light, focus and pose, sensor noise, and things that pass before the face. It says nothing about how
    faces move.

    The middle of the stretch is drawn evenly from the middle two thirds of the video: of 105 frames, from the seven
    clips in which CEFLNet (Liu et al. 2022) looks at a video, each as often as the others.

    Video i of a split is a function of (seed, split, i) and the source's pictures alone, whatever the number of
    videos. Videos of a split are made of pictures of that split; a picture that is in several is used in the
    first alone, "train" being first. `subject` names the cast: the pictures of a split are dealt to at most 20
    casts, and faces of different casts never meet, so that holding out whole subjects holds out pictures.

    Rows have `id`, `video` (its name, for `render`), `frames`, `split`, `label`, `subject`, and where the
    expression is: `start` and `stop` (first frame, and the one after the last), `peak` (the middle).

    Args:
        root: of the source; None where it needs none.
        source: a dataset reader of still images, by name.
        source_options: its options. FER2013's labels are noisy; `{ annotation = "ferplus-majority" }` takes
            pictures whose category more than half of FER+'s votes agree on.
        categories: what is planted; the label names, in this order. With `neutral` among them, another neutral face
            comes and goes in its videos.
        neutral: category of the faces that hold a video.
        videos: how many of each split, `{ train = 4200, public_test = 1200 }`; None for 4,200 of "train" and
            1,200 of each other split that the source has.
        balanced: whether the categories take turns; if not, each video plants any of the split's pictures.
        size: height and width of the frames.
        length: frames of a video.
        stretch: fewest and most frames of a planted stretch.
        strength: least and greatest weight of the expressive face at its peak.
        light: measure of drifting light; 0 is none and 1 the usual, as with the next four (see `Nuisances`).
        blur: of drifting focus.
        noise: of sensor noise.
        motion: of head motion.
        occlusion: of things that pass before the face.
        seed: another seed makes other videos of the same pictures.

    Raises:
        DataError: what the source raises.
        ValueError: options contradict each other.
    """

    vad_scale: tuple[float, float] | None = None

    def __init__(
        self,
        root: Path | None = None,
        *,
        source: str = "fer2013",
        source_options: dict[str, Any] | None = None,
        categories: tuple[str, ...] = FER2013_LABELS[:-1],
        neutral: str = "neutral",
        videos: dict[str, Count] | None = None,
        balanced: bool = True,
        size: Annotated[int, Field(ge=16)] = 48,
        length: Annotated[int, Field(ge=6)] = 105,
        stretch: tuple[Count, Count] = (18, 30),
        strength: tuple[float, float] = (0.7, 1.0),
        light: Measure = 1.0,
        blur: Measure = 1.0,
        noise: Measure = 1.0,
        motion: Measure = 1.0,
        occlusion: Measure = 1.0,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        self.labels = [canonical(name) for name in categories]
        if len(set(self.labels)) < len(categories) or not categories:
            raise ValueError(f"categories must be distinct; they are {', '.join(categories)}")
        _check_ranges(stretch, strength, length)
        self._source: DatasetReader = build(
            "dataset", source, source_options or {}, root, where="data.source_options"
        )
        self.title = f"Planted expressions, of {self._source.title}"
        self.licence = (
            f"Videos made of the pictures of {self._source.title}, whose terms hold: {self._source.licence} "
            "The neutral and the expressive face of a video are, as a rule, different people."
        )
        self.citation = (
            f"The emozoo developers, emozoo: planted expressions. Pictures: {self._source.citation}"
        )
        self._neutral, self._videos, self._balanced = neutral, videos, balanced
        self._size, self._length = size, length
        self._stretch, self._strength = stretch, strength
        self._nuisances = Nuisances(light, blur, noise, motion, occlusion)
        self._seed = seed

    @classmethod
    def recognises(cls, root: Path) -> bool:  # noqa: ARG003 - the contract's signature
        """Say no: what is on disk is the source's."""
        return False

    def read(self) -> Dataset:
        """Return all videos; no frame is rendered yet.

        Raises:
            DataError: the source has no such split or category, a picture is broken, or what it raises itself.
        """
        from datasets import ClassLabel, Dataset, Features, Value

        features = Features(
            {
                **dict.fromkeys(("id", "video", "split", "subject"), Value("string")),
                "label": ClassLabel(names=self.labels),
                **dict.fromkeys(("frames", "start", "stop", "peak"), Value("int32")),
            }
        )
        rows = [self._row(split, number) for split, number in self._numbers()]
        return Dataset.from_list(rows, features=features)

    def render(self, video: str, index: Sequence[int] | NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return some frames of a video, uint8 (n, size, size), each the same whatever others are asked for.

        Args:
            video: its name, as in the column `video`; numbers may exceed the split's videos.
            index: frames (n,), from 0 to length - 1, in any order.

        Raises:
            DataError: there is no such split or frame.
        """
        split, _, number = video.rpartition("/")
        frames = np.asarray(index, np.int64).reshape(-1)
        if split not in self._pools or not number.isdecimal():
            raise DataError(f"there is no planted video {video!r}; its splits are {', '.join(self._pools)}")
        if len(frames) and not 0 <= frames.min() <= frames.max() < self._length:
            raise DataError(
                f"video {video!r} has the frames 0 to {self._length - 1}, not all of {frames.tolist()}"
            )
        script = self.script(split, int(number))
        faces = self._pools[split].pictures[[script.holder, script.planted.picture]]
        key = self._key(split, int(number), "frames")
        return render_frames(faces, script.plant, frames, self._length, self._nuisances, key)

    def script(self, split: str, number: int) -> Script:
        """Return what happens in a video of a split."""
        pool = self._pools[split]
        rng = np.random.default_rng(self._key(split, number, "script"))
        planted = self._planted(split, number, rng)
        neutral = pool.neutral[planted.cast]
        frames = int(rng.integers(self._stretch[0], self._stretch[1] + 1))
        middle = self._length * rng.uniform(1 / 6, 5 / 6)
        start = min(max(0, round(middle - frames / 2)), self._length - frames)
        strength = float(rng.uniform(*self._strength))
        plant = Plant(start, start + frames, strength)
        chosen = int(rng.integers(len(neutral)))
        if neutral[chosen] == planted.picture:
            chosen = (chosen + 1) % len(neutral)
        return Script(neutral[chosen], planted, plant)

    def check(self) -> list[Finding]:
        """Return what the videos of each split are made of; `emozoo data check` of the source says more of it."""
        try:
            rows, pools = self.read(), self._pools
        except DataError as error:
            return [Finding("error", "source", str(error))]
        findings = [
            Finding("info", "source", f"{self._source.title}. {self._source.licence}"),
            *count_classes(rows["split"], rows["label"], self.labels),
        ]
        for split, pool in pools.items():
            made_of = dict(zip(self.labels, pool.expressive, strict=True)) | {
                canonical(self._neutral): pool.neutral
            }
            listed = ", ".join(f"{name} {sum(map(len, casts)):,}" for name, casts in made_of.items())
            message = f"made of pictures in {len(pool.neutral)} casts: {listed}"
            findings.append(Finding("info", split, message))
            if pool.repeated:
                message = f"{pool.repeated:,} pictures are left out: an earlier row is the same picture"
                findings.append(Finding("warning", split, message))
        return findings

    @functools.cached_property
    def _pools(self) -> dict[str, Pool]:
        """The pictures of each split that videos are made of."""
        rows = self._source.read()
        found = self._videos or dict.fromkeys(rows["split"])
        splits = sorted(found, key=lambda split: split != TRAIN)
        return make_pools(rows, splits, self.labels, self._neutral, self._size, CASTS)

    @functools.cached_property
    def _faces(self) -> dict[str, list[Face]]:
        """All expressive faces of each split."""
        return {split: pool.faces for split, pool in self._pools.items()}

    def _numbers(self) -> Iterator[tuple[str, int]]:
        """Yield split and number of every video."""
        for split in self._pools:
            usual = TRAIN_VIDEOS if split == TRAIN else OTHER_VIDEOS
            count = usual if self._videos is None else self._videos[split]
            yield from ((split, number) for number in range(count))

    def _row(self, split: str, number: int) -> dict[str, Any]:
        script, name = self.script(split, number), f"{split}/{number:06d}"
        return {
            "id": name,
            "video": name,
            "split": split,
            "subject": f"{split}/{script.planted.cast:02d}",
            "label": script.planted.label,
            "frames": self._length,
            **{key: getattr(script.plant, key) for key in ("start", "stop", "peak")},
        }

    def _planted(self, split: str, number: int, rng: np.random.Generator) -> Face:
        """Return the expressive face of a video."""
        if self._balanced:
            by_cast = self._pools[split].expressive[number % len(self.labels)]
            faces = by_cast[number // len(self.labels) % len(by_cast)]
        else:
            faces = self._faces[split]
        return faces[rng.integers(len(faces))]

    def _key(self, split: str, number: int, what: str) -> list[int]:
        return [self._seed, zlib.crc32(split.encode()), number, ("script", "frames").index(what)]


def _check_ranges(stretch: tuple[int, int], strength: tuple[float, float], length: int) -> None:
    """Raise ValueError where a range is none, or a stretch could leave the video."""
    if not 1 <= stretch[0] <= stretch[1] <= length // 3:
        raise ValueError(
            f"stretch must be two numbers from 1 to a third of length ({length // 3}), the lower first; "
            f"it is {list(stretch)}"
        )
    if not 0 < strength[0] <= strength[1] <= 1:
        raise ValueError(f"strength must be two numbers in (0, 1], the lower first; it is {list(strength)}")
