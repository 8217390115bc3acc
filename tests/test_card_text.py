"""A card on the Hub keeps what people wrote; what is emozoo's is always the newest."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from emozoo.card import BEGIN, END
from emozoo.card_text import check_card, merge_cards, read_header, split_card
from emozoo.errors import PushError

NEW = f'---\nlibrary_name: "emozoo"\nlicense: "mit"\ntags: ["emozoo", "vad"]\n---\n{BEGIN}\n# New\n{END}\n'


def body(text: str) -> str:
    return split_card(text)[1]


def test_text_around_the_markers_stays_and_text_between_them_is_replaced():
    there = f"---\nlicense: mit\n---\nabove\n{BEGIN}\n# Old\n{END}\nbelow\n"
    assert body(merge_cards(there, NEW)) == f"above\n{BEGIN}\n# New\n{END}\nbelow\n"


def test_a_card_without_markers_stays_below_the_new_text():
    assert body(merge_cards("---\na: 1\n---\n# Mine\n", NEW)) == f"{BEGIN}\n# New\n{END}\n\n# Mine\n"


@pytest.mark.parametrize(
    "there", ["", "---\nlicense: mit\n---\n", f"---\na: b\n---\n{BEGIN}\n# Old\n{END}\n"]
)
def test_where_nobody_has_written_anything_the_new_text_stands_as_it_is(there):
    new = f"{NEW}written by hand, here\n"
    assert body(merge_cards(there, new)) == body(new)


def test_a_new_card_without_markers_is_its_authors_and_replaces_the_text():
    new = "---\nlibrary_name: emozoo\n---\nall mine\n"
    assert body(merge_cards(NEW, new)) == "all mine\n"


def test_fields_of_the_header_are_emozoos_where_it_has_them_and_the_authors_elsewhere():
    there = (
        "---\n# a comment\nlicense: gpl\nlanguage:\n- en\n- cs  # too\nwidget: {a: 1}\nmodel-index: []\n---\n"
    )
    merged = merge_cards(there, NEW)
    assert read_header(merged) == {
        "license": "mit", "language": ["en", "cs"], "widget": {"a": 1},
        "library_name": "emozoo", "tags": ["emozoo", "vad"],
    }  # fmt: skip
    assert "- cs  # too\n" in merged


def test_figures_that_no_record_backs_any_more_do_not_stay():
    assert "model-index" not in read_header(merge_cards("---\nmodel-index: [{name: x}]\n---\n", NEW))


def test_tags_are_joined():
    merged = merge_cards("---\ntags: [mine, vad]\n---\n", NEW)
    assert read_header(merged)["tags"] == ["mine", "vad", "emozoo"]


def test_a_header_that_is_no_yaml_gives_way():
    assert read_header(merge_cards("---\na: [\n---\nkept\n", NEW)) == read_header(NEW)


def test_windows_line_ends_are_read():
    merged = merge_cards("---\r\nlanguage: en\r\n---\r\nkept\r\n", NEW)
    assert read_header(merged)["language"] == "en"
    assert body(merged).endswith("\n\nkept\n")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
headers = st.dictionaries(
    st.sampled_from(["license", "tags", "language", "model-index", "co2", "x y", "datasets"]),
    values,
    max_size=5,
)


@settings(max_examples=200, deadline=None)
@given(old=headers, new=headers, flow=st.booleans(), text=st.text(max_size=20))
def test_merging_keeps_every_field_once_and_merging_again_changes_nothing(old, new, flow, text):
    def card(fields, body):
        return f"---\n{yaml.safe_dump(fields, default_flow_style=flow)}---\n{body}"

    new = {"library_name": "emozoo", **new}
    there, own = card(old, text), card(new, f"{BEGIN}\n# New\n{END}\n")
    merged = merge_cards(there, own)
    fields = read_header(merged)
    assert {key: fields[key] for key in new if key != "tags"} == {k: v for k, v in new.items() if k != "tags"}
    kept = {key: value for key, value in old.items() if key not in new and key != "model-index"}
    assert {key: fields[key] for key in kept} == kept
    assert merge_cards(merged, own) == merged


def test_a_card_is_checked_for_what_the_hub_reads():
    check_card(NEW)
    for text, said in (
        ("# none", "does not begin with a YAML header"),
        ("---\n- a\n---\n", "does not begin with a YAML header"),
        ("---\na: [\n---\n", "not YAML"),
        ("---\nlicense: mit\n---\n", "lacks `library_name: emozoo`"),
        ("---\nlibrary_name: emozoo\nmodel-index: [{results: 3}]\n---\n", "not what the Hub reads"),
    ):
        with pytest.raises(PushError, match=said):
            check_card(text)
