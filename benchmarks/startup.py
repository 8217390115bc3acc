"""What starting up costs, in CPU time over bare Python: medians of 7 processes each, which take turns."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

from benchmarks.measuring import Row, at_most

ROUNDS = 7
BARE = ["-c", "pass"]
COMMANDS = {
    "import emozoo": (["-c", "import emozoo"], 40),
    "emozoo --help": (["-m", "emozoo", "--help"], 200),
    "emozoo list": (["-m", "emozoo", "list"], 350),
}
"""Arguments of Python, and the budget in milliseconds."""


def measure() -> list[Row]:
    candidates = {"": BARE, **{name: arguments for name, (arguments, _) in COMMANDS.items()}}
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(1 + ROUNDS):
        for name, arguments in candidates.items():
            spent = cpu_ms(arguments)
            if turn:  # the first compiles byte code and warms the file cache
                times[name].append(spent)
    medians = {name: statistics.median(values) for name, values in times.items()}
    bare = medians.pop("")
    rows = [
        at_most(f"`{name}`", medians[name] - bare, "ms", budget) for name, (_, budget) in COMMANDS.items()
    ]
    return [Row("bare Python", bare, "ms"), *rows]


def cpu_ms(arguments: list[str]) -> float:
    """Return user and system time of one process of Python, in milliseconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
