"""The contracts between the core and its plugins: what a component of each kind is given and must do.

Plugins import this module, `emozoo.labels`, `emozoo.errors` and `emozoo.evaluation.metrics`, and nothing else of
the core but `emozoo.registry.build`, with which a component that is made of others builds them by name. The
options of a component are the annotated keyword-only parameters of its constructor: the registry checks a recipe
against them, so a component needs no schema of its own. An option that is a component itself is marked `Nested`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol, runtime_checkable

from annotated_types import Ge, Gt, Le, Lt

if TYPE_CHECKING:
    import numpy as np
    import torch
    from datasets import Dataset
    from torch import Tensor

API_VERSION = 1
"""Version of these contracts; a plugin may declare the one it was written for as `__emozoo_api__`."""

IMAGE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""The formats, as Pillow calls them, of the images that are read. Others run programs: EPS is handed to Ghostscript."""

VIDEO_FORMATS = "mov,mp4,matroska,webm,avi,mpeg,mpegvideo,mpegts,flv,asf,ogg,gif"
"""The containers, as FFmpeg calls them, of the videos that are read (its option `format_whitelist`).

Playlists and scripts are none: they make FFmpeg open other files and addresses.
"""

FRAME_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm"})
"""Suffixes of the files that are a video's frames in a folder of frames."""

IMAGE_SUFFIXES = FRAME_SUFFIXES | {".gif"}
"""Suffixes of the files that are images."""

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".flv", ".wmv"}
    | {".asf", ".ogv", ".3gp"}
)
"""Suffixes of the files that are videos."""

UNREAD_SUFFIXES = frozenset(
    {".heic", ".heif", ".avif", ".jxl", ".jp2", ".cr3", ".mxf", ".vob", ".m2v", ".f4v", ".rm", ".rmvb"}
)
"""Suffixes of photos and videos that are not read; none of a folder is left out without a word."""

FRAME_LIMIT = 1 << 26
"""Pixels a frame above which a video is refused undecoded (FFmpeg's option `max_pixels`); 8K has half of it."""


Size = Annotated[int, Gt(0)]
"""An option that counts something: 1 or more."""

Rate = Annotated[float, Ge(0), Lt(1)]
"""An option such as that of dropout: from 0 to below 1."""

Fraction = Annotated[float, Ge(0), Le(1)]
"""An option that is a share: from 0 to 1."""

NonNegative = Annotated[float, Ge(0)]
"""An option such as a weight: 0 or more."""


@dataclass(frozen=True, slots=True)
class Nested:
    """Marks an option that is a component: `backbone: Annotated[Mapping[str, Any], Nested("backbone")]`.

    A recipe gives it a table as any component's, `{ name = "resnet18", width = 32 }`, or nothing where the type allows
    None. The constructor is given the table with the name qualified and every option checked and filled in, and
    builds it with `emozoo.registry.build`. A saved model holds that table, and requires the component's distribution.

    Attributes:
        kind: of the component, as the contracts below call it.
    """

    kind: str


@dataclass(frozen=True, slots=True)
class Targets:
    """What is known of a batch of B samples; what is not known is NaN, and never trained on or measured.

    Attributes:
        label: (B, C) probabilities over the model's labels; a hard label is one-hot, an unlabelled row is NaN.
        vad: (B, 3) valence, arousal, dominance in [-1, 1]; NaN where missing.
        whole: the targets of the whole optimiser step, if this batch is one of the equal parts (process or accumulated
            pass) it is divided into.
    """

    label: Tensor
    vad: Tensor
    whole: Targets | None = None

    @property
    def batch(self) -> Targets:
        """The targets of the whole batch, of which these may be a part.

        The loss of a batch is the mean of its parts' losses. So a criterion that is a mean over known targets divides
        its sum by the number of those in `batch`, over `parts`: then every target weighs the same, however they are
        spread over the parts.
        """
        return self if self.whole is None else self.whole

    @property
    def parts(self) -> int:
        """How many parts the batch has."""
        return 1 if self.whole is None else len(self.whole) // len(self)

    @property
    def category(self) -> Tensor:
        """The index of each sample's most probable category, (B,); -1 where it is not known."""
        return self.label.nan_to_num().argmax(1).masked_fill(self.label.isnan().any(1), -1)

    def __len__(self) -> int:
        return len(self.label)

    def select(self, index: Tensor | slice) -> Targets:
        """Return the targets of some samples, by index tensor, mask or slice."""
        return Targets(self.label[index], self.vad[index])

    def category_means(self) -> Tensor:
        """Return the mean VAD of each category (C, 3) over the samples that have both; NaN where none has.

        A soft label counts in every category by its share.
        """
        known = ~(self.vad.isnan() | self.label.isnan().any(1, keepdim=True))
        shares, values = self.label.nan_to_num(), self.vad.masked_fill(~known, 0)
        return shares.T @ values / (shares.T @ known.to(shares.dtype))

    def to(self, device: torch.device | str) -> Targets:
        """Return the targets on a device."""
        whole = None if self.whole is None else self.whole.to(device)
        return Targets(
            self.label.to(device, non_blocking=True), self.vad.to(device, non_blocking=True), whole
        )


@dataclass(frozen=True, slots=True)
class Aggregated:
    """What an aggregator makes of the frames of B videos.

    Attributes:
        features: (B, D').
        clip_weights: (B, clips) or None; how much each clip counts.
        frame_weights: (B, clips, frames) or None; how much each frame counts.
    """

    features: Tensor
    clip_weights: Tensor | None = None
    frame_weights: Tensor | None = None


class Backbone(Protocol):
    """Kind `backbone`, group `emozoo.backbones`: `build(in_channels, *, options) -> nn.Module`.

    Attributes:
        out_features: D, the size of the feature vector.
        input_kind: "frames" for (N, C, H, W), "clips" for (N, C, T, H, W): N clips of T real frames each. How long
            clips are is the sampler's to say; of short videos they may be as short as one frame.

    A backbone may also have `orthogonal_convs() -> list[nn.Conv2d]`: the convolutions that `train.orthogonal`
    regularises; and a list `copies` of backbones, each of which `train.init` starts from the one backbone of a model.
    """

    out_features: int
    input_kind: Literal["frames", "clips"]

    def __call__(self, x: Tensor) -> Tensor:
        """Map frames (N, C, H, W), or clips (N, C, T, H, W), to features (N, D)."""
        ...


class Aggregator(Protocol):
    """Kind `aggregator`, group `emozoo.aggregators`: `build(in_features, *, options) -> nn.Module`.

    Attributes:
        out_features: D', the size of the video's feature vector.
    """

    out_features: int

    def __call__(self, x: Tensor, mask: Tensor | None = None) -> Aggregated:
        """Map (B, clips, frames, D), with a mask (B, clips, frames) that is True for real frames, to features."""
        ...


Criterion = Callable[["Tensor", Targets], "Tensor"]
"""A loss: (output of a head (B, K), its targets) -> scalar; 0 where there is no target for it. See `Targets.batch`."""


class Head(Protocol):
    """Kind `head`, group `emozoo.heads`: `build(in_features, labels, *, options) -> nn.Module`.

    Attributes:
        task: "classification", "vad", or a word of the plugin's own; consistency costs find their inputs by it.
        out_features: K, the size of the output.

    A head of task "classification" has one logit a label, in their order, decodes `label` and `probabilities`, and
    measures what `emozoo.evaluation.metrics.classification_measure` returns. One of task "vad" has
    `dimensions: tuple[str, ...]`, of `emozoo.labels.DIMENSIONS`, one an output and in their order, decodes each under
    its name, and measures what `vad_measure` returns. Reports, cards and pictures show these.
    """

    task: str
    out_features: int

    def __call__(self, features: Tensor) -> Tensor:
        """Map features (B, D) to the raw output (B, K), which ten-crop testing averages over the crops."""
        ...

    def criterion(self, train: Targets, **options: Any) -> Criterion:
        """Build the loss from all training targets; its keyword-only parameters are the recipe's loss options."""
        ...

    def decode(self, output: Tensor) -> list[dict[str, Any]]:
        """Return each sample's part of a prediction, as JSON-able values, from the raw output (B, K)."""
        ...

    def measure(self, output: Tensor, targets: Targets, *, resamples: int = 0) -> dict[str, Any]:
        """Return metrics over samples with targets: {"n", "primary", "metrics": {name: {"value", "interval"}}}.

        `n` is how many these are; where it is 0, the head is left out of what is reported.
        `primary` names the metric that selects checkpoints, higher being better but for errors: metrics whose names
        end in nll, ece, mse, rmse, mae, rate or loss. `resamples` > 0 asks for bootstrap 95 % intervals. Whatever
        else is measured under a name that `classification_measure` or `vad_measure` has is shown as theirs.
        """
        ...


class ConsistencyCost(Protocol):
    """Kind `consistency`, group `emozoo.consistency`: `build(labels, dimensions, *, options) -> nn.Module`.

    Attributes:
        differentiable: whether the cost carries a gradient; training warns where it does not.

    A cost may also have

    - `prepare(train: Targets) -> None`, called once before training with all training targets;
    - `per_dimension(logits, vad) -> Tensor`, the cost of each dimension, (B, len(dimensions)), of which the cost is the
      sum; with it `measures = True` where a value contradicts a category exactly if it costs something. The violation
      rate is the share of such values, by the one of emozoo's own costs that says so.
    """

    differentiable: bool

    def __call__(self, logits: Tensor, vad: Tensor) -> Tensor:
        """Map class logits (B, C) and predicted values (B, len(dimensions)) in [-1, 1] to a cost (B,) >= 0."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `emozoo data check` found.

    Attributes:
        severity: "error" (reading fails or mislabels), "warning" (usable, but know it), "info".
        subject: which file, row or class.
        message: what it is and what to do.
    """

    severity: Literal["error", "warning", "info"]
    subject: str
    message: str


@runtime_checkable
class DatasetReader(Protocol):
    """Kind `dataset`, group `emozoo.datasets`: `build(root, *, options)`, root being None for generated data.

    `read` returns one `datasets.Dataset` of all splits with the columns

    - `id` (string, unique), `split` (string);
    - either `image` (`datasets.Image(decode=False)`: bytes or path), or `video` (string: the path of a video file or
      of a folder of frames; for videos that the reader makes, a name that `render` takes);
    - `label` (`datasets.ClassLabel` with the source's label names; None where unlabelled);
    - where there are any: `label_probabilities` (list of C floats summing to 1, soft labels in the order of the
      ClassLabel names), `valence`, `arousal`, `dominance` (float32 in [-1, 1], None where missing),
      `subject` (string), `frames` (int32: how many frames a video has, None where nobody has counted), `fold` (int32,
      counted from 1: the fold whose test set the row is in). To train on fold k, rows of fold k are the split
      "test" and those of other folds the split "train"; a row without a fold stays in its own split.

    A reader that makes its videos fills `frames` in every row, and has `render(video, index) -> ndarray`: the frames
    of these numbers, from 0, of the video of that name, uint8 (n, H, W) or (n, H, W, 3), the same each time.

    Attributes:
        title: the dataset's name as people write it.
        licence: terms of the data, in a sentence.
        citation: where it comes from.
        vad_scale: (low, high) of the source's VAD annotation, which `read` maps to [-1, 1]; None without any.
    """

    title: ClassVar[str]
    licence: ClassVar[str]
    citation: ClassVar[str]
    vad_scale: tuple[float, float] | None

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Say, from names and headers alone, whether a folder or file holds this dataset."""
        ...

    def read(self) -> Dataset:
        """Return all rows. Raises DataError naming file, row and column where the data cannot be used."""
        ...

    def check(self) -> Sequence[Finding]:
        """Report all that the reader alone can know to be wrong; `emozoo data check` looks at the media itself."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """The n faces of one frame, in pixels of that frame; pixel (row i, column j) spans x [j, j + 1), y [i, i + 1).

    Attributes:
        boxes: float32 (n, 4), x0, y0, x1, y1, from the forehead to the chin and from cheek to cheek, so that a margin
            means the same to every detector; they may reach beyond the frame.
        scores: float32 (n,), on the detector's own scale; higher is surer.
        landmarks: float32 (n, 5, 2), x, y of the person's right eye, left eye, tip of the nose, right and left
            corner of the mouth; None from a detector that gives none.
    """

    boxes: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, index: np.ndarray) -> Faces:
        """Return some of the faces, by index array or mask."""
        landmarks = None if self.landmarks is None else self.landmarks[index]
        return Faces(self.boxes[index], self.scores[index], landmarks)


@dataclass(frozen=True, slots=True)
class DetectorFile:
    """A file that a detector cannot do without, and takes as its option `file`.

    Attributes:
        name: what it is called.
        sha256: of its content.
        source: where people find it.
        hub: where it is fetched from, "org/name@commit" on the Hub, the commit in full; None if it is not there.
    """

    name: str
    sha256: str
    source: str
    hub: str | None = None


class Detector(Protocol):
    """Kind `detector`, group `emozoo.detectors`: `build(*, options)`.

    The constructor raises `DetectorUnavailableError` where a library that it needs is not installed. The class may
    also have

    - `needs: DetectorFile`: a file that is found, or fetched and verified, and given as the option `file`, a path;
    - `check_library()`, a static method that raises `DetectorUnavailableError` where a library is not installed: it
      is called before a file is fetched that would be of no use;
    - `preference: int`: "auto" takes the one of emozoo's own detectors that has the highest and can be used.

    The options that detectors share are called `threshold` (the lowest score kept), `min_size` (the lowest width
    and height of a box kept, in pixels of the frame) and `max_side` (the frame is shrunk to this for detection).
    """

    def detect(self, frame: np.ndarray) -> Faces:
        """Find the faces of a frame, uint8 (H, W, 3) RGB, of any size and memory layout, leaving it as it is."""
        ...
