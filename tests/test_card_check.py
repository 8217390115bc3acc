"""A card says what it must, and every figure in it is one of a record; what is wrong is listed, all of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records import small_record
from typer.testing import CliRunner

from emozoo import zoo
from emozoo.card import render_card
from emozoo.card_check import card_problems, entry_problems
from emozoo.cli.app import app
from emozoo.folder import save_model

CARD = render_card(small_record())


def problems(text: str = CARD, *more: dict, record: dict | None = None) -> list[str]:
    return card_problems(text, small_record() if record is None else record, more)


def test_what_training_writes_may_be_shown() -> None:
    assert problems() == []
    plain = "---\nlibrary_name: emozoo\nlicense: mit\ndata_license: drawn\n---\nNothing was measured.\n"
    assert card_problems(plain) == []


@pytest.mark.parametrize("entry", list(zoo.entries()), ids=lambda entry: entry.name)
def test_every_card_of_the_zoo_may_be_shown(entry) -> None:
    assert entry_problems(entry) == []


@pytest.mark.parametrize(
    ("shown", "what"),
    [
        ("`test`", "the split is missing (`test`)"),
        ("n = 231", "the n is missing (n = 231)"),
        ("| seed | 0 |", "the seed is missing (seed | 0)"),
        ("emozoo 0.1.0", "the version of emozoo is missing (emozoo 0.1.0)"),
        ("torch 2.15.0", "the version of torch is missing (torch 2.15.0)"),
        ("Python 3.11.7", "the version of Python is missing (Python 3.11.7)"),
    ],
)
def test_what_a_card_must_say_and_does_not_is_listed(shown, what) -> None:
    assert shown in CARD
    assert problems(CARD.replace(shown, "")) == [what]


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        (("recipe", "train", "seed"), "run.json does not say the seed"),
        (("versions", "torch"), "run.json does not say the version of torch"),
        (("versions",), "run.json does not say the version of Python"),
        (("result", "n"), "run.json does not say the n"),
    ],
)
def test_what_the_record_does_not_say_is_listed(keys, what) -> None:
    record = small_record()
    tree = record
    for key in keys[:-1]:
        tree = tree[key]
    del tree[keys[-1]]
    assert what in problems(record=record)


def test_a_licence_in_the_recipe_is_one_in_the_card_and_without_one_it_is_missed() -> None:
    record = small_record()
    record["recipe"]["card"]["licence"], record["data"]["licence"] = "", ""
    weights, data = problems(render_card(record), record=record)
    assert weights.startswith(
        "the header lacks `license`, the licence of the weights: set card.licence in the recipe"
    )
    assert data.startswith("the header lacks `data_license`, the terms of the training data: write")


@pytest.mark.parametrize(
    ("figure", "backed"),
    [
        ("accuracy of 61.23 %", True),
        ("accuracy of 61.2%", True),
        ("accuracy of 0.612", True),
        ("61 %", True),
        ("61.24 %", False),
        ("0.613", False),
        (".613", False),
        ("99.9%", False),
        ("-0.31", False),
        ("a CCC of 1.00", False),
        ("77.77 %", False),  # of the history: an epoch that was not chosen
        ("at a rate of 0.013", True),
        ("right in 1.3 %", False),  # a setting, and no result
        ("61,2 %", True),
        ("61.2\N{NO-BREAK SPACE}%, 61.2 percent", True),
        ("99,9 %", False),
        ("99.9\N{NO-BREAK SPACE}%", False),
        ("99.9\N{NARROW NO-BREAK SPACE}%", False),
        ("99.9 percent", False),
        ("**99.9**%", False),
        ("a bootstrap 90 % interval", True),
        ("`0.987` is code, and so is\n```\n0.987\n```\n", True),
        (
            "[a paper](https://doi.org/10.1/0.987) of version 0.9.87, CC-BY-4.0, 48x48, 2.5 hours, in 2026",
            True,
        ),
        ("between 0.987 and 1.5", False),
    ],
)
def test_a_figure_is_one_of_the_record_or_a_problem(figure, backed) -> None:
    found = problems(f"{CARD}\nOn photos: {figure}.\n")
    assert len(found) == (0 if backed else 1)
    assert all("no record backs the figure" in line for line in found)


def test_figures_of_the_literature_are_backed_by_the_recipe_that_quotes_them() -> None:
    record = small_record()
    record["recipe"]["card"]["literature"] = [
        {"metric": "accuracy", "value": 0.9218, "protocol": "somewhere", "source": "Someone (2020)"}
    ]
    text = render_card(record)
    assert "92.18 %" in text
    assert problems(text, record=record) == []
    assert len(problems(text)) == 1


def test_a_further_record_backs_what_was_measured_apart() -> None:
    text = f"{CARD}\nAgainst the majority of ten annotators: 81.25 %.\n"
    assert problems(text) == [
        "no record backs the figure 81.25 %; one that was measured apart needs a record in records/"
    ]
    assert problems(text, {"ferplus": {"accuracy": 0.8125}}) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"value": 0.6123', '"value": 0.7', "'emotion: accuracy (WAR) on test' is 0.7, the record says 0.6123"),
        ('"split": "test"', '"split": "private"', "no record backs 'emotion: accuracy (WAR) on private'"),
        ("emotion: macro F1", "emotion: micro F1", "no record backs 'emotion: micro F1 on test'"),
    ],
)  # fmt: skip
def test_the_figures_of_the_header_are_those_of_the_record(old, new, said) -> None:
    assert any(said in problem for problem in problems(CARD.replace(old, new)))


def test_a_card_without_a_record_has_no_figures() -> None:
    found = card_problems(CARD)
    assert (
        "no record backs the figure 61.23 %; one that was measured apart needs a record in records/" in found
    )
    assert "model-index: no record backs 'emotion: accuracy (WAR) on test'" in found


@pytest.mark.parametrize("text", ["TODO", "[More Information Needed]", "nan"])
def test_nothing_is_left_to_fill_in(text) -> None:
    assert problems(f"{CARD}\n{text}\n") == [f"{text!r} is left to fill in"]


@pytest.mark.parametrize(
    "record", [{"name": "x"}, {"recipe": 3}, {"recipe": {"card": {}}, "result": []}, [1], "x"]
)
def test_a_record_that_is_none_is_a_problem_and_not_a_crash(record) -> None:
    assert any("run.json is no record of a run" in problem for problem in card_problems(CARD, record))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**4), st.integers(0, 3))
def test_any_percentage_is_backed_by_exactly_the_records_that_round_to_it(value, digits) -> None:
    share = value / 10**4
    text = (
        f"---\nlibrary_name: emozoo\nlicense: mit\ndata_license: drawn\n---\nRight in {share:.{digits}%}.\n"
    )
    assert card_problems(text, None, [{"a": [{"b": share}]}]) == []
    assert card_problems(text, None, [{"a": [{"b": share + 2 * 10.0 ** -(digits + 2)}]}]) != []


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["card", "check", *arguments], catch_exceptions=False)
    return done.exit_code, done.output


def test_the_command_lists_every_problem_and_ends_with_1(tmp_path: Path) -> None:
    from small import tiny_model

    folder = save_model(tiny_model(), tmp_path / "m", small_record(), CARD)
    assert run(f"dir:{folder}") == (0, "1 checked, 0 problems\n")
    lines = [line for line in CARD.splitlines() if not line.startswith(("license:", "| seed"))]
    (folder / "README.md").write_text("\n".join([*lines, "", "12.34 %"]))
    code, shown = run(f"dir:{folder}")
    assert code == 1
    assert len(shown.splitlines()) == 4
    for said in ("`license`", "the seed is missing", "12.34 %", "1 checked, 3 problems"):
        assert said in shown
    assert f"{folder / 'README.md'}: " in shown


def test_a_folder_without_a_card_or_with_a_broken_record_is_said_to_be_so(tmp_path: Path) -> None:
    assert run(f"dir:{tmp_path}")[0] == 1
    assert "has no README.md; training writes one" in run(f"dir:{tmp_path}")[1]
    (tmp_path / "README.md").write_text(CARD)
    (tmp_path / "run.json").write_text("{")
    assert "a record is JSON" in run(f"dir:{tmp_path}")[1]
    (tmp_path / "README.md").write_bytes(b"\xff")
    assert run(f"dir:{tmp_path}")[0] == 1


def test_the_command_checks_one_entry_or_the_whole_zoo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("mini-fer2013") == (0, "1 checked, 0 problems\n")
    recipe = (zoo.cards_folder() / "quickstart" / "recipe.toml").read_text()
    for name in ("trained", "untrained", "bare"):
        (tmp_path / name).mkdir()
        kept = [line for line in recipe.splitlines() if name != "bare" or "data_licence" not in line]
        (tmp_path / name / "recipe.toml").write_text(
            "\n".join(kept).replace('name = "quickstart"', f'name = "{name}"', 1)
        )
    (tmp_path / "trained" / "run.json").write_text(json.dumps(small_record()))
    monkeypatch.setattr(zoo, "cards_folder", lambda: tmp_path)
    code, shown = run()
    assert code == 1
    assert "trained has no README.md" in shown
    assert "card.data_licence is missing, the terms of the training data" in shown
    assert shown.endswith(f"{len(list(zoo.entries()))} checked, 2 problems\n")


def test_the_command_needs_neither_torch_nor_a_plugin() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom emozoo.cli.app import app\n"
        "done = CliRunner().invoke(app, ['card', 'check'])\nassert done.exit_code == 0, done.output\n"
        "assert 'torch' not in sys.modules and not [m for m in sys.modules if m.startswith('emozoo_')]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
