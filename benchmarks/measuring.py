"""How things are measured: alternating repeats, medians, a row a finding."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One finding: what, how much, and what it should be."""

    what: str
    value: float
    unit: str
    goal: str = ""
    met: bool | None = None

    def line(self) -> str:
        met = "" if self.met is None else "yes" if self.met else "**no**"
        digits = 0 if abs(self.value) >= 100 else 2 if abs(self.value) < 10 else 1
        return f"| {self.what} | {self.value:,.{digits}f} {self.unit} | {self.goal} | {met} |"


def at_most(what: str, value: float, unit: str, limit: float) -> Row:
    return Row(what, value, unit, f"<= {limit:g}", value <= limit)


def at_least(what: str, value: float, unit: str, limit: float) -> Row:
    return Row(what, value, unit, f">= {limit:g}", value >= limit)


def seconds(
    candidates: Mapping[str, Callable[[], object]], repeats: int, warmup: int = 1
) -> dict[str, float]:
    """Return each candidate's median seconds; they take turns, so that a busy machine slows all of them."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(warmup + repeats):
        for name, call in candidates.items():
            started = time.perf_counter()
            call()
            if turn >= warmup:
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}
