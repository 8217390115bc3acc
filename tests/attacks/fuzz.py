"""A coverage-guided search for bytes that end in anything but a named error: `python -m tests.attacks.fuzz`.

It needs atheris (`pip install atheris`), and runs each target of `targets.py` in a process of its own, from the kept
corpus. What it finds is left in the folder `crashes` of the working folder. With `--keep`, the corpus becomes the
smallest set of inputs that reaches all that was reached.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE, MODULE = Path(__file__).parent, "tests.attacks.fuzz"
WATCHED = ["emozoo", "emozoo_datasets", "tomllib", "yaml", "PIL", "json"]
LARGEST = {"image": 4_000, "video": 12_000, "header": 3_000, "table": 12_000, "record": 8_000}
"""Bytes of an input; 2,000 of those that are text."""


BUDGET = 24_000
"""Bytes of the kept inputs of a target."""


def fuzz_here(name: str, arguments: list[str]) -> None:
    """Fuzz one target in this process, which it ends."""
    import atheris

    sys.path[:0] = [str(HERE), str(HERE.parent)]
    with atheris.instrument_imports(include=WATCHED):
        from targets import take
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / "again"  # libFuzzer starts itself anew to merge a corpus
        again.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {MODULE} --here {name} -- "$@"\n')
        again.chmod(0o755)
        atheris.Setup([str(again), *arguments], lambda data: take(name, data) and None)
        atheris.Fuzz()


def run(name: str, folders: list[Path], *options: str) -> str:
    """Run libFuzzer on a target in another process; return what it says."""
    size = LARGEST.get(name, 2_000)
    limits = [f"-max_len={size}", "-timeout=25", "-rss_limit_mb=4096", f"-artifact_prefix=crashes/{name}-"]
    command = [sys.executable, "-m", MODULE, "--here", name, "--", *limits, *options]
    done = subprocess.run([*command, *map(str, folders)], cwd=HERE.parents[1], capture_output=True, text=True)
    return done.stdout + done.stderr


def fuzz(name: str, seconds: int, keep: bool) -> str:
    """Fuzz a target for a while; return a line on what came of it."""
    kept = HERE / "corpus" / name
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        found, least = Path(folder) / "found", Path(folder) / "least"
        found.mkdir()
        said = run(name, [found, kept], f"-max_total_time={seconds}", "-print_final_stats=1")
        if keep:
            least.mkdir()
            run(name, [least, kept, found], "-merge=1")
            if any(least.iterdir()):
                shutil.rmtree(kept)
                _copy_smallest(least, kept)
    cov = [int(number) for number in re.findall(r"cov: (\d+)", said)] or [0]
    executed = re.findall(r"stat::number_of_executed_units: (\d+)", said)
    crash = re.findall(r"Test unit written to (\S+)", said)
    return (
        f"{name:<11} {int(executed[0]) if executed else 0:>9,} executions, coverage {cov[0]} -> {cov[-1]}, "
        f"kept {len(list(kept.iterdir()))} inputs"
        + (f"\n  FOUND {crash[0]}\n{_trace(said)}" if crash else "")
    )


def _copy_smallest(found: Path, kept: Path) -> None:
    """Copy inputs as far as the budget goes, the smallest first."""
    kept.mkdir()
    total = 0
    for path in sorted(found.iterdir(), key=lambda path: path.stat().st_size):
        total += path.stat().st_size
        if total <= BUDGET:
            shutil.copy(path, kept)


def _trace(said: str) -> str:
    """Return the end of the traceback of what was found."""
    lines = said.partition("Uncaught Python exception")[2].splitlines() or said.splitlines()
    shown = [line for line in lines if not line.startswith(("#", "INFO: "))]
    return "\n".join(f"  {line:.160}" for line in shown[:40])


def main() -> None:
    """Fuzz every target, or some."""
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", help="recipe, config, ...; all if left out")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--keep", action="store_true", help="keep what is needed of the corpus")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    own, rest = sys.argv[1:], []
    if "--" in own:
        place = own.index("--")
        own, rest = own[:place], own[place + 1 :]
    given = parser.parse_args(own)
    if given.here:
        fuzz_here(given.here, rest)
    from targets import TARGETS

    (HERE.parents[1] / "crashes").mkdir(exist_ok=True)
    for name in given.targets or TARGETS:
        sys.stdout.write(fuzz(name, given.seconds, given.keep) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
