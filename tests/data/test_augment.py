"""Augmentation: exact where it can be, against torchvision and loops where not, and the same however it is split."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from emozoo.contracts import Targets
from emozoo.data.augment import Augmenter, Draws, _grid, mix
from emozoo.data.preprocess import Preprocessor
from emozoo.recipe import Augment, Preprocess

STILL = {"flip": 0.0, "shift": False}
TURNS = {"shift": True, "rotate": 30, "scale": 0.3}
ALL = {
    "rotate": 20,
    "scale": 0.2,
    "brightness": 0.3,
    "contrast": 0.3,
    "saturation": 0.3,
    "erase": 0.5,
    "padding": 3,
}


def augmenter(size: int = 48, crop: int = 44, colour: str = "grey", **changes: Any) -> Augmenter:
    channels = 1 if colour == "grey" else 3
    shape = Preprocess(size=size, crop=crop, colour=colour, mean=(0.4,) * channels, std=(0.3,) * channels)
    return Augmenter(Augment(**changes), Preprocessor(shape))


def images(count: int, size: int = 48, channels: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(
        np.random.default_rng(seed).integers(0, 256, (count, channels, size, size), np.uint8)
    )


def smooth(count: int, size: int = 48) -> torch.Tensor:
    """Pictures without edges, on which interpolation has little to decide."""
    rows, columns = np.mgrid[0:size, 0:size] / size
    waves = [
        np.sin(2 * np.pi * ((1 + k % 2) * rows + (1 + k % 3) * columns / 2 + k / 7)) for k in range(count)
    ]
    return torch.from_numpy((127.5 + 120 * np.stack(waves)).round().astype(np.uint8))[:, None]


def pixels(change: Augmenter, output: torch.Tensor) -> torch.Tensor:
    """Undo the normalisation: values from 0 to 255."""
    scale, shift = change.preprocessor.affine()
    return (output - shift) / scale


def apply(change: Augmenter, batch: torch.Tensor, seed: int = 0) -> tuple[torch.Tensor, Draws]:
    draws = change.draw(len(batch), np.random.default_rng(seed))
    return change(batch, draws), draws


# --- whole pixels ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", ["grey", "rgb"])
@pytest.mark.parametrize(("size", "crop"), [(48, 44), (33, 28), (20, 20)])
def test_without_augmentation_it_is_the_crop_of_evaluation_bit_for_bit(
    size: int, crop: int, colour: str
) -> None:
    change = augmenter(size, crop, colour, **STILL)
    batch = images(5, size, change.preprocessor.config.channels)
    assert torch.equal(apply(change, batch)[0], change.preprocessor.views(batch)[:, 0])


def placed(
    batch: torch.Tensor, crop: int, output: torch.Tensor, reach: int = 0
) -> list[tuple[int, int, bool]]:
    """Find, by slicing, which corner and mirror of each (padded) image an output is; exactly one must fit."""
    found = []
    for image, result in zip(F.pad(batch.float(), [reach] * 4, mode="replicate"), output, strict=True):
        room = image.shape[-1] - crop
        fits = [
            (top - reach, left - reach, flip)
            for top in range(room + 1)
            for left in range(room + 1)
            for flip in (False, True)
            if torch.equal(turned(image[:, top : top + crop, left : left + crop], flip), result)
        ]
        assert len(fits) == 1
        found += fits
    return found


def turned(window: torch.Tensor, flip: bool) -> torch.Tensor:
    return window.flip(-1) if flip else window


def test_shift_and_flip_move_whole_pixels_and_change_none() -> None:
    change = augmenter(flip=0.5)
    change.preprocessor.affine = lambda device="cpu": (torch.tensor(1.0), torch.tensor(0.0))  # as pixels
    batch = images(300)
    output, _ = apply(change, batch)
    found = placed(batch, 44, output)
    assert {top for top, _, _ in found} == set(range(5))
    assert {left for _, left, _ in found} == set(range(5))
    assert 100 < sum(flip for _, _, flip in found) < 200


def test_padding_reaches_beyond_the_border_which_is_repeated() -> None:
    change = augmenter(20, 16, padding=3)
    change.preprocessor.affine = lambda device="cpu": (torch.tensor(1.0), torch.tensor(0.0))
    batch = images(300, 20)
    found = placed(batch, 16, apply(change, batch)[0], reach=3)
    assert {top for top, _, _ in found} == {left for _, left, _ in found} == set(range(-3, 8))


def test_flip_happens_as_often_as_it_should_and_mirrors_about_the_middle() -> None:
    batch = images(4)
    never, always = (apply(augmenter(flip=share, shift=False), batch)[0] for share in (0.0, 1.0))
    assert torch.equal(always, never.flip(-1))
    theta = augmenter(flip=0.25).draw(4000, np.random.default_rng(0)).theta
    assert 0.22 < (theta[:, 0, 0] < 0).mean() < 0.28


# --- rotation and zoom ----------------------------------------------------------------------------------------


def test_the_grid_is_torch_s_affine_grid() -> None:
    theta = torch.randn(7, 2, 3, generator=torch.Generator().manual_seed(0))
    expected = F.affine_grid(theta, [7, 1, 13, 13], align_corners=False)
    torch.testing.assert_close(_grid(theta, 13), expected, rtol=1e-6, atol=1e-6)


def parts_of(draws: Draws, index: int) -> tuple[float, float]:
    """Return angle in degrees, and zoom, of an unflipped draw of equal size and crop."""
    row, column = draws.theta[index, 0, 0], draws.theta[index, 1, 0]
    return float(np.degrees(np.arctan2(column, row))), float(1 / np.hypot(row, column))


@pytest.mark.parametrize("changes", [{"rotate": 30}, {"scale": 0.3}, {"rotate": 30, "scale": 0.3}])
def test_rotation_and_zoom_are_those_of_torchvision(changes: dict[str, float]) -> None:
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    change = augmenter(48, 48, **STILL, **changes)
    batch = smooth(8)
    output, draws = apply(change, batch)
    for index, (image, result) in enumerate(zip(batch, pixels(change, output), strict=True)):
        angle, zoom = parts_of(draws, index)
        assert abs(angle) <= changes.get("rotate", 0) + 1e-3
        assert abs(zoom - 1) <= changes.get("scale", 0) + 1e-5
        expected, border = (
            functional.affine(
                values, -angle, [0, 0], zoom, [0.0], interpolation=functional.InterpolationMode.BILINEAR
            )
            for values in (image.float(), torch.ones(1, 48, 48))
        )
        inside = border > 0.999  # beyond the border, torchvision fills with 0
        assert inside.float().mean() > 0.3
        assert (result - expected)[inside].abs().max() < 0.02


def test_a_flipped_sample_is_the_mirror_image_of_what_it_would_have_been() -> None:
    batch = smooth(20)
    plain, flipped = (apply(augmenter(flip=share, **TURNS), batch)[0] for share in (0.0, 1.0))
    torch.testing.assert_close(flipped, plain.flip(-1), rtol=0, atol=1e-4)


def test_angles_and_zooms_fill_their_ranges_evenly() -> None:
    draws = augmenter(48, 48, **STILL, rotate=30, scale=0.25).draw(4000, np.random.default_rng(0))
    angles, zooms = np.array([parts_of(draws, index) for index in range(4000)]).T
    for values, low, high in ((angles, -30, 30), (zooms, 0.75, 1.25)):
        assert low <= values.min() + 1e-3 < low + 0.02 * (high - low)
        assert high >= values.max() - 1e-3 > high - 0.02 * (high - low)
        assert abs(values.mean() - (low + high) / 2) < 0.02 * (high - low)


def test_a_positive_angle_turns_all_samples_about_their_own_window() -> None:
    """A dot in the middle of the crop stays where it is, whatever corner the crop is taken at."""
    change = augmenter(60, 40, flip=0.5, shift=True, rotate=40, scale=0.3)
    draws = change.draw(50, np.random.default_rng(0))
    batch = torch.zeros(50, 1, 60, 60, dtype=torch.uint8)
    corners = (draws.theta[:, ::-1, 2] * 60 / 2 + 10).round().astype(int)
    for image, (top, left) in zip(batch, corners, strict=True):
        image[0, top + 18 : top + 22, left + 18 : left + 22] = 255
    output = pixels(change, change(batch, draws))[:, 0]
    steps = torch.arange(40) - 19.5
    for result in output:
        assert abs(float((result.sum(0) * steps).sum() / result.sum())) < 0.2
        assert abs(float((result.sum(1) * steps).sum() / result.sum())) < 0.2


# --- colour ---------------------------------------------------------------------------------------------------


def test_brightness_contrast_and_saturation_are_what_a_loop_makes_of_the_factors() -> None:
    change = augmenter(24, 20, "rgb", **STILL, brightness=0.4, contrast=0.4, saturation=0.4)
    batch = images(20, 24, 3)
    output, draws = apply(change, batch)
    for index, result in enumerate(pixels(change, output)):
        pixel = batch[index, :, 2:22, 2:22].double() * float(draws.brightness[index])
        mean = pixel.mean()
        pixel = mean + (pixel - mean) * float(draws.contrast[index])
        grey = pixel.mean(0)
        pixel = grey + (pixel - grey) * float(draws.saturation[index])
        torch.testing.assert_close(result.double(), pixel.clamp(0, 255), rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_colour_factors_fill_their_range_and_stay_1_where_not_asked_for(name: str) -> None:
    draws = augmenter(**{name: 0.3}).draw(4000, np.random.default_rng(0))
    for other in ("brightness", "contrast", "saturation"):
        values = getattr(draws, other)
        if other == name:
            assert 0.7 <= values.min() < 0.71
            assert 1.29 < values.max() <= 1.3
            assert abs(values.mean() - 1) < 0.01
        else:
            assert (values == 1).all()


def test_a_grey_image_has_no_saturation_to_change() -> None:
    batch = images(5)
    assert torch.equal(
        apply(augmenter(**STILL, saturation=0.9), batch)[0], apply(augmenter(**STILL), batch)[0]
    )


def test_values_stay_within_the_range_of_a_pixel() -> None:
    change = augmenter(**ALL, flip=0.5)
    change.config = change.config.model_copy(update={"brightness": 3.0, "contrast": 3.0})
    result = pixels(change, apply(change, images(50))[0])
    assert float(result.min()) >= -1e-3
    assert float(result.max()) <= 255.001


# --- erasing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_rectangles_of_the_stated_size_are_erased_as_often_as_stated(share: float) -> None:
    change = augmenter(**STILL, erase=share)
    batch = torch.full((1000, 1, 48, 48), 255, dtype=torch.uint8)
    output, draws = apply(change, batch)
    erased = output[:, 0] == 0
    some = erased.flatten(1).any(1)
    assert abs(some.float().mean() - share) < (0.05 if 0 < share < 1 else 1e-9)
    for mask, (top, bottom, left, right) in zip(erased, draws.box.astype(int), strict=True):
        expected = torch.zeros(44, 44, dtype=torch.bool)
        expected[top:bottom, left:right] = True
        assert torch.equal(mask, expected)
    if share:
        areas = erased[some].float().mean((1, 2))
        assert 0.015 < areas.min() < 0.04
        assert 0.17 < areas.max() < 0.21


def test_rectangles_lie_everywhere() -> None:
    change = augmenter(**STILL, erase=1.0)
    output, _ = apply(change, torch.full((2000, 1, 48, 48), 255, dtype=torch.uint8))
    assert ((output == 0).any(0)).all()


# --- the same whoever does it ---------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", ["grey", "rgb"])
@pytest.mark.parametrize("parts", [2, 3, 7])
def test_each_process_makes_of_its_part_what_one_makes_of_the_whole(parts: int, colour: str) -> None:
    change = augmenter(colour=colour, **ALL)
    batch = images(30, channels=change.preprocessor.config.channels)
    whole, draws = apply(change, batch)
    bounds = np.linspace(0, 30, parts + 1).astype(int)
    pieces = [
        change(batch[start:end], draws.part(slice(start, end))) for start, end in itertools.pairwise(bounds)
    ]
    assert torch.equal(torch.cat(pieces), whole)


def test_what_is_drawn_depends_on_the_generator_alone() -> None:
    change = augmenter(**ALL)
    batch = images(16)
    first, again, other = (apply(change, batch, seed)[0] for seed in (1, 1, 2))
    torch.manual_seed(5)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(first, apply(change, batch, 1)[0])


def test_the_images_that_are_kept_in_memory_stay_as_they_are() -> None:
    batch = images(8)
    before = batch.clone()
    for changes in (STILL, ALL):
        apply(augmenter(**changes), batch)
    assert torch.equal(batch, before)


# --- mixing ---------------------------------------------------------------------------------------------------


def targets(count: int = 6) -> Targets:
    label = torch.eye(4)[torch.arange(count) % 4]
    vad = torch.linspace(-1, 1, count * 3).view(count, 3)
    label[1], vad[2, 0], vad[3] = float("nan"), float("nan"), float("nan")
    return Targets(label, vad)


def test_nothing_is_mixed_where_nothing_is_asked_for() -> None:
    batch, known = torch.randn(6, 1, 8, 8), targets()
    assert mix(batch, known, Augment(), np.random.default_rng(0)) == (batch, known)


def blended(values: torch.Tensor, share: float) -> torch.Tensor:
    result = torch.empty_like(values)
    for index in range(len(values)):
        for column in range(values.shape[1]):
            own, other = float(values[index, column]), float(values[len(values) - 1 - index, column])
            result[index, column] = share * own + (1 - share) * other
    return result


@pytest.mark.parametrize("seed", range(5))
def test_mixup_blends_images_and_targets_by_one_share(seed: int) -> None:
    batch, known = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)), targets()
    before = batch.clone()
    images_, mixed = mix(batch, known, Augment(mixup=0.4), np.random.default_rng(seed))
    share = share_of(batch, images_)
    assert 0 <= share <= 1
    torch.testing.assert_close(images_.flatten(1), blended(batch.flatten(1), share), rtol=0, atol=1e-5)
    torch.testing.assert_close(mixed.label, blended(known.label, share), rtol=0, atol=1e-5, equal_nan=True)
    torch.testing.assert_close(mixed.vad, blended(known.vad, share), rtol=0, atol=1e-5, equal_nan=True)
    assert torch.equal(batch, before)


def share_of(batch: torch.Tensor, mixed: torch.Tensor) -> float:
    difference = batch - batch.flip(0)
    return float(((mixed - batch.flip(0)) * difference).sum() / difference.square().sum())


@pytest.mark.parametrize("seed", range(8))
def test_cutmix_pastes_a_box_and_blends_targets_by_its_pixels(seed: int) -> None:
    own = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 1, 20, 30)
    known = targets()
    pasted, mixed = mix(own, known, Augment(cutmix=1.0), np.random.default_rng(seed))
    kept = pasted[0, 0] == 0
    share = float(kept.float().mean())
    rows, columns = (~kept).any(1).nonzero().flatten(), (~kept).any(0).nonzero().flatten()
    assert int((~kept).sum()) == len(rows) * len(columns), "it is a box"
    for index in range(6):
        assert torch.equal(pasted[index, 0], torch.where(kept, float(index), float(5 - index)))
    torch.testing.assert_close(mixed.label, blended(known.label, share), rtol=0, atol=1e-6, equal_nan=True)
    torch.testing.assert_close(mixed.vad, blended(known.vad, share), rtol=0, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_a_target_that_either_lacks_is_lacking_in_the_mixture_and_no_other(kind: str) -> None:
    known = targets()
    for seed in range(20):
        _, mixed = mix(torch.randn(6, 1, 8, 8), known, Augment(**{kind: 0.2}), np.random.default_rng(seed))
        for before, after in ((known.label, mixed.label), (known.vad, mixed.vad)):
            assert torch.equal(after.isnan(), before.isnan() | before.flip(0).isnan())
        present = mixed.label[~mixed.label.isnan().any(1)]
        torch.testing.assert_close(present.sum(1), torch.ones(len(present)))


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_the_whole_batch_lacks_what_the_mixtures_of_all_its_parts_lack(kind: str) -> None:
    whole, rng = targets(12), np.random.default_rng(0)
    parts = [
        Targets(*(values[start : start + 4] for values in (whole.label, whole.vad)), whole)
        for start in (0, 4, 8)
    ]
    mixed = [mix(torch.randn(4, 1, 8, 8), part, Augment(**{kind: 0.2}), rng)[1] for part in parts]
    for one in mixed:
        assert torch.equal(one.batch.label.isnan(), torch.cat([part.label for part in mixed]).isnan())
        assert torch.equal(one.batch.vad.isnan(), torch.cat([part.vad for part in mixed]).isnan())


def test_mixup_and_cutmix_take_turns_where_both_are_asked_for() -> None:
    own = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 8, 8)
    kinds = []
    for seed in range(60):
        mixed, _ = mix(own, targets(4), Augment(mixup=1.0, cutmix=1.0), np.random.default_rng(seed))
        kinds.append("mixup" if len(mixed[0].unique()) == 1 and mixed[0, 0, 0, 0] not in (0, 3) else "cutmix")
    assert 15 < kinds.count("mixup") < 45
