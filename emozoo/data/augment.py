"""Random changes of training images, on whole batches and on the batch's own device.

What is drawn is a pure function of the generator it is given, so that a resumed or a distributed run sees the
same images: draws are made for the whole batch of a step, and each process applies its own slice of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from emozoo.contracts import Targets
from emozoo.data.preprocess import Preprocessor
from emozoo.recipe import Augment


@dataclass(frozen=True, slots=True)
class Draws:
    """The random numbers of one batch: `theta` (B, 2, 3) of the affine map, colour factors (B,), boxes."""

    theta: np.ndarray
    brightness: np.ndarray
    contrast: np.ndarray
    saturation: np.ndarray
    box: np.ndarray
    """(B, 4): top, bottom, left, right in pixels of the output; empty where nothing is erased."""

    def part(self, index: slice) -> Draws:
        """Return the draws of some samples of the batch."""
        return Draws(*(getattr(self, name)[index] for name in self.__slots__))

    def repeat(self, times: int) -> Draws:
        """Return the draws with each sample's repeated, for the frames of a video, which all change alike."""
        return Draws(*(np.repeat(getattr(self, name), times, axis=0) for name in self.__slots__))


class Augmenter:
    """Turns uint8 (B, C, size, size) into normalised, randomly changed input (B, C, crop, crop)."""

    def __init__(self, config: Augment, preprocessor: Preprocessor) -> None:
        self.config = config
        self.preprocessor = preprocessor
        self.moves = config.rotate > 0 or config.scale > 0

    def draw(self, batch: int, rng: np.random.Generator) -> Draws:
        """Draw the random numbers of a batch."""
        config, shape = self.config, self.preprocessor.config
        room, reach = shape.size - shape.crop, self.config.padding
        corner = np.full((batch, 2), room // 2)
        if config.shift:
            corner = rng.integers(-reach, room + reach + 1, (batch, 2))
        flip = np.where(rng.random(batch) < config.flip, -1.0, 1.0)
        angle = np.deg2rad(rng.uniform(-1, 1, batch) * config.rotate)
        zoom = 1 / (1 + rng.uniform(-1, 1, batch) * config.scale)
        reaches = (config.brightness, config.contrast, config.saturation)
        factors = [1 + rng.uniform(-1, 1, batch) * reach for reach in reaches]
        theta = np.empty((batch, 2, 3), np.float32)
        theta[:, 0, 0], theta[:, 0, 1] = flip * zoom * np.cos(angle), -zoom * np.sin(angle)
        theta[:, 1, 0], theta[:, 1, 1] = flip * zoom * np.sin(angle), zoom * np.cos(angle)
        theta[:, :, :2] *= shape.crop / shape.size
        theta[:, :, 2] = (corner[:, ::-1] - room / 2) * 2 / shape.size
        return Draws(theta, *(f.astype(np.float32) for f in factors), self._boxes(batch, rng))

    def _boxes(self, batch: int, rng: np.random.Generator) -> np.ndarray:
        crop = self.preprocessor.config.crop
        area = rng.uniform(0.02, 0.2, batch) * crop * crop
        ratio = np.exp(rng.uniform(math.log(0.3), math.log(1 / 0.3), batch))
        sides = np.minimum(np.stack([np.sqrt(area * ratio), np.sqrt(area / ratio)], 1).round(), crop)
        start = np.floor(rng.random((batch, 2)) * (crop - sides + 1))
        erased = rng.random(batch) < self.config.erase
        end = np.where(erased[:, None], start + sides, start)
        return np.stack([start[:, 0], end[:, 0], start[:, 1], end[:, 1]], 1).astype(np.float32)

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """Apply draws to uint8 images (B, C, size, size) or videos (B, clips, frames, C, size, size)."""
        if images.ndim == 6:
            frames = images.shape[1] * images.shape[2]
            return self(images.flatten(0, 2), draws.repeat(frames)).unflatten(0, images.shape[:3])
        grid = _grid(torch.from_numpy(draws.theta).to(images.device), self.preprocessor.config.crop)
        mode = "bilinear" if self.moves else "nearest"  # whole-pixel moves keep the pixels as they are
        out = F.grid_sample(images.float(), grid, mode=mode, padding_mode="border", align_corners=False)
        out = self._colour(out, draws)
        scale, shift = self.preprocessor.affine(images.device)
        out = out.mul_(scale).add_(shift)
        return self._erase(out, draws) if self.config.erase else out

    def _colour(self, images: Tensor, draws: Draws) -> Tensor:
        """Brightness, contrast about each image's mean, saturation about each pixel's grey, clipped to 0..255."""
        config = self.config
        if not (config.brightness or config.contrast or config.saturation):
            return images

        def factor(values: np.ndarray) -> Tensor:
            return torch.from_numpy(values).to(images.device, non_blocking=True).view(-1, 1, 1, 1)

        if config.brightness:
            images = images.mul_(factor(draws.brightness))
        if config.contrast:
            images = torch.lerp(images.mean((1, 2, 3), keepdim=True), images, factor(draws.contrast))
        if config.saturation and images.shape[1] == 3:
            images = torch.lerp(
                images.mean(1, keepdim=True).expand_as(images), images, factor(draws.saturation)
            )
        return images.clamp_(0, 255)

    @staticmethod
    def _erase(images: Tensor, draws: Draws) -> Tensor:
        """Set each sample's box to 0, the mean colour."""
        top, bottom, left, right = torch.from_numpy(draws.box).to(images.device).view(-1, 4, 1).unbind(1)
        rows = torch.arange(images.shape[-2], device=images.device)
        columns = torch.arange(images.shape[-1], device=images.device)
        inside = ((rows >= top) & (rows < bottom))[:, :, None] & ((columns >= left) & (columns < right))[
            :, None, :
        ]
        return images.masked_fill_(inside[:, None], 0.0)


def _grid(theta: Tensor, side: int) -> Tensor:
    """Return `F.affine_grid` of (B, 2, 3) for square images (B, side, side, 2), several times as fast."""
    steps = (2 * torch.arange(side, device=theta.device) + 1) / side - 1
    across, down, offset = theta.unsqueeze(-1).unbind(2)
    return ((across * steps + offset).unsqueeze(2) + (down * steps).unsqueeze(3)).permute(0, 2, 3, 1)


def mix(
    images: Tensor, targets: Targets, config: Augment, rng: np.random.Generator
) -> tuple[Tensor, Targets]:
    """Mixup (Zhang et al. 2018) or cutmix (Yun et al. 2019): blend each sample with its mirror in the batch.

    A target that is missing in either sample is missing in the mixture.
    """
    choices = [name for name in ("mixup", "cutmix") if getattr(config, name) > 0]
    if not choices:
        return images, targets
    kind = choices[int(rng.integers(len(choices)))]
    share = float(rng.beta(getattr(config, kind), getattr(config, kind)))
    if kind == "mixup":
        images = torch.lerp(images.flip(0), images, share)
    else:
        images, share = _paste(images, share, rng)
    return images, _blend(targets, share, len(targets))


def _blend(targets: Targets, share: float, together: int) -> Targets:
    """Blend each sample's targets with its mirror's among the samples that are mixed together.

    In the whole batch the blended values are not those of the other parts, which draw shares of their own; only which
    targets are missing is exact.
    """

    def blend(values: Tensor) -> Tensor:
        mirror = torch.cat([part.flip(0) for part in values.split(together)])
        return torch.lerp(mirror, values, share)

    whole = None if targets.whole is None else _blend(targets.whole, share, together)
    return Targets(blend(targets.label), blend(targets.vad), whole)


def _paste(images: Tensor, share: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    """Paste a box of the mirrored batch; return the images and the share of each that is its own."""
    height, width = images.shape[-2:]
    side = math.sqrt(1 - share)
    centre = rng.random(2) * (height, width)
    top, bottom = (int(np.clip(centre[0] + s * side * height / 2, 0, height)) for s in (-1, 1))
    left, right = (int(np.clip(centre[1] + s * side * width / 2, 0, width)) for s in (-1, 1))
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = images.flip(0)[..., top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)
