"""What must hold of a model folder before it is published: whole, loadable elsewhere, with a card that may be shown."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from emozoo.card_check import folder_problems
from emozoo.card_text import addressed
from emozoo.errors import PushError
from emozoo.folder import check_manifest
from emozoo.hub import OF_CARD
from emozoo.hub_client import Hub, connect
from emozoo.layout import CARD, MANIFEST, RECORDS, REQUIRED, RUN

_PICTURE = re.compile(r"\]\((pictures/[\w-]+\.png)\)")


def check_folder(folder: Path) -> None:
    """Check that a folder is a model folder, that its card may be shown, and that no link brings in other files.

    Raises:
        CorruptModelError: it is no model folder.
        PushError: its card lacks something, which is listed; a file lies elsewhere; or a record has a name by which
            it would not be fetched.
    """
    check_manifest(folder)
    places = folder.resolve(), connect().cache.resolve()
    for name in _names(folder):
        if not any((folder / name).resolve().is_relative_to(place) for place in places):
            raise PushError(
                f"{folder / name} is a link out of the folder, and is not published; copy the file there"
            )
        if name.startswith(f"{RECORDS}/") and not OF_CARD.fullmatch(name):
            raise PushError(
                f"{folder / name} would not be fetched with the model: rename it, to letters, digits, - and _ before "
                ".json"
            )
    if problems := folder_problems(folder):
        listed = "\n  ".join(problems)
        raise PushError(
            f"{folder} is not pushed; its card is not ready (`emozoo card check dir:{folder}`):\n  {listed}"
        )


def copied(folder: Path, place: Path) -> Path:
    """Copy what is published of a folder to another place; return the copy."""
    copy = place / folder.resolve().name
    for name in _names(folder):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(folder / name, copy / name)
    return copy


def _names(folder: Path) -> list[str]:
    """Return the files of a folder that are published: the model, its card, and what the card shows and rests on."""
    card = folder / CARD
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    pictures = dict.fromkeys(_PICTURE.findall(text))
    records = [f"{RECORDS}/{path.name}" for path in sorted((folder / RECORDS).glob("*.json"))]
    return [
        name for name in (*REQUIRED, RUN, MANIFEST, CARD, *pictures, *records) if (folder / name).is_file()
    ]


def proved(folder: Path, repo: str, hub: Hub) -> dict[str, Path | bytes]:
    """Return the files of a model folder that loads, in a fresh process, as what was saved."""
    check_folder(folder)
    reload(folder)
    card = addressed((folder / CARD).read_text(encoding="utf-8"), repo, hub.url(repo))
    return {**{name: folder / name for name in _names(folder)}, CARD: card.encode()}


def reload(folder: Path) -> None:
    """Load a model folder in a fresh process and compare it with its golden outputs.

    Raises:
        PushError: it cannot be loaded there, or is another model there.
    """
    command = [sys.executable, "-P", "-m", "emozoo", "verify", f"dir:{folder.resolve()}"]
    done = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    if done.returncode:
        raise PushError(f"{folder} is not pushed: a fresh process does not load it.\n{done.stderr.strip()}")
