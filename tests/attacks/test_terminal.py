"""What names and files of others hold reaches the terminal as signs that show, never as ones that it obeys."""

from __future__ import annotations

import io
import json
import sys
import unicodedata
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small import install, photos, tiny_model

import emozoo
from emozoo import cli, zoo
from emozoo.errors import EmozooError, EmozooWarning, RecipeError
from emozoo.folder import save_model
from emozoo.printable import Printable, printable
from emozoo.recipe import parse_recipe

ESCAPES = {
    "clear the screen": "\x1b[2J",
    "a window title": "\x1b]0;mine\x07",
    "a link": "\x1b]8;;http://evil\x1b\\here\x1b]8;;\x1b\\",
    "over what was said": "\rall is well\x1b[K",
    "backspaces": "bad\b\b\bgood",
    "one-byte escapes": "\x9b31m\x9d0;mine\x9c",
    "right to left": "gpj\u202egnp",
    "isolates": "\u2066x\u2069",
    "nothing to see": "a\u200bb\ufeffc\u00ad",
    "tags": "\U000e0041",
    "a line that is none": "a\u2028b\x85c",
    "half a pair": "\ud800",
    "delete": "\x7f",
}
HOSTILE = "".join(ESCAPES.values())


def obeyed(text: str) -> set[str]:
    """The signs of a text that do not merely show."""
    return {
        sign
        for sign in text
        if unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp") and sign not in "\n\t"
    }


def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object) -> str:
    """Run a command as a user does; return all that it prints."""
    monkeypatch.setattr(sys, "argv", ["emozoo", *map(str, arguments)])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", lambda m, *_, **__: sys.stderr.write(f"{m}\n"))
        with pytest.raises(SystemExit):
            cli.main()
    captured = capsys.readouterr()
    text = captured.out + captured.err
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize("name", ESCAPES)
def test_signs_that_a_terminal_obeys_are_written_as_json_writes_them(name: str) -> None:
    assert not obeyed(printable(ESCAPES[name]))
    assert json.loads(printable(json.dumps(ESCAPES[name], ensure_ascii=False))) == ESCAPES[name]


@pytest.mark.parametrize(
    "text", ["", "happy", "a\n\tb", "Überraschung, 喜び, فرح, 🙂", r"C:\new\table", "\\u001b"]
)
def test_text_that_merely_shows_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@given(st.text(st.characters()))
def test_text_is_made_safe_once_and_json_says_the_same_before_and_after(text: str) -> None:
    safe = printable(text)
    assert not obeyed(safe)
    assert printable(safe) == safe
    assert json.loads(printable(json.dumps({text: text}, ensure_ascii=False))) == {text: text}


def test_what_a_plugin_prints_by_itself_is_made_safe_too(capsys, monkeypatch, tmp_path) -> None:
    code = f"print({ESCAPES['a window title']!r})\nraise ValueError"
    install(monkeypatch, tmp_path, "emozoo-evil", "1.0", {"backbones/evil": "x"}, code)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE.format(title='""').replace("resnet18", "evil"))
    text = shown(capsys, monkeypatch, "recipe", "show", recipe)
    assert "mine" in text
    assert not obeyed(text)


@pytest.mark.parametrize("kind", [EmozooError, RecipeError, EmozooWarning])
def test_errors_and_warnings_are_safe_wherever_they_are_shown(kind: type[Exception]) -> None:
    assert not obeyed(str(kind(f"there is no {HOSTILE}")))
    assert str(kind("a\nb")) == "a\nb"


@pytest.mark.parametrize("name", list(ESCAPES))
def test_a_label_is_made_of_signs_that_show(name: str) -> None:
    tree: dict[str, Any] = {
        "name": "x",
        "data": {"name": "synthetic"},
        "model": {
            "backbone": {"name": "resnet18"},
            "heads": {"emotion": {"name": "classification"}},
            "labels": ["sad", ESCAPES[name]],
        },
    }
    with pytest.raises(RecipeError, match=r"a label holds signs that do not show|Invalid JSON"):
        parse_recipe(tree)
    tree["model"]["labels"] = ["sad", "très heureux", "怒り"]
    parse_recipe(tree)


RECIPE = """
name = "evil"
[card]
title = {title}
summary = {title}
dataset = {title}
licence = {title}
[model.backbone]
name = "resnet18"
width = 4
[model.heads.emotion]
name = "classification"
[data]
name = "synthetic"
"""
WRITABLE = HOSTILE.replace("\ud800", "") + "<script>alert(1)</script>"
TITLE = '"' + "".join(f"\\U{ord(sign):08x}" for sign in WRITABLE) + '"'


@pytest.mark.parametrize(
    "command", [["list"], ["list", "--json"], ["info", "evil"], ["info", "evil", "--json"]]
)
def test_the_zoo_shows_titles_and_licences_and_obeys_none(capsys, monkeypatch, tmp_path, command) -> None:
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "recipe.toml").write_text(RECIPE.format(title=TITLE), "utf-8")
    monkeypatch.setattr(zoo, "cards_folder", lambda: tmp_path)
    text = shown(capsys, monkeypatch, *command)
    assert "mine" in text
    assert not obeyed(text)


@pytest.mark.parametrize("command", [["list"], ["list", "--json"], ["doctor", "--json"], ["doctor"]])
def test_names_and_errors_of_plugins_are_shown_and_not_obeyed(capsys, monkeypatch, tmp_path, command) -> None:
    code = f"raise ValueError({HOSTILE!r})"
    install(monkeypatch, tmp_path, "emozoo-evil", "1.0", {"heads/nice\x1b[2J\u202e": "x\x1b[31m"}, code)
    monkeypatch.setenv("EMOZOO_PLUGINS", "emozoo-evil")
    names = ["emozoo-evil"] if command[0] == "doctor" else []
    text = shown(capsys, monkeypatch, "plugins", *command, *names)
    assert "nice" in text
    assert not obeyed(text)


def test_a_component_that_is_not_there_is_named_and_not_obeyed(capsys, monkeypatch, tmp_path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE.format(title='""').replace('"resnet18"', TITLE), "utf-8")
    text = shown(capsys, monkeypatch, "recipe", "show", recipe)
    assert "no backbone is called" in text
    assert not obeyed(text)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose record has a hostile card."""
    folder = tmp_path_factory.mktemp("model") / "m"
    card = {"title": WRITABLE, "summary": WRITABLE, "licence": WRITABLE}
    result = {"heads": {"vad": {"primary": "ccc", "metrics": {"ccc": {"value": 0.5}}}}, "split": WRITABLE}
    record = {"recipe": {"card": card}, "result": {**result, "n": 1, "tta": WRITABLE}}
    small = {"name": "resnet18", "stem": "strided", "width": 2}
    return save_model(
        tiny_model(backbone=small), folder, json.loads(json.dumps(record).replace("\\ud800", ""))
    )


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_the_record_of_a_model_folder_is_shown_and_not_obeyed(capsys, monkeypatch, model, more) -> None:
    text = shown(capsys, monkeypatch, "info", f"dir:{model}", *more)
    assert "mine" in text
    assert not obeyed(text)


@pytest.mark.parametrize("form", ["table", "jsonl", "csv"])
def test_file_names_of_predictions_are_shown_and_not_obeyed(
    capsys, monkeypatch, model, tmp_path, form
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    good, bad = folder / "good\x1b[2J\u202e.png", folder / "bad\x1b]0;mine\x07.png"
    Image.fromarray(photos(1)[0]).save(good)
    bad.write_bytes(b"no picture")
    options = ("--format", form, "--device", "cpu", "--faces", "none")
    text = shown(capsys, monkeypatch, "predict", f"dir:{model}", folder, *options)
    assert "good\\u001b[2J" in text
    assert "bad\\u001b" in text
    assert not obeyed(text)


def test_predictions_that_go_to_a_file_hold_the_names_as_they_are(model, tmp_path) -> None:
    folder = tmp_path / "photos\x1b[2J"
    folder.mkdir()
    Image.fromarray(photos(1)[0]).save(folder / "a.png")
    out = emozoo.load(model, "cpu").predict(folder, faces="none").write(tmp_path / "out.jsonl")
    assert json.loads(out.read_text())["source"] == str(folder / "a.png")


def test_what_a_dataset_calls_its_files_and_folders_is_shown_and_not_obeyed(
    capsys, monkeypatch, tmp_path
) -> None:
    for index, label in enumerate(("happy", "sad", "angry\x1b[2J\u202e")):
        place = tmp_path / "faces" / label
        place.mkdir(parents=True)
        Image.fromarray(photos(3)[index]).save(place / f"{index}\x1b]0;mine\x07.png")
    (tmp_path / "faces" / "sad" / "broken\x9b31m.png").write_bytes(b"broken")
    text = shown(capsys, monkeypatch, "data", "check", tmp_path / "faces")
    assert "broken" in text
    assert not obeyed(text)


def test_a_table_keeps_its_lines_whatever_its_cells_hold() -> None:
    from emozoo.cli.output import table

    assert table(("a", "b"), [{"a": "x\ny\r\x85z", "b": 1}]) == ["a      b", "x y z  1"]


def test_a_stream_that_shows_lines_obeys_none_of_them() -> None:
    seen = io.StringIO()
    stream = Printable(seen)
    stream.writelines(["plain\n", "\x1b[31mred\n"])
    stream.write("\x07")
    assert seen.getvalue() == "plain\n\\u001b[31mred\n\\u0007"
