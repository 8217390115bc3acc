"""Text from files, made safe to show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TextIO


def printable(text: str) -> str:
    r"""Return text whose every sign only shows: all others, but for line ends and tabs, as JSON writes them, \u001b.

    A label, title, file name or plugin name may hold signs that a terminal obeys, that turn the direction of what
    follows, or that nobody sees. JSON says the same before and after.
    """
    if text.replace("\n", "").isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in "\n\t" else _escaped(sign) for sign in text)


def _escaped(sign: str) -> str:
    units = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))


def shortened(name: str) -> str:
    """Return a name as errors show it: what is no path may have megabytes, as a data: URL does."""
    return name if len(name) <= 255 else f"{name[:99]}... ({len(name):,} characters)"


class Printable:
    """A stream to which only signs that show are written; in all else it is the one that it writes to."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text, made safe to show."""
        return self._stream.write(printable(text))

    def writelines(self, lines: Iterable[str]) -> None:
        """Write lines, each made safe to show."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Send what has been written."""
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
