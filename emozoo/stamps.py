"""Remembers which files have been hashed and found right, so that an untouched file is not read twice.

A stamp is a small file in the user's cache, named after the path, that holds size, modification time and inode as
they were at the check. It only ever saves time: without a cache folder every load hashes.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path


def _folder() -> Path:
    home = os.environ.get("EMOZOO_CACHE") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "emozoo" / "verified"


def _entry(path: Path, sha256: str) -> tuple[Path, str]:
    real = path.resolve()
    status = real.stat()
    name = hashlib.sha256(str(real).encode()).hexdigest()
    return _folder() / name, f"{sha256} {status.st_size} {status.st_mtime_ns} {status.st_ino}"


def is_stamped(path: Path, sha256: str) -> bool:
    """Say whether this very file was found to have this sha256 before."""
    try:
        stamp_file, state = _entry(path, sha256)
        return stamp_file.read_text(encoding="utf-8") == state
    except OSError:
        return False


def stamp(path: Path, sha256: str) -> None:
    """Remember that a file has been checked; a cache that cannot be written is no error."""
    with suppress(OSError):
        stamp_file, state = _entry(path, sha256)
        stamp_file.parent.mkdir(parents=True, exist_ok=True)
        temporary = stamp_file.with_suffix(f".{os.getpid()}")
        temporary.write_text(state, encoding="utf-8")
        os.replace(temporary, stamp_file)
