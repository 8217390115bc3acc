"""The command line: one module a command, each importing what it needs when it runs."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from typing import TextIO


def main() -> None:
    """Run the command line; errors that emozoo raises on purpose, and files' own, end it with a message and status 1.

    Whatever names and texts of others it prints, a terminal shows them and obeys none.
    """
    from emozoo.cli.app import app
    from emozoo.errors import EmozooError, Interrupted
    from emozoo.files import FULL
    from emozoo.printable import Printable

    try:
        with redirect_stdout(Printable(sys.stdout)):
            try:
                app()
            finally:
                sys.stdout.flush()
    except EmozooError as error:
        if os.environ.get("EMOZOO_TRACEBACK"):
            raise
        sys.stderr.write(f"error: {error}\n")
        sys.exit(128 + error.signal if isinstance(error, Interrupted) else 1)
    except SystemExit as ended:
        if ended.code == 130:  # what typer makes of Ctrl-C
            sys.stderr.write("interrupted\n")
        raise
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:  # a place that cannot be written to, a full disk
        if (error.filename is None and error.errno not in FULL) or os.environ.get("EMOZOO_TRACEBACK"):
            raise
        place = "" if error.filename is None else f"{error.filename}: "
        sys.stderr.write(f"error: {place}{error.strerror}\n")
        _leave(sys.stdout)
        sys.exit(1)


def _leave(stream: TextIO) -> None:
    """Write what a stream still holds, or let go of it: at the end Python would fail once more."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
