"""`python -m benchmarks [NAME ...] [--write]`: run benchmarks, print their tables, and write docs/benchmarks.md."""

from __future__ import annotations

import argparse
import importlib
import platform
from datetime import date
from pathlib import Path

NAMES = ("startup", "loading", "augmentation", "training", "multitask", "ceflnet", "video")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which: {', '.join(NAMES)}; all if none is given"
    )
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    sections = []
    for name in options.names or NAMES:
        module = importlib.import_module(f"benchmarks.{name}")
        rows = [row.line() for row in module.measure()]
        section = [
            f"## {name}",
            "",
            module.__doc__.strip(),
            "",
            "| what | measured | goal | met |",
            "|---|---|---|---|",
            *rows,
        ]
        print("\n".join(section), flush=True)
        sections.append("\n".join(section))
    if options.write:
        Path(__file__).parents[1].joinpath("docs", "benchmarks.md").write_text(
            header() + "\n\n".join(sections) + "\n"
        )


def header() -> str:
    import torch

    from emozoo.training.record import hardware
    from emozoo.versions import versions

    machine = hardware(torch.device("cuda" if torch.cuda.is_available() else "cpu"), 1)
    where = (
        f"{machine['processor']}, {machine['cores']} cores{', ' + machine['gpu'] if 'gpu' in machine else ''}"
    )
    return (
        "# Benchmarks\n\n"
        f"`python -m benchmarks --write` on {date.today():%Y-%m-%d}: {where}, {platform.system()}, "
        f"torch {versions()['torch']}, Python {platform.python_version()}. Ratios are against a plain implementation "
        "in the same run; absolute figures are this machine's.\n\n"
    )


if __name__ == "__main__":
    main()
