"""How an image becomes a model's input: one object for training, evaluation and prediction."""

from __future__ import annotations

import io
import mimetypes
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np
import torch
from torch import Tensor

from emozoo.contracts import IMAGE_FORMATS, UNREAD_SUFFIXES
from emozoo.errors import ContractError, DataError, RecipeError, suggest
from emozoo.printable import shortened
from emozoo.recipe import TTA, Preprocess

if TYPE_CHECKING:
    from PIL.Image import Image

PIXEL_LIMIT, SIDE_LIMIT = 100_000_000, 1 << 16
"""Pixels of an image, and of a side of it, above which it is refused before it is decoded."""


def check_tta(text: str) -> TTA:
    """Return a test-time augmentation by name, or raise RecipeError with the names that there are."""
    if text not in get_args(TTA):
        near = suggest(str(text), get_args(TTA))
        raise RecipeError(f"test-time augmentation {text!r}: choose one of {', '.join(get_args(TTA))}.{near}")
    return cast(TTA, text)


class Preprocessor:
    """Turns media into uint8 squares (C, size, size), and batches of those into input (N, C, crop, crop)."""

    def __init__(self, config: Preprocess) -> None:
        self.config = config

    def decode(self, media: Any, name: str = "image") -> Tensor:
        """Return uint8 (C, size, size) of an image; see `open_image` for what may be one.

        Arrays are (H, W) or (H, W, C), tensors (H, W) or (C, H, W); either uint8 or floating in [0, 1]; three
        channels are RGB.

        Raises:
            DataError: not an image, damaged, too large, or of an unexpected shape or range; names the media.
        """
        image = self._square(open_image(media, name))
        pixels = np.asarray(image, dtype=np.uint8)
        return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1).copy())

    def _square(self, image: Image) -> Image:
        from PIL import Image as pil
        from PIL import ImageOps

        size = (self.config.size, self.config.size)
        image = image.convert("L" if self.config.colour == "grey" else "RGB")
        if image.size == size:
            return image
        if self.config.fit == "stretch":
            return image.resize(size, pil.Resampling.BICUBIC)
        if self.config.fit == "pad":
            share = self.config.size / max(image.size)
            inner = (max(1, round(image.width * share)), max(1, round(image.height * share)))
            canvas = pil.new(image.mode, size)
            canvas.paste(
                image.resize(inner, pil.Resampling.BICUBIC),
                (round((size[0] - inner[0]) / 2), round((size[1] - inner[1]) / 2)),
            )
            return canvas
        return ImageOps.fit(image, size, pil.Resampling.BICUBIC)

    def normalise(self, images: Tensor) -> Tensor:
        """Scale uint8 (..., C, H, W) to [0, 1] and normalise each channel by the recipe's mean and std."""
        scale, shift = self.affine(images.device)
        return images.float().mul_(scale).add_(shift)

    def affine(self, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Return (scale, shift), each (C, 1, 1), with which pixels 0..255 become normalised input."""
        mean = torch.tensor(self.config.mean, device=device).view(-1, 1, 1)
        std = torch.tensor(self.config.std, device=device).view(-1, 1, 1)
        return 1 / (255 * std), -mean / std

    def views(self, images: Tensor, tta: TTA = "none") -> Tensor:
        """Return the evaluation views of uint8 (N, ..., C, size, size) as input (N, views, ..., C, crop, crop).

        Args:
            images: images (N, C, size, size), or videos (N, clips, frames, C, size, size).
            tta: test-time augmentation.

        Raises:
            ContractError: the images are of another type or shape, as images that `decode` has not made are.
            RecipeError: no test-time augmentation is called so.
        """
        check_tta(tta)
        shape = (self.config.channels, self.config.size, self.config.size)
        if images.dtype != torch.uint8 or tuple(images.shape[-3:]) != shape or images.ndim not in (4, 6):
            size = ", ".join(map(str, shape))
            raise ContractError(
                f"images are {images.dtype} {tuple(images.shape)}; this model takes uint8 (N, {size}), or "
                f"videos (N, clips, frames, {size}): decode them"
            )
        crops = [self._crop(images, *corner) for corner in self._corners(tta)]
        if tta != "none":
            crops += [crop.flip(-1) for crop in crops]
        return self.normalise(torch.stack(crops, dim=1))

    def _corners(self, tta: TTA) -> list[tuple[int, int]]:
        room = self.config.size - self.config.crop
        centre = (room // 2, room // 2)
        if tta != "ten-crop":
            return [centre]
        return [(0, 0), (0, room), (room, 0), (room, room), centre]

    def _crop(self, images: Tensor, top: int, left: int) -> Tensor:
        crop = self.config.crop
        return images[..., top : top + crop, left : left + crop]


def open_image(media: Any, name: str = "image") -> Image:
    """Return a PIL image, upright and opaque, in mode L or RGB.

    Args:
        media: a path, the bytes of a file, a file opened in binary mode, a PIL image, an array or a tensor.
        name: what errors call it.

    Raises:
        DataError: it is no image, damaged, too large, or of an unexpected shape or range.
    """
    from PIL import Image as pil

    if isinstance(media, torch.Tensor):
        if media.is_meta or media.layout != torch.strided:
            kind = "meta" if media.is_meta else "sparse"
            raise DataError(f"{name}: a {kind} tensor has no pixels to read; give a dense one")
        tensor = media.detach().cpu()
        tensor = tensor.float() if tensor.is_floating_point() else tensor
        media = (tensor.permute(1, 2, 0) if tensor.ndim == 3 else tensor).numpy()
    if isinstance(media, np.ndarray):
        return _from_array(media, name)
    if isinstance(media, str | Path) and not os.path.isfile(media):
        raise DataError(f"{shortened(name)}: {absent(media)}")
    binary = hasattr(media, "read") and not isinstance(media, io.TextIOBase)
    if not binary and not isinstance(media, str | Path | bytes | pil.Image):
        raise DataError(
            f"{name}: cannot read a {type(media).__name__}; give a path, the bytes of a file, a file opened in "
            "binary mode, a PIL image, an array or a tensor"
        )
    try:
        if isinstance(media, pil.Image):
            return _upright(media, name)
        file = io.BytesIO(media) if isinstance(media, bytes) else media
        with pil.open(file, formats=IMAGE_FORMATS) as image:
            return _upright(image, name)
    except DataError:
        raise
    except pil.UnidentifiedImageError:
        raise DataError(f"{name}: {_kind(media)}") from None
    except (
        Exception
    ) as error:  # decoders raise anything on damaged files: struct.error, KeyError, EOFError, ...
        if isinstance(error, OSError) and error.errno is not None:  # from the system, not from a decoder
            raise DataError(f"{name}: {error.strerror}") from error
        raise DataError(f"{name}: damaged image ({type(error).__name__}: {error})") from error


def absent(path: str | Path) -> str:
    """Say why there is no file to read at a path."""
    if "://" in str(path):
        return "addresses are not fetched; download it first"
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        pass
    except OSError as error:
        return error.strerror or str(error)
    return f"there is no file {path}" if path != "" else "an empty path is no file"


def _kind(media: Any) -> str:
    path = Path(media) if isinstance(media, str | Path) else Path()
    if path.suffix.lower() in UNREAD_SUFFIXES:
        return f"{path.suffix} files are not read; convert a photo to JPEG or PNG, a video to MP4"
    kind = mimetypes.guess_type(path)[0]
    if kind is not None and kind.startswith("video/"):
        return "a video, not an image; save the frames that matter as images"
    return "not an image that can be read (damaged, or another kind of file)"


def _upright(image: Image, name: str) -> Image:
    """Apply the EXIF orientation and lay transparent images on black; return mode L or RGB."""
    from PIL import Image as pil

    if image.width * image.height > PIXEL_LIMIT or max(image.size) > SIDE_LIMIT:
        limits = f"{PIXEL_LIMIT:,}, and {SIDE_LIMIT:,} a side"
        raise DataError(f"{name}: {image.width}x{image.height} pixels, the limit is {limits}")
    if image.mode == "I" and image.format not in (
        "PNG",
        "PPM",
    ):  # of which Pillow gives 16 bits a pixel as 32
        raise DataError(
            f"{name}: pixels are 32-bit integers (mode I), and nothing tells which is white; convert it to mode L "
            "(0..255), I;16 (0..65535) or F (0 to 1)"
        )
    image = _turned(image)
    if image.mode == "F" or image.mode.startswith("I"):  # 16 bits a pixel, or floating
        return _from_array(np.asarray(image) / (1 if image.mode == "F" else 65535), name)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = pil.alpha_composite(pil.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")


def _turned(image: Image) -> Image:
    """Turn an image as its EXIF says. Of that nothing else is read, since much of it is wrong in sound photos."""
    from PIL import Image as pil
    from PIL.ExifTags import Base

    image.load()  # some formats have the EXIF behind the pixels
    try:
        orientation = image.getexif().get(Base.Orientation)
    except Exception:  # what is no EXIF says nothing against the pixels
        return image
    turn = pil.Transpose
    turns = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_270,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image


def _from_array(pixels: np.ndarray, name: str) -> Image:
    from PIL import Image as pil

    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if (
        pixels.ndim not in (2, 3)
        or (pixels.ndim == 3 and pixels.shape[-1] not in (3, 4))
        or 0 in pixels.shape
    ):
        raise DataError(
            f"{name}: shape {pixels.shape}; arrays are (H, W) or (H, W, 3), tensors (H, W) or (3, H, W)"
        )
    if np.issubdtype(pixels.dtype, np.floating):
        if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 1:
            raise DataError(f"{name}: floating pixels must lie in [0, 1]; pass uint8 for 0..255")
        pixels = (pixels * 255).round().astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise DataError(f"{name}: pixels are {pixels.dtype}; pass uint8 (0..255) or floating ([0, 1])")
    return _upright(pil.fromarray(np.ascontiguousarray(pixels)), name)
