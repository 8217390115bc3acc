"""The text of a card: its YAML header and its body, and how a new card takes the place of one edited by hand."""

from __future__ import annotations

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


def addressed(text: str, repo: str, url: str) -> str:
    """Return a card as it stands in a repository of the Hub: what it says of where things are is true there."""
    there = {f'"{HERE}"': f'"hub:{repo}"', f'"url": "{RECORD_URL}"': f'"url": "{url}/blob/main/{RECORD_URL}"'}
    for old, new in there.items():
        text = text.replace(old, new)
    return text


def split_card(text: str) -> tuple[str, str]:
    """Return a card's YAML header, without its fences, and its body."""
    text = text.replace("\r\n", "\n")
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

    Of the one that is there everything stays but what is emozoo's: the header's fields that the new card has, and
    the text between the markers. Tags are joined. A new card without markers is all its author's, and replaces the
    whole text.
    """
    (old_header, old_body), (new_header, new_body) = split_card(there), split_card(new)
    return f"---\n{_merge_headers(old_header, new_header)}---\n{_merge_bodies(old_body, new_body)}"


def _merge_bodies(old: str, new: str) -> str:
    section = _SECTION.search(new)
    if section is None or not _SECTION.sub("", old).strip():
        return new
    if _SECTION.search(old):
        return _SECTION.sub(lambda _: section[0], old, count=1)
    return f"{new.rstrip()}\n\n{old.lstrip()}"


def _merge_headers(old: str, new: str) -> str:
    """Join two headers field by field, as text, so that comments and the way of writing stay."""
    import yaml

    was = _table(old)
    if not was:
        return new
    now = _table(new)
    wanted = {key: value for key, value in was.items() if key != "model-index" or key in now} | now
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
    if not (isinstance(old, list) and isinstance(new, list)):
        return {}
    return {"tags": [*old, *(tag for tag in new if tag not in old)]}


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
