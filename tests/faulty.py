"""Components that each break one promise of their contract; `emozoo.testing` must find every one of them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from emozoo.contracts import Aggregated, Finding, Targets
from emozoo.errors import DataError

# Backbones ------------------------------------------------------------------------------------------------------------


class Backbone(nn.Module):
    """A backbone that keeps its contract."""

    input_kind: Any = "frames"
    out_features: Any = 4

    def __init__(self, in_channels: int, *, width: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).mean((2, 3))


class NotAModule:
    def __init__(self, in_channels: int) -> None:
        self.out_features = 4


class Undeclared(Backbone):
    out_features = None


class WrongKind(Backbone):
    input_kind = "videos"


class WrongShape(Backbone):
    out_features = 5


class Raises(Backbone):
    def forward(self, x: Tensor) -> Tensor:
        raise KeyError("surprise")


class GreyOnly(Backbone):
    def __init__(self, in_channels: int) -> None:
        super().__init__(1)


class Restless(Backbone):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.rand(1)


class BatchMean(Backbone):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y - y.mean(0)


class InPlace(Backbone):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mul_(0.5))


class NotANumber(Backbone):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 0


class Frozen(Backbone):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            y = super().forward(x)
        return y + self.conv.bias


class View(Backbone):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.view(-1).view(x.shape)).mean((2, 3))


class Mixed(Backbone):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x).mean((2, 3))
        return torch.zeros(y.shape).index_add(0, torch.arange(len(y)), y)


class Unsaved(Backbone):
    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.register_buffer("scale", torch.ones(1), persistent=False)


class Attribute(Backbone):
    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.offset = torch.zeros(4)


class Forgetful(Backbone):
    """What it computes depends on a number that is neither an option nor saved."""

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.factor = random.random()

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * super().forward(x)


class Peeks(Backbone):
    """It looks at values while it is built, which the meta device does not have."""

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.start = self.conv.weight.norm().item()


class Positional(Backbone):
    def __init__(self, in_channels: int, width: int = 4) -> None:
        super().__init__(in_channels)


class Keywords(Backbone):
    def __init__(self, in_channels: int, **options: int) -> None:
        super().__init__(in_channels)


class Untyped(Backbone):
    def __init__(self, in_channels: int, *, width: Any = 4) -> None:
        super().__init__(in_channels)


class Unguarded(Backbone):
    def __init__(self, in_channels: int, *, width: int = 4) -> None:
        super().__init__(in_channels)
        self.reduce = nn.Linear(4, width)


class FixedClips(Backbone):
    input_kind = "clips"

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.conv = nn.Conv3d(in_channels, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).mean((2, 3, 4))


class Unsavable(Backbone):
    def __init__(self, in_channels: int, *, scale: float = float("inf")) -> None:
        super().__init__(in_channels)


# Aggregators ----------------------------------------------------------------------------------------------------------


class Aggregator(nn.Module):
    """An aggregator that keeps its contract: the mean over real frames."""

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.out_features = in_features

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:
        real = (torch.ones(x.shape[:3]) if mask is None else mask.float()).to(x)
        total = torch.einsum("bcfd,bcf->bd", x, real)
        return Aggregated(total / real.sum((1, 2)).clamp(min=1)[:, None], None, real)


class Bare(Aggregator):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:
        return super().forward(x, mask).features


class IgnoresMask(Aggregator):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:
        return super().forward(x)


class WeighsPadding(Aggregator):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:
        return Aggregated(super().forward(x, mask).features, None, torch.ones(x.shape[:3]))


class MaskMatters(Aggregator):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:
        return Aggregated(super().forward(x, mask).features + (mask is None))


class WeightShape(Aggregator):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:
        return Aggregated(super().forward(x, mask).features, torch.ones(len(x)))


class Spoils(Aggregator):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:
        features = super().forward(x, mask).features
        empty = mask is not None and bool((~mask.flatten(1).any(1)).any())
        return Aggregated(features * (not empty))


class Detached(Aggregator):
    def __init__(self, in_features: int) -> None:
        super().__init__(in_features)
        self.linear = nn.Linear(in_features, in_features)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:
        return Aggregated(self.linear(super().forward(x.detach(), mask).features))


# Heads ----------------------------------------------------------------------------------------------------------------


class Head(nn.Module):
    """A head that keeps its contract: the mean of the dimensions, "pleasure"."""

    task: Any = "pleasure"

    def __init__(self, in_features: int, labels: Any) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, 1)
        self.out_features = 1

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(features)

    def criterion(self, train: Targets) -> Any:
        def loss(output: Tensor, targets: Targets) -> Tensor:
            error = (output[:, 0] - self.wanted(targets).nan_to_num()).square()
            return error.where(self.known(targets), 0).sum() / self.known(targets).sum().clamp(min=1)

        return loss

    def wanted(self, targets: Targets) -> Tensor:
        return targets.vad.mean(1)

    def known(self, targets: Targets) -> Tensor:
        return ~targets.vad.isnan().any(1)

    def decode(self, output: Tensor) -> Any:
        return [{"pleasure": value} for value in output[:, 0].tolist()]

    def measure(self, output: Tensor, targets: Targets, *, resamples: int = 0) -> Any:
        known = self.known(targets)
        error = (output[:, 0] - self.wanted(targets))[known].abs().mean().item()
        return {
            "n": int(known.sum()),
            "primary": "gain",
            "metrics": {"gain": {"value": -error, "interval": None}},
        }


class NoTask(Head):
    task = None


class NanLoss(Head):
    def criterion(self, train: Targets) -> Any:
        return lambda output, targets: (output[:, 0] - self.wanted(targets)).square().mean()


class Diluted(Head):
    """Samples without targets count in the mean."""

    def criterion(self, train: Targets) -> Any:
        exact = super().criterion(train)
        return lambda output, targets: exact(output, targets) * self.known(targets).float().mean()


class NanGradient(Head):
    def criterion(self, train: Targets) -> Any:
        def loss(output: Tensor, targets: Targets) -> Tensor:
            error = (output[:, 0] - self.wanted(targets)).square().where(self.known(targets), 0)
            return error.sum() / self.known(targets).sum().clamp(min=1)

        return loss


class VectorLoss(Head):
    def criterion(self, train: Targets) -> Any:
        return lambda output, targets: (output[:, 0] - self.wanted(targets)).nan_to_num().square()


class NegativeLoss(Head):
    """Which keeps the contract: a loss may be negative, as likelihoods are."""

    def criterion(self, train: Targets) -> Any:
        exact = super().criterion(train)
        return lambda output, targets: -1 / (1 + exact(output, targets)) * self.known(targets).any()


class NoLoss(Head):
    def criterion(self, train: Targets) -> Any:
        exact = super().criterion(train)
        return lambda output, targets: 0 * exact(output, targets)


class UntypedLoss(Head):
    def criterion(self, train: Targets, *, weight=1.0) -> Any:
        return super().criterion(train)


class DecodesTensors(Head):
    def decode(self, output: Tensor) -> Any:
        return [{"pleasure": value} for value in output[:, 0]]


class DecodesOne(Head):
    def decode(self, output: Tensor) -> Any:
        return {"pleasure": output[0, 0].item()}


class MeasuresNan(Head):
    def measure(self, output: Tensor, targets: Targets, *, resamples: int = 0) -> Any:
        measured = super().measure(output, targets)
        measured["metrics"]["gain"]["value"] = float("nan")
        return measured


class CountsUnknown(Head):
    def measure(self, output: Tensor, targets: Targets, *, resamples: int = 0) -> Any:
        return {**super().measure(output, targets), "n": len(output)}


class FewLogits(Head):
    task = "classification"


class Nameless(Head):
    task = "vad"


class WrongProbabilities(Head):
    task = "classification"

    def __init__(self, in_features: int, labels: Any) -> None:
        super().__init__(in_features, labels)
        self.linear = nn.Linear(in_features, len(labels))
        self.out_features = len(labels)

    def decode(self, output: Tensor) -> Any:
        return [{"label": 0, "probabilities": {}} for _ in output]


class Terse(WrongProbabilities):
    """It measures nothing of what cards and pictures show of categories."""

    def __init__(self, in_features: int, labels: Any) -> None:
        super().__init__(in_features, labels)
        self.labels = labels

    def decode(self, output: Tensor) -> Any:
        rows = output.softmax(1).tolist()
        return [
            {"label": self.labels[0], "probabilities": dict(zip(self.labels, row, strict=True))}
            for row in rows
        ]


class Misshapen(Head):
    """It gives a name of a measure of categories another meaning."""

    def measure(self, output: Tensor, targets: Targets, *, resamples: int = 0) -> Any:
        return {**super().measure(output, targets), "per_class": "none"}


# Consistency costs ----------------------------------------------------------------------------------------------------


class Cost(nn.Module):
    """A cost that keeps its contract: the entropy of the category times the length of the values."""

    differentiable: Any = True

    def __init__(self, labels: Any, dimensions: Any) -> None:
        super().__init__()
        self.labels = labels

    def forward(self, logits: Tensor, vad: Tensor) -> Tensor:
        return -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1) * vad.square().sum(-1)


class MeanCost(Cost):
    def forward(self, logits: Tensor, vad: Tensor) -> Tensor:
        return super().forward(logits, vad).mean()


class NegativeCost(Cost):
    def forward(self, logits: Tensor, vad: Tensor) -> Tensor:
        return super().forward(logits, vad) - 1


class Overflows(Cost):
    def forward(self, logits: Tensor, vad: Tensor) -> Tensor:
        p = logits.exp() / logits.exp().sum(-1, keepdim=True)
        return p.square().sum(-1) * vad.square().sum(-1)


class Steps(Cost):
    def forward(self, logits: Tensor, vad: Tensor) -> Tensor:
        return (logits.argmax(-1) == 0).float()


class Modest(Cost):
    differentiable = False


class MeanOfAll(Cost):
    def prepare(self, train: Targets) -> None:
        self.centre = train.vad.mean()

    def forward(self, logits: Tensor, vad: Tensor) -> Tensor:
        return super().forward(logits, vad - self.centre)


class Unprepared(Cost):
    def prepare(self) -> None:
        pass


class ByPosition(Cost):
    def forward(self, logits: Tensor, vad: Tensor) -> Tensor:
        return logits.softmax(-1)[:, 0] * vad[:, 0].square()


class RootOfZero(Cost):
    def forward(self, logits: Tensor, vad: Tensor) -> Tensor:
        return super().forward(logits, vad) + (vad - vad).norm(dim=-1) + (0 * vad).abs().sqrt().sum(-1)


class Volatile(Cost):
    def __init__(self, labels: Any, dimensions: Any) -> None:
        super().__init__(labels, dimensions)
        self.factor = 1 + random.random()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, logits: Tensor, vad: Tensor) -> Tensor:
        return super().forward(logits, vad) * self.factor * self.scale


class Unbalanced(Cost):
    def per_dimension(self, logits: Tensor, vad: Tensor) -> Tensor:
        return vad.square()


class Unmeasurable(Cost):
    measures = True


class AllDimensions(Cost):
    def __init__(self, labels: Any, dimensions: Any) -> None:
        super().__init__(labels, dimensions)
        self.column = {name: column for column, name in enumerate(dimensions)}["dominance"]


# Dataset readers ------------------------------------------------------------------------------------------------------


class Reader:
    """A reader that keeps its contract: two rows."""

    title: Any = "two rows"
    licence = "none needed"
    citation = "made up"
    vad_scale: Any = (-1.0, 1.0)
    columns: Any = {}  # noqa: RUF012
    names: Any = ("happy", "sad")

    def __init__(self, root: Path | None) -> None:
        self.root = root

    @classmethod
    def recognises(cls, root: Path) -> Any:
        return False

    def read(self) -> Any:
        from datasets import ClassLabel, Dataset, Features, Image, Value

        if self.root is not None and not list(self.root.iterdir()):
            raise DataError("empty")
        values = {
            "id": ["a", "b"], "split": ["train", "test"], "label": [0, None], "valence": [0.5, None],
            "image": [{"bytes": PIXEL, "path": None}] * 2, **self.columns,
        }  # fmt: skip
        kinds: dict[str, Any] = {name: Value("string") for name in ("id", "split")}
        kinds |= {"image": Image(decode=False), "label": ClassLabel(names=list(self.names))}
        kinds |= {"valence": Value("float32")}
        kinds |= {name: Value("int64") for name, value in self.columns.items() if value == [1, 2]}
        return Dataset.from_dict(values, features=Features({name: kinds[name] for name in values}))

    def check(self) -> Any:
        return [Finding("info", "all", "2 rows")]


PIXEL = b"P5 1 1 255 \x80"
"""A grey pixel as a PGM file."""


class Untitled(Reader):
    title = ""


class Unscaled(Reader):
    vad_scale = None


class Credulous(Reader):
    @classmethod
    def recognises(cls, root: Path) -> Any:
        return True


class Twins(Reader):
    columns = {"id": ["a", "a"]}  # noqa: RUF012


class Numbered(Reader):
    columns = {"id": [1, 2]}  # noqa: RUF012


class Splitless(Reader):
    columns = {"split": ["train", ""]}  # noqa: RUF012


class Beyond(Reader):
    columns = {"valence": [0.5, 2.0]}  # noqa: RUF012


class NanValue(Reader):
    columns = {"valence": [0.5, float("nan")]}  # noqa: RUF012


class Synonyms(Reader):
    names = ("happy", "happiness")


class Pictureless(Reader):
    columns = {"image": [{"bytes": b"no picture", "path": None}] * 2}  # noqa: RUF012


class Shuffled(Reader):
    reads = 0

    def read(self) -> Any:
        Shuffled.reads += 1
        return super().read().select([0, 1] if Shuffled.reads % 2 else [1, 0])


class Listless(Reader):
    def read(self) -> Any:
        return [{"id": "a"}]


class Mumbles(Reader):
    def check(self) -> Any:
        return ["all is well"]


class Careless(Reader):
    def read(self) -> Any:
        if self.root is not None and not list(self.root.iterdir()):
            raise FileNotFoundError("labels.csv")
        return super().read()


class FilmOnDisk(Reader):
    """A reader of videos: two rows, whose videos a test names."""

    films: Any = {"video": ["gone"] * 2}  # noqa: RUF012

    def read(self) -> Any:
        from datasets import Value

        rows = super().read().remove_columns("image")
        for name, values in self.films.items():
            kind = Value("string" if name == "video" else "int32")
            rows = rows.add_column(name, values, feature=kind)
        return rows


class FilmGone(FilmOnDisk):
    """Its videos are nowhere."""


class FilmReader(FilmOnDisk):
    """A reader of videos that it makes itself."""

    films = {"video": ["a", "b"], "frames": [4, 5], "fold": [1, None]}  # noqa: RUF012

    def render(self, video: str, index: np.ndarray) -> Any:
        return np.zeros((len(index), 8, 8), np.uint8)


class PicturesAndVideos(Reader):
    def read(self) -> Any:
        return super().read().add_column("video", ["a", "b"])


class FilmUncounted(FilmReader):
    films = {"video": ["a", "b"], "frames": [None, 4]}  # noqa: RUF012


class FilmOfFloats(FilmReader):
    def render(self, video: str, index: np.ndarray) -> Any:
        return np.zeros((len(index), 8, 8))


class FilmTooShort(FilmReader):
    def render(self, video: str, index: np.ndarray) -> Any:
        return np.zeros((1, 8, 8), np.uint8)


class FilmFlickers(FilmReader):
    def render(self, video: str, index: np.ndarray) -> Any:
        return np.random.default_rng().integers(0, 256, (len(index), 8, 8)).astype(np.uint8)


class FilmFromFoldZero(FilmReader):
    films = FilmReader.films | {"fold": [0, 1]}


class FilmOneFold(FilmReader):
    films = FilmReader.films | {"fold": [1, 1]}


class Unfinished:
    title = "half a reader"

    def __init__(self, root: Path | None) -> None: ...
