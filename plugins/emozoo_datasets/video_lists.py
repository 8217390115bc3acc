"""Lists of videos and labels, in the forms in which people pass them round, and what their numbers stand for.

A line names a video, its label and sometimes how many frames it has: `04342,4`, `Action/Sad/0010 Sad`,
`/home/me/DFEW/00001 70 3`, or tab-separated with captions after the label. Numbers stand for classes in an order
that differs from list to list, even of one dataset, so that an order is found out and never assumed.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emozoo.errors import DataError
from emozoo.labels import canonical
from emozoo_datasets.image_checks import Report
from emozoo_datasets.video_files import folders_below, without_suffix

_HEADER_WORDS = frozenset({"label", "labels", "class", "emotion", "expression", "annotation"})
_SPLIT = re.compile(r"(?<![a-z])(train|test|eval|val)(?:ing|uation|id|idation)?(?=(?:set|list)?(?![a-z]))")
_FOLD = re.compile(r"(?:set|split|fold)[_-]?0*([0-9]{1,2})(?![0-9])")

_SEVERAL = {"compound", "multi"}
"""Words of folders whose lists give several labels to a video; those are not read."""

_NEAR = 0.02
"""Share by which a class may differ from the original's count and still be told by it."""

_INDEX_BYTES = 4096
"""Largest file that may be an index of labels."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a list.

    Attributes:
        name: path of the video as written, with forward slashes and without a video file's suffix.
        label: a class or a number, as written.
        frames: how many frames the list says that it has, if it does.
        where: file and line, for messages.
    """

    name: str
    label: str
    frames: int | None
    where: str


@dataclass(frozen=True, slots=True)
class Lists:
    """The lists of a dataset in one form.

    Attributes:
        form: their paths, with * for the split and # for the fold.
        files: by fold (None without folds) and split (train, val or test).
    """

    form: str
    files: dict[tuple[int | None, str], Path]


def split_word(text: str) -> str | None:
    """Return the split that a name speaks of in a word of its own, train, val or test: the last that it names."""
    words = _SPLIT.findall(text.lower())
    return {"eval": "val"}.get(words[-1], words[-1]) if words else None


def split_names(names: Collection[str]) -> dict[str, str]:
    """Return what each split is called: train, val or test where it alone speaks of that, else what it was.

    Of "test_seen" and "test_unseen" neither is the test; a name that is the very word always is.
    """
    spoken = {name.lower(): split_word(name) for name in names}
    times = Counter(spoken.values())
    called = {}
    for name in names:
        split = spoken[name.lower()]
        called[name] = split if split and (times[split] == 1 or name.lower() == split) else name
    return called


def find_lists(root: Path, labels: Sequence[str], *, folds: bool) -> list[Lists]:
    """Find the lists below a folder, by form: those with class names first, then those with most files and lines.

    Args:
        root: where to look.
        labels: the dataset's classes.
        folds: whether the lists are of folds; others are left out.
    """
    forms: dict[str, dict[tuple[int | None, str], Path]] = defaultdict(dict)
    for path in _text_files(root):
        place = path.relative_to(root).as_posix().lower()
        split, numbers = split_word(place), _FOLD.findall(place)
        if split is None or folds != bool(numbers) or not _is_list(path, labels):
            continue
        form = _SPLIT.sub("*", _FOLD.sub(lambda found: found[0].rstrip("0123456789") + "#", place))
        forms[form][int(numbers[-1]) if folds else None, split] = path
    found = [Lists(form, files) for form, files in forms.items()]
    return sorted(
        found, key=lambda lists: (_is_numbered(lists), -len(lists.files), -_length(lists), lists.form)
    )


def read_list(path: Path, report: Report) -> list[Line]:
    """Read a list; a heading is skipped, and lines that say nothing are reported."""
    lines = []
    for number, text in enumerate(_text(path).splitlines(), 1):
        where = f"{path} line {number}"
        line = parse(text, where)
        if line is not None and not (number == 1 and line.label.lower() in _HEADER_WORDS):
            lines.append(line)
        elif line is None and text.strip():
            report(
                where, f"{text.strip()!r:.80} is no video with a label; write `path label` or `path,label`"
            )
    return lines


def parse(text: str, where: str) -> Line | None:
    """Return what a line says, or None where it does not name a video and a label."""
    if "\t" in text:
        fields = [field.strip() for field in text.split("\t")][:2]
    elif "," in text:
        fields = [field.strip() for field in text.split(",")]
    else:
        fields = text.rsplit(maxsplit=2)
        if len(fields) == 3 and not fields[1].isdecimal():
            fields = text.rsplit(maxsplit=1)
    if len(fields) not in (2, 3) or not all(fields):
        return None
    frames = int(fields[1]) if len(fields) == 3 and fields[1].isdecimal() else None
    name = without_suffix(fields[0].strip().replace("\\", "/").rstrip("/"))
    return Line(name, fields[-1], frames, where)


def tail(name: str, parts: int) -> str:
    """Return the last parts of a path, which do not depend on whose machine it was on."""
    return "/".join(name.split("/")[-parts:])


def name_numbers(
    lines: Sequence[Line],
    labels: Sequence[str],
    *,
    given: Mapping[str, str] | None,
    counts: Sequence[int],
    documented: Mapping[int, str],
) -> tuple[dict[int, str], str]:
    """Find out which class each number of some lists stands for, and return it with how it is known.

    In this order: the user says so; the videos lie in folders named by class; the numbers are as many as the
    classes of the original; an index of labels lies with the lists; or they count from 1, as only the original's do.

    Args:
        lines: one of each video, those with class names included.
        labels: the dataset's classes.
        given: the user's, number to class.
        counts: videos of each class in the original; empty where unknown.
        documented: what the original's own numbers, from 1, stand for; empty where it has none.

    Raises:
        DataError: it cannot be known, or folders contradict each other.
    """
    numbers = Counter(int(line.label) for line in lines if line.label.isdecimal())
    if given is not None:
        return _given(given, labels), "the option numbers"
    ways = (
        (_by_folder(lines, labels), "the folders that the videos lie in"),
        (_by_count(numbers, labels, counts), "the number of videos of each class"),
        (_by_index(lines, labels), "an index of labels beside the lists"),
        (
            dict(documented) if 0 not in numbers and max(documented, default=0) in numbers else {},
            "the original",
        ),
    )
    for names, source in ways:
        if names.keys() >= numbers.keys():
            return names, source
    raise DataError(
        f"{lines[0].where.rpartition(' line ')[0]}: nothing tells what the labels "
        f"{', '.join(map(str, sorted(numbers)))} stand for, and lists differ in it; say so with the option numbers, "
        'such as numbers = { "0" = "happy", "1" = "sad" }'
    )


def _given(given: Mapping[str, str], labels: Sequence[str]) -> dict[int, str]:
    for number, name in given.items():
        if not number.isdecimal() or canonical(name) not in labels:
            raise DataError(
                f"numbers: {number!r} = {name!r} does not give a number one of the classes {', '.join(labels)}"
            )
    return {int(number): canonical(name) for number, name in given.items()}


def _by_folder(lines: Iterable[Line], labels: Sequence[str]) -> dict[int, str]:
    names: dict[int, str] = {}
    for line in lines:
        folders = [canonical(part) for part in line.name.split("/")[:-1]]
        name = next((folder for folder in reversed(folders) if folder in labels), None)
        if name is None or not line.label.isdecimal():
            continue
        if names.setdefault(int(line.label), name) != name:
            raise DataError(
                f"{line.where}: the label {line.label} stands for {name} by the video's folder, and for "
                f"{names[int(line.label)]} by another's; the list is wrong"
            )
    return names if len(set(names.values())) == len(names) else {}


def _by_count(numbers: Mapping[int, int], labels: Sequence[str], counts: Sequence[int]) -> dict[int, str]:
    names = {}
    for number, count in numbers.items():
        near = [
            name for name, known in zip(labels, counts, strict=False) if abs(count - known) <= _NEAR * known
        ]
        if len(near) == 1:
            names[number] = near[0]
    return names if len(set(names.values())) == len(names) else {}


def _by_index(lines: Sequence[Line], labels: Sequence[str]) -> dict[int, str]:
    """Read a small file beside the lists, or above them, that pairs numbers with classes ("Angry 0")."""
    beside = {Path(line.where.rpartition(" line ")[0]).parent for line in lines}
    for folder in sorted(beside | {path.parent for path in beside}):
        for path in sorted(folder.glob("*.txt")):
            if path.stat().st_size > _INDEX_BYTES:
                continue
            pairs = re.findall(r"[0-9]+|[A-Za-z]+", _text(path))
            names = {}
            for one, other in zip(pairs[::2], pairs[1::2], strict=False):
                number, name = (one, other) if one.isdecimal() else (other, one)
                if number.isdecimal() and canonical(name) in labels:
                    names[int(number)] = canonical(name)
            if len(names) == len(pairs) / 2 == len(labels) == len(set(names.values())):
                return names
    return {}


def _text_files(root: Path) -> list[Path]:
    return sorted(
        path
        for folder in folders_below(root)
        if not _SEVERAL & set(re.findall("[a-z]+", folder.relative_to(root).as_posix().lower()))
        for path in folder.iterdir()
        if path.suffix.lower() in (".txt", ".csv") and path.is_file()
    )


def _is_list(path: Path, labels: Sequence[str]) -> bool:
    """Say whether the first lines of a file name a video and a label."""
    with path.open("rb") as file:
        text = _decode(file.read(_INDEX_BYTES))
    lines = [parse(line, "") for line in text.splitlines()[:3] if line.strip()]
    return any(line is not None and _is_label(line.label, labels) for line in lines)


def _is_label(text: str, labels: Sequence[str]) -> bool:
    return text.isdecimal() or canonical(text) in labels


def _is_numbered(lists: Lists) -> bool:
    line = parse(_text(next(iter(lists.files.values()))).splitlines()[-1], "")
    return line is None or line.label.isdecimal()


def _length(lists: Lists) -> int:
    return sum(path.read_bytes().count(b"\n") for path in lists.files.values())


def _text(path: Path) -> str:
    return _decode(path.read_bytes())


def _decode(data: bytes) -> str:
    """Read UTF-8, or else GBK, in which some lists with captions are written."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("gbk", errors="replace")
