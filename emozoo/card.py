"""Model cards: rendered from a run's record and a hand-written part, never typed in.

A card holds no samples: faces are personal data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template

PICTURES = "pictures"
BEGIN, END = "<!-- emozoo:auto -->", "<!-- /emozoo:auto -->"
"""What stands between these in a card is emozoo's; the rest is the author's."""


def render_card(record: Mapping[str, Any], written: str = "", pictures: tuple[str, ...] = ()) -> str:
    """Return the card's text (Markdown with the Hub's YAML header).

    Args:
        record: a run record; every figure comes from it.
        written: the hand-written part, Markdown.
        pictures: paths of pictures, relative to the card.
    """
    return _template().render(
        record=record,
        written=written.strip(),
        pictures=pictures,
        header=json_yaml(metadata(record)),
        begin=BEGIN,
        end=END,
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["share"] = lambda value: "-" if value is None else f"{value:.2%}"
    environment.filters["number"] = lambda value: "-" if value is None else f"{value:.3f}"
    environment.filters["interval"] = _interval
    environment.filters["duration"] = _duration
    return environment.from_string((Path(__file__).parent / "card.md.jinja").read_text(encoding="utf-8"))


def _interval(entry: Mapping[str, Any], share: bool = False) -> str:
    if entry["value"] is None:
        return "undefined"
    form = "{:.2%}" if share else "{:.3f}"
    text = form.format(entry["value"])
    return (
        text
        if not entry["interval"]
        else f"{text} [{', '.join(form.format(end) for end in entry['interval'])}]"
    )


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def write_card(folder: Path, run: Path) -> Path:
    """Copy a finished run's record and pictures into a zoo entry and render its card; return the card's path."""
    import shutil

    from emozoo.folder import CARD, RUN
    from emozoo.training.run import read_record

    record = read_record(run)
    written = folder / "card.md"
    (folder / PICTURES).mkdir(parents=True, exist_ok=True)
    pictures = sorted(run.glob("*.png"))
    for path in pictures:
        shutil.copy2(path, folder / PICTURES / path.name)
    shutil.copy2(run / RUN, folder / RUN)
    text = written.read_text(encoding="utf-8") if written.is_file() else ""
    card = folder / CARD
    card.write_text(
        render_card(record, text, tuple(f"{PICTURES}/{path.name}" for path in pictures)), encoding="utf-8"
    )
    return card


def metadata(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the card's header, as the Hub reads it; what is not known is left out."""
    card, result = record["recipe"]["card"], record["result"]
    dataset = card["dataset"] or record["recipe"]["data"]["name"]
    measured = [
        {"type": kind, "name": f"{head} {name}", "value": entry["value"]}
        for head, part in result["heads"].items()
        for name, kind in (
            ("accuracy", "accuracy"),
            ("uar", "recall"),
            ("f1", "f1"),
            ("ccc", "ccc"),
            ("rmse", "rmse"),
        )
        if (entry := part["metrics"].get(name)) and entry["value"] is not None
    ]
    return {
        "library_name": "emozoo",
        "pipeline_tag": "video-classification" if card["task"] == "video" else "image-classification",
        **({"license": card["licence"].lower()} if card["licence"] else {}),
        "tags": [
            "emozoo",
            "facial-expression-recognition",
            *sorted({p["task"] for p in result["heads"].values()}),
        ],
        "datasets": [dataset],
        "model-index": [
            {
                "name": record["name"],
                "results": [
                    {
                        "task": {"type": "image-classification", "name": "facial expression recognition"},
                        "dataset": {
                            "type": dataset,
                            "name": record["data"]["title"],
                            "split": result["split"],
                        },
                        "metrics": measured,
                    }
                ],
            }
        ],
    }


def json_yaml(tree: Mapping[str, Any]) -> str:
    """Return a table as YAML lines whose values are JSON, which every YAML reader reads."""
    return "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in tree.items())
