"""Whether a card may be shown: it says what it must, and every figure in it is one of a record.

A record is run.json beside the card, and any JSON file in `records/` beside it, for figures that were measured apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emozoo.card import metadata
from emozoo.card_text import check_card, read_header, split_card
from emozoo.errors import CorruptModelError, PushError, RecipeError
from emozoo.folder import read_manifest
from emozoo.layout import CARD, MANIFEST, RECORDS, RUN, WEIGHTS
from emozoo.trees import RECORD_LIMIT, read_tree

if TYPE_CHECKING:
    from emozoo.zoo import Entry

_LICENCES = {
    "license": "the licence of the weights: set card.licence in the recipe, or write `license: mit` or the like there",
    "data_license": "the terms of the training data: write `data_license: ...` there",
}
_NOT_PROSE = re.compile(r"```.*?```|`[^`\n]*`|<!--.*?-->|\]\([^)\s]*\)|https?://\S+", re.DOTALL)
_FIGURE = re.compile(
    r"(?<![\w.,/])(?P<share>\d+([.,]\d+)?)[\s*_]*(%|per ?cent\b)(?!\s(bootstrap |confidence )*intervals?\b)"
    r"|(?<![\w.,/])(?P<number>-?(0?\.\d+|1\.0+))(?!\w|\.\d| ?%)"
)
"""What is taken for a measured figure: a percentage, or a number from -1 to 1 with decimals."""
_PLACEHOLDER = re.compile(r"\[?More Information Needed\]?|\bTODO\b|\bFIXME\b|\bnan\b|PATH_OF_THIS_FOLDER")


def entry_problems(entry: Entry) -> list[str]:
    """Return what is wrong with the card of a zoo entry; one that has not been trained has none yet."""
    if any((entry.folder / name).is_file() for name in (CARD, RUN)):
        return folder_problems(entry.folder)
    if entry.recipe.get("card", {}).get("data_licence"):
        return []
    return [f"{entry.recipe_file}: card.data_licence is missing, the terms of the training data"]


def folder_problems(folder: Path) -> list[str]:
    """Return what is wrong with the card of a folder: a model folder, or one of the zoo."""
    path = folder / CARD
    if not path.is_file():
        return [f"{folder} has no {CARD}; training writes one, and `emozoo card write` does"]
    try:
        text = path.read_text(encoding="utf-8")
        run = _read(folder / RUN) if (folder / RUN).is_file() else None
        more = {file: _read(file) for file in sorted((folder / RECORDS).glob("*.json"))}
    except (ValueError, RecipeError) as error:
        return [f"{folder}: a card is UTF-8, and a record is JSON: {error}"]
    problems = [f"{path}: {problem}" for problem in card_problems(text, run, list(more.values()))]
    return [*problems, *_of_other_weights(folder, run, more)]


def _of_other_weights(
    folder: Path, run: Mapping[str, Any] | None, more: Mapping[Path, Mapping[str, Any]]
) -> Iterator[str]:
    """Yield which records were measured with weights that are neither the folder's nor those that the run made."""
    try:
        own = {read_manifest(folder)[WEIGHTS]["sha256"]} if (folder / MANIFEST).is_file() else set()
    except CorruptModelError as error:
        yield str(error)
        return
    own |= {sha256 for sha256 in [_sha256(run, "weights")] if sha256}
    for file, record in more.items():
        measured = _sha256(record, "source")
        if own and measured and measured not in own:
            yield (
                f"{file}: measured with other weights ({measured[:12]}...) than the card's "
                f"({', '.join(f'{each[:12]}...' for each in sorted(own))}); measure again with `emozoo eval`"
            )


def _sha256(record: Mapping[str, Any] | None, key: str) -> str | None:
    """Return the hash of the weights that a record names by a key, if it names one."""
    named = (record or {}).get(key)
    found = named.get("sha256") if isinstance(named, Mapping) else None
    return found if isinstance(found, str) else None


def _read(path: Path) -> dict[str, Any]:
    return read_tree(path, limit=RECORD_LIMIT)


def card_problems(
    text: str, run: Mapping[str, Any] | None = None, more: Sequence[Mapping[str, Any]] = ()
) -> list[str]:
    """Return what is wrong with a card; nothing if it may be shown.

    Args:
        text: the card.
        run: the record of the run that made the model, if one did.
        more: further records, of figures that were measured apart.
    """
    try:
        check_card(text)
        fields, (_, body) = read_header(text), split_card(text)
    except PushError as error:
        return [str(error)]
    prose = _NOT_PROSE.sub(" ", body)
    return [
        *(f"the header lacks `{key}`, {what}" for key, what in _LICENCES.items() if not fields.get(key)),
        *_unsaid(body, run),
        *_unbacked_scores(fields, run),
        *_unbacked_figures(prose, [record for record in (run, *more) if record]),
        *(f"{found[0]!r} is left to fill in" for found in _PLACEHOLDER.finditer(prose)),
    ]


def _unsaid(body: str, run: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield what a card must say of the run, and does not."""
    if run is None:
        return
    for what, phrase in {
        "split": ("`{}`", "result", "split"),
        "n": ("n = {:,}", "result", "n"),
        "seed": ("seed | {}", "recipe", "train", "seed"),
        "version of emozoo": ("emozoo {}", "versions", "emozoo"),
        "version of torch": ("torch {}", "versions", "torch"),
        "version of Python": ("Python {}", "versions", "python"),
    }.items():
        form, *keys = phrase
        value: Any = run
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is None:
            yield f"run.json does not say the {what}"
        elif form.format(value) not in body:
            yield f"the {what} is missing ({form.format(value)})"


def _unbacked_scores(fields: Mapping[str, Any], run: Mapping[str, Any] | None) -> Iterator[str]:
    try:
        backed = {} if run is None else _scores(metadata(run))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        yield f"run.json is no record of a run ({type(error).__name__}: {error})"
        return
    for name, value in _scores(fields).items():
        if name not in backed:
            yield f"model-index: no record backs {name!r}"
        elif value != backed[name]:
            yield f"model-index: {name!r} is {value}, the record says {backed[name]}"


def _scores(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a header's results by name and split."""
    results = [result for model in fields.get("model-index") or () for result in model.get("results") or ()]
    return {
        f"{metric.get('name', metric['type'])} on {result['dataset'].get('split')}": metric["value"]
        for result in results
        for metric in result["metrics"]
    }


def _unbacked_figures(prose: str, records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    measured = [number for record in records for number in _numbers(record)]
    recipes = [record["recipe"] for record in records if isinstance(record, Mapping) and "recipe" in record]
    settings = [number for recipe in recipes for number in _numbers(recipe)]
    for found in {match[0]: match for match in _FIGURE.finditer(prose)}.values():
        figure = _plain(found["share"] or found["number"])
        digits = len(figure.partition(".")[2])
        known = [100 * number for number in measured] if found["share"] else [*measured, *settings]
        if not any(f"{number:.{digits}f}" == figure for number in known):
            yield f"no record backs the figure {found[0]}; one that was measured apart needs a record in {RECORDS}/"


def _plain(figure: str) -> str:
    """Return a number with its leading zero and a decimal point."""
    return re.sub(r"^(-?)\.", r"\g<1>0.", figure.replace(",", "."))


def _numbers(tree: Any) -> Iterator[float]:
    """Yield the measured numbers of a record and those that its recipe quotes.

    Not those of its history, among so many of which one fits almost any figure, and none of a recipe's settings.
    """
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            quoted = value.get("card") if key == "recipe" and isinstance(value, Mapping) else value
            yield from () if key == "history" else _numbers(quoted)
    elif isinstance(tree, list):
        for value in tree:
            yield from _numbers(value)
    elif isinstance(tree, float):  # integers are counts
        yield tree
