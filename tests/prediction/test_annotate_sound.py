"""The annotated copy of a video sounds as the video does, when it does."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import write_video
from scenes import frame_folder, scenes, seeing_model

from emozoo.data.video import read_frames
from emozoo.errors import EmozooWarning
from emozoo.prediction.annotate import annotate_video

RATE = 16_000
SECONDS = 2.0


def beeps(*spans: tuple[float, float], seconds: float = SECONDS) -> np.ndarray:
    """Samples (n,): a tone in each of the spans, silence elsewhere."""
    time = np.arange(round(seconds * RATE)) / RATE
    loud = np.any([(time >= start) & (time < end) for start, end in spans], 0)
    return (loud * np.sin(2 * np.pi * 440 * time)).astype(np.float32)


def with_sound(
    path: Path, samples: np.ndarray, *, begin: float = 0.0, channels: int = 1, codec: str = "pcm_s16le"
) -> Path:
    """A video of two seconds with sound that begins at `begin` seconds."""
    silent = write_video(path.with_name("silent.mp4"), scenes(50, {}))
    with av.open(str(silent)) as pictures, av.open(str(path), "w") as output:
        video = output.add_stream_from_template(pictures.streams.video[0])
        sound: Any = output.add_stream(codec, rate=RATE, layout="mono" if channels == 1 else "stereo")
        for packet in pictures.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                output.mux(packet)
        for start in range(0, len(samples), 800):
            part = np.repeat(samples[None, start : start + 800], channels, 0)
            frame = av.AudioFrame.from_ndarray(part, "fltp", "mono" if channels == 1 else "stereo")
            frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
            frame.pts = start + round(begin * RATE)
            output.mux(sound.encode(frame))
        output.mux(sound.encode(None))
    silent.unlink()
    return path


def loudness(path: Path) -> np.ndarray:
    """How loud a video is in each 50 ms after its first frame."""
    resampler = av.AudioResampler("flt", "mono", RATE)
    found = np.zeros(round(8 * SECONDS * RATE), np.float32)
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            for part in resampler.resample(frame):
                values, start = part.to_ndarray()[0], round(float(part.pts * part.time_base) * RATE)
                found[max(start, 0) :][: len(values)] = values[max(-start, 0) :]
    return np.abs(found).reshape(-1, RATE // 20).mean(1)


def copied(source: Path) -> Path:
    """The annotated copy of a video."""
    found: Any = seeing_model().predict(source, faces="none")
    return annotate_video(source.with_name("copy.mp4"), found)


def assert_heard(copy: Path, *spans: tuple[float, float], until: float = SECONDS) -> None:
    """Claim that a copy sounds in the spans, in seconds, and is silent elsewhere."""
    heard = loudness(copy)[: round(until * 20)] > 0.1
    expected = np.zeros(len(heard), bool)
    for start, end in spans:
        expected[round(start * 20) : round(end * 20)] = True
    assert (heard == expected).mean() >= 0.95, "an encoder may blur an edge"
    edges = np.flatnonzero(np.diff(expected.astype(int)))
    assert np.flatnonzero(np.diff(heard.astype(int))) == pytest.approx(edges, abs=1)


@pytest.mark.parametrize("begin", [0.0, 0.5])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_beep_is_heard_in_the_copy_when_it_is_in_the_video(
    begin: float, channels: int, tmp_path: Path
) -> None:
    source = with_sound(tmp_path / "v.mkv", beeps((0.2, 0.4), (1.0, 1.1)), begin=begin, channels=channels)
    copy = copied(source)
    heard = loudness(copy)[:40] > 0.1
    expected = np.zeros(40, bool)
    for start, end in ((0.2, 0.4), (1.0, 1.1)):
        expected[round((start + begin) * 20) : round((end + begin) * 20)] = True
    assert (heard == expected).mean() >= 0.95, "an encoder may blur an edge"
    assert np.flatnonzero(heard)[0] == np.flatnonzero(expected)[0]
    with av.open(str(copy)) as container:
        assert [stream.codec_context.name for stream in container.streams] == ["h264", "aac"]
        assert container.streams.audio[0].channels == channels
    assert len(read_frames(copy, np.arange(50))) == 50


def test_a_video_that_begins_between_keyframes_is_in_step_with_its_sound(tmp_path: Path) -> None:
    whole = with_sound(tmp_path / "whole.ts", beeps((1.0, 1.2)), codec="aac")
    with av.open(str(whole)) as container:
        fourth = [packet.pos for packet in container.demux(video=0) if packet.size][3]
    source = tmp_path / "cut.ts"
    source.write_bytes(whole.read_bytes()[fourth // 188 * 188 :])
    copy = copied(source)
    assert len(read_frames(copy, np.arange(38))) == 38, "a frame in twelve is a keyframe"
    assert_heard(copy, (1.0 - 12 / 25, 1.2 - 12 / 25), until=38 / 25)


@pytest.mark.parametrize("silent", [False, True])
def test_where_files_were_joined_each_is_in_step_with_its_sound(silent: bool, tmp_path: Path) -> None:
    first = with_sound(
        tmp_path / "1.ts", np.zeros(800, np.float32) if silent else beeps((0.5, 0.7)), codec="aac"
    )
    second = with_sound(tmp_path / "2.ts", beeps((0.0, 0.2), (1.5, 1.6)), codec="aac")
    source = tmp_path / "both.ts"
    source.write_bytes(first.read_bytes() + second.read_bytes() + second.read_bytes())
    spans = [(2.0, 2.2), (3.5, 3.6), (4.0, 4.2), (5.5, 5.6)]
    assert_heard(copied(source), *([] if silent else [(0.5, 0.7)]), *spans, until=6.0)


@pytest.mark.parametrize("channels", [(1, 2), (2, 1)])
def test_sound_goes_on_where_its_channels_change(channels: tuple[int, int], tmp_path: Path) -> None:
    parts = [
        with_sound(tmp_path / f"{n}.ts", beeps((0.5, 0.7), (1.8, 2.0)), codec="aac", channels=n).read_bytes()
        for n in channels
    ]
    source = tmp_path / "both.ts"
    source.write_bytes(b"".join(parts))
    copy = copied(source)
    assert_heard(copy, (0.5, 0.7), (1.8, 2.0), (2.5, 2.7), (3.8, 4.0), until=4.0)
    assert len(read_frames(copy, np.arange(100))) == 100


def test_sound_that_cannot_be_encoded_ends_with_a_warning_and_the_picture_goes_on(tmp_path: Path) -> None:
    samples = beeps((0, 2))
    samples[RATE:] = np.nan
    source = with_sound(tmp_path / "v.mkv", samples, codec="pcm_f32le")
    with pytest.warns(EmozooWarning, match=r"v\.mkv: its sound is damaged from [01]\.\d s on"):
        copy = copied(source)
    assert len(read_frames(copy, np.arange(50))) == 50
    assert (loudness(copy)[:15] > 0.1).all()


def test_sound_ends_with_the_last_frame(tmp_path: Path) -> None:
    copy = copied(with_sound(tmp_path / "v.mkv", beeps((0, 6), seconds=6)))
    heard = np.flatnonzero(loudness(copy) > 0.1)
    assert 37 <= heard[-1] <= 42
    assert len(read_frames(copy, np.arange(50))) == 50


def test_a_video_without_sound_has_a_copy_without(tmp_path: Path) -> None:
    found: Any = seeing_model().predict(
        frame_folder(tmp_path / "frames", scenes(3, {})), faces="none", frame_rate=25
    )
    for copy in (
        copied(write_video(tmp_path / "v.mp4", scenes(3, {}))),
        annotate_video(tmp_path / "of_frames.mp4", found),
    ):
        with av.open(str(copy)) as container:
            assert [stream.type for stream in container.streams] == ["video"]


def test_damaged_sound_ends_with_a_warning_and_the_picture_goes_on(tmp_path: Path) -> None:
    source = with_sound(tmp_path / "v.mkv", beeps((0, 2)), codec="flac")
    with av.open(str(source)) as container:
        packets = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    content = source.read_bytes()
    for packet in packets[len(packets) // 2 :]:
        content = content.replace(packet, bytes(len(packet)))
    source.write_bytes(content)
    with pytest.warns(EmozooWarning, match=r"v\.mkv: its sound is damaged from \d\.\d s on"):
        copy = copied(source)
    assert len(read_frames(copy, np.arange(50))) == 50
    heard = loudness(copy) > 0.1
    assert heard[:15].all()
    assert not heard[25:].any()
