"""EmotionModel: backbone -> aggregator -> heads, with the preprocessing that belongs to it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from emozoo import registry
from emozoo.contracts import Aggregated
from emozoo.data.preprocess import TTA, Preprocessor
from emozoo.errors import ContractError, RecipeError
from emozoo.recipe import ModelConfig, Part, Recipe, load_recipe

if TYPE_CHECKING:
    from emozoo.prediction.faces import FaceDetector
    from emozoo.prediction.predictions import Prediction, Predictions
    from emozoo.prediction.timeline import Timeline
    from emozoo.provenance import Source
    from emozoo.weights import Store


@dataclass(frozen=True, slots=True)
class Output:
    """What a model says of B samples.

    Attributes:
        heads: each head's raw output (B, K), by the recipe's head names.
        features: (B, D'), what the heads were given.
        clip_weights: (B, clips) or None.
        frame_weights: (B, clips, frames) or None.
    """

    heads: dict[str, Tensor]
    features: Tensor
    clip_weights: Tensor | None = None
    frame_weights: Tensor | None = None


class EmotionModel(nn.Module):
    """A model composed from a `ModelConfig`: an ordinary `nn.Module` that knows its labels and preprocessing.

    Attributes:
        config: what it is made of, with qualified names and every option filled in.
        labels: the category names, in the order of the outputs.
        preprocessor: turns media into input; training, evaluation and prediction all use it.
        requires: the distributions, and their version ranges, that a saved copy needs.
        source: where the weights were loaded from; None for a model that was built here.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        parts = _resolve(config)
        self.config = config.model_copy(update=_in_full(config, parts))
        self.labels = config.labels
        self.preprocessor = Preprocessor(config.preprocess)
        self.requires = _requirements(parts)
        self.source: Source | None = None
        self.backbone = _module(parts["backbone"], config.preprocess.channels)
        features = _declared(self.backbone, "out_features", int, "model.backbone")
        self.input_kind = _declared(self.backbone, "input_kind", str, "model.backbone")
        if self.input_kind not in ("frames", "clips"):
            raise ContractError(f"model.backbone: input_kind is {self.input_kind!r}, not 'frames' or 'clips'")
        self.aggregator = _module(parts["aggregator"], features) if "aggregator" in parts else None
        if self.aggregator is not None:
            features = _declared(self.aggregator, "out_features", int, "model.aggregator")
        elif self.input_kind == "clips":
            raise RecipeError("model.aggregator: a backbone that sees clips needs one, such as name = 'mean'")
        self.heads = nn.ModuleDict()
        for name in config.heads:
            if hasattr(self.heads, name):
                raise RecipeError(f"model.heads.{name}: {name!r} has a meaning in torch; give another name")
            self.heads[name] = _module(parts[f"heads.{name}"], features, config.labels)
            _declared(self.heads[name], "task", str, f"model.heads.{name}")
            _declared(self.heads[name], "out_features", int, f"model.heads.{name}")

    def forward(self, x: Tensor, mask: Tensor | None = None, *, bn_per_frame: bool = False) -> Output:
        """Run images (B, C, H, W), or videos (B, clips, frames, C, H, W) with a mask (B, clips, frames).

        All frames of all videos pass the backbone in one call; with `bn_per_frame`, in one call for each place in
        a video, so that batch normalisation in training takes its statistics there, as CEFLNet's code does. A backbone
        that sees clips is given the frames of each that are there, clips of one length in one call; in training no
        backbone is given the others, so that its statistics are of real frames alone.

        Raises:
            ContractError: the input has another number of axes, the mask does not fit it, or a component returned
                another shape than it declares.
        """
        if x.ndim == 4 and self.aggregator is None:
            return self.aggregate(self.backbone_features(x))
        if x.ndim not in (4, 6) or self.aggregator is None:
            raise ContractError(
                f"input of shape {tuple(x.shape)}: images are (B, C, H, W); videos, "
                "(B, clips, frames, C, H, W), need a model with an aggregator"
            )
        x = x if x.ndim == 6 else x[:, None, None]
        if mask is not None and (mask.shape != x.shape[:3] or mask.dtype != torch.bool):
            raise ContractError(
                f"a mask {tuple(mask.shape)} of {mask.dtype} for videos {tuple(x.shape[:3])}: "
                "it is of torch.bool, (B, clips, frames), True for frames that are there"
            )
        features = self._frame_features(x, mask, bn_per_frame)
        if mask is not None and self.input_kind == "clips":  # a clip is there if any of its frames is
            mask = mask.any(2, keepdim=True)
        return self.aggregate(features, mask)

    def aggregate(self, features: Tensor, mask: Tensor | None = None) -> Output:
        """Run what follows the backbone on its features: of images (B, D), or of frames (B, clips, frames, D)."""
        pooled = Aggregated(features)
        if self.aggregator is not None:
            frames = features if features.ndim == 4 else features[:, None, None]
            pooled = self.aggregator(frames, mask)
            _expect(pooled.features, (features.shape[0], self.aggregator.out_features), "the aggregator")
        heads: dict[str, Tensor] = {}
        for name in self.heads:
            head: Any = self.heads[name]
            heads[name] = head(pooled.features)
            _expect(heads[name], (features.shape[0], head.out_features), f"head {name!r}")
        return Output(heads, pooled.features, pooled.clip_weights, pooled.frame_weights)

    def backbone_features(self, x: Tensor) -> Tensor:
        """Return the backbone's features (N, D) of frames (N, C, crop, crop), or of clips (N, C, T, crop, crop)."""
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        features = self.backbone(x)
        _expect(features, (x.shape[0], self.backbone.out_features), "the backbone")
        return features

    def _frame_features(self, x: Tensor, mask: Tensor | None, bn_per_frame: bool) -> Tensor:
        """Return (B, clips, frames, D); a clip backbone sees each clip whole, as one frame."""
        batch, clips, frames = x.shape[:3]
        if mask is not None and (self.training or self.input_kind == "clips") and not bool(mask.all()):
            return self._real_features(x, mask, bn_per_frame and self.training)
        if self.input_kind == "clips":
            return self.backbone_features(x.flatten(0, 1).transpose(1, 2)).unflatten(0, (batch, clips, 1))
        if bn_per_frame and self.training:
            places = x.flatten(1, 2).unbind(1)
            return torch.stack([self.backbone_features(place) for place in places], 1).unflatten(
                1, (clips, frames)
            )
        return self.backbone_features(x.flatten(0, 2)).unflatten(0, (batch, clips, frames))

    def _real_features(self, x: Tensor, mask: Tensor, bn_per_frame: bool) -> Tensor:
        """Return what `_frame_features` does, of the frames that are there alone, and 0 where none is."""
        batch, clips, frames = mask.shape
        if self.input_kind == "clips":
            x, mask = x.flatten(0, 1), mask.flatten(0, 1)
            call = mask.sum(1)  # in which call a clip is seen: that of its length
        else:
            x, mask = x.flatten(0, 2)[:, None], mask.flatten()[:, None]
            call = mask[:, 0].long()
            if bn_per_frame:
                call *= torch.arange(1, clips * frames + 1, device=call.device).repeat(batch)
        features = x.new_zeros(len(x), self.backbone.out_features)
        for number in call[call > 0].unique().tolist():
            rows = call == number
            real = x[mask & rows[:, None]].unflatten(0, (int(rows.sum()), -1))
            seen = real.transpose(1, 2) if self.input_kind == "clips" else real[:, 0]
            features[rows] = self.backbone_features(seen).to(features.dtype)
        return features.unflatten(0, (batch, clips, -1))

    def outputs(self, media: Tensor, tta: TTA = "none", mask: Tensor | None = None) -> Output:
        """Return what the model says of decoded media, averaged over the views of test-time augmentation.

        The model runs in evaluation mode whatever mode it is in, and in its own precision; what it returns is in
        single precision.

        Args:
            media: uint8 images (N, C, size, size) or videos (N, clips, frames, C, size, size), as
                `preprocessor.decode` makes them.
            tta: test-time augmentation.
            mask: bool (N, clips, frames), True for frames that are there.
        """
        lay_out(self)
        like = next(self.parameters())
        mask = None if mask is None else mask.to(like.device)
        with torch.inference_mode(), evaluating(self):
            views = self.preprocessor.views(media.to(like.device), tta).to(like.dtype)
            many = None if mask is None else mask.repeat_interleave(views.shape[1], 0)
            output = self(views.flatten(0, 1), many)

        def mean(value: Tensor | None) -> Any:
            return None if value is None else value.float().unflatten(0, views.shape[:2]).mean(1)

        heads = {name: mean(value) for name, value in output.heads.items()}
        return Output(heads, mean(output.features), mean(output.clip_weights), mean(output.frame_weights))

    def predict_outputs(
        self, media: Tensor, tta: TTA = "none", mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return each head's raw output (N, K); see `outputs`."""
        return self.outputs(media, tta, mask).heads

    def decode(self, outputs: dict[str, Tensor]) -> list[dict[str, dict[str, Any]]]:
        """Return, for each sample, each head's part of a prediction, by head name."""
        heads: Any = self.heads
        parts = {name: heads[name].decode(value) for name, value in outputs.items()}
        return [dict(zip(parts, row, strict=True)) for row in zip(*parts.values(), strict=True)]

    def predict(
        self,
        source: Any,
        *,
        faces: str | FaceDetector = "auto",
        window: float | None = None,
        hop: float | None = None,
        every: int = 1,
        frame_rate: float | None = None,
        tta: TTA = "none",
        batch_size: int = 32,
    ) -> Prediction | Timeline | Predictions:
        """Predict the faces of photos and videos.

        Models learn from pictures of faces, cut out in one way (`preprocess.face_margin`), and answer anything else
        wrongly without a sign of it. So by default faces are looked for, in photos as in videos, and nothing is
        guessed from a picture's size or shape: pictures that are faces already need `faces="none"`, and where no
        detector can be used that is an error. The detector that was taken is the result's `detector`.

        Threads may share a model in evaluation mode, as a loaded one is; a detector serves one of them at a time.

        Args:
            source: a photo, which is a path, the bytes of a file, a file opened in binary mode, a PIL image, an array
                (H, W[, C]) or a tensor ([C, ]H, W), gives a `Prediction`; the path of a video, a `Timeline`. Several in
                a list or an iterator, a folder or a glob pattern give `Predictions`, whose `errors` says what failed.
            faces: "auto" for the best detector that can be used here, the name of one, one that
                `emozoo.prediction.faces.open_detector` has opened with options, or "none".
            window: seconds of a video that are judged together, face by face; 0 for each frame by itself. By default
                4 for models that sample videos, which take their frames in each window, and 1 for models of images,
                whose answers are averaged over it.
            hop: seconds from one window to the next; by default half a window, or a whole one for models of images.
            every: look at every n-th frame of a video only; all that follows costs that much less.
            frame_rate: take folders for videos, an image a frame, so many a second; else they are collections.
            tta: test-time augmentation: "none", "flip" or "ten-crop".
            batch_size: images a forward pass.

        Raises:
            DataError: the one source that was given cannot be read; nothing matches a folder or pattern; an argument
                has no meaning.
            RecipeError: no test-time augmentation is called so.
            DetectorUnavailableError: no face detector can be used here; says how to get one.
        """
        from emozoo.prediction.predictions import predict
        from emozoo.prediction.videos import Windowing

        windowing = Windowing(window, hop, every, frame_rate)
        return predict(self, source, faces=faces, windowing=windowing, tta=tta, batch_size=batch_size)

    def save(self, folder: str | Path, *, store: Store = "fp32") -> Path:
        """Write config.json, model.safetensors, golden.safetensors and a manifest; see `emozoo.folder.save_model`."""
        from emozoo.folder import save_model

        return save_model(self, Path(folder), store=store)

    def extra_repr(self) -> str:
        """Return where the weights came from, for torch to print."""
        return f"source: {self.source}" if self.source else ""


def create(
    source: str | Path | Recipe | ModelConfig, overrides: Sequence[str] = (), seed: int | None = None
) -> EmotionModel:
    """Build an untrained model from a recipe: a file, a zoo name, or the object itself.

    Args:
        source: where the recipe is.
        overrides: "model.backbone.width=32" and the like, for a file or a zoo name.
        seed: seeds torch's global generator first, for reproducible initial weights.

    Raises:
        RecipeError: the recipe is wrong, with every wrong key.
    """
    if isinstance(source, str | Path):
        source = load_recipe(source, overrides)
    elif overrides:
        raise RecipeError("overrides apply to a recipe file or a zoo name, not to an object")
    if seed is not None:
        torch.manual_seed(seed)
    return EmotionModel(source.model if isinstance(source, Recipe) else source)


@contextmanager
def evaluating(model: nn.Module) -> Generator[None]:
    """Put a model in evaluation mode for a while, then each of its modules in the mode it was in."""
    training = [module for module in model.modules() if module.training]
    if training:
        model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def lay_out(model: nn.Module) -> None:
    """Lay kernels (out, in, H, W) out channels-last, as fast convolutions want them; values and sharing stay.

    Loading leaves that to the first use: until then, weights are the memory-mapped file's.
    """
    with torch.inference_mode(False):
        for weight in model.parameters():
            if weight.ndim == 4 and not weight.is_contiguous(memory_format=torch.channels_last):
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)


def _resolve(config: ModelConfig) -> dict[str, registry.Resolved]:
    """Import every component and check its options before anything is built."""
    wanted: dict[str, tuple[str, Part]] = {"backbone": ("backbone", config.backbone)}
    if config.aggregator is not None:
        wanted["aggregator"] = ("aggregator", config.aggregator)
    wanted |= {f"heads.{name}": ("head", part) for name, part in config.heads.items()}
    return {
        key: registry.resolve(kind, part.name, part.options, f"model.{key}")
        for key, (kind, part) in wanted.items()
    }


def _in_full(config: ModelConfig, parts: dict[str, registry.Resolved]) -> dict[str, Any]:
    """Return the parts of a config with their qualified names and all of their options."""
    full = {key: Part.model_validate(part.plain) for key, part in parts.items()}
    heads = {name: full.pop(f"heads.{name}") for name in config.heads}
    return {**full, "heads": heads}


def _requirements(parts: dict[str, registry.Resolved]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in parts.values():
        found |= part.requires
    return found


def _module(part: registry.Resolved, *context: Any) -> Any:
    built = part.build(*context)
    if not isinstance(built, nn.Module):
        raise ContractError(
            f"{part.where}: {part.name} built a {type(built).__name__}, not a torch.nn.Module"
        )
    return built


def _expect(value: Tensor, shape: tuple[int, ...], who: str) -> None:
    if tuple(value.shape) != shape:
        raise ContractError(f"{who} returned {tuple(value.shape)}, it declares {shape}")


def _declared(module: nn.Module, attribute: str, kind: type, where: str) -> Any:
    value = getattr(module, attribute, None)
    if not isinstance(value, kind):
        raise ContractError(
            f"{where}: {type(module).__name__} must declare {attribute} ({kind.__name__}), has {value!r}"
        )
    return value
