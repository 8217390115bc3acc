"""Tracks: a face keeps its id while it moves, crosses others, and is lost for a few frames."""

from __future__ import annotations

import itertools
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from emozoo.contracts import Faces
from emozoo.data.video import stream_frames
from emozoo.errors import DataError
from emozoo.prediction.faces import open_detector
from emozoo.prediction.tracks import Tracker, assign


def faces(*boxes: tuple[float, float, float]) -> Faces:
    """Square faces: (x, y) of the centre, side."""
    corners = [(x - side / 2, y - side / 2, x + side / 2, y + side / 2) for x, y, side in boxes]
    return Faces(np.asarray(corners, np.float32).reshape(-1, 4), np.ones(len(boxes), np.float32))


def run(tracker: Tracker, frames: list[Faces]) -> list[list[int]]:
    return [tracker.update(index, found).tolist() for index, found in enumerate(frames)]


def test_faces_get_ids_from_zero_in_order_and_keep_them_in_whatever_order_they_come():
    tracker = Tracker()
    first, second, third = (100, 100, 60), (300, 100, 60), (500, 100, 60)
    assert tracker.update(0, faces(first, second)).tolist() == [0, 1]
    assert tracker.update(1, faces(second, third, first)).tolist() == [1, 2, 0]
    assert tracker.update(2, faces()).tolist() == []
    assert tracker.update(3, faces(third, second, first)).tolist() == [2, 1, 0]
    assert tracker.update(4, faces(second)).dtype == np.int64


def test_two_faces_that_cross_while_one_hides_the_other_keep_their_ids():
    """They walk towards each other at 6 pixels a frame; where they overlap by half, only the front one is found."""
    tracker = Tracker()
    seen = {"left": set(), "right": set()}
    hidden = 0
    for index in range(80):
        left, right = 60 + 6 * index, 540 - 6 * index
        behind = abs(left - right) < 40
        hidden += behind
        found = faces((left, 100, 80)) if behind else faces((right, 104, 80), (left, 100, 80))
        ids = tracker.update(index, found).tolist()
        seen["left"].add(ids[-1])
        seen["right"] |= set(ids[:-1])
    assert hidden > 5
    assert seen == {"left": {1}, "right": {0}}


def test_a_fast_face_is_followed_once_its_motion_is_known_and_across_a_gap():
    tracker = Tracker()
    frames = [faces((100 + 35 * index, 100, 50)) for index in range(12)]
    for missing in (5, 6, 7):
        frames[missing] = faces()
    ids = run(tracker, frames)
    assert {i for found in ids for i in found} == {0}


def test_faces_that_all_jump_the_same_way_are_matched_as_a_whole_and_not_the_nearest_first():
    tracker = Tracker()
    tracker.update(0, faces((100, 100, 100), (200, 100, 100), (300, 100, 100)))
    assert tracker.update(1, faces((160, 100, 100), (260, 100, 100), (360, 100, 100))).tolist() == [0, 1, 2]


@pytest.mark.parametrize(("gap", "kept"), [(1, True), (4, True), (5, False)])
def test_a_face_that_is_missing_for_longer_than_the_gap_comes_back_as_another(gap, kept):
    tracker = Tracker(max_gap=4)
    face = faces((100, 100, 60))
    assert tracker.update(0, face).tolist() == [0]
    assert tracker.update(1 + gap, face).tolist() == [0 if kept else 1]


def test_frames_may_be_left_out():
    every, third = Tracker(), Tracker()
    path = [faces((100 + 8 * index, 100 + 3 * index, 50), (700 - 9 * index, 120, 60)) for index in range(60)]
    assert all(every.update(index, found).tolist() == [0, 1] for index, found in enumerate(path))
    assert all(third.update(index, path[index]).tolist() == [0, 1] for index in range(0, 60, 3))


def test_a_cut_to_a_face_of_another_size_or_place_begins_a_track():
    tracker = Tracker()
    assert tracker.update(0, faces((300, 200, 200))).tolist() == [0]
    assert tracker.update(1, faces((300, 200, 60))).tolist() == [1]
    assert tracker.update(2, faces((600, 200, 60))).tolist() == [2]


def test_a_face_that_grows_and_shrinks_as_it_comes_and_goes_is_one():
    tracker = Tracker()
    sides = [40 * 1.08**index for index in range(40)]
    frames = [faces((300, 200, side)) for side in [*sides, *sides[::-1]]]
    assert {i for ids in run(tracker, frames) for i in ids} == {0}


def test_frames_out_of_order_and_a_gap_below_zero_are_refused():
    tracker = Tracker()
    tracker.update(3, faces())
    for index in (3, 2):
        with pytest.raises(DataError, match=rf"frame {index} cannot follow frame 3: tracks go forward"):
            tracker.update(index, faces())
    with pytest.raises(DataError, match="max_gap is -1"):
        Tracker(max_gap=-1)


def wander(
    seed: int, count: int = 4, frames: int = 150
) -> list[list[tuple[int, tuple[float, float, float]]]]:
    """Faces on smooth random paths in 1280x720, seen with jitter, sometimes missed for a few frames."""
    rng = np.random.default_rng(seed)
    place, side = rng.uniform((100, 100), (1180, 620), (count, 2)), rng.uniform(50, 120, count)
    speed, missing = rng.normal(0, 3, (count, 2)), np.zeros(count, int)
    result = []
    for _ in range(frames):
        speed = np.clip(speed + rng.normal(0, 0.4, (count, 2)), -6, 6)
        outside = (place < 80) | (place > (1200, 640))
        speed = np.where(outside, np.sign((640, 360) - place) * np.abs(speed), speed)
        place = place + speed
        missing = np.where(
            missing > 0, missing - 1, np.where(rng.random(count) < 0.03, rng.integers(1, 5, count), 0)
        )
        seen = place + rng.normal(0, 1.5, (count, 2))
        shown = [(n, (*seen[n], side[n])) for n in rng.permutation(count) if not missing[n]]
        result.append(shown)
    return result


def test_wandering_faces_that_jitter_and_are_missed_now_and_then_keep_their_ids():
    """Over 10 scenes of four faces; where two of the same size meet, nothing but their looks could tell them apart."""
    right = total = 0
    for seed in range(10):
        tracker, of = Tracker(), {}
        for index, shown in enumerate(wander(seed)):
            ids = tracker.update(index, faces(*(box for _, box in shown)))
            for (truth, _), found in zip(shown, ids.tolist(), strict=True):
                of.setdefault(truth, Counter())[found] += 1
        right += sum(counts.most_common(1)[0][1] for counts in of.values())
        total += sum(counts.total() for counts in of.values())
    assert right / total > 0.97


def test_the_same_faces_give_the_same_ids():
    frames = [faces(*(box for _, box in shown)) for shown in wander(7)]
    assert run(Tracker(), frames) == run(Tracker(), frames)


def test_memory_does_not_grow_with_the_number_of_frames_or_of_tracks():
    tracker = Tracker(max_gap=2)

    def feed(start: int, stop: int) -> None:
        for index in range(start, stop):
            tracker.update(index, faces((100, 100, 50), (300 + 700 * (index % 3), 900, 50)))

    feed(0, 100)
    tracemalloc.start()
    feed(100, 600)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 10_000
    assert len(tracker._ids) < 10


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (1, 1), (2, 4), (4, 2), (4, 4), (5, 4)])
def test_the_assignment_has_the_largest_sum_of_all(shape):
    rng = np.random.default_rng(0)
    for trial in range(40):
        gain = rng.random(shape) * (rng.random(shape) < 0.7)
        if trial % 2:
            gain = gain.round(1)  # with ties
        rows, columns = assign(gain)
        assert len(set(rows.tolist())) == len(rows) == len(set(columns.tolist())) == len(columns)
        assert (gain[rows, columns] > 0).all()
        short, long = sorted(shape)
        table = gain if shape[0] <= shape[1] else gain.T
        best = max(
            sum(table[row, column] for row, column in enumerate(chosen))
            for chosen in itertools.permutations(range(long), short)
        )
        assert gain[rows, columns].sum() == pytest.approx(best)


@pytest.mark.parametrize(
    ("name", "tracks"),
    [
        ("WolfgangLanger_Pexels.mp4", [(0, 199)]),
        ("face_noface.mov", [(0, 71)]),
        ("no_face.mp4", []),
        ("noface_face.mov", [(96, 167)]),
        ("single_face.mp4", [(0, 71)]),
    ],
)
def test_each_person_of_the_real_videos_is_one_track(real_data: Path, name, tracks):
    finder = open_detector("yunet", file=str(real_data / "detectors" / "yunet_n_320_320.onnx"), max_side=320)
    tracker, spans = Tracker(), {}
    frames = itertools.islice(stream_frames(real_data / "media" / name), 200)
    for index, frame in enumerate(frames):
        for track in tracker.update(index, finder.detect(frame)).tolist():
            spans[track] = (spans.get(track, (index,))[0], index)
    assert list(spans.values()) == tracks
