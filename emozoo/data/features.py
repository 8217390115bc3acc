"""What a frozen backbone makes of all media: computed once, kept in a cache, trained on by everything behind it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from emozoo.data.frames_cache import read_arrays, write_arrays
from emozoo.data.media import Images, Videos
from emozoo.data.samples import Samples
from emozoo.data.videos import cache_key, every_frame
from emozoo.errors import DataError, RecipeError
from emozoo.files import complete
from emozoo.model import EmotionModel, evaluating, lay_out

BATCH = 256
"""Images a forward pass."""


def extract(model: EmotionModel, samples: Samples, cache: Path | None = None) -> Samples:
    """Return the samples with the backbone's features, which are then fetched in place of pixels.

    Their fingerprint stays that of what was read. Of a video, features of all its frames are kept, so that a
    sampler may draw among them. The centre crop is looked at, in evaluation mode and single precision.

    Args:
        model: the model whose backbone is frozen; where it is, the features are computed.
        samples: decoded or not.
        cache: a folder to keep features in, and to take them from where they are there.

    Raises:
        RecipeError: the backbone sees whole clips, which a sampler draws anew each time.
    """
    lay_out(model)
    if model.input_kind == "clips":
        raise RecipeError(
            "train.freeze needs a backbone that sees single frames; this one sees clips, drawn anew each time"
        )
    if isinstance(samples.media, Images):
        return replace(samples, media=replace(samples.media, features=_of_images(model, samples, cache)))
    videos = samples.media
    if not isinstance(videos, Videos):
        raise RecipeError(f"train.freeze knows images and videos, not {type(videos).__name__}")
    if cache is None:
        arrays = list(_of_videos(model, videos))
    else:
        path = cache / f"features-{cache_key(videos, backbone_key(model))}.arrow"
        if not path.is_file():
            write_arrays(path, (array.numpy() for array in _of_videos(model, videos)))
        arrays = read_arrays(path)
    return replace(samples, media=replace(videos, arrays=arrays, counts=[len(array) for array in arrays]))


def _of_images(model: EmotionModel, samples: Samples, cache: Path | None) -> Tensor:
    """Return features (N, D); a cache is by image, so that folds and other parts of a dataset share it."""
    path = cache and cache / f"features-images-{backbone_key(model)}.safetensors"
    known = _read_images(path) if path else {}
    names, found = [], dict[bytes, Tensor]()
    for _, batch in samples.batches(torch.arange(len(samples)).split(BATCH)):
        digests = [hashlib.sha256(image.numpy().tobytes()).digest() for image in batch.x]
        new = [i for i, name in enumerate(digests) if name not in known]
        if new:
            found.update(zip((digests[i] for i in new), _features(model, batch.x[new]), strict=True))
        names += digests
    known |= found
    if path and found:
        digests = torch.frombuffer(bytearray(b"".join(known)), dtype=torch.uint8).view(-1, 32)
        _write_images(path, {"images": digests, "features": torch.stack(list(known.values()))})
    return torch.stack([known[name] for name in names])


def _read_images(path: Path) -> dict[bytes, Tensor]:
    """Return the features of a cache by the hash of their image; none where there is no cache yet."""
    if not path.is_file():
        return {}
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
        names = [name.numpy().tobytes() for name in tensors["images"]]
        return dict(zip(names, tensors["features"], strict=True))
    except (SafetensorError, KeyError, ValueError) as error:
        raise DataError(
            f"{path} is no cache of features ({error}); delete it, it will be made anew"
        ) from None


def _write_images(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a cache, which appears when it is complete."""
    from safetensors.torch import save_file

    with complete(path) as place:
        save_file(tensors, place)


def backbone_key(model: EmotionModel) -> str:
    """Return a hash of what decides a frame's features: the backbone, its weights, the preprocessing."""
    digest = hashlib.sha256(model.config.backbone.model_dump_json().encode())
    digest.update(model.config.preprocess.model_dump_json().encode())
    for name, value in sorted(model.backbone.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@torch.inference_mode()
def _features(model: EmotionModel, pixels: Tensor) -> Tensor:
    """Return features (N, D) of uint8 (N, C, size, size), on the CPU."""
    device = next(model.backbone.parameters()).device
    with evaluating(model), torch.autocast(device.type, enabled=False):
        return (
            model.backbone_features(model.preprocessor.views(pixels.to(device))[:, 0]).float().cpu().clone()
        )


def _of_videos(model: EmotionModel, videos: Videos) -> Iterator[Tensor]:
    """Yield features (T, D) of every video, frames of several going through the backbone together."""
    waiting: list[Tensor] = []
    for frames in videos.arrays if videos.arrays is not None else every_frame(videos):
        waiting.append(frames)
        if sum(map(len, waiting)) >= BATCH:
            yield from _together(model, waiting)
            waiting = []
    yield from _together(model, waiting)


def _together(model: EmotionModel, waiting: list[Tensor]) -> Iterator[Tensor]:
    if waiting:
        features = torch.cat([_features(model, part) for part in torch.cat(waiting).split(BATCH)])
        yield from features.split([len(frames) for frames in waiting])
