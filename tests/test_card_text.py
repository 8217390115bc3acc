"""A card on the Hub keeps what people wrote; what is emozoo's is always the newest."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from records import small_record

from emozoo.card import BEGIN, END, metadata
from emozoo.card_text import addressed, check_card, left_out, merge_cards, read_header, split_card
from emozoo.errors import PushError

NEW = f'---\nlibrary_name: "emozoo"\nlicense: "mit"\ntags: ["emozoo", "vad"]\n---\n{BEGIN}\n# New\n{END}\n'


def body(text: str) -> str:
    return split_card(text)[1]


def test_text_around_the_markers_stays_and_text_between_them_is_replaced():
    there = f"---\nlicense: mit\n---\nabove\n{BEGIN}\n# Old\n{END}\nbelow\n"
    assert body(merge_cards(there, NEW)) == f"above\n{BEGIN}\n# New\n{END}\nbelow\n"


def around(before: str = "", after: str = "", title: str = "New") -> str:
    """Return a card with this text around its section, as it is pushed."""
    text = f"---\nlicense: mit\n---\n{before}\n{BEGIN}\n# {title}\n{END}\n{after}\n"
    return addressed(text, "a/b", "https://hub/a/b")


def edited(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


@pytest.mark.parametrize(("before", "after"), [("", "mended"), ("moved", ""), ("", "")])
def test_text_that_is_as_it_was_pushed_gives_way_to_what_is_written_now(before, after):
    new = around(before, after)
    merged = merge_cards(around(after="first", title="Old"), new)
    assert body(merged) == body(new)
    assert not left_out(merged, new)


def test_text_that_was_edited_on_the_hub_stays_where_nothing_else_is_written_now():
    there = edited(around(after="first", title="Old"), "first", "edited there")
    for new in (around(after="first"), around()):
        merged = merge_cards(there, new)
        assert "edited there" in merged
        assert "# New" in merged
        assert "# Old" not in merged
        assert not left_out(merged, new)


def test_where_both_texts_were_edited_that_on_the_hub_stays_and_the_other_is_said_to_be_left_out_until_it_is_not():
    there, new = edited(around(after="first"), "first", "edited there"), around(after="edited here")
    for _ in range(2):
        there = merge_cards(there, new)
        assert "edited there" in there
        assert "edited here" not in there
        assert left_out(there, new)
    emptied = merge_cards(edited(there, "edited there", ""), new)
    assert body(emptied) == body(new)
    assert not left_out(emptied, new)


def test_once_the_text_on_the_hub_was_taken_over_what_is_written_next_is_published():
    there = edited(around(after="first"), "first", "edited there")
    there = merge_cards(there, around(after="edited there"))
    new = around(after="edited there, and here")
    assert body(merge_cards(there, new)) == body(new)


def test_blank_lines_are_no_edit():
    there = edited(around("above", "first"), "first", "\nfirst\n\n")
    new = around("above", "second")
    assert body(merge_cards(there, new)) == body(new)


def test_text_that_was_written_before_the_first_push_stays_for_good():
    there = merge_cards("---\na: 1\n---\n# Mine\n", around(after="here"))
    new = around(after="here, later")
    merged = merge_cards(there, new)
    assert "# Mine" in merged
    assert left_out(merged, new)


@pytest.mark.parametrize("name", ["dir:.", "mini-fer2013", "hub:someone/else"])
def test_a_card_on_the_hub_loads_the_model_beside_it_whatever_it_was_called_before(name):
    own = f'{BEGIN}\nmodel = emozoo.load("{name}")\n{END}\nmodel = emozoo.load("another")\n'
    there = addressed(own, "a/b", "https://hub/a/b")
    assert 'model = emozoo.load("hub:a/b")\n' in there
    assert there.endswith('model = emozoo.load("another")\n')
    assert addressed(there, "a/b", "https://hub/a/b") == there


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


def test_what_emozoo_wrote_of_an_older_model_does_not_stay():
    record = small_record()
    record["recipe"]["card"]["licence"] = "Research only"
    record["init"] = {"repo": "a/base"}
    wrote = metadata(record)
    assert {"license_name", "base_model", "base_model_relation", "model-index"} <= set(wrote)
    there = f"---\n{yaml.safe_dump(wrote | {'language': 'en'})}---\n"
    fields = read_header(merge_cards(there, "---\nlibrary_name: emozoo\n---\n"))
    assert set(fields) == {"library_name", "language", "tags"}


def test_tags_are_joined():
    merged = merge_cards("---\ntags: [mine, vad]\n---\n", NEW)
    assert read_header(merged)["tags"] == ["mine", "vad", "emozoo"]


def test_the_tags_of_tasks_that_a_model_no_longer_has_do_not_stay():
    merged = merge_cards("---\ntags: [emozoo, classification, mine, vad]\n---\n", NEW)
    assert read_header(merged)["tags"] == ["emozoo", "mine", "vad"]


def test_a_header_that_is_no_yaml_gives_way():
    assert read_header(merge_cards("---\na: [\n---\nkept\n", NEW)) == read_header(NEW)


def test_windows_line_ends_are_read():
    merged = merge_cards("---\r\nlanguage: en\r\n---\r\nkept\r\n", NEW)
    assert read_header(merged)["language"] == "en"
    assert body(merged).endswith("\n\nkept\n")


def test_a_byte_order_mark_is_no_text():
    merged = merge_cards("\ufeff---\nlanguage: en\n---\nkept\n", NEW)
    assert merged.count("library_name") == 1
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
    kept = {key: old[key] for key in old.keys() & {"tags", "language", "co2", "x y"} - new.keys()}
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
