"""Rich clips: the clip that shows most of an expression, and the accuracy of finding it."""

from __future__ import annotations

import numpy as np
import pytest

from emozoo.data.sampling import Clips
from emozoo.errors import ContractError
from emozoo.evaluation.rich_clips import location_accuracy, true_clip

INDEX = Clips(name="clips").sample(105).index


def scores(start, stop, index):
    """For each clip, by the docstring, in plain loops: (frames shown, - distance from the middle, - number)."""
    found = []
    for number, clip in enumerate(index.tolist()):
        shown = 0
        for frame in range(start, stop):
            shown += frame in clip
        found.append((shown, -abs(sum(clip) / len(clip) - (start + stop - 1) / 2), -number))
    return found


def test_the_true_clip_is_the_one_that_a_plain_loop_over_all_stretches_finds():
    for length in (1, 5, 18, 24, 30, 90):
        for start in range(0, 106 - length):
            found = scores(start, start + length, INDEX)
            if max(found)[0]:
                assert true_clip(start, start + length, INDEX) == found.index(max(found))


def test_of_the_papers_seven_clips_the_one_around_the_expression_is_the_true_one():
    assert INDEX[3].tolist() == [45, 48, 51, 54, 57]
    assert true_clip(41, 61, INDEX) == 3
    assert true_clip(0, 105, INDEX) == 3  # all show as many: nearest the middle
    assert true_clip(90, 105, [[90, 91], [92, 93]]) == 1
    assert true_clip(0, 4, [[0, 3], [0, 3]]) == 0


def test_a_frame_that_stands_twice_in_a_clip_counts_once():
    assert true_clip(4, 8, [[4, 4, 4, 4], [1, 5, 6, 9]]) == 1


def test_padding_shows_nothing():
    index, mask = [[4, 5, 5, 5], [0, 1, 2, 9]], [[True, True, False, False], [True] * 4]
    assert true_clip(3, 6, index, mask) == 0
    assert true_clip(5, 6, [[4, 5], [5, 6]], [[True, False], [True, True]]) == 1
    late = [[2, 5, 5, 5], [3, 6, 6, 6]]
    assert true_clip(2, 8, late) == 0
    assert true_clip(2, 8, late, [[True, True, False, False]] * 2) == 1


def test_a_clip_is_true_only_where_some_clip_shows_the_expression():
    assert true_clip(0, 15, INDEX) is None
    with pytest.raises(ContractError, match=r"shape \(clips, frames\), not \(5,\)"):
        true_clip(0, 15, INDEX[0])


def test_location_accuracy_counts_the_videos_whose_greatest_weight_is_at_the_true_clip():
    rng = np.random.default_rng(0)
    weights, truth = rng.random((200, 7)), rng.integers(0, 7, 200)
    weights[np.arange(60), truth[:60]] = 2
    hits = [int(max(range(7), key=lambda c: row[c]) == t) for row, t in zip(weights, truth, strict=True)]
    found = location_accuracy(weights, truth)
    assert found["n"] == 200
    assert found["value"] == pytest.approx(sum(hits) / 200)
    assert found["chance"] == 1 / 7
    assert found["majority"] == max(truth.tolist().count(clip) for clip in range(7)) / 200
    low, high = found["interval"]
    assert low < found["value"] < high
    deviation = np.std(hits) / np.sqrt(200)
    assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.15)


def test_the_activation_is_the_mean_weight_of_each_clip_by_the_true_one():
    weights = [[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.4, 0.5, 0.1]]
    found = location_accuracy(weights, [0, 1, 0])["activation"]
    assert found[0] == pytest.approx([0.5, 0.4, 0.1])
    assert found[1] == pytest.approx([0.2, 0.7, 0.1])
    assert found[2] is None, "no video shows its expression there"


def test_ties_are_worth_what_picking_one_by_lot_would_be():
    assert location_accuracy(np.full((5, 7), 0.2), [0, 1, 2, 3, 6])["value"] == pytest.approx(1 / 7)
    assert location_accuracy([[1, 1, 0], [1, 1, 0]], [0, 2], resamples=0)["value"] == 0.25


def test_what_is_no_weights_or_no_clip_is_refused():
    with pytest.raises(ContractError, match=r"not \(2, 3\) and \(1,\)"):
        location_accuracy([[1, 2, 3], [1, 2, 3]], [0])
    with pytest.raises(ContractError, match="not finite"):
        location_accuracy([[1, np.nan]], [0])
    with pytest.raises(ContractError, match="from 0 to 1; they are 2 to 2"):
        location_accuracy([[1, 0]], [2])


def test_of_no_videos_nothing_is_known():
    found = location_accuracy(np.empty((0, 7)), [])
    assert (found["n"], found["value"], found["interval"], found["majority"]) == (0, None, None, None)
