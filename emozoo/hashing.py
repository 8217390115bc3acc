"""Hashes files, and remembers which have been found right, so that an untouched file is not read twice.

A stamp is a small file in the user's cache, named after the path, that holds size, times and inode as they
were before the file was hashed. It only ever saves time: without a cache folder every load hashes.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

SETTLED = 1.0
"""Seconds a file must have been left alone to be stamped: within a clock tick, a change leaves no trace."""


def sha256(path: Path) -> str:
    """Return a file's sha256."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def matches(path: Path, wanted: str) -> bool:
    """Say whether a file has this sha256; one that had it before and is untouched since is not read again."""
    real = path.resolve()
    status = real.stat()
    state = f"{wanted} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}".encode()
    name = hashlib.sha256(os.fsencode(real)).hexdigest()
    with suppress(OSError, RuntimeError):
        if (_folder() / name).read_bytes() == state:
            return True
    if sha256(real) != wanted:
        return False
    if time.time() - max(status.st_mtime, status.st_ctime) > SETTLED:
        with suppress(OSError, RuntimeError):
            _write(_folder() / name, state)
    return True


def _folder() -> Path:
    home = os.environ.get("EMOZOO_CACHE") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "emozoo" / "verified"


def _write(stamp: Path, state: bytes) -> None:
    stamp.parent.mkdir(parents=True, exist_ok=True)
    temporary = stamp.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
    temporary.write_bytes(state)
    os.replace(temporary, stamp)
