"""Cards made to do harm: nothing in them is run or unfolded, and no link takes other files in or writes over them."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from records import small_record

from emozoo.card import json_yaml, render_card, write_card
from emozoo.card_check import card_problems, folder_problems
from emozoo.card_text import check_card, merge_cards, read_header
from emozoo.errors import DataError, EmozooError, PushError
from emozoo.publish import plan_push

GOOD = "---\nlibrary_name: emozoo\nlicense: mit\ntags: [emozoo]\n---\n# A\n"


def laughs(levels: int) -> str:
    lines = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


HEADERS = {
    "code": "library_name: !!python/object/apply:os.system ['touch {mark}']",
    "a module": "library_name: !!python/module:os",
    "a new object": "library_name: !!python/object/new:subprocess.Popen [['touch', '{mark}']]",
    "laughs": laughs(12),
    "itself": "library_name: &a [*a]",
    "merged with itself": "library_name: &a {{<<: *a}}",
    "deep lists": "a: " + "[" * 20_000,
    "deep tables": "a: " + "{{a: " * 5_000,
    "deep lines": "\n".join(" " * n + "a:" for n in range(400)),
    "many digits": "a: " + "9" * 10_000,
    "a date that is none": "a: 2020-13-45",
    "a key that is a list": "? [a]\n: b",
    "a great header": "a: " + "b" * 300_000,
    "a sign that is none": "a: \x00\x1b",
    "two documents": "a: b\n...\nc: d",
    "text": "library_name",
}


@pytest.mark.parametrize("attack", HEADERS)
def test_a_header_that_is_a_bomb_or_code_is_refused_and_not_run(tmp_path: Path, attack: str) -> None:
    mark = tmp_path / "mark"
    card = f"---\n{HEADERS[attack].format(mark=mark)}\n---\ntext\n"
    for check in (read_header, check_card):
        try:
            check(card)
        except PushError as error:
            assert len(str(error)) < 2_000  # noqa: PT017
        else:
            pytest.fail("that is no header")
    assert card_problems(card)
    assert not mark.exists()


@pytest.mark.parametrize("attack", HEADERS)
def test_what_stands_on_the_hub_is_merged_with_in_no_time(tmp_path: Path, attack: str) -> None:
    there = f"---\n{HEADERS[attack].format(mark=tmp_path / 'mark')}\n---\nby hand\n"
    merged = merge_cards(there, GOOD)
    assert read_header(merged)["library_name"] == "emozoo"
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    "index",
    ["3", "[]", "[3]", "[{}]", "[{results: 3}]", "[{name: a, results: [3]}]", "[{name: a, results: [{}]}]",
     "[{name: a, results: [{task: 3, dataset: 4, metrics: 5}]}]",
     "[{name: a, results: [{task: {type: a}, dataset: {type: b, name: c}, metrics: [{}]}]}]",
     "[{name: a, results: [{task: {type: a}, dataset: {type: b, name: c}, metrics: [{type: [1], value: {}}]}]}]"],
)  # fmt: skip
def test_results_that_are_none_are_problems_of_the_card(index: str) -> None:
    card = GOOD.replace("tags:", f"model-index: {index}\ntags:")
    assert card_problems(card)
    with suppress(PushError):
        check_card(card)


@given(
    st.dictionaries(
        st.sampled_from(["title", "license", "datasets"]), st.text(st.characters(max_codepoint=0xFFFF))
    )
)
def test_a_header_says_in_yaml_what_was_put_into_it(tree: dict[str, str]) -> None:
    assert (yaml.safe_load(json_yaml(tree)) or {}) == tree


def test_a_card_is_no_template() -> None:
    text = "{{ 7 * 7 }} {% for x in (1, 2) %}x{% endfor %} {{ self.__init__.__globals__ }}"
    hostile = small_record()
    hostile["recipe"]["card"]["title"] = text
    card = render_card(hostile, text)
    assert card.count(text) >= 2
    assert "49" not in card.replace("0.49", "")


@pytest.mark.parametrize("data", [b"\xff\xfe---", b"[" * 100_000, b"3", b'{"a": NaN}', b""])
def test_a_card_or_a_record_that_cannot_be_read_is_a_problem_of_the_card(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "README.md").write_bytes(data)
    assert folder_problems(tmp_path)
    (tmp_path / "README.md").write_text(GOOD)
    (tmp_path / "run.json").write_bytes(data)
    assert folder_problems(tmp_path)
    (tmp_path / "run.json").write_bytes(b"{}")
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "a.json").write_bytes(data)
    assert folder_problems(tmp_path)


@pytest.mark.parametrize("name", ["README.md", "pictures/a.png", "records/a.json", "config.json", "run.json"])
def test_a_link_does_not_bring_other_files_into_what_is_published(
    folder: Path, tmp_path: Path, name: str
) -> None:
    secret = tmp_path / "credentials.json"
    shutil.copy(folder / name, secret) if (folder / name).exists() else secret.write_text(
        '{"token": "hf_secret"}'
    )
    (folder / "README.md").write_text(GOOD + "\n![a](pictures/a.png)\n")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(secret)
    with pytest.raises(PushError, match="is a link out of the folder, and is not published"):
        plan_push(folder, "alice/faces")


@pytest.mark.parametrize("name", ["README.md", "run.json", "pictures", "pictures/a.png"])
def test_a_card_is_not_written_through_links(tmp_path: Path, name: str) -> None:
    run, entry, precious = tmp_path / "run", tmp_path / "entry", tmp_path / "precious"
    run.mkdir()
    (run / "run.json").write_text(json.dumps(small_record()))
    (run / "a.png").write_bytes(b"\x89PNG")
    (entry / name).parent.mkdir(parents=True)
    precious.mkdir() if name == "pictures" else precious.write_text("years of work")
    (entry / name).symlink_to(precious)
    with pytest.raises(DataError, match="is a link, and is not written through"):
        write_card(entry, run)
    assert not list(precious.iterdir()) if name == "pictures" else precious.read_text() == "years of work"


@pytest.mark.parametrize("gone", ["recipe", "result", "data", "versions", "hardware", "model", "best"])
def test_no_card_is_written_of_what_is_no_record(tmp_path: Path, gone: str) -> None:
    broken = small_record()
    del broken[gone]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps(broken))
    with pytest.raises(EmozooError, match=r"run\.json"):
        write_card(tmp_path / "entry", tmp_path / "run")
