"""Hashes files, and remembers which have been found right, so that an untouched file is not read twice.

A stamp is a small file in the user's cache, named after the path, that holds size, times and inode as they
were before the file was hashed. It only ever saves time: without a cache folder every load hashes.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path

from emozoo.files import cache_folder, complete

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
    with suppress(OSError, RuntimeError):
        if _stamp(real).read_bytes() == state:
            return True
    if sha256(real) != wanted:
        return False
    if time.time() - max(status.st_mtime, status.st_ctime) > SETTLED:
        with suppress(OSError, RuntimeError), complete(_stamp(real)) as place:
            place.write_bytes(state)
    return True


def _stamp(path: Path) -> Path:
    return cache_folder("verified") / hashlib.sha256(os.fsencode(path)).hexdigest()
