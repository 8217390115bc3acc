"""The pictures of a timeline: what is drawn where, the annotated copy frame by frame, and what cannot be drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import write_video
from PIL import Image
from scenes import HEIGHT, SIDE, WIDTH, detector, frame_folder, scenes, seeing_model, standing, watch

from emozoo.data.video import FrameStream, read_frames
from emozoo.errors import DataError
from emozoo.prediction.annotate import Annotator, annotate_video, box_at, in_rows, label_place
from emozoo.prediction.answers import said
from emozoo.prediction.timeline import Clip, Timeline, Track, Window
from emozoo.prediction.timeline_plot import SLOTS, _moments, activation, draw_timeline, located

CLIPS = {"name": "clips", "frames": 12, "window": 10, "clips": 3, "length": 4, "stride": 3, "per_clip": 2}
ORANGE = (0xE8, 0x75, 0x1A)


def window(start: float = 0, end: float = 1, **more: Any) -> Window:
    parts = {"e": {"label": "sad", "probabilities": {"sad": 0.7, "happy": 0.3}}}
    return Window(
        **said(parts), **{"start": start, "end": end, "box": None, "times": ((start, end),), **more}
    )


def clips(*intensities: float, start: float = 0) -> tuple[Clip, ...]:
    return tuple(Clip(start + n, start + n + 1, value) for n, value in enumerate(intensities))


def track(*windows: Window, boxes: Any = None, index: Any = None) -> Track:
    first, last = windows[0].start, windows[-1].end
    index = np.arange(11) if index is None else np.asarray(index)
    times = np.linspace(first, last, len(index))
    heads = windows[0].heads
    return Track(
        **said(heads), face=0, index=index, times=times, boxes=boxes, windows=windows, shares={"sad": 1.0}
    )


def is_orange(pixels: np.ndarray) -> np.ndarray:
    return (np.abs(pixels[..., :3].astype(int) - ORANGE) < 12).all(-1)


# --- the activation map ---------------------------------------------------------------------------------------


def test_the_activation_of_clips_is_in_even_shares() -> None:
    assert activation(window(clips=clips(0.5, 0.2, 0.3))) == [
        (0, 1, pytest.approx(1.5)),
        (1, 2, pytest.approx(0.6)),
        (2, 3, pytest.approx(0.9)),
    ]


def test_without_clips_it_is_that_of_frames_which_meet_halfway() -> None:
    found = activation(window(times=((0.0, 1.0, 3.0),), frame_weights=((1.0, 2.0, 3.0),)))
    assert found == [(0, 0.5, 0.5), (0.5, 2, 1), (2, 3, 1.5)]
    assert activation(window()) == []


def test_frames_of_clips_that_overlap_stand_where_they_are_and_count_once() -> None:
    found = activation(window(times=((0.0, 4.0), (2.0, 4.0)), frame_weights=((1.0, 2.0), (3.0, 4.0))))
    assert found == [(0, 1, pytest.approx(3 / 7)), (1, 3, pytest.approx(9 / 7)), (3, 4, pytest.approx(9 / 7))]


def test_the_located_clip_of_each_window_is_marked_and_of_many_windows_the_one_that_stands_out() -> None:
    few = [window(n, n + 1, clips=clips(0.2, 0.5, 0.3, start=n)) for n in range(3)]
    assert [clip.start for clip in located(track(*few))] == [1, 2, 3]
    many = [window(n, n + 1, clips=clips(0.2, 0.5, 0.3, start=n)) for n in range(40)]
    many[17] = window(17, 18, clips=clips(0.1, 0.1, 0.8, start=17))
    assert [clip.start for clip in located(track(*many))] == [19]
    assert located(track(window())) == []


def test_a_frame_that_is_alone_is_shown_as_long_as_it_is_drawn() -> None:
    alone = track(window(0, 0), index=[0])
    assert _moments(alone) == [0] * SLOTS


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Timeline:
    """A CEFLNet's timeline of two faces, the second of which leaves early."""
    script = {n: [(10 + n, 20), (110, 50)][: 2 if n < 12 else 1] for n in range(40)}
    folder = frame_folder(tmp_path_factory.mktemp("v") / "v", scenes(40, script))
    return watch(seeing_model(sampling=CLIPS, aggregator={"name": "ceflnet"}), folder, script)


def test_the_picture_frames_the_located_clip_and_the_frame_that_shows_it(
    followed: Timeline, tmp_path: Path
) -> None:
    draw_timeline(tmp_path / "t.png", followed)
    pixels = np.asarray(Image.open(tmp_path / "t.png"))
    rows = np.flatnonzero(is_orange(pixels).sum(1) > 20)
    assert (
        len(np.split(rows, np.flatnonzero(np.diff(rows) > 3) + 1)) >= 8
    )  # two edges of two boxes, two faces


def test_of_a_model_that_weighs_nothing_no_activation_is_drawn(tmp_path: Path) -> None:
    script = standing(12, (20, 20))
    found = watch(seeing_model(), frame_folder(tmp_path / "v", scenes(12, script)), script)
    draw_timeline(tmp_path / "t.png", found)
    assert not is_orange(np.asarray(Image.open(tmp_path / "t.png"))).any()


@pytest.mark.parametrize("heads", [{"v": {"name": "vad"}}, {"e": {"name": "classification"}}])
def test_whatever_heads_a_model_has_its_timeline_can_be_drawn(heads: Any, tmp_path: Path) -> None:
    script = standing(6, (20, 20))
    found = watch(seeing_model(heads=heads), frame_folder(tmp_path / "v", scenes(6, script)), script)
    draw_timeline(tmp_path / "t.png", found)
    annotate_video(tmp_path / "t.mp4", found)
    assert (tmp_path / "t.png").stat().st_size > 20_000
    assert len(read_frames(tmp_path / "t.mp4", np.arange(6))) == 6


@pytest.mark.parametrize("faces", ["none", {}])
def test_a_video_without_boxes_or_without_faces_can_be_drawn(faces: Any, tmp_path: Path) -> None:
    found = watch(seeing_model(), frame_folder(tmp_path / "v", scenes(3, {})), faces)
    draw_timeline(tmp_path / "t.png", found)
    annotate_video(tmp_path / "t.mp4", found)
    assert Image.open(tmp_path / "t.png").width > 100
    assert len(read_frames(tmp_path / "t.mp4", np.arange(3))) == 3


# --- the annotated copy ---------------------------------------------------------------------------------------


def test_between_sightings_a_box_moves_evenly() -> None:
    boxes = np.asarray([[0, 0, 10, 10], [40, 0, 50, 20]], np.float32)
    found = track(window(), boxes=boxes, index=[2, 6])
    assert box_at(found, 2) == [0, 0, 10, 10]
    assert box_at(found, 3) == [10, 0, 20, 12.5]
    assert box_at(found, 6) == [40, 0, 50, 20]
    assert box_at(track(window()), 3) is None


def test_faces_share_a_row_of_the_timeline_if_they_are_not_there_at_a_time() -> None:
    spans = [(0, 10), (0, 30), (11, 20), (15, 40), (21, 22), *[(50, 60)] * 9]
    tracks = [track(window(), index=range(first, last + 1)) for first, last in spans]
    rows = in_rows(tracks)
    assert [[tracks.index(item) for item in row] for row in rows] == [[0, 2, 4, 5], [1, 6], [3, 7], [8], [9]]


def test_the_copy_has_every_frame_at_its_time_with_the_box_where_the_face_is(tmp_path: Path) -> None:
    script = {n: [(10 + 2 * n, 40)] for n in range(5, 20)}
    frames = scenes(25, script)
    milliseconds = [n * 40 + (n > 12) * 300 for n in range(25)]
    source = write_video(tmp_path / "v.mp4", frames, milliseconds=milliseconds)
    found: Any = seeing_model().predict(source, faces=detector(script))
    annotate_video(tmp_path / "copy.mp4", found)
    copy, plain = (read_frames(path, np.arange(25)) for path in (tmp_path / "copy.mp4", source))
    times = [[time for _, time, _ in FrameStream(path)] for path in (tmp_path / "copy.mp4", source)]
    assert times[0] == pytest.approx(times[1], abs=1e-3)
    assert copy.shape[2] == WIDTH
    assert copy.shape[1] > HEIGHT
    differs = np.abs(copy[:, :HEIGHT].astype(int) - plain).max(-1) > 60
    assert not differs[[*range(5), *range(20, 25)]].any(), "there is no face in these"
    for number in range(5, 20):
        left = 10 + 2 * number
        assert differs[number, 45:75, left - 1 : left + 2].any(1).mean() > 0.8, number
        inside = differs[number, 45 : 40 + SIDE - 4, left + 5 : left + SIDE - 5]
        assert inside.mean() < 0.02, "the face itself"
    strip = copy[:, HEIGHT + 4 : HEIGHT + 10]
    assert np.abs(strip[0].astype(int) - strip[12])[:, 80:130].max() < 60, "only the cursor moves"
    dark = [int(row.max(-1)[3].argmin()) for row in strip]
    assert dark[0] <= 4
    assert dark[-1] >= WIDTH - 5


@pytest.mark.parametrize(
    ("taken", "place"),
    [
        ([], (50, 30)),
        ([(85, 20, 160, 40)], (30, 30)),
        ([(0, 20, 160, 40)], (50, 80)),
        ([(0, 20, 160, 40), (85, 60, 160, 96)], (30, 80)),
    ],
    ids=["above", "above, to the left", "below", "below, to the left"],
)
def test_a_label_covers_no_other_face_or_label_if_it_can(taken: list, place: tuple[int, int]) -> None:
    box = (50, 40, 80, 80)
    assert label_place(box, (50, 10), [box, *taken], (160, 96)) == place


def test_a_label_stays_in_the_picture() -> None:
    assert label_place((150, 2, 158, 90), (50, 10), [], (160, 96)) == (110, 0)
    assert label_place((-5, 20, 10, 30), (50, 10), [], (160, 96)) == (0, 10)


def test_labels_of_neighbours_do_not_lie_on_each_other(tmp_path: Path) -> None:
    """Two faces side by side, whose labels are wider than they are."""
    script = standing(3, (10, 40), (54, 40))
    found = watch(seeing_model(), frame_folder(tmp_path / "v", scenes(3, script)), script)
    drawn = np.asarray(
        Annotator(found, WIDTH, HEIGHT).draw(0, 0.0, np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    )
    marked = np.abs(drawn.astype(int) - 90).max(-1) > 40
    above, below = marked[28:38].any(0), marked[83:93].any(0)
    assert above[12:50].all()
    assert not above[90:].any()
    assert below[56:94].all()
    assert not below[:50].any()


def test_what_the_copy_cannot_be_is_refused_before_any_work(followed: Timeline, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.gif: a video is written as one of \.mp4, "):
        annotate_video(tmp_path / "t.gif", followed)
    video = write_video(tmp_path / "v.mp4", scenes(3, {}))
    found: Any = seeing_model().predict(video, faces="none")
    with pytest.raises(DataError, match=r"v\.mp4 is the video itself; write the copy to another file"):
        annotate_video(video, found)
    kept = write_video(tmp_path / "kept.mp4", 3)
    video.unlink()
    with pytest.raises(DataError, match=r"there is no video file or folder of frames .*v\.mp4"):
        annotate_video(kept, found)
    assert len(read_frames(kept, np.arange(3))) == 3


def test_a_copy_that_fails_leaves_nothing_behind(followed: Timeline, tmp_path: Path) -> None:
    gone: Any = seeing_model().predict(write_video(tmp_path / "v.mp4", scenes(3, {})), faces="none")
    (tmp_path / "v.mp4").write_bytes(b"no video any more")
    with pytest.raises(DataError, match="not a video"):
        annotate_video(tmp_path / "t.mp4", gone)
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]
    with pytest.raises(DataError, match="not a video"):
        draw_timeline(tmp_path / "t.png", gone)


def test_where_h264_cannot_be_written_mpeg4_is(
    followed: Timeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import av

    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    path = annotate_video(tmp_path / "t.mp4", followed)
    with av.open(path.open("rb")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    assert len(read_frames(path, np.arange(40))) == 40
