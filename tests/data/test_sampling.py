"""Samplers: the papers' frames, draws that stay in range and in order, and what recipes say about wrong options."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from emozoo.data.sampling import All, Clips, Sampled, Sampler, Sampling, Segments, Sliding, Thirds, Uniform
from emozoo.errors import DataError
from emozoo.schema import Schema
from emozoo.trees import explain

FRAMES = st.integers(1, 2000)
SEEDS = st.one_of(st.none(), st.integers(0, 2**32 - 1))
SMALL = st.integers(1, 20)


@st.composite
def clips(draw: st.DrawFn) -> Clips:
    count, stride, length = draw(SMALL), draw(SMALL), draw(SMALL)
    window = (count - 1) * stride + length + draw(st.integers(0, 5))
    return Clips(
        name="clips",
        frames=window + draw(st.integers(0, 40)),
        window=window,
        clips=count,
        length=length,
        stride=stride,
        per_clip=draw(st.integers(1, length)),
    )


CAPS = st.one_of(st.none(), st.integers(1, 300))
SAMPLERS = st.one_of(
    st.just(Clips(name="clips")),
    clips(),
    st.builds(
        Thirds, name=st.just("thirds"), parts=SMALL, test=st.sampled_from(["all", "centres"]), cap=CAPS
    ),
    st.builds(Segments, name=st.just("segments"), segments=SMALL, length=SMALL),
    st.builds(Uniform, name=st.just("uniform"), frames=SMALL, jitter=st.booleans()),
    st.builds(All, name=st.just("all"), cap=CAPS),
    st.builds(Sliding, name=st.just("sliding"), length=SMALL, stride=SMALL),
)


def generator(seed: int | None) -> np.random.Generator | None:
    return None if seed is None else np.random.default_rng(seed)


@given(SAMPLERS, FRAMES, SEEDS)
def test_every_sample_is_in_range_in_order_and_the_same_for_the_same_seed(
    sampler: Sampler, frames: int, seed: int | None
) -> None:
    sampled, again = (sampler.sample(frames, generator(seed)) for _ in range(2))
    index, mask = sampled.index, sampled.mask
    assert index.shape == mask.shape
    assert index.ndim == 2
    assert (index.dtype, mask.dtype) == (np.int64, np.bool_)
    assert index.size > 0
    assert index.min() >= 0
    assert index.max() < frames
    assert (np.diff(index, axis=1) >= 0).all()
    assert mask[:, 0].all()
    assert (np.diff(mask.astype(int), axis=1) <= 0).all()
    assert np.array_equal(index, again.index)
    assert np.array_equal(mask, again.mask)
    if not isinstance(sampler, Sliding):
        assert mask.all()


@given(SAMPLERS, FRAMES, st.integers(0, 99), st.integers(0, 99))
def test_videos_of_one_length_give_arrays_of_one_shape_whatever_is_drawn(
    sampler: Sampler, frames: int, seed: int, other: int
) -> None:
    first, second = (sampler.sample(frames, generator(s)) for s in (seed, other))
    assert first.index.shape == second.index.shape


def test_ceflnet_tests_on_the_frames_of_the_authors_code() -> None:
    sampled = Clips(name="clips").sample(105)
    official = [[15 + 10 * clip + offset for offset in (0, 3, 6, 9, 12)] for clip in range(7)]
    assert sampled.index.tolist() == official
    assert sampled.mask.all()


@given(st.integers(0, 10**6))
def test_ceflnet_trains_on_a_start_of_0_to_29_and_five_distinct_frames_of_each_fifteen(seed: int) -> None:
    index = Clips(name="clips").sample(105, np.random.default_rng(seed)).index
    assert index.shape == (7, 5)
    starts = [
        start
        for start in range(30)
        if all(start + 10 * i <= clip[0] and clip[-1] < start + 10 * i + 15 for i, clip in enumerate(index))
    ]
    assert starts
    assert (np.diff(index, axis=1) > 0).all()


def test_ceflnet_draws_are_distributed_as_those_of_the_authors_code() -> None:
    def official(source: random.Random) -> list[int]:
        start, chosen = source.randint(0, 29), []
        for clip in range(7):
            offsets: set[int] = set()
            while len(offsets) < 5:
                offsets.add(source.randint(0, 14))
            chosen += [start + 10 * clip + offset for offset in offsets]
        return chosen

    rng, source, sampler, n = np.random.default_rng(5), random.Random(5), Clips(name="clips"), 3000
    own = np.bincount(
        np.concatenate([sampler.sample(105, rng).index.ravel() for _ in range(n)]), minlength=105
    )
    theirs = np.bincount([frame for _ in range(n) for frame in official(source)], minlength=105)
    assert own[104] == theirs[104] == 0
    # A frame is taken at most twice a video, so that its count has a variance below twice its mean.
    assert (np.abs(own - theirs) < 5 * np.sqrt(2.0 * (own + theirs) + 1)).all()
    assert own[0] > 0
    assert own[103] > 0


@given(FRAMES, st.integers(2, 300))
def test_a_video_is_resampled_to_the_nearest_frames_with_its_ends_kept(frames: int, length: int) -> None:
    sampler = Clips(
        name="clips", frames=length, window=length, clips=1, length=length, stride=1, per_clip=length
    )
    index = sampler.sample(frames).index[0]
    exact = np.arange(length) * (frames - 1) / (length - 1)
    assert np.abs(index - exact).max() <= 0.5 + 1e-9
    assert (index[0], index[-1]) == (0, frames - 1)
    if frames == length:
        assert index.tolist() == list(range(frames))


@pytest.mark.parametrize("per_clip", [1, 2, 5, 10, 15])
def test_the_papers_sweep_over_frames_a_clip_spreads_them_over_each_clip(per_clip: int) -> None:
    index = Clips(name="clips", per_clip=per_clip).sample(105).index
    assert (index[:, 0] == 15 + 10 * np.arange(7)).all()
    assert (np.diff(index, axis=1) >= 15 // per_clip).all()
    assert (index - index[:, :1]).max() < 15


@given(FRAMES, st.integers(0, 10**6))
def test_thirds_draw_one_frame_of_each_third(frames: int, seed: int) -> None:
    (first, second, third) = Thirds(name="thirds").sample(frames, np.random.default_rng(seed)).index[0]
    if frames >= 3:
        assert 0 <= first < frames / 3
        assert int(frames / 3) <= second < 2 * frames / 3
        assert int(2 * frames / 3) <= third < frames


def test_thirds_draw_every_frame_of_their_own_sooner_or_later_and_no_other() -> None:
    rng, sampler = np.random.default_rng(0), Thirds(name="thirds")
    draws = np.array([sampler.sample(11, rng).index[0] for _ in range(500)])
    assert [sorted(set(column)) for column in draws.T.tolist()] == [[0, 1, 2], [3, 4, 5, 6], [7, 8, 9, 10]]


def test_thirds_test_on_every_frame_or_on_the_centres() -> None:
    assert Thirds(name="thirds").sample(8).index.tolist() == [list(range(8))]
    assert Thirds(name="thirds", test="centres").sample(9).index.tolist() == [[1, 4, 7]]
    assert Thirds(name="thirds", test="centres").sample(1).index.tolist() == [[0, 0, 0]]
    assert Thirds(name="thirds", cap=3).sample(9).index.tolist() == [[0, 4, 8]]


@given(st.integers(10, 2000))
def test_segments_in_testing_are_those_of_former_dfer(frames: int) -> None:
    tick, chosen = (frames - 2 + 1) / 8, []
    for segment in range(8):
        start = int(tick / 2 + tick * segment)
        chosen += [start, min(start + 1, frames - 1)]
    assert Segments(name="segments").sample(frames).index.tolist() == [sorted(chosen)]


@given(st.integers(1, 30), st.integers(0, 10**6))
def test_segments_that_divide_a_video_evenly_are_drawn_as_by_former_dfer(width: int, seed: int) -> None:
    drawn = Segments(name="segments").sample(8 * width + 1, np.random.default_rng(seed)).index
    rng = np.random.default_rng(seed)
    starts = [segment * width + int(rng.integers(width)) for segment in range(8)]
    assert drawn.tolist() == [sorted(start + step for start in starts for step in (0, 1))]


@pytest.mark.parametrize("frames", [9, 16, 23, 28])
def test_segments_show_every_frame_of_a_video_sooner_or_later(frames: int) -> None:
    sampler, rng = Segments(name="segments"), np.random.default_rng(0)
    seen = {frame for _ in range(300) for frame in sampler.sample(frames, rng).index.ravel().tolist()}
    assert seen == set(range(frames))


@given(st.integers(9, 500), st.integers(0, 10**6))
def test_each_start_of_segments_is_drawn_from_its_own_part_of_the_video(frames: int, seed: int) -> None:
    sampler = Segments(name="segments", length=1)
    (index,) = sampler.sample(frames, np.random.default_rng(seed)).index
    bounds = [part * frames // 8 for part in range(9)]
    assert all(low <= frame < high for frame, (low, high) in zip(index, pairwise(bounds), strict=True))


def test_segments_of_one_frame_are_those_of_tsn() -> None:
    sampler = Segments(name="segments", segments=3, length=1)
    assert sampler.sample(12).index.tolist() == [[2, 6, 10]]
    draws = np.array([sampler.sample(12, np.random.default_rng(seed)).index[0] for seed in range(200)])
    assert [sorted(set(column)) for column in draws.T.tolist()] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
    ]


def test_a_video_shorter_than_its_segments_is_used_as_a_whole() -> None:
    assert set(Segments(name="segments").sample(5).index[0].tolist()) == set(range(5))


@given(FRAMES, SMALL)
def test_uniform_frames_are_the_centres_of_equal_parts(frames: int, count: int) -> None:
    (index,) = Uniform(name="uniform", frames=count).sample(frames).index.tolist()
    assert index == [int((part + 0.5) * frames / count + 1e-9) for part in range(count)]


@given(FRAMES, SMALL, st.integers(0, 10**6))
def test_without_jitter_uniform_frames_are_not_drawn(frames: int, count: int, seed: int) -> None:
    sampler, rng = Uniform(name="uniform", frames=count, jitter=False), np.random.default_rng(seed)
    assert np.array_equal(sampler.sample(frames, rng).index, sampler.sample(frames).index)


def test_uniform_frames_are_drawn_from_their_parts_in_training() -> None:
    draws = np.array(
        [Uniform(name="uniform", frames=4).sample(8, np.random.default_rng(s)).index[0] for s in range(100)]
    )
    assert [sorted(set(column)) for column in draws.T.tolist()] == [[0, 1], [2, 3], [4, 5], [6, 7]]


@given(FRAMES, st.integers(2, 300))
def test_all_frames_are_all_of_them_up_to_the_cap_and_then_evenly_spaced(frames: int, cap: int) -> None:
    assert All(name="all").sample(frames).index.tolist() == [list(range(frames))]
    (index,) = All(name="all", cap=cap).sample(frames).index
    assert len(index) == min(cap, frames)
    if frames > cap:
        assert (index[0], index[-1]) == (0, frames - 1)
        assert np.ptp(np.diff(index)) <= 1
    else:
        assert index.tolist() == list(range(frames))


@given(FRAMES, SMALL, st.data())
def test_sliding_windows_cover_every_frame_once_they_overlap_and_none_is_superfluous(
    frames: int, length: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, length))
    sampled: Sampled = Sliding(name="sliding", length=length, stride=stride).sample(frames)
    windows = [row[mask].tolist() for row, mask in zip(sampled.index, sampled.mask, strict=True)]
    assert sampled.index.shape[1] == length
    assert {frame for window in windows for frame in window} == set(range(frames))
    for place, window in enumerate(windows):
        assert window == list(range(place * stride, min(place * stride + length, frames)))
    assert all(window[-1] < frames - 1 for window in windows[:-1])


def test_the_last_window_is_padded_with_masked_repeats_of_the_last_frame() -> None:
    sampled = Sliding(name="sliding", length=4, stride=3).sample(6)
    assert sampled.index.tolist() == [[0, 1, 2, 3], [3, 4, 5, 5]]
    assert sampled.mask.tolist() == [[True] * 4, [True, True, True, False]]
    short = Sliding(name="sliding", length=4, stride=3).sample(2)
    assert (short.index.tolist(), short.mask.tolist()) == ([[0, 1, 1, 1]], [[True, True, False, False]])


@given(FRAMES, SMALL, st.integers(0, 10**6))
def test_training_takes_one_window_anywhere(frames: int, length: int, seed: int) -> None:
    sampled = Sliding(name="sliding", length=length, stride=1).sample(frames, np.random.default_rng(seed))
    assert sampled.index.shape == (1, length)
    real = sampled.index[sampled.mask].tolist()
    assert real == list(range(real[0], real[0] + min(length, frames)))


def test_training_windows_start_at_every_frame_that_leaves_room() -> None:
    sampler = Sliding(name="sliding", length=4, stride=4)
    starts = {int(sampler.sample(7, np.random.default_rng(seed)).index[0, 0]) for seed in range(100)}
    assert starts == {0, 1, 2, 3}


@pytest.mark.parametrize("frames", [0, -3])
def test_a_video_without_frames_is_a_data_error(frames: int) -> None:
    with pytest.raises(DataError, match=f"a video of {frames} frames cannot be sampled"):
        All(name="all").sample(frames)


class _Recipe(Schema):
    sampling: Sampling | None = None


def _said(**table: Any) -> str:
    tree = {"sampling": table}
    with pytest.raises(ValidationError) as caught:
        _Recipe.model_validate_json(json.dumps(tree), strict=True)
    return explain(caught.value, _Recipe, "", tree).strip()


def test_a_sampler_is_chosen_by_its_name_and_written_back_with_every_option() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(Sampling)
    for name in ("clips", "thirds", "segments", "uniform", "all", "sliding"):
        sampler = adapter.validate_python({"name": name})
        assert adapter.validate_json(sampler.model_dump_json(), strict=True) == sampler
    assert adapter.validate_python({"name": "clips"}).model_dump() == {
        "name": "clips", "frames": 105, "window": 75, "clips": 7, "length": 15, "stride": 10, "per_clip": 5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"name": "clip"}, "sampling: name should be one of 'clips', 'thirds', 'segments', 'uniform', 'all', "
                           "'sliding' (given: 'clip') Did you mean 'clips'?"),
        ({"frames": 5}, "sampling: name is missing; it is required"),
        ({"name": "clips", "clips": 7, "lenght": 3},
         "sampling.lenght: unknown key. Did you mean 'length'? "
         "Allowed: name, frames, window, clips, length, stride, per_clip."),
        ({"name": "segments", "segments": 0}, "sampling.segments: should be greater than 0 (given: 0)"),
        ({"name": "clips", "clips": 9},
         "sampling: clips reach over (clips - 1) * stride + length = 95 frames, window is 75"),
        ({"name": "clips", "window": 106}, "sampling: window (106) is longer than frames (105)"),
        ({"name": "clips", "per_clip": 16}, "sampling: per_clip (16) is more than length (15)"),
    ],
)  # fmt: skip
def test_a_wrong_option_of_a_sampler_is_explained_by_its_own_path(table: dict[str, Any], said: str) -> None:
    assert _said(**table) == said
