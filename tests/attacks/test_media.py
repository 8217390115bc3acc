"""Images, videos and folders of frames made to do harm end in a DataError: nothing is run, fetched or blown up."""

from __future__ import annotations

import io
import os
import random
import socket
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import HEIGHT, WIDTH, write_video
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from emozoo.contracts import FRAME_LIMIT
from emozoo.data.checks import check
from emozoo.data.preprocess import Preprocessor, open_image
from emozoo.data.video import FrameStream, count_frames, read_frames, stream_frames
from emozoo.errors import DataError, EmozooWarning
from emozoo.recipe import Preprocess
from emozoo_datasets.folders import Folders
from emozoo_datasets.videos import Videos

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
PICTURE = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
TALL = Preprocess(size=24, crop=20, colour="rgb", mean=(0.5,) * 3, std=(0.5,) * 3)


def encoded(form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, form, **options)
    return file.getvalue()


def decoded_or_refused(data: bytes) -> np.ndarray | None:
    """Decode bytes as a model would; None where they are refused by name."""
    try:
        pixels = Preprocessor(TALL).decode(data, "photo")
    except DataError:
        return None
    assert (str(pixels.dtype), tuple(pixels.shape)) == ("torch.uint8", (3, 24, 24))
    return pixels.numpy()


# --- nothing is run, and nothing fetched ------------------------------------------------------------------------


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mark that a program called gs makes where it is run."""
    mark, place = tmp_path / "mark", tmp_path / "bin"
    place.mkdir()
    (place / "gs").write_text(f"#!/bin/sh\ntouch {mark}\n")
    (place / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    return mark


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(mark) (w) file\n%%EOF\n"


@pytest.mark.parametrize("name", ["a.eps", "a.png", "a.jpg"])
def test_postscript_is_not_handed_to_an_interpreter(ghostscript: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "happy").mkdir()
    (tmp_path / "happy" / name).write_bytes(EPS)
    for media in (EPS, tmp_path / "happy" / name):
        with pytest.raises(DataError, match="not an image that can be read"):
            open_image(media)
    check(Folders(tmp_path), "folders")
    assert not ghostscript.exists()
    with Image.open(io.BytesIO(EPS)) as image, pytest.raises(OSError):
        image.load()
    assert ghostscript.exists(), "the interpreter would have been found"


@pytest.mark.parametrize("form", ["EPS", "ICO", "PCX", "TGA", "SGI", "IM", "ICNS", "DDS", "JPEG2000"])
def test_images_of_kinds_that_nobody_needs_are_not_decoded(form: str) -> None:
    with pytest.raises(DataError, match="not an image that can be read"):
        open_image(encoded(form))


@pytest.fixture
def address() -> Iterator[tuple[str, list[object]]]:
    """An address on this machine, and what has called there so far."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.01)
        yield f"127.0.0.1:{server.getsockname()[1]}", (calls := [])
        with suppress(TimeoutError):
            calls.append(server.accept())
        assert not calls


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.m3u8"])
def test_a_playlist_under_the_name_of_a_video_makes_nobody_open_an_address(
    address: tuple[str, list[object]], tmp_path: Path, name: str
) -> None:
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://{address[0]}/a.ts\n#EXT-X-ENDLIST\n"
    for label in ("happy", "sad"):
        (tmp_path / label).mkdir()
        (tmp_path / label / name).write_text(playlist)
    for read in (
        count_frames,
        lambda path: read_frames(path, np.array([0])),
        lambda path: list(stream_frames(path)),
    ):
        with pytest.raises(DataError, match="not a video"):
            read(tmp_path / "happy" / name)
    if name != "a.m3u8":
        found = check(Videos(tmp_path), "videos")
        assert any(item.severity == "error" and name in item.subject + item.message for item in found)


# --- images -----------------------------------------------------------------------------------------------------


def png(width: int, height: int, *more: tuple[bytes, bytes], rows: bytes = b"") -> bytes:
    """A black PNG of one bit a pixel, with further chunks (type, data)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    body = b"".join(chunk(*item) for item in more) + chunk(b"IDAT", rows or zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b"")


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(10**8, 1), (1, 10**8), (65_537, 2), (12_000, 12_000), (2**31 - 1,) * 2])
def test_an_image_of_giant_sides_is_refused_before_it_is_decoded(size: tuple[int, int], fit: Any) -> None:
    """One of 12 kB, a pixel high, took 9 GB to be made a square."""
    bitmap = b"BM" + struct.pack("<IHHIIii", 0, 0, 0, 54, 40, *size) + bytes(99)
    for data in (png(*size), b"P5 %d %d 255 " % size, bitmap):
        with pytest.raises(DataError, match=r"the limit is|damaged image|not an image"):
            Preprocessor(Preprocess(fit=fit)).decode(data)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_text_that_unpacks_to_gigabytes_is_not_unpacked(kind: bytes) -> None:
    packed = zlib.compress(bytes(1 << 26), 9)
    text = b"a\0" + {b"zTXt": b"\0", b"iTXt": b"\1\0\0\0", b"iCCP": b"\0"}[kind] + packed
    image = decoded_or_refused(png(8, 8, (kind, text), rows=zlib.compress(bytes(16))))
    assert image is None or not image.any()


@pytest.mark.parametrize("form", FORMATS)
def test_a_truncated_image_is_refused_or_lacks_nothing(form: str) -> None:
    data = encoded(form)
    whole = decoded_or_refused(data)
    assert whole is not None
    for length in {*range(0, 64, 5), *range(0, len(data), max(1, len(data) // 40)), len(data) - 1}:
        found = decoded_or_refused(data[:length])
        assert found is None or np.array_equal(found, whole), length


@pytest.mark.parametrize("form", FORMATS)
def test_an_image_with_bytes_changed_is_refused_or_is_an_image(form: str) -> None:
    rng, data = random.Random(form), encoded(form)
    for _ in range(150):
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 3, 10))):
            changed[rng.choice((rng.randrange(64), rng.randrange(len(data))))] = rng.randrange(256)
        decoded_or_refused(bytes(changed))


@settings(max_examples=150, deadline=None, database=None)
@given(start=st.sampled_from([b"", *(encoded(form)[:20] for form in FORMATS)]), rest=st.binary(max_size=200))
def test_any_bytes_are_refused_or_are_an_image(start: bytes, rest: bytes) -> None:
    decoded_or_refused(start + rest)


# --- folders of frames ------------------------------------------------------------------------------------------


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(PICTURE).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("number", [2**63, 10**30, 10**250])
def test_frames_with_numbers_beyond_any_video_are_frames_in_order(frames: Path, number: int) -> None:
    os.rename(frames / "2.png", frames / f"{number}.png")
    assert count_frames(frames) == 3
    assert [time for _, time, _ in FrameStream(frames)] == [0.0, 0.04, 0.08]


@pytest.mark.parametrize("way", ["a pipe", "a folder", "a loop", "endless", "nowhere"])
def test_what_is_no_file_is_no_frame(frames: Path, way: str) -> None:
    bad = frames / "1.png"
    bad.unlink()
    if way == "a pipe":
        os.mkfifo(bad)
    elif way == "a folder":
        bad.mkdir()
    else:
        bad.symlink_to({"a loop": bad, "endless": "/dev/zero", "nowhere": "/no/such/file"}[way])
    with pytest.warns(EmozooWarning, match="1 of its frames cannot be read"):
        assert len(read_frames(frames, np.array([0, 1, 2]))) == 3


# --- videos -----------------------------------------------------------------------------------------------------

KINDS = {"mp4": "libx264", "mkv": "libx264", "avi": "mjpeg", "webm": "libvpx-vp9"}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes of a short video in each container."""
    place = tmp_path_factory.mktemp("videos")
    return {
        kind: write_video(place / f"a.{kind}", 6, codec=codec).read_bytes() for kind, codec in KINDS.items()
    }


def looked_at_or_refused(path: Path) -> None:
    """Read a video in each way there is; whatever fails is a DataError that names the file."""
    for read in (
        count_frames,
        lambda path: read_frames(path, np.array([0, 3])),
        lambda path: [time for _, time, _ in FrameStream(path)],
    ):
        try:
            found: Any = read(path)
        except DataError:
            continue
        if isinstance(found, np.ndarray):
            assert (found.dtype, len(found)) == (np.uint8, 2)
        else:
            assert np.isfinite(found).all()


@pytest.mark.filterwarnings("ignore::emozoo.errors.EmozooWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_video_gives_what_it_holds_or_is_refused(videos, tmp_path: Path, kind: str) -> None:
    data = videos[kind]
    for length in {1, 8, 40, *range(0, len(data), len(data) // 12)} - {0}:
        (tmp_path / f"v.{kind}").write_bytes(data[:length])
        looked_at_or_refused(tmp_path / f"v.{kind}")


@pytest.mark.filterwarnings("ignore::emozoo.errors.EmozooWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_video_with_bytes_changed_gives_frames_or_is_refused(videos, tmp_path: Path, kind: str) -> None:
    rng, data = random.Random(kind), videos[kind]
    for _ in range(25):
        changed = bytearray(data)
        for _ in range(rng.choice((1, 3, 20))):
            changed[rng.choice((rng.randrange(400), rng.randrange(len(data))))] = rng.randrange(256)
        (tmp_path / f"v.{kind}").write_bytes(changed)
        looked_at_or_refused(tmp_path / f"v.{kind}")


@pytest.mark.parametrize("codec", ["mjpeg", "rawvideo"])
def test_a_video_of_giant_frames_is_refused_before_it_is_decoded(tmp_path: Path, codec: str) -> None:
    data = write_video(tmp_path / "a.avi", 3, codec=codec).read_bytes()
    form, small = ("<II", (WIDTH, HEIGHT)) if codec == "rawvideo" else (">HH", (HEIGHT, WIDTH))
    assert struct.pack(form, *small) in data
    for side in (1 << 14, (1 << 16) - 1):
        assert side * side > FRAME_LIMIT
        (tmp_path / "b.avi").write_bytes(
            data.replace(struct.pack(form, *small), struct.pack(form, side, side))
        )
        with pytest.raises(DataError, match=r"the limit is|no frame decodes|not a video file"):
            read_frames(tmp_path / "b.avi", np.array([0]))


@pytest.mark.parametrize("name", ["a" * 5_000, "a/" * 5_000, "a\0b", "\ud800", ""])
def test_a_name_that_no_file_can_have_is_that_of_no_file(name: str) -> None:
    for read in (open_image, count_frames):
        with pytest.raises(DataError):
            read(name)


@pytest.mark.skipif(sys.platform == "win32", reason="no such files there")
@pytest.mark.parametrize("target", ["/dev/zero", "/dev/stdin", "/proc/self/mem", "/"])
def test_a_link_to_what_is_no_file_is_no_video(tmp_path: Path, target: str) -> None:
    (tmp_path / "v.mp4").symlink_to(target)
    with pytest.raises(DataError):
        read_frames(tmp_path / "v.mp4", np.array([0]))


def test_a_damaged_video_warns_by_a_name_that_a_terminal_only_shows(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a\x1b[2J.mkv", 100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with pytest.warns(EmozooWarning, match=r"a\\u001b\[2J"):
        list(stream_frames(path))


def test_no_reader_opens_an_image_or_a_video_of_any_kind() -> None:
    """Pillow and PyAV open whatever they know, and are told what to open."""
    root = Path(__file__).parents[2]
    for path in [*(root / "emozoo").rglob("*.py"), *(root / "plugins").rglob("*.py")]:
        for line in path.read_text("utf-8").splitlines():
            if "Image.open(" in line or "pil.open(" in line:
                assert "formats=IMAGE_FORMATS" in line, path
            if "av.open(" in line and '"w"' not in line:
                assert "container_options=" in line, path
