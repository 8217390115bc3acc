"""Recipes, records and pins made to do harm: read in no time and little memory, or refused by a named error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small import RECIPE, tiny_model

from emozoo import info, zoo
from emozoo.cli.output import table
from emozoo.errors import CorruptModelError, DataError, EmozooError, EmozooWarning, RecipeError
from emozoo.evaluation.compare import compare_folders
from emozoo.folder import save_model
from emozoo.hub import read_pin
from emozoo.provenance import Source
from emozoo.recipe import ModelConfig, load_recipe, parse_recipe
from emozoo.records import read_record
from emozoo.training.sweep import load_sweep
from emozoo.trees import override, read_tree

TOML = {
    "deep lists": "a = " + "[" * 100_000,
    "deep tables": "a = " + "{a=" * 50_000 + "1" + "}" * 50_000,
    "a long path": ".".join("a" * 200_000) + " = 1",
    "long headers": "\n".join(f"[{'a.' * 300}b{number}]" for number in range(1_000)),
    "an integer of many digits": "a = " + "9" * 100_000,
    "an integer beyond 64 bits": "a = 99999999999999999999",
    "infinity": "a = inf",
    "a date": "a = 1979-05-27",
    "a key twice": "a = 1\na = 2",
    "not UTF-8": b"a = '\xff'",
    "UTF-16": "a = 1".encode("utf-16"),
    "a null byte": b"a = '\0'",
    "an unclosed text": 'a = "' + "b" * 500_000,
    "hexadecimal digits": "a = 0x" + "f" * 100_000,
    "long quoted paths": ".".join(["'a b'"] * 30_000) + " = 1",
    "long paths in tables": "a = {" + " . ".join("a" * 100_000) + " = 1}",
    "many keys": "\n".join(f"k{number} = 1" for number in range(20_000)),
}


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("attack", TOML)
def test_a_recipe_that_is_a_bomb_or_no_toml_is_refused_by_name(tmp_path: Path, attack: str) -> None:
    path = write(tmp_path / "recipe.toml", TOML[attack])
    for read in (load_recipe, load_sweep):
        with pytest.raises(RecipeError, match=r"recipe\.toml"):
            read(path)


READERS: dict[str, tuple[Callable[[Path], object], type[EmozooError]]] = {
    "recipe.toml": (load_recipe, RecipeError),
    "sweep.toml": (load_sweep, RecipeError),
    "run.json": (lambda path: read_record(path.parent), CorruptModelError),
    "pin.json": (lambda path: read_pin(path.parent), CorruptModelError),
    "metrics.json": (lambda path: compare_folders([path]), DataError),
}


def test_of_thousands_of_wrong_keys_some_are_listed_and_the_rest_counted() -> None:
    with pytest.raises(RecipeError, match=r"and 29,98\d more$") as refusal:
        parse_recipe({f"k{number}": 1 for number in range(30_000)})
    assert len(str(refusal.value)) < 20_000


@pytest.mark.parametrize("name", READERS)
def test_a_file_of_gigabytes_is_refused_unread(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole: reading it would take a terabyte
    read, error = READERS[name]
    with pytest.raises(error, match=r"is larger than \d+ MiB"):
        read(path)


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_or_a_device_is_not_waited_for(tmp_path: Path, name: str) -> None:
    read, _ = READERS[name]
    path = tmp_path / name
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero"), os.mkdir):
        make(path)
        if name == "pin.json":
            assert read(path) is None
        else:
            with pytest.raises(EmozooError):
                read(path)
        path.rmdir() if path.is_dir() else path.unlink()


JSON = {
    "deep": "[" * 100_000,
    "deep tables": '{"a":' * 100_000,
    "a key twice": '{"result": {}, "result": {}}',
    "NaN": '{"result": NaN}',
    "many digits": '{"result": ' + "9" * 10_000 + "}",
    "half a surrogate": '{"result": "\\ud800"}',
    "not UTF-8": b'{"a": "\xff"}',
    "a list": "[]",
    "text": '"run"',
    "nothing": "",
}


@pytest.mark.parametrize("name", [name for name in READERS if name.endswith("json")])
@pytest.mark.parametrize("attack", JSON)
def test_records_and_pins_that_are_bombs_or_no_json_are_refused_by_name(tmp_path, name, attack) -> None:
    read, error = READERS[name]
    with pytest.raises(error, match=name.replace(".", r"\.")):
        read(write(tmp_path / name, JSON[attack]))


# --- records that are JSON but none that emozoo wrote ---------------------------------------------------------------

METRICS = {"heads": {"vad": {"primary": "ccc", "n": 1, "metrics": {"ccc": {"value": 0.5, "interval": None}}}}}
RECORD: dict[str, Any] = {
    "name": "run",
    "recipe": {"card": {"title": "a", "literature": []}},
    "data": {"title": "faces", "roles": {"test": {"split": "test", "fingerprint": "0"}}},
    "result": {**METRICS, "split": "test", "n": 1, "tta": "none"},
}
WRONG: tuple[Any, ...] = (None, 3, "x", [], [1], {}, {"x": 1}, True)


def changed(tree: Any) -> list[Any]:
    """Every copy of a tree that lacks one key, or has another value in one place."""
    if not isinstance(tree, dict):
        return []
    copies: list[Any] = [{key: tree[key] for key in tree if key != gone} for gone in tree]
    for place, value in tree.items():
        copies += [{**tree, place: other} for other in (*WRONG, *changed(value))]
    return copies


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    small = {"name": "resnet18", "stem": "strided", "width": 2}
    return save_model(tiny_model(backbone=small), tmp_path_factory.mktemp("m") / "m", RECORD)


def test_a_record_with_anything_missing_or_of_another_type_is_refused_or_shown(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = changed(RECORD)
    assert len(records) > 150
    (entry := tmp_path / "cards" / "mine").mkdir(parents=True)
    write(entry / "recipe.toml", RECIPE.replace('"tiny"', '"mine"'))
    monkeypatch.setattr(zoo, "cards_folder", lambda: tmp_path / "cards")
    monkeypatch.setattr(info, "_facts", lambda config: {})
    tiny = tiny_model()
    tiny.source = Source("mine", "0", entry)
    monkeypatch.setattr(info, "load", lambda name, device: tiny)
    for record in records:
        path = write(entry / "run.json", json.dumps(record))
        reads: list[Callable[[], object]] = [
            zoo.list_models,
            lambda: info.describe("mine"),
            lambda: info.describe(f"dir:{entry}"),
            lambda path=path: compare_folders([path, path]),
        ]
        for read in reads:
            try:
                read()
            except EmozooError as error:
                assert "run.json" in str(error), record  # noqa: PT017


# --- zoo entries of others ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "resnet18"', "name = 3"),
        ('name = "classification"', "name = [1]"),
        ("[data]", "card = 3\n[data]"),
        ("[model]", "[card]\ntitle = 3\n[model]"),
        ("[model]", "[card]\ndataset = { a = 1 }\n[model]"),
        ("heads = {", "heads = 3 #"),
        ("[data]", "[other]"),
    ],
)
def test_an_entry_of_a_plugin_that_is_no_recipe_is_left_out_of_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    assert old in RECIPE
    entry = tmp_path / "pkg" / "cards" / "mine"
    entry.mkdir(parents=True)
    write(entry / "recipe.toml", RECIPE.replace('"tiny"', '"mine"'))
    monkeypatch.setattr(zoo, "_plugin_entries", lambda: iter([zoo.Entry("mine", entry, "emozoo-evil")]))
    assert "mine" in [row["name"] for row in zoo.list_models()]
    write(entry / "recipe.toml", RECIPE.replace(old, new))
    if new.startswith("card"):  # a key of [model] that nobody looks at
        rows = zoo.list_models()
    else:
        with pytest.warns(EmozooWarning, match="mine.*left out"):
            rows = zoo.list_models()
        assert "mine" not in [row["name"] for row in rows]
    assert table(["name", "dataset"], rows)


def test_a_plugin_s_record_that_is_none_is_left_out_of_the_list(tmp_path, monkeypatch) -> None:
    entry = tmp_path / "mine"
    entry.mkdir()
    write(entry / "recipe.toml", RECIPE)
    monkeypatch.setattr(zoo, "_plugin_entries", lambda: iter([zoo.Entry("mine", entry, "emozoo-evil")]))
    for record in ("[" * 100_000, "3", '{"result": 3}', '{"result": {"heads": {"a": {}}}}'):
        write(entry / "run.json", record)
        with pytest.warns(EmozooWarning, match="mine.*left out"):
            zoo.list_models()


# --- what configs and recipes may ask for -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [5_000, 10**6, 2**62])
def test_an_input_of_giant_sides_is_no_input(size: int) -> None:
    tree = {"backbone": {"name": "resnet18"}, "heads": {"vad": {"name": "vad"}}, "preprocess": {"size": size}}
    with pytest.raises(ValueError, match=r"preprocess\.size\n.*less than or equal to 4096"):
        ModelConfig.model_validate(tree)


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/tmp/evil",
        "..\\evil",
        "C:evil",
        "C:\\evil",
        "a/b",
        "~",
        "a\nb",
        "a\n",
        "",
        ".",
        "..",
        "-x",
    ],
)
def test_the_name_of_a_recipe_or_of_a_sweep_s_variant_is_no_path(tmp_path: Path, name: str) -> None:
    """Runs go to runs/NAME, and variants to a folder of that name."""
    tree = {
        "name": name,
        "model": {"backbone": {"name": "x"}, "heads": {"a": {"name": "x"}}},
        "data": {"name": "x"},
    }
    with pytest.raises(RecipeError, match="name"):
        parse_recipe(tree)
    quoted = json.dumps(name)
    for text in (f'name = {quoted}\nrecipe = "x"', f'name = "a"\nrecipe = "x"\n[[variant]]\nname = {quoted}'):
        with pytest.raises(RecipeError, match="name"):
            load_sweep(write(tmp_path / "sweep.toml", text))


@pytest.mark.parametrize("key", ["data./etc/evil", "data.a\\..\\evil", "data.C:\\evil", "data.x\x1b[2J"])
def test_the_folders_of_a_sweep_s_grid_are_named_by_words_alone(tmp_path: Path, key: str) -> None:
    grid = f'name = "a"\nrecipe = "x"\n[grid]\n{json.dumps(key)} = ["../../evil", "/evil", ".."]'
    for variant in load_sweep(write(tmp_path / "sweep.toml", grid)).variants():
        assert (tmp_path / variant.name).parent == tmp_path
        assert not set(variant.name) & set('/\\:\x1b"')


def test_a_sweep_of_more_variants_than_anyone_can_run_is_refused(tmp_path: Path) -> None:
    grid = "\n".join(f'"train.k{key}" = {list(range(100))}' for key in range(10))
    with pytest.raises(RecipeError, match=r"variants"):
        load_sweep(write(tmp_path / "sweep.toml", f'name = "a"\nrecipe = "x"\n[grid]\n{grid}'))


@pytest.mark.parametrize(
    "assignment",
    [
        "a=0x" + "f" * 10_000,
        "a={" + ".".join("a" * 50_000) + "=1}",
        "a=" + "[" * 100_000,
        "a=" + "9" * 10_000,
        ".".join("a" * 2_000) + "=1",
        "a=" + "{b=" * 1_000,
        "=",
        "a..b=1",
    ],
)
def test_an_assignment_that_is_a_bomb_is_text_or_refused(assignment: str) -> None:
    try:
        parse_recipe(override({}, [assignment]))
    except RecipeError:
        return
    pytest.fail("that is no recipe")


def test_reading_bombs_takes_no_memory(tmp_path: Path) -> None:
    """All of them in a process that may have 256 MiB beside what Python and pydantic take."""
    for number, text in enumerate([*TOML.values(), *JSON.values()]):
        write(tmp_path / f"{number}.{'toml' if number < len(TOML) else 'json'}", text)
    code = (
        "import resource, sys; from pathlib import Path; from emozoo.errors import EmozooError\n"
        "from emozoo.trees import read_tree\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20),) * 2)\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    try: read_tree(path)\n"
        "    except EmozooError: pass\n"
    )
    if not sys.platform.startswith("linux"):
        pytest.skip("memory is limited as Linux does it")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_a_tree_is_what_its_file_says(tmp_path: Path) -> None:
    assert read_tree(write(tmp_path / "a.toml", "a = 1\r\n[b]\nc = 'ü'")) == {"a": 1, "b": {"c": "ü"}}
    assert read_tree(write(tmp_path / "a.json", '{"a": [1, null, 0.5]}')) == {"a": [1, None, 0.5]}
