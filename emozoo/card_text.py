"""The text of a card: its YAML header and its body, and how a new card takes the place of one edited by hand."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from emozoo.card import BEGIN, END, HERE, RECORD_URL
from emozoo.errors import PushError
from emozoo.trees import DEPTH

LIMIT = 1 << 17
"""Signs of a header above which it is not read; one of a hundred metrics has a tenth of it."""
_HEADER = re.compile(r"\s*---[ \t]*\n(.*?\n)---[ \t]*(?:\n|$)", re.DOTALL)
_FIELD = re.compile(r"""^(?=["']?[\w-]+["']?[ \t]*:(?:\s|$))""", re.MULTILINE)
_SECTION = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
_AROUND = re.compile(r"\s*<!-- emozoo:around ([0-9a-f]{64}) -->")
"""How a section on the Hub begins: with the hash of the text around it, as it was last pushed."""
_LOADED = re.compile(r'^model = emozoo\.load\("[^"\n]*"\)$', re.MULTILINE)
_FIELDS = frozenset({
    "library_name", "pipeline_tag", "license", "license_name", "data_license", "datasets", "metrics", "base_model",
    "base_model_relation", "model-index",
})  # fmt: skip
"""The fields that `emozoo.card.metadata` writes, tags apart."""
_TASKS = frozenset({"classification", "vad"})
"""The tags for what a model's heads do, which another model need not do."""


def addressed(text: str, repo: str, url: str) -> str:
    """Return a card as it stands in a repository of the Hub.

    What it says of where things are is true there, and its section knows the text that is pushed around it, by which
    the next push sees whether that was edited on the Hub.
    """
    there = {f'"{HERE}"': f'"hub:{repo}"', f'"url": "{RECORD_URL}"': f'"url": "{url}/blob/main/{RECORD_URL}"'}
    for old, new in there.items():
        text = text.replace(old, new)
    around = _hash(_around(split_card(text)[1]))
    loaded = f'model = emozoo.load("hub:{repo}")'
    return _SECTION.sub(lambda found: _LOADED.sub(loaded, _knowing(found[0], around)), text, count=1)


def split_card(text: str) -> tuple[str, str]:
    """Return a card's YAML header, without its fences, and its body."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    found = _HEADER.match(text)
    return (found[1], text[found.end() :]) if found else ("", text)


def read_header(text: str) -> dict[str, Any]:
    """Return a card's header.

    Raises:
        PushError: the card has none that the Hub could read; says why.
    """
    header, _ = split_card(text)
    try:
        fields = _load(header)
    except ValueError as error:
        raise PushError(f"the card's header is not YAML that is read: {error}") from None
    if not isinstance(fields, dict):
        raise PushError("the card does not begin with a YAML header between lines of ---")
    return fields


def check_card(text: str) -> None:
    """Check that the Hub will read a card's header as it is meant.

    Raises:
        PushError: it is not YAML, not emozoo's, or its results are not written as the Hub wants them.
    """
    from huggingface_hub import ModelCardData

    fields = read_header(text)
    if fields.get("library_name") != "emozoo":
        raise PushError(
            "the card's header lacks `library_name: emozoo`, by which the Hub knows what loads it"
        )
    try:
        ModelCardData(**fields)
    except (ValueError, TypeError, KeyError) as error:
        raise PushError(f"the card's header is not what the Hub reads: {error}") from None


def merge_cards(there: str, new: str) -> str:
    """Return the card to publish over one that is there already.

    Of the one that is there everything stays but what is emozoo's: the header's fields that emozoo writes, its tags,
    and the text between the markers. The text around these is the new card's where the Hub's is what was last pushed,
    and else the Hub's; see `left_out`. A new card without markers is all its author's, and replaces the whole text.
    """
    (old_header, old_body), (new_header, new_body) = split_card(there), split_card(new)
    return f"---\n{_merge_headers(old_header, new_header)}---\n{_merge_bodies(old_body, new_body)}"


def left_out(merged: str, new: str) -> bool:
    """Say whether a merged card lacks the text around the new one's section: it is not what was last pushed, but the
    Hub's was edited too.
    """
    return _known(merged) != _known(new)


def _merge_bodies(old: str, new: str) -> str:
    section, was = _SECTION.search(new), _SECTION.search(old)
    mine, theirs = _around(new), _around(old)
    if section is None or theirs in ("", mine):
        return new
    if was is None:
        return f"{new.rstrip()}\n\n{old.lstrip()}"
    pushed = _known(was[0])
    if _hash(theirs) == pushed:
        return new
    text = section[0] if mine == "" or _hash(mine) == pushed else _knowing(section[0], pushed)
    return _SECTION.sub(lambda _: text, old, count=1)


def _around(body: str) -> str:
    """Return what is written around a card's section, but for blank lines at its ends; nothing if there is nothing."""
    parts = [part.strip() for part in _SECTION.split(body, maxsplit=1)]
    return BEGIN.join(parts) if any(parts) else ""


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _known(text: str) -> str | None:
    """Return the hash of what was last pushed around a card's section, if the section knows it."""
    section = _SECTION.search(text)
    found = _AROUND.match(section[0], len(BEGIN)) if section else None
    return found[1] if found else None


def _knowing(section: str, around: str | None) -> str:
    """Return a section that knows this hash of the text around it, and no other."""
    rest = section.removeprefix(BEGIN)
    if found := _AROUND.match(rest):
        rest = rest[found.end() :]
    return f"{BEGIN}\n<!-- emozoo:around {around} -->{rest}" if around else f"{BEGIN}{rest}"


def _merge_headers(old: str, new: str) -> str:
    """Join two headers field by field, as text, so that comments and the way of writing stay."""
    import yaml

    was = _table(old)
    if not was:
        return new
    now = _table(new)
    wanted = {key: value for key, value in was.items() if key not in _FIELDS or key in now} | now
    joined = _tags(was.get("tags"), now.get("tags"))
    wanted |= joined
    if was == wanted:
        return old
    texts = _fields(new)
    if joined:
        texts["tags"] = yaml.safe_dump(joined, default_flow_style=None, allow_unicode=True, width=1 << 20)
    texts |= {key: text for key, text in _fields(old).items() if was.get(key) == wanted.get(key)}
    lines = "".join(texts.get(key, "") for key in wanted)
    return lines if _table(lines) == wanted else yaml.safe_dump(wanted, sort_keys=False)


def _tags(old: Any, new: Any) -> dict[str, Any]:
    """Return the tags that are there, but for tasks that are no longer the model's, and the new ones."""
    if not (isinstance(old, list) and isinstance(new, list)):
        return {}
    kept = [tag for tag in old if tag in new or not (isinstance(tag, str) and tag in _TASKS)]
    return {"tags": [*kept, *(tag for tag in new if tag not in old)]}


def _fields(header: str) -> dict[Any, str]:
    """Return the lines of each top-level field, of those that lie apart from the others."""
    blocks = [(_table(block), block) for block in _FIELD.split(header)]
    return {next(iter(table)): block.rstrip("\n") + "\n" for table, block in blocks if len(table) == 1}


def _table(header: str) -> dict[Any, Any]:
    """Return what YAML lines hold; nothing if that is no table."""
    try:
        tree = _load(header)
    except ValueError:
        return {}
    return tree if isinstance(tree, dict) else {}


def _load(header: str) -> Any:
    """Return what YAML lines hold.

    Raises:
        ValueError: they are not YAML, long, or nested deeply, or hold aliases: a few of these unfold to gigabytes.
    """
    import yaml

    if len(header) > LIMIT:
        raise ValueError(f"it is longer than {LIMIT:,} signs")
    try:
        depth = 0
        for event in yaml.parse(header, yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("it holds an alias (*name); write out what it stands for")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEPTH:
                raise ValueError(f"it is nested deeper than {DEPTH} levels")
        return yaml.safe_load(header)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
