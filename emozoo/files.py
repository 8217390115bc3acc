"""Files of emozoo's own: written whole or not at all, and where those lie that any run may need again."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""Errors of a disk that takes no more; writing raises them without the name of the file."""


@contextmanager
def complete(path: Path) -> Generator[Path]:
    """Give a place to write to; what the block leaves there becomes `path` at once. The folder is made if need be.

    An older file stays as it is where the block raises, or takes away again what it has written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        yield temporary
        if temporary.exists():
            temporary.replace(path)
    except OSError as error:
        if error.errno in FULL and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def cache_folder(what: str) -> Path:
    """Return the folder for files of some kind: EMOZOO_CACHE, or the user's cache, /emozoo/WHAT."""
    home = os.environ.get("EMOZOO_CACHE") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "emozoo" / what
