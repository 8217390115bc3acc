"""How far a run is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from emozoo.evaluation.tables import better_low

OWN = frozenset({"epoch", "step", "seconds", "loss", "lr"})
"""Keys of an epoch that training fills itself: a part of the loss of such a name is NAME.loss in the history."""


class Progress:
    """How far a run is: steps done, sums of the running epoch, the epochs' history, the best one."""

    def __init__(self) -> None:
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self.step = 0
        self.seconds = 0.0
        self.sums: dict[str, float] = {}
        self.last: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {"metric": None, "value": None, "epoch": None, "step": None}

    def add(self, loss: float, parts: Mapping[str, float]) -> None:
        """Add one step's loss and its parts to the running epoch; one that is NaN had nothing to be a loss of."""
        named = {f"{name}.loss" if name in OWN else name: value for name, value in parts.items()}
        for name, value in {"loss": loss, **named}.items():
            if not math.isnan(value):
                self.last[name] = value
                self.sums[name] = self.sums.get(name, 0.0) + value
                self.counts[name] = self.counts.get(name, 0) + 1

    def close_epoch(self, steps_per_epoch: int) -> dict[str, Any]:
        """Return the epoch's means and start the next."""
        means = {name: self.sums[name] / self.counts[name] for name in self.sums}
        row = {
            "epoch": self.step // steps_per_epoch,
            "step": self.step,
            "seconds": round(self.seconds, 3),
            **means,
        }
        self.sums, self.counts, self.seconds = {}, {}, 0.0
        return row

    def is_best(self, metric: str, value: float | None) -> bool:
        """Say whether an epoch beats all before it by "head.metric", and remember it if so; errors are better low."""
        sign, best = (-1 if better_low(metric.rpartition(".")[2]) else 1), self.best["value"]
        if value is None or (best is not None and sign * value <= sign * best):
            return False
        self.best = {"metric": metric, "value": value, "epoch": self.history[-1]["epoch"], "step": self.step}
        return True

    def state(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return vars(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Progress:
        """Return the progress that `state` described."""
        progress = cls()
        vars(progress).update(state)
        return progress
