"""What `check` says of any dataset of videos: unreadable, incomplete, short and repeated ones."""

from __future__ import annotations

import hashlib
import math
import re
import statistics
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from PIL import Image

from emozoo.contracts import FRAME_LIMIT, IMAGE_FORMATS, VIDEO_FORMATS, Finding
from emozoo_datasets.image_checks import Problems, repetitions, some
from emozoo_datasets.video_files import frame_files

SHORT = 16
"""Frames below which a video is called short: what most video models take at once."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a video is: frames (None where unknown), bytes of each of its files, what is wrong, which are missing."""

    frames: int | None
    sizes: tuple[int, ...]
    problem: str | None = None
    gaps: str | None = None


def examine_videos(
    videos: Sequence[Path],
    ids: Sequence[str],
    splits: Sequence[str],
    labels: Sequence[int | None],
    listed: Sequence[int | None],
) -> list[Finding]:
    """Open every video and report on it.

    Of a folder of frames the first is decoded and the others are counted; of a file the first frame is decoded
    and the packets are counted, where PyAV is installed.

    Args:
        videos: files, or folders of frames.
        ids: what to call them.
        splits: which split or fold each is in.
        labels: class of each.
        listed: how many frames a list says that each has, None where it does not.
    """
    with ThreadPoolExecutor() as pool:
        looks = list(pool.map(look, videos))
    problems = Problems()
    for name, seen in zip(ids, looks, strict=True):
        if seen.problem:
            problems(name, seen.problem)
    findings = problems.findings()
    counted = [(name, seen.frames) for name, seen in zip(ids, looks, strict=True) if seen.frames is not None]
    findings += _lengths(counted)
    gaps = [f"{name} ({seen.gaps})" for name, seen in zip(ids, looks, strict=True) if seen.gaps]
    if gaps:
        findings.append(
            Finding("warning", some(gaps), f"{len(gaps):,} videos lack frames, by their files' numbers")
        )
    differing = [
        f"{name} ({seen.frames} for {count})"
        for name, seen, count in zip(ids, looks, listed, strict=True)
        if count is not None and seen.frames is not None and count != seen.frames
    ]
    if differing:
        message = f"{len(differing):,} videos have another number of frames than the list says"
        findings.append(Finding("warning", some(differing), message))
    return findings + repetitions(_alike(videos, looks), ids, splits, labels, "videos")


def look(video: Path) -> Look:
    """Look at a video without decoding all of it."""
    try:
        return _look_at_folder(video) if video.is_dir() else _look_at_file(video)
    except Exception as error:  # decoders raise what they like over a broken file
        size = 0 if video.is_dir() else video.stat().st_size
        return Look(None, (size,), f"the video cannot be read ({error}); replace or remove it")


def _look_at_folder(folder: Path) -> Look:
    files = sorted(frame_files(folder))
    sizes = tuple(file.stat().st_size for file in files)
    with Image.open(files[sizes.index(max(sizes))], formats=IMAGE_FORMATS) as opened:
        opened.load()
    empty = [file.name for file, size in zip(files, sizes, strict=True) if not size]
    problem = f"{len(empty)} of its frames are empty files: {some(empty)}; replace them" if empty else None
    return Look(len(files), sizes, problem, _gaps(files))


def _look_at_file(path: Path) -> Look:
    size = path.stat().st_size
    if not size:
        return Look(None, (0,), "the file is empty; replace or remove it")
    import av

    count, decoded, allowed = 0, False, {"format_whitelist": VIDEO_FORMATS}
    with path.open("rb") as file, av.open(file, "r", container_options=allowed) as container:
        if not container.streams.video:
            return Look(None, (size,), "the file holds no pictures; replace or remove it")
        container.streams.video[0].codec_context.options = {"max_pixels": str(FRAME_LIMIT)}
        for packet in container.demux(container.streams.video[0]):
            count += packet.size > 0
            decoded = decoded or bool(packet.decode())
    return Look(count, (size,), None if decoded else "no frame of it can be decoded; replace or remove it")


def _gaps(files: Sequence[Path]) -> str | None:
    """Say how many numbers are missing between those of the first and the last frame."""
    found = [re.findall("[0-9]+", file.stem) for file in files]
    numbers = sorted({int(parts[-1]) for parts in found if parts})
    if len(numbers) < 2 or len(numbers) < len(files):
        return None
    steps = [after - before for before, after in pairwise(numbers)]
    missing = (numbers[-1] - numbers[0]) // math.gcd(*steps) + 1 - len(numbers)
    return f"{missing} of {missing + len(numbers)} are missing" if missing else None


def _lengths(counted: Sequence[tuple[str, int]]) -> list[Finding]:
    findings = []
    if counted:
        counts = [count for _, count in counted]
        message = f"{min(counts)} to {max(counts)} a video, median {statistics.median(counts):g}"
        findings.append(Finding("info", "frames", message))
    short = [f"{name} ({count})" for name, count in counted if count < SHORT]
    if short:
        message = (
            f"{len(short):,} videos have fewer than {SHORT} frames; samplers repeat or mask frames in them"
        )
        findings.append(Finding("warning", some(short), message))
    return findings


def _alike(videos: Sequence[Path], looks: Sequence[Look]) -> list[list[int]]:
    """Return groups of identical videos; only those are hashed whose files are of the same sizes."""
    by_size: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, seen in enumerate(looks):
        if any(seen.sizes):
            by_size[seen.sizes].append(index)
    alike: dict[bytes, list[int]] = defaultdict(list)
    for group in by_size.values():
        for index in group if len(group) > 1 else ():
            alike[_digest(videos[index])].append(index)
    return [group for group in alike.values() if len(group) > 1]


def _digest(video: Path) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(frame_files(video)) if video.is_dir() else [video]:
        digest.update(path.read_bytes())
    return digest.digest()
