"""Recipes: what a model is made of and how it is trained. Typed, from TOML to a saved model's config.json.

A recipe has four tables: `[card]` (what it is for), `[model]`, `[data]` and `[train]`. `[model]` alone is
what a saved model keeps: architecture, labels and preprocessing. How the weights came to be is provenance and
lives in the run record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from emozoo.data.sampling import Sampling
from emozoo.errors import RecipeError, suggest
from emozoo.labels import FER2013_LABELS
from emozoo.layout import RECIPE
from emozoo.schema import Fraction, NonNegative, Positive, Schema
from emozoo.trees import explain, override, plain, read_tree


class WithOptions(BaseModel):
    """A table of a recipe whose further keys are the options of what it names."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    @property
    def options(self) -> dict[str, Any]:
        """The options, as the constructor takes them."""
        return dict(self.__pydantic_extra__ or {})


class Part(WithOptions):
    """A component by registry name; every other key is one of its options."""

    name: str


TTA = Literal["none", "flip", "ten-crop"]
"""Test-time augmentation: the centre crop; it and its mirror; four corners and centre, each mirrored."""

Side = Annotated[int, Field(gt=0, le=4096)]
"""Side of a square, in pixels; bounded, so that a file cannot ask for more memory than there is."""


class Preprocess(Schema):
    """How an image becomes the model's input, in training, evaluation and prediction alike.

    An image is turned upright (EXIF), flattened onto black where transparent, fitted to a square, resized to
    `size`, cropped to `crop` (centre; random in training), scaled to [0, 1], normalised by `mean` and `std`.

    `face_margin` says how faces that are found in whole photos and videos are cut out, before all that, so that they
    look as those that the model was trained on: a square around the detector's box, wider on each side by this share
    of the box's longer side. The default is FER2013's framing: in 376 of 400 of its images YuNet finds a face, whose
    box is as long as the image (median 1.01; half of them 0.92 to 1.11).
    """

    size: Side = 48
    crop: Side = 44
    colour: Literal["grey", "rgb"] = "grey"
    fit: Literal["crop", "pad", "stretch"] = "crop"
    mean: tuple[float, ...] = (0.5,)
    std: tuple[Annotated[float, Field(gt=0)], ...] = (0.25,)
    face_margin: Annotated[float, Field(gt=-0.5, le=4)] = 0.0

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB."""
        return 1 if self.colour == "grey" else 3

    @model_validator(mode="after")
    def _agree(self) -> Preprocess:
        if self.crop > self.size:
            raise ValueError(f"crop ({self.crop}) is larger than size ({self.size})")
        for key in ("mean", "std"):
            if len(getattr(self, key)) != self.channels:
                raise ValueError(
                    f"{key} has {len(getattr(self, key))} values, {self.colour} needs {self.channels}"
                )
        return self


class ModelConfig(Schema):
    """What a model is made of; exactly this is saved as config.json and rebuilt from it."""

    labels: tuple[str, ...] = FER2013_LABELS
    preprocess: Preprocess = Preprocess()
    sampling: Sampling | None = None
    """Which frames of a video the model looks at; None for a model of images."""
    backbone: Part
    aggregator: Part | None = None
    heads: dict[str, Part]

    @field_validator("labels")
    @classmethod
    def _distinct(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(labels)) < len(labels):
            raise ValueError("a label is listed twice")
        if len(labels) < 2:
            raise ValueError("one label alone tells nothing apart; give two or more")
        if any(not label.strip() for label in labels):
            raise ValueError("a label is empty")
        if not all(label.isprintable() for label in labels):
            raise ValueError("a label holds signs that do not show")
        return labels

    @field_validator("heads")
    @classmethod
    def _named(cls, heads: dict[str, Part]) -> dict[str, Part]:
        if not heads:
            raise ValueError("a model needs at least one head")
        for name in heads:
            if not name.isidentifier():
                raise ValueError(f"head name {name!r} must be a word of letters, digits and _")
        return heads

    @model_validator(mode="after")
    def _aggregates(self) -> ModelConfig:
        if self.sampling is not None and self.aggregator is None:
            raise ValueError(
                "a model that samples videos needs an aggregator, such as aggregator = { name = 'mean' }"
            )
        return self


class Figure(Schema):
    """A figure of the literature, as its source gives it; emozoo has not measured it."""

    metric: str
    """As emozoo calls it: accuracy, uar."""
    value: Fraction
    protocol: str
    """Which data, which split, chosen how, and what else it takes to compare with it."""
    source: str


class Card(Schema):
    """What a model card says that no measurement can."""

    title: str = ""
    summary: str = ""
    licence: str = ""
    data_licence: str = ""
    dataset: str = ""
    task: Literal["image", "video"] = "image"
    literature: tuple[Figure, ...] = ()
    """What others have published of this model; never mixed with what was measured."""


class Data(WithOptions):
    """What a recipe trains on: a dataset reader, its options, and which split does what."""

    name: str
    root: str | None = None
    train: str = "train"
    select: str | None = None
    """Split that chooses the checkpoint; without one, `holdout` of the training split is set aside for it."""
    report: str | None = None
    """Split that is looked at once, at the end; without one, the selection split is reported, as such."""
    holdout: Annotated[float, Field(gt=0, lt=1)] = 0.1
    tta: TTA = "none"
    """Test-time augmentation of the reported result; selection always uses the centre crop."""
    labels: tuple[str, ...] | None = None
    """Use only samples of these categories."""
    fold: Positive | None = None
    """Of a dataset with folds, the one that is the split "test"; all others are the split "train"."""
    detector: Part | None = None
    """What finds the face in videos of whole scenes (`emozoo.prediction.faces`); None for faces already."""
    cache: str | None = None
    """Folder where decoded videos, and the features of a frozen backbone, are kept from run to run."""


class Optimizer(WithOptions):
    """An optimiser: sgd, adam, adamw, or any name timm knows; every other key goes to its constructor.

    The momentum of sgd is 0.9, where it is not given.
    """

    name: str = "sgd"
    lr: Annotated[float, Field(gt=0)] = 0.1
    weight_decay: NonNegative = 5e-4

    @model_validator(mode="before")
    @classmethod
    def _in_full(cls, table: Any) -> Any:
        is_sgd = isinstance(table, dict) and table.get("name", "sgd") == "sgd"
        return {"momentum": 0.9, **table} if is_sgd else table


CURVES = {"cosine": ("final", "period_epochs"), "step": ("step_epochs", "gamma", "start_epoch"), "none": ()}
"""The keys that each schedule has to itself."""


class Schedule(Schema):
    """Learning rate over the run: linear warm-up, then a curve. A pure function of the step."""

    name: Literal["cosine", "step", "none"] = "cosine"
    warmup_epochs: NonNegative = 0.0
    warmup_within: bool = False
    """Whether the curve begins with the warm-up, which multiplies it, and not after it."""
    final: Fraction = 0.0
    """Cosine: the last rate, as a share of the first."""
    period_epochs: Annotated[float, Field(gt=0)] | None = None
    """Cosine: the epoch at which that rate is reached; None: the last. Beyond it the rate stays."""
    step_epochs: Annotated[float, Field(gt=0)] = 30.0
    gamma: Fraction = 0.1
    """Step: the rate is multiplied by `gamma` every `step_epochs`, counted from `start_epoch`."""
    start_epoch: NonNegative = 0.0

    @model_validator(mode="after")
    def _of_its_curve(self) -> Schedule:
        others = [key for name, keys in CURVES.items() if name != self.name for key in keys]
        idle = [key for key in others if getattr(self, key) != type(self).model_fields[key].default]
        if idle:
            raise ValueError(f"{', '.join(idle)}: without effect on the schedule {self.name!r}; leave it out")
        if self.warmup_within and not self.warmup_epochs:
            raise ValueError("warmup_within: without effect where warmup_epochs is 0; leave it out")
        return self


class Augment(Schema):
    """Random changes of training images, drawn per sample and done on the whole batch at once."""

    flip: Fraction = 0.5
    shift: bool = True
    """Random crop of `preprocess.crop` out of `preprocess.size`; without it, the centre."""
    padding: Annotated[int, Field(ge=0)] = 0
    """Reach beyond the border of the random crop, in pixels."""
    rotate: NonNegative = 0.0
    """Largest rotation, degrees."""
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Zoom drawn from 1 - scale to 1 + scale."""
    brightness: NonNegative = 0.0
    contrast: NonNegative = 0.0
    saturation: NonNegative = 0.0
    erase: Fraction = 0.0
    """Probability that a rectangle of 2 to 20 % of the image is replaced by the mean colour."""
    mixup: NonNegative = 0.0
    """Alpha of the beta distribution; 0 is off."""
    cutmix: NonNegative = 0.0

    @model_validator(mode="after")
    def _pads_what_it_shifts(self) -> Augment:
        if self.padding and not self.shift:
            raise ValueError("padding: without effect if shift is false; leave it out")
        return self


NO_AUGMENT = Augment(flip=0.0, shift=False)
"""Every image stays as it is."""


class CostTerm(WithOptions):
    """A consistency cost in the loss, between one classification head and one VAD head."""

    name: str
    weight: NonNegative = 1.0
    classification: str | None = None
    vad: str | None = None


class Loss(WithOptions):
    """The weight of a head's loss; every other key is an option of that head's criterion."""

    weight: NonNegative = 1.0


class Distillation(Schema):
    """Trained models, by name as for `emozoo.load`, that have `weight` of each head's loss; labels have the rest."""

    teachers: Annotated[tuple[str, ...], Field(min_length=1)]
    weight: Fraction = 0.5
    temperature: Annotated[float, Field(gt=0)] = 2.0


class Train(Schema):
    """How a model is trained."""

    epochs: Positive = 30
    batch_size: Positive = 64
    """Samples per optimiser step, over all processes and accumulated micro-batches."""
    accumulate: Positive = 1
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    augment: Augment = Augment()
    losses: dict[str, Loss] = Field(default_factory=dict)
    consistency: tuple[CostTerm, ...] = ()
    orthogonal: NonNegative = 0.0
    """Weight of the orthogonal regularisation of the backbone's convolutions (Wang et al. 2020)."""
    clip_norm: NonNegative = 0.0
    clip_value: NonNegative = 0.0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    select_by: str | None = None
    """The "head.metric" that chooses the checkpoint: the lowest error (nll, ece, mse, rmse, mae), or the highest of any
    other; None: the first head's main one; "last": the last epoch is kept, whatever it scores."""
    checkpoint_steps: Annotated[int, Field(ge=0)] = 0
    """Save a checkpoint every N steps as well as after each epoch; 0: each epoch only."""
    freeze: bool = False
    """Leave the backbone as `init` made it: it runs once over all media, unaugmented, and the rest trains on that."""
    bn_per_frame: bool = False
    """In training, run a video's frames through the backbone one place after the other, each place with batch
    statistics of its own, as CEFLNet's code does; slower."""
    init: str | None = None
    """Start from a model folder's weights where names and shapes agree; provenance, not architecture."""
    distillation: Distillation | None = None

    @model_validator(mode="after")
    def _frozen_agrees(self) -> Train:
        if self.freeze and "augment" in self.model_fields_set and self.augment != NO_AUGMENT:
            raise ValueError(
                "freeze: the backbone runs once, on media as they are; leave [train.augment] out"
            )
        if self.freeze and (self.orthogonal or self.bn_per_frame):
            raise ValueError("freeze: the backbone is not trained; leave orthogonal and bn_per_frame out")
        if self.freeze and self.distillation:
            raise ValueError("freeze: training sees features, teachers need images; leave distillation out")
        return self


class Recipe(Schema):
    """A whole recipe."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    card: Card = Card()
    model: ModelConfig
    data: Data
    train: Train = Train()

    @model_validator(mode="after")
    def _heads_exist(self) -> Recipe:
        heads = self.model.heads
        named = [(f"train.losses.{name}", name) for name in self.train.losses]
        for index, term in enumerate(self.train.consistency):
            roles = {"classification": term.classification, "vad": term.vad}
            named += [(f"train.consistency.{index}.{role}", name) for role, name in roles.items() if name]
        problems = [
            f"{path}: the model has no head {name!r}.{suggest(name, heads)} Allowed: {', '.join(heads)}."
            for path, name in named
            if name not in heads
        ]
        if problems:
            raise ValueError("\n  ".join(problems))
        return self

    @model_validator(mode="after")
    def _training_is_of_the_model(self) -> Recipe:
        problems = []
        if self.train.augment.saturation and self.model.preprocess.colour == "grey":
            problems.append("train.augment.saturation: without effect on grey images; leave it out")
        if self.train.bn_per_frame and self.model.sampling is None:
            problems.append("train.bn_per_frame: without effect on a model of images; leave it out")
        if problems:
            raise ValueError("\n  ".join(problems))
        return self

    def resolved(self) -> dict[str, Any]:
        """Return the recipe with every default filled in, as plain JSON values."""
        tree = self.model_dump(mode="json")
        if self.train.freeze:
            tree["train"]["augment"] = NO_AUGMENT.model_dump(mode="json")
        return tree


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe from a TOML file, or from the zoo by name.

    Args:
        source: a path to a .toml file (or a folder with recipe.toml), or a zoo name.
        overrides: "train.epochs=3" and the like, applied before checking.

    Raises:
        RecipeError: no such file or name, broken TOML, or wrong keys and values, all of them listed.
    """
    path = recipe_path(source)
    tree = read_tree(path)
    return parse_recipe(override(tree, overrides) if overrides else tree, where=str(path))


def recipe_path(source: str | Path) -> Path:
    """Return the file that a path or zoo name means."""
    text = str(source)
    if isinstance(source, Path) or text.endswith(".toml") or "/" in text or text.startswith((".", "~")):
        path = Path(source).expanduser()
        path = path / RECIPE if path.is_dir() else path
        if not path.is_file():
            raise RecipeError(f"there is no recipe file {path}; `emozoo list` names the recipes of the zoo")
        return path
    from emozoo.zoo import entry

    return entry(text.removeprefix("zoo:")).recipe_file


def parse_recipe(tree: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """Check a tree of plain values against the recipe's types, exactly as they are written: "3" is no number.

    Raises:
        RecipeError: every wrong key with its path, what was given, and what is allowed.
    """
    try:
        values = plain(tree)
        return Recipe.model_validate_json(json.dumps(values), strict=True)
    except RecipeError as error:
        raise RecipeError(f"{where}:\n  {error}") from None
    except ValidationError as error:
        raise RecipeError(f"{where}:\n{explain(error, Recipe, '', values)}") from None
