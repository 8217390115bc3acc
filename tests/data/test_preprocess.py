"""How an image becomes input: against PIL and numpy written out, and torchvision's ten crops."""

from __future__ import annotations

import io
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from emozoo.data.preprocess import PIXEL_LIMIT, Preprocessor, check_tta, open_image
from emozoo.errors import ContractError, DataError, RecipeError
from emozoo.recipe import Preprocess

GREY = Preprocessor(Preprocess(size=20, crop=16))


def rgb(**changes: Any) -> Preprocessor:
    shape = {
        "size": 20,
        "crop": 16,
        "colour": "rgb",
        "mean": (0.1, 0.2, 0.3),
        "std": (0.4, 0.5, 0.6),
        **changes,
    }
    return Preprocessor(Preprocess(**shape))


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    return pixels[..., 0] if channels == 1 else pixels


def smooth(height: int, width: int) -> np.ndarray:
    """A picture whose features say where they are: red grows to the right, green downwards."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([columns * 255 // (width - 1), rows * 255 // (height - 1), rows * 0 + 128], 2).astype(
        np.uint8
    )


# --- colour ---------------------------------------------------------------------------------------------------


def test_an_image_of_the_right_size_keeps_its_pixels() -> None:
    pixels = noise(20, 20)
    assert torch.equal(rgb().decode(pixels), torch.from_numpy(pixels).permute(2, 0, 1))
    assert torch.equal(GREY.decode(pixels[..., 0]), torch.from_numpy(pixels[None, ..., 0]))


def test_grey_is_the_luma_of_red_green_and_blue() -> None:
    pixels = noise(20, 20)
    luma = (pixels * np.array([0.299, 0.587, 0.114])).sum(2)
    assert np.abs(GREY.decode(pixels)[0].numpy() - luma).max() <= 0.51


def test_a_grey_image_has_three_equal_channels_for_a_colour_model() -> None:
    pixels = noise(20, 20, 1)
    decoded = rgb().decode(pixels).numpy()
    for channel in decoded:
        assert (channel == pixels).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "LAB", "HSV"])
def test_every_mode_of_pil_is_read_as_pil_converts_it(mode: str) -> None:
    image = Image.fromarray(noise(20, 20)).convert("RGB")
    image = image.convert(mode) if mode != "LAB" else Image.fromarray(noise(20, 20), "RGB")
    assert (rgb().decode(image).permute(1, 2, 0).numpy() == np.asarray(image.convert("RGB"))).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparent_pixels_lie_on_black(mode: str) -> None:
    alpha = noise(20, 20, 1, seed=1)
    alpha[:5], alpha[5:10] = 0, 255
    image = Image.fromarray(noise(20, 20)).convert(mode.removesuffix("A")).convert(mode)
    image.putalpha(Image.fromarray(alpha))
    opaque = np.asarray(image.convert("RGBA").convert("RGB"))
    decoded = rgb().decode(image).permute(1, 2, 0).numpy()
    assert np.abs(decoded - opaque * (alpha[..., None] / 255)).max() <= 1
    assert not decoded[:5].any()
    assert (decoded[5:10] == opaque[5:10]).all()


def test_a_transparent_colour_of_a_palette_lies_on_black() -> None:
    image = Image.fromarray(noise(20, 20, 1)).convert("P")
    image.info["transparency"] = 7
    where = np.asarray(image) == 7
    image.putpalette([v for i in range(256) for v in (i, 255 - i, 99)])
    decoded = rgb().decode(image).permute(1, 2, 0).numpy()
    assert where.any()
    assert not decoded[where].any()
    assert (decoded[~where][:, 2] == 99).all()


def test_sixteen_bits_are_read_at_their_full_range_whatever_the_image_holds() -> None:
    deep = np.random.default_rng(0).integers(0, 30_000, (20, 20), np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(deep).save(buffer, "PNG")
    decoded = GREY.decode(buffer.getvalue())[0].numpy()
    assert np.abs(decoded - deep / 257).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("largest", [255, 30_000])
def test_integers_of_32_bits_are_read_from_files_that_tell_their_range_and_else_refused(largest: int) -> None:
    deep = np.random.default_rng(0).integers(0, largest + 1, (20, 20), np.int32)
    netpbm = b"P5 20 20 65535\n" + deep.astype(">u2").tobytes()
    assert Image.open(io.BytesIO(netpbm)).mode == "I"
    assert np.abs(GREY.decode(netpbm)[0].numpy() - deep / 257).max() <= 0.5 + 1e-6
    with pytest.raises(DataError, match=r"image: pixels are 32-bit integers .*convert it to mode L"):
        GREY.decode(Image.fromarray(deep))


def test_floating_images_lie_between_0_and_1() -> None:
    values = np.random.default_rng(0).random((20, 20)).astype(np.float32)
    assert torch.equal(GREY.decode(Image.fromarray(values)), GREY.decode(values))
    with pytest.raises(DataError, match="floating pixels must lie in"):
        GREY.decode(Image.fromarray(values * 255))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_tensors_of_any_precision_are_read(dtype: torch.dtype) -> None:
    values = (torch.randint(0, 2, (3, 20, 20))).to(dtype)
    assert torch.equal(rgb().decode(values), (values * 255).byte())


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (2, lambda p: p[:, ::-1]),
        (3, lambda p: p[::-1, ::-1]),
        (4, lambda p: p[::-1]),
        (5, lambda p: p.transpose(1, 0, 2)),
        (6, lambda p: np.rot90(p, -1)),
        (7, lambda p: np.rot90(p, 2).transpose(1, 0, 2)),
        (8, np.rot90),
    ],
)
def test_a_photo_is_turned_upright_as_its_exif_says(tmp_path: Path, orientation: int, turn: Any) -> None:
    pixels = smooth(20, 20)
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[274] = orientation
    image.save(tmp_path / "turned.png", exif=exif)
    assert (rgb().decode(tmp_path / "turned.png").permute(1, 2, 0).numpy() == turn(pixels)).all()


def oriented(orientation: bytes = b"\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00") -> bytes:
    """A picture whose EXIF gives an orientation, as type, count and value, beside a time whose type is a wrong one."""
    start, time = b"II*\x00\x08\x00\x00\x00\x02\x00", b"\x32\x01\x05\x00\x01\x00\x00\x00\x00\x00\x00\x00"
    buffer = io.BytesIO()
    exif = b"Exif\x00\x00" + start + b"\x12\x01" + orientation + time + bytes(4)
    Image.fromarray(smooth(20, 20)).save(buffer, "PNG", exif=exif)
    return buffer.getvalue()


def test_a_photo_is_turned_upright_whatever_else_its_exif_holds() -> None:
    upright = np.rot90(smooth(20, 20), -1)
    assert (rgb().decode(oriented()).permute(1, 2, 0).numpy() == upright).all()


@pytest.mark.parametrize("exif", [b"Exif\x00\x00no TIFF", b"\x00"])
def test_a_sound_photo_whose_exif_cannot_be_read_is_taken_as_it_is_stored(exif: bytes) -> None:
    buffer = io.BytesIO()
    Image.fromarray(smooth(20, 20)).save(buffer, "PNG", exif=exif)
    assert (rgb().decode(buffer.getvalue()).permute(1, 2, 0).numpy() == smooth(20, 20)).all()


@pytest.mark.parametrize(
    "orientation", [b"\x03\x00\x01\x00\x00\x00\x09\x00\x00\x00", b"\x02\x00\x01\x00\x00\x0066\x00\x00"]
)
def test_an_orientation_that_means_nothing_turns_nothing(orientation: bytes) -> None:
    decoded = rgb().decode(oriented(orientation))
    assert (decoded.permute(1, 2, 0).numpy() == smooth(20, 20)).all()


# --- fit ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(40, 80), (80, 40), (41, 67), (20, 90), (7, 13)])
def test_crop_keeps_the_largest_square_of_the_middle(height: int, width: int) -> None:
    pixels = smooth(height, width)
    side = min(height, width)
    top, left = (height - side) / 2, (width - side) / 2
    box = (left, top, left + side, top + side)
    expected = Image.fromarray(pixels).resize((20, 20), Image.Resampling.BICUBIC, box=box)
    assert (rgb(fit="crop").decode(pixels).permute(1, 2, 0).numpy() == np.asarray(expected)).all()


@pytest.mark.parametrize(("height", "width"), [(40, 80), (80, 40), (41, 67), (7, 13)])
def test_stretch_resizes_both_sides_each_by_its_own_factor(height: int, width: int) -> None:
    pixels = smooth(height, width)
    expected = Image.fromarray(pixels).resize((20, 20), Image.Resampling.BICUBIC)
    assert (rgb(fit="stretch").decode(pixels).permute(1, 2, 0).numpy() == np.asarray(expected)).all()


@pytest.mark.parametrize(("height", "width"), [(40, 80), (80, 40), (10, 40)])
def test_pad_keeps_all_of_the_image_between_black_bars(height: int, width: int) -> None:
    pixels = smooth(height, width)
    scale = 20 / max(height, width)
    inner = round(height * scale), round(width * scale)
    expected = np.zeros((20, 20, 3), np.uint8)
    top, left = round((20 - inner[0]) / 2), round((20 - inner[1]) / 2)
    resized = Image.fromarray(pixels).resize(inner[::-1], Image.Resampling.BICUBIC)
    expected[top : top + inner[0], left : left + inner[1]] = np.asarray(resized)
    assert (rgb(fit="pad").decode(pixels).permute(1, 2, 0).numpy() == expected).all()


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (2, 19), (20, 21)])
def test_the_result_is_a_square_of_the_size_whatever_comes_in(fit: str, shape: tuple[int, int]) -> None:
    for preprocessor in (rgb(fit=fit), Preprocessor(Preprocess(size=20, crop=16, fit=fit))):
        decoded = preprocessor.decode(noise(*shape))
        assert decoded.shape == (preprocessor.config.channels, 20, 20)
        assert decoded.dtype == torch.uint8


def test_decoding_leaves_what_was_handed_over_as_it_was() -> None:
    pixels = noise(20, 20)
    image = Image.fromarray(pixels.copy())
    rgb().decode(image)
    decoded = rgb().decode(pixels)
    decoded.zero_()
    assert (np.asarray(image) == noise(20, 20)).all()
    assert (pixels == noise(20, 20)).all()


# --- damaged and hostile files --------------------------------------------------------------------------------


def encoded(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(noise(30, 30)).save(buffer, form)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_damaged_bytes_are_an_image_or_an_error_that_names_the_file(form: str) -> None:
    data = encoded(form)
    rng = random.Random(form)
    messages = []
    for _ in range(150):
        damaged = bytearray(data[: rng.randrange(len(data))] if rng.random() < 0.3 else data)
        for _ in range(rng.randrange(1, 6)):
            if damaged:
                damaged[min(rng.randrange(len(damaged)), rng.randrange(len(damaged)))] = rng.randrange(256)
        try:
            assert GREY.decode(bytes(damaged), "photo 7").shape == (1, 20, 20)
        except DataError as error:
            messages.append(str(error))
    assert len(messages) > 10
    assert all(message.startswith("photo 7: ") for message in messages)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("side", "message"),
    [(10_500, "10500x10500 pixels, the limit is 100,000,000"), (20_000, "damaged image .*exceeds limit")],
)
def test_an_image_too_large_to_decode_is_refused_from_its_header(side: int, message: str) -> None:
    assert side * side > PIXEL_LIMIT
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", side, side, 8, 2, 0, 0, 0)
    head += struct.pack(">I", zlib.crc32(head[12:]))
    head += struct.pack(">I4sI", 0, b"IDAT", zlib.crc32(b"IDAT"))
    with pytest.raises(DataError, match=f"photo: {message}"):
        open_image(head, "photo")


# --- input ----------------------------------------------------------------------------------------------------


def test_input_is_normalised_channel_by_channel() -> None:
    images = torch.from_numpy(noise(16, 16)).permute(2, 0, 1)[None]
    result = rgb().normalise(images)
    for channel, (mean, std) in enumerate([(0.1, 0.4), (0.2, 0.5), (0.3, 0.6)]):
        expected = (images[0, channel].double() / 255 - mean) / std
        torch.testing.assert_close(result[0, channel].double(), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("size", "crop"), [(20, 16), (21, 16), (20, 20)])
def test_evaluation_sees_the_crop_of_the_middle(size: int, crop: int) -> None:
    preprocessor = rgb(size=size, crop=crop)
    images = torch.from_numpy(noise(size, size)).permute(2, 0, 1)[None]
    start = (size - crop) // 2
    expected = preprocessor.normalise(images[..., start : start + crop, start : start + crop])
    assert torch.equal(preprocessor.views(images), expected[:, None])


def test_flip_sees_it_and_its_mirror_image() -> None:
    images = torch.from_numpy(noise(20, 20)).permute(2, 0, 1)[None]
    centre, mirror = rgb().views(images, "flip")[0]
    assert torch.equal(centre, rgb().views(images)[0, 0])
    for column in range(16):
        assert torch.equal(mirror[..., column], centre[..., 15 - column])


@pytest.mark.parametrize(("size", "crop"), [(20, 16), (48, 44), (30, 20), (16, 16)])
def test_ten_crop_sees_the_crops_that_torchvision_makes(size: int, crop: int) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    preprocessor = rgb(size=size, crop=crop)
    images = torch.from_numpy(noise(2 * size, size)).view(2, size, size, 3).permute(0, 3, 1, 2)
    views = preprocessor.views(images, "ten-crop")
    assert views.shape == (2, 10, 3, crop, crop)
    for image, found in zip(images, views, strict=True):
        wanted = [preprocessor.normalise(view) for view in transforms.TenCrop(crop)(image)]
        assert all(any(torch.equal(view, other) for other in found) for view in wanted)
        assert all(any(torch.equal(view, other) for other in wanted) for view in found)


def test_views_of_undecoded_pixels_are_refused() -> None:
    with pytest.raises(ContractError, match=r"this model takes uint8 \(N, 1, 20, 20\)"):
        GREY.views(torch.zeros(1, 1, 24, 24, dtype=torch.uint8))


def test_the_names_of_test_time_augmentation_are_known() -> None:
    assert [check_tta(name) for name in ("none", "flip", "ten-crop")] == ["none", "flip", "ten-crop"]
    wrong = r"'tencrop': choose one of none, flip, ten-crop\. Did you mean 'ten-crop'\?"
    with pytest.raises(RecipeError, match=wrong):
        check_tta("tencrop")
    pixels: Any = torch.zeros(1, 1, 20, 20, dtype=torch.uint8)
    unknown: Any = "tencrop"
    with pytest.raises(RecipeError, match=wrong):
        GREY.views(pixels, unknown)
    for unknown in (None, True, 10):
        with pytest.raises(RecipeError, match=f"{unknown}: choose one of none, flip, ten-crop"):
            GREY.views(pixels, unknown)


def test_real_photos_decode_as_pil_does(real_data: Path) -> None:
    with Image.open(real_data / "media" / "single_face.jpg") as image:
        side = min(image.size)
        left, top = ((extent - side) / 2 for extent in image.size)
        box = (left, top, left + side, top + side)
        expected = image.convert("L").resize((20, 20), Image.Resampling.BICUBIC, box=box)
    assert (GREY.decode(real_data / "media" / "single_face.jpg")[0].numpy() == np.asarray(expected)).all()
