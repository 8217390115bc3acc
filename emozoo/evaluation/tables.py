"""Tables of metrics as people read them: what metrics are called, which are shares, which are better low."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

UNDEFINED = "undefined"

_TITLES = {
    "accuracy": "accuracy (WAR)",
    "uar": "UAR",
    "f1": "macro F1",
    "top2": "top-2 accuracy",
    "nll": "NLL",
    "ece": "ECE",
    "ccc": "CCC",
    "pearson": "Pearson r",
    "mse": "MSE",
    "rmse": "RMSE",
    "mae": "MAE",
    "sagr": "sign agreement",
}
_SHARES = frozenset({"accuracy", "uar", "f1", "top2", "rate"})
_BETTER_LOW = frozenset({"nll", "ece", "mse", "rmse", "mae", "rate", "loss"})


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table of text; the first column names the rows.

    Attributes:
        title: what it shows.
        header: names of the columns.
        rows: cells, as many in each row as there are names in the header.
        note: what a reader must know, below the table.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def to_markdown(self) -> str:
        """Return the table alone as GitHub Markdown, numbers to the right, with every cell escaped."""
        rule = "|" + "|".join([":---", *["---:"] * (len(self.header) - 1)]) + "|"
        lines = ["| " + " | ".join(map(escape_markdown, row)) + " |" for row in (self.header, *self.rows)]
        return "\n".join([lines[0], rule, *lines[1:]])


def escape_markdown(text: str) -> str:
    """Return text that Markdown shows as it is: it ends no cell, begins no HTML, link, code or emphasis."""
    escaped = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for sign in ("\\", "|", "`", "*"):
        escaped = escaped.replace(sign, "\\" + sign)
    return escaped.replace("](", "]\\(")


def kind(name: str) -> str:
    """Return the metric of a name that may carry a dimension: "valence_ccc" -> "ccc"."""
    return name.rsplit("_", 1)[-1]


def better_low(name: str) -> bool:
    """Say whether a lower value of the metric is the better one."""
    return kind(name) in _BETTER_LOW


def metric_title(name: str) -> str:
    """Return how people call a metric: "valence_ccc" -> "valence CCC"."""
    words = [*name.split("_")[:-1], _TITLES.get(kind(name), kind(name))]
    return " ".join(words)


def number(name: str, value: float | None) -> str:
    """Return a value of the metric as text: shares in percent, others with three decimals."""
    if value is None:
        return UNDEFINED
    return f"{100 * value:z.2f} %" if kind(name) in _SHARES else f"{value:z.3f}"


def interval(name: str, ends: Iterable[float] | None) -> str:
    """Return an interval as "[low, high]", in the metric's unit, or nothing without one."""
    if ends is None:
        return ""
    return "[" + ", ".join(number(name, end).removesuffix(" %") for end in ends) + "]"


def entry(name: str, measured: Mapping[str, Any]) -> str:
    """Return {"value", "interval"} as "72.97 % [71.50, 74.40]"."""
    return f"{number(name, measured['value'])} {interval(name, measured['interval'])}".strip()
