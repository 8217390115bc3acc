"""The windows that slide over a face, and what models say of them, against plain loops."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scenes import CLIPS, SIDE, close, detector, frame_folder, scenes, seeing_model, standing, watch

from emozoo.contracts import Faces
from emozoo.data.sampling import Clips, Sliding
from emozoo.errors import DataError
from emozoo.model import EmotionModel
from emozoo.prediction.answers import mean_parts
from emozoo.prediction.detection import FrameFaces
from emozoo.prediction.faces import crop_face
from emozoo.prediction.videos import FaceCrop, FaceTrack, FaceTracks, Windowing

DIMENSIONS = ("valence", "arousal", "dominance")


# --- windows --------------------------------------------------------------------------------------------------


def windows_by_hand(times: list[float], window: float, hop: float) -> list[list[float]]:
    """The frames of each window of a face that is seen without a gap; the last window reaches the end."""
    found, start = [], times[0]
    while True:
        found.append([time for time in times if start - 1e-6 <= time < start + window - 1e-6])
        if found[-1][-1] == times[-1]:
            return found
        start += hop


def windows_of(times: list[float], window: float, hop: float) -> list[list[float]]:
    track = FaceTrack(0, window, hop)
    found = [
        crops for n, time in enumerate(times) for crops in track.see(n, FaceCrop(time, torch.zeros(1), None))
    ]
    return [[crop.time for crop in crops] for crops in [*found, *track.leave()]]


@pytest.mark.parametrize("rate", [10, 25, 30000 / 1001])
@pytest.mark.parametrize(("window", "hop"), [(1, 1), (1, 0.5), (4, 2), (2, 0.3), (0.5, 0.5), (1.1, 1.1)])
@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 100, 137])
def test_windows_slide_over_a_face_and_the_last_is_the_first_to_reach_the_end(
    rate: float, window: float, hop: float, count: int
) -> None:
    times = [7 + n / rate for n in range(count)]
    assert windows_of(times, window, hop) == windows_by_hand(times, window, hop)


def test_a_window_of_no_length_is_one_frame() -> None:
    assert windows_of([0.0, 0.1, 0.5], 0, 0) == [[0.0], [0.1], [0.5]]


def test_a_face_that_comes_back_after_more_than_a_window_starts_a_new_one_there() -> None:
    assert windows_of([0.0, 0.1, 5.05, 5.5], 1, 0.5) == [[0.0, 0.1], [5.05, 5.5]]
    assert windows_of([0.0, 0.1, 0.6, 0.7, 5.0], 1, 0.5) == [[0.0, 0.1, 0.6, 0.7], [5.0]]


def test_windows_may_leave_out_what_lies_between_them() -> None:
    assert windows_of([n / 10 for n in range(12)], 0.2, 0.5) == [[0.0, 0.1], [0.5, 0.6], [1.0, 1.1]]


def test_crops_that_no_window_needs_any_more_are_let_go() -> None:
    track, alive, most = FaceTrack(0, 1.0, 0.5), weakref.WeakSet[torch.Tensor](), 0
    for number in range(3000):
        crop = FaceCrop(number / 10, torch.zeros(1), (0, 0, 1, 1))
        alive.add(crop.pixels)
        for _ in track.see(number, crop):
            pass
        most = max(most, len(alive))
    assert most <= 16  # a window of 10, whose list the loop still holds, and half of the next


def test_of_faces_that_are_gone_no_crops_are_held() -> None:
    class Nobody:
        def take(self, track: FaceTrack, crops: list[FaceCrop]) -> None:
            pass

    tracks: Any = FaceTracks(Nobody(), 4.0, 2.0, gap=15)  # ty: ignore[invalid-argument-type]
    alive, most = weakref.WeakSet[torch.Tensor](), 0
    for number in range(2000):
        left = float(100 * (number // 25 % 3))  # every 25 frames somebody else, elsewhere
        box = (left, 0.0, left + 40, 40.0)
        crops = [torch.zeros(1)]
        alive.update(crops)
        found = Faces(np.asarray([box], np.float32), np.ones(1, np.float32))
        tracks.see(number, number / 25, FrameFaces(crops, [box], [1.0], found))
        most = max(most, len(alive))
    assert len(tracks.gone) > 70
    assert most <= 25 + 16


def test_defaults_are_four_seconds_for_models_of_videos_and_one_for_models_of_images(
    model: EmotionModel, video_model: EmotionModel
) -> None:
    assert Windowing().of(video_model) == (4, 2)
    assert Windowing().of(model) == (1, 1)
    assert Windowing(window=3).of(video_model) == (3, 1.5)
    assert Windowing(window=0, hop=2).of(model) == (0, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": -1}, r"window is -1: it is a number of seconds, or 0"),
        ({"window": "2"}, r"window is '2': it is a number of seconds, or 0"),
        ({"every": 2.5}, r"every is 2.5: every n-th frame is looked at, n from 1"),
        ({"window": float("nan")}, "window is nan"),
        ({"hop": 0}, r"hop is 0: windows start so many seconds apart, more than 0"),
        ({"every": 0}, r"every is 0: every n-th frame is looked at, n from 1"),
        ({"frame_rate": 0}, r"frame_rate is 0: folders hold so many frames a second"),
    ],
)
def test_a_pace_without_meaning_is_refused(model: EmotionModel, options: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        model.predict([], **options)


# --- models of images -----------------------------------------------------------------------------------------


def test_a_model_of_images_says_the_mean_of_what_it_says_of_each_frame(
    model: EmotionModel, tmp_path: Path
) -> None:
    script = {n: [(10 + 2 * n, 30)] for n in range(25)}
    frames = scenes(25, script)
    found = watch(model, frame_folder(tmp_path / "v", frames), script)
    assert (found.frames, found.looked_at, found.seconds) == (25, 25, pytest.approx(2.4))
    [track] = found.tracks
    assert [(w.start, w.end) for w in track.windows] == [(0, 0.9), (1, pytest.approx(1.9)), (2, 2.4)]
    answers: list[Any] = []
    for number, frame in enumerate(frames):
        [(left, top)] = script[number]
        answers.append(model.predict(frame[top : top + SIDE, left : left + SIDE], faces="none"))
    for window, own in zip(track.windows, (answers[:10], answers[10:20], answers[20:]), strict=True):
        for label in model.labels:
            assert window.probabilities[label] == pytest.approx(
                np.mean([a.probabilities[label] for a in own])
            )
        assert window.label == max(window.probabilities, key=window.probabilities.get)
        for name in DIMENSIONS:
            assert window.vad[name] == pytest.approx(np.mean([a.vad[name] for a in own]), abs=1e-6)
    assert track.windows[0].box == (20, 30, 60, 70)
    assert track.boxes.tolist() == [[10 + 2 * n, 30, 50 + 2 * n, 70] for n in range(25)]
    assert [len(w.times[0]) for w in track.windows] == [10, 10, 5]
    assert track.windows[0].rich_clip is None


def test_each_frame_by_itself_is_what_a_photo_of_it_is(model: EmotionModel, tmp_path: Path) -> None:
    script = standing(6, (20, 20))
    frames = scenes(6, script)
    found = watch(model, frame_folder(tmp_path / "v", frames), script, window=0, batch_size=4)
    photos: Any = model.predict(frames, faces=detector(script))
    for window, photo in zip(found.tracks[0].windows, photos, strict=True):
        assert close(window, photo)
        assert window.start == window.end
        assert window.box == photo.box


def test_a_face_as_a_whole_is_the_mean_over_its_frames(model: EmotionModel, tmp_path: Path) -> None:
    script = standing(14, (20, 20))
    folder = frame_folder(tmp_path / "v", scenes(14, script))
    [track] = watch(model, folder, script).tracks
    [each] = watch(model, folder, script, window=0).tracks
    for label in model.labels:
        mean = np.mean([window.probabilities[label] for window in each.windows])
        assert track.probabilities[label] == pytest.approx(mean)
    frames = dict.fromkeys(model.labels, 0)
    for window, count in zip(track.windows, (10, 4), strict=True):
        frames[window.label] += count
    assert track.shares == {label: n / 14 for label, n in frames.items() if n}


def test_means_are_of_numbers_and_the_label_is_the_most_probable_on_average() -> None:
    parts: Any = [
        {"label": "a", "probabilities": {"a": 0.9, "b": 0.1}, "words": ["x"], "more": {"n": 1, "of": [1]}},
        {"label": "b", "probabilities": {"a": 0.2, "b": 0.8}, "words": ["y"], "more": {"n": 4, "of": [1]}},
    ]
    mean = mean_parts(parts, [1, 2])
    assert mean["probabilities"] == pytest.approx({"a": 1.3 / 3, "b": 1.7 / 3})
    assert (mean["label"], mean["more"]) == ("b", {"n": 3, "of": [1]})
    assert "words" not in mean


# --- models of videos -----------------------------------------------------------------------------------------


def test_a_model_of_videos_samples_each_window_and_says_which_clips_count(
    video_model: EmotionModel, tmp_path: Path
) -> None:
    script = {n: [(5 + n, 25)] for n in range(40)}
    frames = scenes(40, script)
    found = watch(video_model, frame_folder(tmp_path / "v", frames), script, window=2, hop=1)
    [track] = found.tracks
    assert [w.start for w in track.windows] == [0, 1, 2]
    assert [w.end for w in track.windows] == pytest.approx([1.9, 2.9, 3.9])
    crops = []
    for number, frame in enumerate(frames):
        face = crop_face(frame, np.asarray([5 + number, 25, 45 + number, 65]), 0)
        crops.append(video_model.preprocessor.decode(face))
    index = Clips.model_validate(CLIPS).sample(20).index
    for window, start in zip(track.windows, (0, 10, 20), strict=True):
        video = torch.stack([torch.stack([crops[start + place] for place in row]) for row in index])
        output = video_model.outputs(video[None])
        [parts] = video_model.decode(output.heads)
        assert window.probabilities == pytest.approx(parts["emotion"]["probabilities"], abs=1e-5)
        assert window.vad == pytest.approx({name: parts["vad"][name] for name in DIMENSIONS}, abs=1e-5)
        weights = output.clip_weights[0].tolist()
        assert [clip.intensity for clip in window.clips] == pytest.approx(weights, abs=1e-5)
        assert sum(weights) == pytest.approx(1)
        assert window.rich_clip == window.clips[int(np.argmax(weights))]
        seconds = (start + index) / 10
        assert np.allclose(window.times, seconds)
        assert [clip.start for clip in window.clips] == pytest.approx(seconds[:, 0].tolist())
        assert [clip.end for clip in window.clips] == pytest.approx(seconds[:, -1].tolist())


def test_clips_and_frames_that_a_short_window_lacks_are_left_out(tmp_path: Path) -> None:
    sliding = {"name": "sliding", "length": 4, "stride": 3}
    model = seeing_model(sampling=sliding, aggregator={"name": "ceflnet"})
    script = standing(13, (20, 20))
    folder = frame_folder(tmp_path / "v", scenes(13, script))
    [track] = watch(model, folder, script, window=1.1, hop=1.1).tracks  # 11 frames, then 2, in one batch
    for window, count in zip(track.windows, (11, 2), strict=True):
        sampled = Sliding.model_validate(sliding).sample(count)
        kept = [row[mask] for row, mask in zip(sampled.index, sampled.mask, strict=True)]
        assert [len(row) for row in window.times] == [len(row) for row in kept]
        assert [len(row) for row in window.frame_weights] == [len(row) for row in kept]
        assert sum(clip.intensity for clip in window.clips) == pytest.approx(1)
    crops = [model.preprocessor.decode(frame[20:60, 20:60]) for frame in scenes(13, script)[11:]]
    there = torch.tensor([[[True, True, False, False]]])
    output = model.outputs(torch.stack([*crops, *crops])[None, None], mask=there)
    [parts] = model.decode(output.heads)
    assert track.windows[1].probabilities == pytest.approx(parts["emotion"]["probabilities"], abs=1e-5)
    [alone] = watch(model, folder, script, window=1.1, hop=1.1, batch_size=1).tracks
    assert all(close(one, two) for one, two in zip(track.windows, alone.windows, strict=True))


def test_test_time_augmentation_is_passed_on(video_model: EmotionModel, tmp_path: Path) -> None:
    script = standing(8, (20, 20))
    folder = frame_folder(tmp_path / "v", scenes(8, script))
    plain, flipped = (watch(video_model, folder, script, tta=tta) for tta in ("none", "flip"))
    assert plain.probabilities != flipped.probabilities
