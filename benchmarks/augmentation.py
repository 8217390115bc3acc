"""Augmentation of batches of 256 grey 48x48 images on one thread: flip, shift, rotation, zoom, brightness, contrast.

The other side does the same to one image at a time with torchvision.transforms.v2, as a dataset's transform would.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmarks.measuring import Row, at_least, seconds
from emozoo.data.augment import Augmenter
from emozoo.data.preprocess import Preprocessor
from emozoo.recipe import Augment, Preprocess

BATCH = 256
GOAL = 20_000
CONFIG = Augment(flip=0.5, shift=True, rotate=15, scale=0.15, brightness=0.3, contrast=0.3)


def measure() -> list[Row]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (BATCH, 1, 48, 48), np.uint8))
        taken = seconds(
            {"emozoo": _batched(images), "torchvision": _one_by_one(images)}, repeats=15, warmup=2
        )
    finally:
        torch.set_num_threads(threads)
    rates = {name: BATCH / value for name, value in taken.items()}
    return [
        Row("torchvision.transforms.v2, image by image", rates["torchvision"], "images/s"),
        at_least("emozoo.data.augment, batch by batch", rates["emozoo"], "images/s", GOAL),
        Row("emozoo / torchvision", rates["emozoo"] / rates["torchvision"], "x"),
    ]


def _batched(images: Tensor) -> Callable[[], Tensor]:
    augmenter, rng = Augmenter(CONFIG, Preprocessor(Preprocess())), np.random.default_rng(0)
    return lambda: augmenter(images, augmenter.draw(BATCH, rng))


def _one_by_one(images: Tensor) -> Callable[[], Tensor]:
    from torchvision.transforms import v2

    shape = Preprocess()
    transform = v2.Compose(
        [
            v2.RandomAffine(
                (-CONFIG.rotate, CONFIG.rotate),
                scale=(1 - CONFIG.scale, 1 + CONFIG.scale),
                interpolation=v2.InterpolationMode.BILINEAR,
            ),
            v2.RandomCrop(shape.crop),
            v2.RandomHorizontalFlip(CONFIG.flip),
            v2.ColorJitter(CONFIG.brightness, CONFIG.contrast),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(shape.mean, shape.std),
        ]
    )
    return lambda: torch.stack([transform(image) for image in images])
