"""Videos: exact frames and times from every container, and what is salvaged from damaged files."""

from __future__ import annotations

import struct
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import HEIGHT, WIDTH, barred, numbers_of, write_video

from emozoo.data import video_file
from emozoo.data.video import FrameStream, count_frames, read_frames, stream_frames
from emozoo.data.video_file import VideoFile
from emozoo.errors import DataError, EmozooWarning

CONTAINERS = {
    "h264.mp4": {},
    "one-keyframe.mp4": {"gop": 250},
    "hevc.mkv": {"codec": "libx265"},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "mpeg4.avi": {"codec": "mpeg4", "b_frames": 2},
    "h264.avi": {"codec": "libx264", "b_frames": 2},
    "mjpeg.avi": {"codec": "mjpeg"},
    "mpeg2.mpg": {"codec": "mpeg2video", "b_frames": 2},
    "h264.ts": {},
    "thirty.webm": {"codec": "libvpx-vp9", "fps": 30},
}
ASKED = np.array([39, 0, 17, 17, 3, 38, 0])
MILLISECONDS = np.cumsum([20 + 11 * (n * n % 7) for n in range(40)]).tolist()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="module")
def plain(place: Path) -> Path:
    """Forty frames, the index before the frames, one keyframe in ten."""
    return write_video(place / "plain.mp4", gop=10, options={"movflags": "faststart"})


@pytest.fixture
def holed(tmp_path: Path) -> Path:
    """Forty frames of which frames 5 and 6 are destroyed."""
    path = write_video(tmp_path / "holed.avi", codec="mjpeg")
    _destroy(path, slice(5, 7))
    return path


def times_and_damage(path: Path) -> tuple[list[float], str | None]:
    """When each frame is shown, and what the video lacks."""
    stream = FrameStream(path)
    times = [time for _, time, _ in stream]
    assert (stream.frames, stream.seconds) == (len(times), times[-1])
    return times, stream.damaged


def _destroy(path: Path, which: slice) -> None:
    """Overwrite packets of a video with zeros."""
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for position, size in packets[which]:
        data[position : position + size] = bytes(size)
    path.write_bytes(data)


@pytest.mark.parametrize("name", CONTAINERS)
def test_frames_are_exactly_those_asked_for_in_that_order_at_their_times(name: str, place: Path) -> None:
    path = write_video(place / name, **CONTAINERS[name])
    fps = CONTAINERS[name].get("fps", 25)
    frames = read_frames(path, ASKED)
    assert frames.shape == (7, HEIGHT, WIDTH, 3)
    assert frames.dtype == np.uint8
    assert numbers_of(frames) == ASKED.tolist()
    times, damage = times_and_damage(path)
    tick = 0.001 if name.endswith("webm") else 1e-6
    assert times == pytest.approx(np.arange(40) / fps, abs=tick)
    assert damage is None


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_frames_that_decode_are_counted(name: str, place: Path) -> None:
    path = write_video(place / f"counted-{name}", **CONTAINERS[name])
    with av.open(str(path)) as container:
        decoded = len(list(container.decode(video=0)))
    assert count_frames(path) == decoded == 40


@pytest.mark.parametrize("name", ["variable.mp4", "variable.mkv"])
def test_a_variable_frame_rate_keeps_each_frames_own_time(name: str, place: Path) -> None:
    path = write_video(place / name, milliseconds=MILLISECONDS)
    assert numbers_of(read_frames(path, ASKED)) == ASKED.tolist()
    meant = [(time - MILLISECONDS[0]) / 1000 for time in MILLISECONDS]
    assert times_and_damage(path)[0] == pytest.approx(meant, abs=1e-6)


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_frames_that_an_avi_file_leaves_out_keep_their_time_and_are_no_damage(
    codec: str, b_frames: int, tmp_path: Path
) -> None:
    times = [time - MILLISECONDS[0] for time in MILLISECONDS]
    path = write_video(tmp_path / "gaps.avi", milliseconds=times, codec=codec, b_frames=b_frames)
    assert numbers_of(read_frames(path, np.arange(40))) == list(range(40))
    seconds, damage = times_and_damage(path)
    shown, meant = np.diff(seconds), np.diff(times) / 1000
    late = min(b_frames, 2 if codec == "libx264" else 1)  # frames by which the encoder put them off
    assert shown[late:] == pytest.approx(meant[: len(meant) - late])
    assert (shown > 0).all()
    assert damage is None


def test_an_avi_file_that_is_cut_short_says_so_though_it_leaves_out_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "cut.avi", milliseconds=MILLISECONDS, codec="mjpeg")
    with av.open(str(path)) as container:
        positions = [packet.pos for packet in container.demux(video=0) if packet.size]
    path.write_bytes(path.read_bytes()[: positions[20] - 8])
    assert str(times_and_damage(path)[1]).endswith("it holds 20")


def test_the_frames_after_one_that_is_lost_of_an_avi_file_keep_their_time(holed: Path) -> None:
    assert times_and_damage(holed)[0][4:6] == pytest.approx([4 / 25, 7 / 25])


JOINED = {"joined.ts": {}, "joined.mpg": {"codec": "mpeg2video", "b_frames": 2}, "plain.ts": {"b_frames": 0}}


def joined(path: Path, *counts: int, **options: Any) -> Path:
    """Videos joined end to end, whose frames are numbered through."""
    content, first = b"", 0
    for count in counts:
        part = path.with_name(f"{first}-{path.name}")
        content += write_video(part, [barred(first + n) for n in range(count)], **options).read_bytes()
        first += count
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", JOINED)
def test_where_files_were_joined_times_go_on_and_it_is_said(name: str, tmp_path: Path) -> None:
    path = joined(tmp_path / name, 40, 25, 30, **JOINED[name])
    said = "its times begin anew, as in joined files, and are counted on: 2"
    with pytest.warns(EmozooWarning, match=f"{name}: {said}$"):
        assert numbers_of(read_frames(path, np.arange(95))) == list(range(95))
    assert times_and_damage(path) == (pytest.approx(np.arange(95) / 25, abs=1e-4), said)
    assert count_frames(path) == 95
    read_frames(path, np.arange(20))


def test_no_frame_is_shown_before_the_one_before_it(tmp_path: Path) -> None:
    path = joined(tmp_path / "scraps.ts", 2, 2, 2, 40, b_frames=0)
    assert numbers_of(read_frames(path, np.arange(46))) == list(range(46))
    times, _ = times_and_damage(path)
    assert (np.diff(times) > 0).all()
    assert times[-1] == pytest.approx(45 / 25, abs=0.3)


def test_real_videos_have_the_frames_that_decode_whatever_their_headers_say(real_data: Path) -> None:
    counts = {
        "no_face.mp4": 95,
        "single_face.mp4": 72,
        "face_noface.mov": 169,
        "WolfgangLanger_Pexels.mp4": 472,
    }
    for name, count in counts.items():
        path = real_data / "media" / name
        assert count_frames(path) == count
        with VideoFile(path) as video:
            assert sum(1 for _ in video.frames()) == count
            assert video.damage(ended=True) is None
    with av.open(str(real_data / "media" / "no_face.mp4")) as container:
        assert container.streams.video[0].frames == 98
        shown = list(container.decode(video=0))
    frames = read_frames(real_data / "media" / "no_face.mp4", np.array([94, 0]))
    assert np.array_equal(frames[0], shown[94].to_ndarray(format="rgb24"))
    times, _ = times_and_damage(real_data / "media" / "no_face.mp4")
    assert times[94] == pytest.approx(shown[94].time - shown[0].time)
    with pytest.raises(DataError, match=r"no_face\.mp4: frame 95 was asked for, the last of its 95 is 94"):
        read_frames(real_data / "media" / "no_face.mp4", np.array([95]))


def test_only_the_frames_asked_for_are_converted_and_none_is_decoded_after_the_last(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted, opened = [], []
    convert, enter = VideoFile.pixels, VideoFile.__enter__
    monkeypatch.setattr(VideoFile, "pixels", lambda self, frame: converted.append(0) or convert(self, frame))
    monkeypatch.setattr(VideoFile, "__enter__", lambda self: opened.append(self) or enter(self))
    read_frames(plain, np.array([2, 7, 2, 9]))
    assert len(converted) == 3
    assert opened[0].decoded < 40


@pytest.mark.parametrize(
    ("matrix", "rotation"),
    [((1, 0, 0, 1), 0), ((0, 1, -1, 0), 270), ((-1, 0, 0, -1), 180), ((0, -1, 1, 0), 90)],
    ids=["none", "phone held upright", "upside down", "phone held upright, the other way"],
)
def test_a_rotation_in_the_metadata_is_applied(matrix, rotation: int, tmp_path: Path) -> None:
    stored = np.zeros((64, 96, 3), np.uint8)
    stored[:32, :48], stored[:32, 48:], stored[32:, :48] = 235, 160, 80
    path = write_video(tmp_path / "turned.mp4", [stored] * 3)
    data = bytearray(path.read_bytes())
    a, b, c, d = matrix
    place = data.find(b"tkhd") + 44
    data[place : place + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    (upright,) = read_frames(path, np.array([1]))
    height, width = (64, 96) if rotation in (0, 180) else (96, 64)
    assert upright.shape == (height, width, 3)
    for x in (20, 70):
        for y in (10, 50):
            right, down = a * (x - 48) + c * (y - 32), b * (x - 48) + d * (y - 32)
            shown = upright[height // 2 + down, width // 2 + right]
            assert int(shown.mean()) == pytest.approx(int(stored[y, x].mean()), abs=8)


def test_a_video_of_one_frame_is_a_video(tmp_path: Path) -> None:
    path = write_video(tmp_path / "one.mp4", 1)
    assert numbers_of(read_frames(path, np.array([0, 0]))) == [0, 0]
    assert count_frames(path) == 1


def test_a_stream_of_frames_is_all_of_them_in_turn(plain: Path) -> None:
    assert np.array_equal(np.stack(list(stream_frames(plain))), read_frames(plain, np.arange(40)))


def test_frames_of_another_size_within_a_file_come_in_the_size_of_the_first(tmp_path: Path) -> None:
    small = write_video(tmp_path / "small.ts", 10)
    large = write_video(tmp_path / "large.ts", [barred(n, 320, 128) for n in range(10, 20)])
    both = tmp_path / "both.ts"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    with pytest.warns(EmozooWarning, match="its times begin anew"):
        frames = read_frames(both, np.array([0, 9, 12]))
    assert frames.shape[1:] == (HEIGHT, WIDTH, 3)
    assert numbers_of(frames) == [0, 9, 12]


def test_metadata_in_an_unknown_encoding_do_not_matter(tmp_path: Path) -> None:
    path = write_video(tmp_path / "titled.mkv", title="QQQQQQQQ")
    data = path.read_bytes()
    assert b"QQQQQQQQ" in data
    path.write_bytes(data.replace(b"QQQQQQQQ", b"\xff\xfe\xe9\xe8\xff\xfe\xe9\xe8"))
    assert count_frames(path) == 40


def test_a_truncated_file_gives_what_it_holds_and_says_what_its_header_promised(tmp_path: Path) -> None:
    path = write_video(tmp_path / "cut.mp4", b_frames=0, options={"movflags": "faststart"})
    with av.open(str(path)) as container:
        positions = [packet.pos for packet in container.demux(video=0) if packet.size]
    path.write_bytes(path.read_bytes()[: positions[25]])
    assert count_frames(path) == 25
    assert times_and_damage(path)[1] == "its header says 40 frames, it holds 25"
    assert numbers_of(read_frames(path, np.arange(25))) == list(range(25))
    beyond = r"cut\.mp4: frame 39 was asked for, the last of its 25 is 24 \(its header says 40 frames, it holds 25\)"
    with pytest.raises(DataError, match=beyond):
        read_frames(path, np.array([39]))


def test_a_truncated_matroska_file_is_known_by_its_duration(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mkv", 100)
    path = tmp_path / "cut.mkv"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 4 // 10])
    assert times_and_damage(whole)[1] is None
    assert str(times_and_damage(path)[1]).startswith("its header says 4.0 s, its frames end at ")


def test_frames_that_do_not_decode_are_left_out_and_the_last_one_stands_in_at_the_end(holed: Path) -> None:
    there = [number for number in range(40) if number not in (5, 6)]
    for index, numbers in ((np.arange(40), [*there, 39, 39]), (np.array([20]), [22])):
        with pytest.warns(EmozooWarning, match=r"holed\.avi: frames that do not decode: 2$"):
            assert numbers_of(read_frames(holed, index)) == numbers
    assert numbers_of(read_frames(holed, np.array([3]))) == [3], "no damage is seen up to there"


def test_a_stream_of_a_damaged_video_ends_with_a_warning_that_says_so(holed: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(list(stream_frames(holed))) == 38
    assert [(w.category, str(w.message)) for w in caught] == [
        (EmozooWarning, f"{holed}: frames that do not decode: 2")
    ]


@pytest.mark.filterwarnings("ignore::emozoo.errors.EmozooWarning")
@pytest.mark.parametrize("name", ["mpeg4.avi", "h264.ts", "vp9.webm", "h264.mp4", "hevc.mkv", "mpeg2.mpg"])
def test_flipped_bits_give_frames_or_a_data_error_and_nothing_else(
    name: str, place: Path, tmp_path: Path
) -> None:
    sound = write_video(place / f"flip-{name}", **CONTAINERS[name]).read_bytes()
    for seed in range(6):
        rng, data = np.random.default_rng(seed), bytearray(sound)
        for position in rng.integers(0 if seed % 2 else len(data) // 5, len(data), 25):
            data[position] ^= 1 << rng.integers(8)
        path = tmp_path / f"{seed}-{name}"
        path.write_bytes(data)
        with suppress(DataError):
            count = count_frames(path)
            assert len(read_frames(path, np.arange(count))) == count


def _audio(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 44100
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))


def _nothing_encoded(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        container.start_encoding()


def _no_index(path: Path) -> None:
    write_video(path)
    path.write_bytes(path.read_bytes()[:-400])


UNREADABLE = {
    "missing.mp4": (lambda path: None, "there is no video file or folder of frames"),
    "empty.mp4": (lambda path: path.write_bytes(b""), "the file is empty"),
    "text.mp4": (lambda path: path.write_text("hello\n" * 300), "not a video file"),
    "audio.mp4": (_audio, r"holds no video \(what it holds: audio\)"),
    "headed.mkv": (
        _nothing_encoded,
        "not a video file, or its beginning or its index is lost|no frame decodes",
    ),
    "no-index.mp4": (_no_index, "its beginning or its index is lost"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_a_data_error_with_the_path(name: str, tmp_path: Path) -> None:
    make, said = UNREADABLE[name]
    make(tmp_path / name)
    for read in (
        count_frames,
        lambda path: read_frames(path, np.array([0])),
        lambda path: list(stream_frames(path)),
    ):
        with pytest.raises(DataError, match=said) as caught:
            read(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_a_file_whose_every_frame_is_destroyed_is_a_data_error(tmp_path: Path) -> None:
    path = write_video(tmp_path / "dead.avi", codec="mjpeg")
    _destroy(path, slice(None))
    for read in (
        count_frames,
        lambda path: read_frames(path, np.array([0])),
        lambda path: list(stream_frames(path)),
    ):
        with pytest.raises(DataError, match=r"dead\.avi: no frame decodes \(40 packets read\)"):
            read(path)


@pytest.mark.parametrize(
    "script",
    [
        "ffconcat version 1.0\nfile plain.mp4\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nplain.mp4\n#EXT-X-ENDLIST\n",
    ],
    ids=["concat script", "playlist"],
)
def test_a_script_that_would_make_ffmpeg_open_other_files_is_refused(
    script: str, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plain.mp4").write_bytes(plain.read_bytes())
    Path("innocent.mp4").write_text(script)
    with pytest.raises(DataError, match=r"innocent\.mp4: not a video"):
        count_frames("innocent.mp4")


@pytest.mark.parametrize("address", ["concat:{0}|{0}", "file:{0}", "http://127.0.0.1:9/x.mp4", "/dev/zero"])
def test_a_path_is_never_an_address(address: str, plain: Path) -> None:
    with pytest.raises(DataError, match="there is no video file or folder of frames"):
        read_frames(address.format(plain), np.array([0]))


def test_a_picture_is_no_video_whatever_it_is_called(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(barred(3)).save(tmp_path / "face.mp4", "jpeg")
    with pytest.raises(DataError, match=r"face\.mp4: not a video of a kind that is read: mov, mp4, matroska"):
        count_frames(tmp_path / "face.mp4")


def test_a_video_of_too_many_pixels_is_refused_before_it_is_decoded(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_file, "FRAME_LIMIT", WIDTH * HEIGHT - 1)
    monkeypatch.setattr(VideoFile, "decode", lambda *_: pytest.fail("something was decoded"))
    with pytest.raises(DataError, match=r"plain\.mp4: 160x64 pixels a frame, the limit is 10,239"):
        read_frames(plain, np.array([0]))


@pytest.mark.parametrize("index", [[], [-1], [[0, 1]], [0.5], [True], ["0"]])
def test_an_index_that_is_no_list_of_whole_numbers_is_refused(index, plain: Path) -> None:
    with pytest.raises(DataError, match=r"plain\.mp4: frames are asked for by a list of integers from 0"):
        read_frames(plain, np.array(index))


def test_a_frame_beyond_the_end_of_a_sound_video_is_a_data_error(plain: Path) -> None:
    with pytest.raises(DataError, match=r"plain\.mp4: frame 40 was asked for, the last of its 40 is 39$"):
        read_frames(plain, np.array([3, 40]))
