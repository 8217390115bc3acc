"""`python -m benchmarks [NAME ...] [--write]`: run benchmarks and print their tables; keep them in docs."""

from __future__ import annotations

import argparse
import importlib
import platform
import re
from datetime import date
from pathlib import Path

NAMES = (
    "startup", "loading", "augmentation", "training", "multitask", "ceflnet", "video", "memory", "bundled", "zoo"
)  # fmt: skip

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"

HEADER = (
    "# Benchmarks\n\n`python -m benchmarks [NAME ...] --write` renews these sections, each on the machine that it "
    "names. Ratios are against a plain implementation in the same run; absolute figures are the machine's.\n"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which: {', '.join(NAMES)}; all if none is given"
    )
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    for name in options.names or NAMES:
        text = section(name)
        print(text, flush=True)
        if options.write:
            kept = sections(PAGE.read_text(encoding="utf-8")) | {name: text}
            page = "\n".join([HEADER, *(kept[known] for known in NAMES if known in kept)])
            PAGE.write_text(page, encoding="utf-8")


def section(name: str) -> str:
    """Run a benchmark and return its part of the page."""
    module = importlib.import_module(f"benchmarks.{name}")
    rows = [row.line() for row in module.measure()]
    head = [f"## {name}", "", module.__doc__.strip(), "", f"{date.today():%Y-%m-%d}: {machine()}.", ""]
    return "\n".join([*head, "| what | measured | goal | met |", "|---|---|---|---|", *rows, ""])


def sections(page: str) -> dict[str, str]:
    """Return the sections of the page by their names."""
    parts = re.split(r"^## (\w+)\n", page, flags=re.MULTILINE)[1:]
    return {name: f"## {name}\n{text.rstrip()}\n" for name, text in zip(parts[::2], parts[1::2], strict=True)}


def machine() -> str:
    """Say what is measured on."""
    import torch

    from emozoo.versions import hardware, versions

    found = hardware(torch.device("cuda" if torch.cuda.is_available() else "cpu"), 1)
    where = f"{found['processor']}, {found['cores']} cores{', ' + found['gpu'] if 'gpu' in found else ''}"
    return f"{where}, {platform.system()}, torch {versions()['torch']}, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
