"""What starting up costs, in CPU milliseconds over bare Python: `python benchmarks/startup.py`.

Each command runs in a process of its own, with byte code compiled; rounds are interleaved, so that a busy machine
slows all commands alike, and medians are reported. The exit status is 1 where a budget is exceeded.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

ROUNDS = 7
BARE = ("python", ["-c", "pass"], None)
COMMANDS = [
    ("import emozoo", ["-c", "import emozoo"], 40),
    ("emozoo --help", ["-m", "emozoo", "--help"], 200),
    ("emozoo list", ["-m", "emozoo", "list"], 350),
    ("emozoo plugins list", ["-m", "emozoo", "plugins", "list"], None),
]


def cpu_ms(arguments: list[str]) -> float:
    """Return user and system time of one process, in milliseconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main() -> int:
    rows = [BARE, *COMMANDS]
    for _, arguments, _ in rows:
        cpu_ms(arguments)
    times: dict[str, list[float]] = {name: [] for name, _, _ in rows}
    for _ in range(ROUNDS):
        for name, arguments, _ in rows:
            times[name].append(cpu_ms(arguments))
    bare = statistics.median(times[BARE[0]])
    over = False
    sys.stdout.write(f"bare python: {bare:.0f} ms CPU; medians of {ROUNDS} runs, over bare python:\n\n")
    sys.stdout.write("| command | CPU ms | budget |\n|---|---|---|\n")
    for name, _, budget in COMMANDS:
        median = statistics.median(times[name]) - bare
        over |= budget is not None and median > budget
        sys.stdout.write(f"| `{name}` | {median:.0f} | {budget or '-'} |\n")
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
