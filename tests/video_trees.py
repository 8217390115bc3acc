"""Small datasets of videos on disk, laid out exactly as the originals and their derivatives are."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from clips import write_video
from PIL import Image

DFEW_CLASSES = ("happy", "sad", "neutral", "angry", "surprise", "disgust", "fear")
"""In the order of DFEW's own numbers, from 1."""


def frames(folder: Path, count: int = 3, name: str = "{:05d}.jpg", first: int = 1) -> Path:
    """A folder of frames, whose pictures are those of no other folder."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(zlib.crc32(str(folder).encode()))
    for number in range(first, first + count):
        pixels = rng.integers(0, 256, (12, 10, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name.format(number))
    return folder


def video(path: Path, count: int = 6) -> Path:
    """A video file of a few frames, which are those of no other file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32(str(path).encode()))
    pictures = [np.full((32, 32, 3), rng.integers(256, size=3), np.uint8) for _ in range(count)]
    return write_video(path, pictures, codec="mpeg4" if path.suffix == ".avi" else "libx264")


def lines(path: Path, rows: Iterable[object]) -> Path:
    """A text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def dfew(root: Path) -> Path:
    """DFEW as its authors give it: 14 clips, two of each class; fold k tests clips k, k + 5, k + 10."""
    for number in range(1, 15):
        frames(root / "Clip" / "clip_224x224" / f"{number:05d}")
        frames(root / "Clip" / "clip_224x224_16f" / f"{number:05d}", 16)
    for fold in range(1, 6):
        dfew_lists(root, fold, range(1, 15), "EmoLabel_DataSplit/{0}(single-labeled)/set_{1}.csv", first=1)
    return root


def dfew_lists(
    root: Path, fold: int, clips: Sequence[int], form: str, line: str = "{name},{label}", first: int = 0
) -> None:
    """Both lists of a fold, in one of the forms that people use; clip n has class (n - 1) mod 7."""
    heading = ["video_name,label"] if line.startswith("{name},") else []
    for split in ("train", "test"):
        chosen = [n for n in clips if ((n - fold) % 5 == 0) == (split == "test")]
        rows = [line.format(name=n, number=f"{n:05d}", label=(n - 1) % 7 + first) for n in chosen]
        lines(root / form.format(split, fold), [*heading, *rows])


def ferv39k(root: Path) -> Path:
    """FERV39k as its authors give it: three kinds of scenes, two classes."""
    for scene, name, clip in FERV39K:
        frames(root / "2_ClipsforFaceCrop" / scene / name / clip)
    rows = [f"{scene}/{name}/{clip} {name}" for scene, name, clip in FERV39K]
    lines(root / "4_setups" / "All_scenes" / "train_All.csv", rows[:4])
    lines(root / "4_setups" / "All_scenes" / "test_All.csv", rows[4:])
    lines(root / "4_setups" / "22_scenes" / "Action" / "train_Action.csv", rows[:1])
    lines(root / "4_setups" / "22_scenes" / "Action" / "test_Action.csv", rows[1:2])
    return root


FERV39K = [
    ("Action", "Happy", "0267"), ("Action", "Sad", "0010"), ("Crime", "Happy", "0267"), ("Crime", "Angry", "0001"),
    ("Talkshow", "Happy", "0003"), ("Talkshow", "Sad", "0010"),
]  # fmt: skip


def mafw(root: Path) -> Path:
    """MAFW as its authors give it, video files and lists with and without captions."""
    names = ("anger", "happiness", "disappointment", "anxiety", "contempt")
    for number in range(1, 6):
        video(root / "clips" / f"{number:05d}.mp4")
    for fold in range(1, 6):
        rows = {n: f"{n:05d}.mp4 {name}" for n, name in enumerate(names, 1)}
        for form, suffix in (("no_caption", ""), ("with_caption", "\t一位男子皱眉。\tA man frowns.")):
            folder = root / "anno" / "single" / form / f"set_{fold}"
            gap = "\t" if suffix else " "
            text = {n: row.replace(" ", gap) + suffix for n, row in rows.items()}
            lines(folder / "train.txt", [row for n, row in text.items() if n != fold])
            lines(folder / "test.txt", [text[fold]])
        compound = root / "anno" / "compound" / "no_caption" / f"set_{fold}"
        lines(compound / "train.txt", ["00001.mp4 anger_disgust"])
        lines(compound / "test.txt", ["00001.mp4 anger"])
    return root


def afew(root: Path) -> Path:
    """AFEW as EmotiW gives it: videos, and aligned faces without a class in their path."""
    for split, suffix, clips in AFEW:
        place = root / f"{split}_AFEW"
        for name, number in clips:
            video(place / name / f"{number}.avi")
            frames(
                place / f"AlignedFaces_LBPTOP_Points{suffix}" / "Faces" / number,
                name=f"{number}-{{:03d}}.jpg",
            )
    video(root / "Test_AFEW" / "000000001.avi")
    return root


AFEW = (
    ("Train", "", (("Angry", "000046280"), ("Happy", "013736360"))),
    ("Val", "_Val", (("Angry", "005150814"), ("Happy", "004643134"))),
)


def mmi(root: Path) -> Path:
    """MMI as its site gives it: a session a folder, with annotations in XML; 12 subjects."""
    for number in range(1, 13):
        session(root, number, f"S{number:03d}-001", number % 6 + 1)
    session(root, 400, "S001-002", 7)
    video(root / "Sessions" / "500" / "S002-117.avi")
    return root


def session(root: Path, number: int, name: str, code: object) -> Path:
    """A session of MMI."""
    folder = root / "Sessions" / str(number)
    video(folder / f"{name}.avi")
    lines(folder / "session.xml", ['<?xml version="1.0"?>', '<session><track view="0"/></session>'])
    lines(folder / f"{name}-oao_aucs.xml", ["<ActionUnits/>"])
    tags = f'<Metatag Name="Subject" Value="1"/><Metatag Name="Emotion" Value="{code}"/>'
    lines(folder / f"{name}.xml", [f'<?xml version="1.0"?><annotation>{tags}</annotation>'])
    return folder


def bu4dfe(root: Path) -> Path:
    """BU-4DFE as its authors give it: 11 subjects, two expressions of each, beside 3-D models."""
    for subject in [f"F{n:03d}" for n in range(1, 7)] + [f"M{n:03d}" for n in range(1, 6)]:
        for name in ("Angry", "Surprise"):
            folder = frames(root / subject / name, name="{:03d}.jpg", first=0)
            lines(folder / "000.wrl", ["#VRML V2.0"])
    return root


def ckplus(root: Path) -> Path:
    """CK+ as its authors give it: ten subjects with two sequences each, of which one is labelled."""
    for subject in range(5, 15):
        for sequence in (1, 2):
            name = f"S{subject:03d}/{sequence:03d}"
            stem = name.replace("/", "_")
            frames(root / "cohn-kanade-images" / name, name=stem + "_{:08d}.png")
            (root / "Emotion" / name).mkdir(parents=True)
            if sequence == 1:
                code = f"   {subject % 7 + 1}.0000000e+00"
                lines(root / "Emotion" / name / f"{stem}_00000003_emotion.txt", [code])
    return root


def videos(root: Path) -> Path:
    """Videos of one's own: files and folders of frames, by split and class."""
    for split in ("train", "val"):
        video(root / split / "Happy" / f"{split}.mp4")
        frames(root / split / "sadness" / f"{split}-frames")
    return root


TREES: dict[str, Callable[[Path], Path]] = {
    "afew": afew,
    "bu4dfe": bu4dfe,
    "ckplus": ckplus,
    "dfew": dfew,
    "ferv39k": ferv39k,
    "mafw": mafw,
    "mmi": mmi,
    "videos": videos,
}
"""By the name of their reader, what makes a tree in a folder, and returns it."""
