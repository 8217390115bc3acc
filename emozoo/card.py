"""Model cards: rendered from a run's record and a hand-written part, never typed in.

A card holds no samples: faces are personal data.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emozoo.errors import DataError
from emozoo.evaluation import tables
from emozoo.folder import check_manifest, load_model, read_manifest, save_model, write_manifest
from emozoo.layout import CARD, MANIFEST, MODEL, PICTURES, RECIPE, RECORDS, RUN, WEIGHTS
from emozoo.printable import printable
from emozoo.recipe import load_recipe, parse_recipe
from emozoo.records import find_record, read_record, recipe_differences, recipe_record
from emozoo.selection import chosen_by_report, inherited
from emozoo.trees import RECORD_LIMIT, read_as, read_tree, toml, write_tree

if TYPE_CHECKING:
    from jinja2 import Template

BEGIN, END = "<!-- emozoo:auto -->", "<!-- /emozoo:auto -->"
"""What stands between these in a card is emozoo's; the rest is the author's."""
HERE = "dir:."
"""How a card names the model that it lies beside; one of the zoo gives its name, one on the Hub its repository."""
RECORD_URL = RUN
"""Where the figures of a card's header come from; on the Hub, its address there."""
_SCORES = {
    "accuracy": ("accuracy", "accuracy (WAR)"), "uar": ("recall", "unweighted average recall (UAR)"),
    "f1": ("f1", "macro F1"), "ccc": ("ccc", "CCC, mean"), "rmse": ("rmse", "RMSE"),
}  # fmt: skip
"""The metrics that a card's header tells: as the Hub calls them, and in words that published cards have."""


def render_card(
    record: Mapping[str, Any],
    written: str = "",
    pictures: tuple[str, ...] = (),
    name: str = HERE,
    more: Sequence[Mapping[str, Any]] = (),
    settings: Sequence[str] = (),
) -> str:
    """Return the card's text (Markdown with the Hub's YAML header).

    What the hand-written part says of intended use, of what is out of scope and of people, under headings that begin
    so, replaces what is true of every model.

    Args:
        record: a run record; every figure comes from it.
        written: the hand-written part, Markdown.
        pictures: paths of pictures, relative to the card.
        name: what `emozoo.load` is given to load the model.
        more: results of `emozoo eval`, of what was measured apart from the run.
        settings: in what the run's recipe differs from that of `name`, as `--set` takes it.
    """
    return _template().render(
        record=record,
        video=is_video(record),
        inherited=inherited(record),
        chosen=chosen_by_report(record),
        written=written.strip(),
        headings=re.findall(r"^#+ *(intended use|out of scope|people)", written.lower(), re.MULTILINE),
        pictures=pictures,
        name=name,
        more=more,
        settings=[shlex.quote(setting) for setting in settings],
        header=json_yaml(metadata(record)),
        begin=BEGIN,
        end=END,
    )


def is_video(record: Mapping[str, Any]) -> bool:
    """Say whether a recorded model is one of videos."""
    recipe = record["recipe"]
    return recipe["card"]["task"] == "video" or bool(recipe["model"].get("sampling"))


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["metric_title"] = tables.metric_title
    environment.filters["number"] = lambda value, metric: tables.number(metric, value)
    environment.filters["entry"] = lambda measured, metric: (
        tables.entry(metric, measured) if measured else "-"
    )
    environment.filters["duration"] = _duration
    return environment.from_string((Path(__file__).parent / "card.md.jinja").read_text(encoding="utf-8"))


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def write_card(folder: Path, run: Path | None = None, *, weights: bool = False) -> Path:
    """Copy a finished run's record and pictures into a zoo entry and render its card; return the card's path.

    Without a run, the card is rendered anew from what the entry holds. Results of `emozoo eval` in the entry's folder
    `records` are shown too. With `weights`, the entry also gets the run's model, its weights rounded to half
    precision: it is then a model folder, and `emozoo.load` of its name needs no network.

    Raises:
        DataError: the entry has no record and no run is given, it holds a model of another run, a record cannot be
            read, or a link is in the way; nothing was written.
        CorruptModelError: the run's model is damaged; nothing was written.
    """
    _check_links(folder)
    if run is None and not (folder / RUN).is_file():
        raise DataError(f"{folder} holds no {RUN} to make a card of: name a finished run with --run")
    if run is None:
        (folder / CARD).write_text(entry_card(folder), encoding="utf-8")
        return folder / CARD
    holds = not weights and (folder / WEIGHTS).is_file()
    if holds:
        _check_model(folder, run)
    with tempfile.TemporaryDirectory() as place:
        _stage(Path(place), folder, run, weights)
        for path in (folder / PICTURES).glob("*.png"):  # of an earlier run
            path.unlink()
        shutil.copytree(place, folder, dirs_exist_ok=True)
    if holds:
        write_manifest(folder)  # which lists the record too
    return folder / CARD


def _stage(place: Path, folder: Path, run: Path, weights: bool) -> None:
    """Make in an empty place all that a run gives a zoo entry; what cannot be made leaves the entry as it is."""
    record = read_record(run)
    with read_as("the record of a run", run / RUN):
        render_card(record)
    record |= {"weights": read_manifest(run / MODEL)[WEIGHTS]}
    if weights:
        save_model(load_model(run / MODEL, "cpu"), place, record, store="fp16")
    else:
        write_tree(place / RUN, record)
    (place / PICTURES).mkdir()
    for path in sorted(run.glob("*.png")):
        shutil.copy2(path, place / PICTURES / path.name)
    (place / CARD).write_text(entry_card(folder, place), encoding="utf-8")


def entry_card(folder: Path, made: Path | None = None) -> str:
    """Return the card of a zoo entry: of its record, pictures, further records, recipe and hand-written part.

    The hand-written part is `card.md`; where there is none, what stands outside the markers of the present card.

    Args:
        folder: the entry.
        made: where the record and the pictures lie, if not in the entry.

    Raises:
        DataError: a record cannot be read.
    """
    made = made or folder
    record, is_entry = read_record(made), (folder / RECIPE).is_file()
    pictures = tuple(f"{PICTURES}/{path.name}" for path in sorted((made / PICTURES).glob("*.png")))
    more = [read_tree(path, DataError, RECORD_LIMIT) for path in sorted((folder / RECORDS).glob("*.json"))]
    name = folder.resolve().name if is_entry else HERE
    with read_as("the record of a run", made / RUN):
        return render_card(record, _written(folder), pictures, name, more, settings_of(folder, record))


def _written(folder: Path) -> str:
    """Return the hand-written part of an entry's card."""
    from emozoo.card_text import split_card

    own, card = folder / "card.md", folder / CARD
    if own.is_file():
        return own.read_text(encoding="utf-8")
    if not card.is_file():
        return ""
    _, body = split_card(card.read_text(encoding="utf-8"))
    before, _, rest = body.partition(BEGIN)
    return before + rest.partition(END)[2]


def settings_of(folder: Path, record: Mapping[str, Any]) -> list[str]:
    """Return in what the recorded recipe differs from the entry's, its card's words apart, as `--set` takes it."""
    if not (folder / RECIPE).is_file():
        return []
    recorded = parse_recipe(record["recipe"], where=RUN)  # keys that are new since have their defaults
    own, ran = recipe_record(load_recipe(folder)), recipe_record(recorded)
    return [f"{key}={toml(value)}" for key, _, value in recipe_differences(own, ran)]


def _check_model(folder: Path, run: Path) -> None:
    """Refuse a run that did not make the model which an entry holds: its record would speak of another."""
    check_manifest(folder)
    made = read_manifest(run / MODEL)[WEIGHTS]["sha256"]
    record = find_record(folder) or {}
    trained = (record.get("weights") or {}).get("sha256")  # those that the entry holds may be rounded
    if made not in (trained, read_manifest(folder)[WEIGHTS]["sha256"]):
        raise DataError(
            f"{folder} holds a model, and that of {run} is another or cannot be told from it. Put it in its place "
            f"with --weights, or remove {WEIGHTS} and {MANIFEST} first"
        )


def _check_links(folder: Path) -> None:
    """Refuse a folder, perhaps of somebody else, whose links would have other files written over."""
    for path in (*folder.glob("*"), *folder.glob(f"{PICTURES}/*")):
        if path.is_symlink():
            raise DataError(f"{path} is a link, and is not written through; remove it")


def metadata(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the card's header, as the Hub reads it; what is not known is left out."""
    card, result = record["recipe"]["card"], record["result"]
    dataset, measured = card["dataset"] or record["recipe"]["data"]["name"], list(_scores(result))
    task = "video-classification" if is_video(record) else "image-classification"
    started = (record.get("init") or {}).get("repo")
    found = {
        "dataset": {"type": dataset, "name": record["data"]["title"], "split": result["split"]},
        "task": {"type": task, "name": "facial expression recognition"},
        "metrics": measured,
        "source": {"name": "record of the run", "url": RECORD_URL},
    }
    fields = {
        "library_name": "emozoo",
        "pipeline_tag": task,
        **_licence(card["licence"]),
        "data_license": record["data"]["licence"],
        "tags": [
            "emozoo",
            "facial-expression-recognition",
            *sorted({part["task"] for part in result["heads"].values()}),
        ],
        "datasets": [dataset],
        "metrics": sorted({entry["type"] for entry in measured}),
        **({"base_model": started, "base_model_relation": "finetune"} if started else {}),
        "model-index": [{"name": record["name"], "results": [found] if measured else []}],
    }
    return {key: value for key, value in fields.items() if value}


def _licence(licence: str) -> dict[str, str]:
    """Return the fields for the licence of the weights: the Hub knows ids, and takes words as a name."""
    if not licence:
        return {}
    if re.fullmatch(r"[A-Za-z0-9.-]+", licence):
        return {"license": licence.lower()}
    return {"license": "other", "license_name": licence}


def _scores(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, head in result["heads"].items():
        for metric, (kind, words) in _SCORES.items():
            entry = head["metrics"].get(metric)
            if entry and entry["value"] is not None:
                facts = {"n": head["n"], "tta": result["tta"], "interval": entry["interval"]}
                yield {"type": kind, "name": f"{name}: {words}", "value": entry["value"], "args": facts}


def json_yaml(tree: Mapping[str, Any]) -> str:
    """Return a table as YAML lines whose values are JSON, which every YAML reader reads."""
    lines = (f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in tree.items())
    return "\n".join(map(printable, lines))
