"""Whoever rewrites the files of a model folder and its manifest passes on no code and no half model.

Another whole model can be passed on, which `verify` tells by its golden outputs, and a pinned name by its sha256.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from attacked import FILES, edit, flipped, refused, rewrite, same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save
from small import tiny_model

from emozoo.errors import CorruptModelError, EmozooError, MissingPluginError
from emozoo.folder import load_model, verify_golden, write_manifest

# --- with a manifest made to match: no code, no half model ----------------------------------------------------


class Bomb:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("name", ["model.safetensors", "golden.safetensors"])
@pytest.mark.parametrize("form", ["pickle", "torch"])
def test_a_pickle_under_the_name_of_safetensors_is_refused_and_not_run(
    folder: Path, name: str, form: str
) -> None:
    mark = folder.parent / "mark"
    if form == "pickle":
        rewrite(folder, name, pickle.dumps(Bomb(mark)))
    else:
        torch.save({"conv1.weight": Bomb(mark)}, folder / name)
        write_manifest(folder)
    with pytest.raises(CorruptModelError, match="no safetensors file that can be read"):
        verify_golden(load_model(folder, "cpu"), folder)
    assert not mark.exists()


def header(text: bytes, length: int | None = None, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text + body


ENTRY = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 8,
        header(b"", 2**64 - 1),
        header(b"", 2**63),
        header(b"{}", 10**9),
        header(b"{" * 2000),
        header(b"[" * 100_000),
        header(b"not json"),
        header(b"\xff\xfe{}"),
        header(b"null"),
        header(ENTRY + b"}", body=b"\0" * 4),
        header(ENTRY + b"}", body=b"\0" * 9),
        header(ENTRY + b',"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}', body=b"\0" * 12),
        header(ENTRY.replace(b"[2]", b"[4611686018427387904]") + b"}", body=b"\0" * 8),
        header(ENTRY.replace(b"[2]", b"[-2]") + b"}", body=b"\0" * 8),
        header(ENTRY.replace(b"F32", b"P32") + b"}", body=b"\0" * 8),
        header(ENTRY.replace(b"F32", b"F8_E4M3").replace(b"[2]", b"[8]") + b"}", body=b"\0" * 8),
        header(ENTRY + b"," + ENTRY[1:] + b"}", body=b"\0" * 8),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["model.safetensors", "golden.safetensors"])
def test_a_safetensors_file_with_a_false_header_is_refused(folder: Path, name: str, data: bytes) -> None:
    rewrite(folder, name, data)
    with pytest.raises(CorruptModelError, match=name.replace(".", r"\.")):
        verify_golden(load_model(folder, "cpu"), folder)


@pytest.mark.parametrize("name", ["model.safetensors", "golden.safetensors"])
def test_every_flipped_bit_of_a_header_is_refused_or_fails_verification_or_changes_nothing(
    folder: Path, right: dict[str, torch.Tensor], name: str
) -> None:
    data = (folder / name).read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    rng = random.Random(3)
    for offset in {*range(8), *rng.sample(range(8, 8 + size), 80)}:
        rewrite(folder, name, flipped(data, offset, 1 << rng.randrange(8)))
        passes_only_if_right(folder, right)


def passes_only_if_right(folder: Path, right: dict[str, torch.Tensor]) -> None:
    try:
        model = load_model(folder, "cpu")
        verify_golden(model, folder)
    except EmozooError:
        return
    assert same(model, right)


WEIGHT = "backbone.conv1.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(WEIGHT), rf"missing: {WEIGHT} F32 \(2, 1, 3, 3\)"),
        (lambda t: t.update(extra=torch.zeros(1)), r"unexpected: extra F32 \(1,\)"),
        (lambda t: t.update({WEIGHT: t[WEIGHT].flatten()}), rf"{WEIGHT}: stored F32 \(18,\), the model has F32"),
        (lambda t: t.update({WEIGHT: t[WEIGHT].transpose(0, 1).contiguous()}), r"stored F32 \(1, 2, 3, 3\)"),
        (lambda t: t.update({WEIGHT: t[WEIGHT].double()}), r"stored F64 .*, the model has F32"),
        (lambda t: t.update({WEIGHT: t[WEIGHT].to(torch.bfloat16)}), "stored BF16 .*, the model has F32"),
        (lambda t: t.update({WEIGHT: t[WEIGHT].view(torch.int32)}), "stored I32 .*, the model has F32"),
        (lambda t: t.update({WEIGHT: torch.zeros(0)}), r"stored F32 \(0,\)"),
        (lambda t: t.update({f"module.{WEIGHT}": t.pop(WEIGHT)}), f"missing: {WEIGHT}[\\s\\S]*unexpected: module"),
        (lambda t: t.clear(), "and 1[0-9]{2} more"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_the_config_are_listed(folder: Path, change: Any, message: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    rewrite(folder, "model.safetensors", save(tensors))
    refused(folder, message)


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "os:system",
        "emozoo_heads.vad:VADHead",
        "builtins:eval",
        "../../evil",
        "emozoo:../vad",
        "",
        ":",
        "vad\0",
    ],
)
@pytest.mark.parametrize("place", ["backbone", "heads"])
def test_a_component_is_a_registry_name_and_never_a_path_to_code(folder: Path, name: str, place: str) -> None:
    edit(folder, lambda tree: (tree[place] if place == "backbone" else tree[place]["vad"]).update(name=name))
    with pytest.raises(MissingPluginError, match=r"no (backbone|head) is called .* Installed: "):
        load_model(folder, "cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("labels"), "lacks labels"),
        (lambda t: t.pop("preprocess"), "lacks preprocess"),
        (lambda t: t["preprocess"].pop("fit"), r"lacks preprocess\.fit"),
        (lambda t: t["preprocess"].clear(), r"lacks preprocess\.size, preprocess\.crop"),
        (lambda t: t.pop("aggregator"), "lacks aggregator"),
        (lambda t: t.pop("heads"), "heads: missing"),
        (lambda t: t.pop("backbone"), "backbone: missing"),
        (lambda t: t.pop("requires"), "lacks `requires`"),
        (lambda t: t.pop("format"), "has format None"),
        (lambda t: t.update(format=True), "has format True"),
        (lambda t: t.update(format="1"), "has format '1'"),
        (lambda t: t.update(surprise=1), "surprise: unknown key"),
        (lambda t: t["preprocess"].update(sise=48), "preprocess.sise: unknown key. Did you mean 'size'"),
        (lambda t: t["preprocess"].update(size="48"), "preprocess.size"),
        (lambda t: t["preprocess"].update(size=True), "preprocess.size"),
        (lambda t: t["preprocess"].update(size=None), "preprocess.size"),
        (lambda t: t["preprocess"].update(std=[0.0]), "preprocess.std"),
        (lambda t: t["backbone"].update(wdith=2), "backbone.wdith: unknown key. Did you mean 'width'"),
        (lambda t: t["backbone"].update(width=4), r"does not fit the config"),
        (lambda t: t["heads"].clear(), "at least one head"),
        (lambda t: t["heads"].update({"import os": t["heads"]["vad"]}), "must be a word"),
        (lambda t: t["heads"].update(forward=t["heads"]["vad"]), "has a meaning in torch"),
        (lambda t: t.update(labels=["a", "a"]), "listed twice"),
        (lambda t: t.update(labels=[]), "labels: one label alone tells nothing apart; give two or more"),
        (lambda t: t.update(labels=t["labels"][1:]), "does not fit the config"),
        (lambda t: t.update(aggregator={"name": "emozoo:mean", "path": "x"}), "aggregator.path: unknown key"),
    ],
)  # fmt: skip
def test_a_config_with_anything_missing_unknown_or_of_another_type_is_refused(
    folder: Path, change: Any, message: str
) -> None:
    edit(folder, change)
    refused(folder, message)


@pytest.mark.parametrize("size", [10**6, 10**9, 2**40, 2**62])
@pytest.mark.parametrize("key", ["width", "hidden"])
def test_a_config_that_asks_for_more_memory_than_there_is_is_refused_before_it_gets_any(
    folder: Path, key: str, size: int
) -> None:
    edit(
        folder,
        lambda t: (
            t["backbone"].update(width=size)
            if key == "width"
            else t["heads"]["vad"].update(hidden=[size] * 2)
        ),
    )
    refused(folder, "does not fit the config|cannot be built", EmozooError)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t["heads"]["vad"].pop("bounded"), None),
        (lambda t: t["backbone"].update(name="resnet18"), None),
        (lambda t: t["backbone"].pop("stem"), "does not fit the config"),
    ],
)  # fmt: skip
def test_an_option_that_a_default_fills_in_must_give_the_golden_outputs(
    folder: Path, right: dict[str, torch.Tensor], change: Any, message: str | None
) -> None:
    edit(folder, change)
    if message is None:
        assert same(load_model(folder, "cpu"), right)
    else:
        refused(folder, message)


def test_a_default_that_makes_another_model_is_found(folder: Path) -> None:
    model = tiny_model(4, heads={"vad": {"name": "vad", "bounded": "clip"}})
    other = model.save(folder.parent / "clipped")
    edit(other, lambda tree: tree["heads"]["vad"].pop("bounded"))
    refused(other, "golden outputs differ")


def test_labels_in_another_order_do_not_change_the_numbers_and_stay_the_attacker_s(folder: Path) -> None:
    """Names are not in the numbers: against whoever rewrites all files, only the sha256 of a pinned name helps."""
    edit(folder, lambda tree: tree["labels"].reverse())
    assert load_model(folder, "cpu").labels[0] == "neutral"


@pytest.mark.parametrize(
    ("requires", "error", "message"),
    [
        ({"no-such-plugin": ">=1,<2"}, MissingPluginError, r"pip install 'no-such-plugin>=1,<2'"),
        ({"emozoo": ">=99"}, MissingPluginError, r"needs emozoo>=99 \(0"),
        ({"emozoo": "banana"}, CorruptModelError, "requires.emozoo is 'banana', no version range"),
        ({"emozoo": 3}, CorruptModelError, "no version range"),
        ({"emozoo": None}, CorruptModelError, "no version range"),
        ({"emozoo": [">=1"]}, CorruptModelError, "no version range"),
        ({"emozoo": " @ https://example.com/evil.whl"}, CorruptModelError, "no version range"),
        ({"emozoo": '"; rm -rf ~; "'}, CorruptModelError, "no version range"),
        ({"emozoo": "[extra]>=0"}, CorruptModelError, "no version range"),
        ({"emozoo": ">=0; python_version<'4'"}, CorruptModelError, "no version range"),
        ({"../../evil": ">=1"}, CorruptModelError, "no version range"),
        ({"": ">=1"}, CorruptModelError, "no version range"),
        ([], CorruptModelError, "lacks `requires`"),
        ("emozoo", CorruptModelError, "lacks `requires`"),
    ],
)
def test_a_requirement_is_a_distribution_and_a_range_of_versions_and_nothing_else(
    folder: Path, requires: Any, error: type[EmozooError], message: str
) -> None:
    edit(folder, lambda tree: tree.update(requires=requires))
    refused(folder, message, error)


# --- JSON -----------------------------------------------------------------------------------------------------

JSON_ATTACKS = {
    "duplicate keys": b'{"format": 1, "format": 1}',
    "duplicate keys inside": b'{"files": {"config.json": {"size": 1, "size": 2, "sha256": ""}}}',
    "NaN": b'{"size": NaN}',
    "infinity": b'{"size": -Infinity}',
    "a float too large": b'{"size": 1e999}',
    "an integer too large": b'{"size": 1' + b"0" * 30 + b"}",
    "an integer of many digits": b'{"size": ' + b"9" * 10_000 + b"}",
    "deep nesting": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "nesting of 100": b'{"a":' + b"[" * 100 + b"]" * 100 + b"}",
    "not UTF-8": b'{"a": "\xff\xfe"}',
    "UTF-16": '{"format": 1}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + b"{}",
    "half a surrogate": b'{"labels": ["\\ud800"]}',
    "a comment": b'{"a": 1} // b',
    "two documents": b"{}{}",
    "a list": b"[1]",
    "binary": bytes(range(256)),
}


@pytest.mark.parametrize("name", ["config.json", "manifest.json"])
@pytest.mark.parametrize("attack", JSON_ATTACKS)
def test_json_that_is_not_plain_is_refused_by_name(folder: Path, name: str, attack: str) -> None:
    (folder / name).write_bytes(JSON_ATTACKS[attack])
    if name == "config.json":
        write_manifest(folder)
    refused(folder, rf"{name.replace('.', chr(92) + '.')} (is not valid JSON|holds no table)")


@pytest.mark.parametrize("name", ["config.json", "manifest.json"])
def test_huge_json_is_refused_unread(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(folder / name, "r+b") as file:
        file.truncate(5 << 30)  # a hole: reading it would take 5 GiB
    refused(folder, "larger than 1 MiB, which no such file needs")


def paths_of(tree: Any, prefix: tuple = ()) -> list[tuple]:
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path for key, value in children for path in ((*prefix, key), *paths_of(value, (*prefix, key)))]


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8)
    | st.sampled_from(["grey", "rgb", "imagenet", "small", "pad", "tanh", "clip", "none", "valence", "emozoo:mean"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_value_anywhere_in_the_config_is_refused_or_fails_verification_or_changes_nothing(
    originals: tuple[Path, Path],
    right: dict[str, torch.Tensor],
    tmp_path_factory: pytest.TempPathFactory,
    data: Any,
) -> None:
    folder = shutil.copytree(originals[0], tmp_path_factory.mktemp("fuzz") / "m")
    tree = json.loads((folder / "config.json").read_text())
    *parents, last = data.draw(st.sampled_from(paths_of(tree)))
    node = tree
    for key in parents:
        node = node[key]
    if data.draw(st.booleans()) and isinstance(node, dict):
        node[data.draw(st.text(max_size=6))] = node.pop(last)
    else:
        node[last] = data.draw(PLAIN)
    rewrite(folder, "config.json", json.dumps(tree).encode())
    try:
        model = load_model(folder, "cpu")
        verify_golden(model, folder)
    except EmozooError:
        return
    finally:
        shutil.rmtree(folder.parent)
    if model.preprocessor.config.model_dump() == tiny_model().preprocessor.config.model_dump():
        assert same(model, right)


def test_any_bytes_in_place_of_any_file_are_refused(folder: Path) -> None:
    rng = random.Random(8)
    for name in FILES:
        data = (folder / name).read_bytes()
        for length in (1, 8, 100, 5000):
            (folder / name).write_bytes(rng.randbytes(length))
            if name != "manifest.json" and name != "run.json":
                write_manifest(folder)
            with pytest.raises(CorruptModelError):
                verify_golden(load_model(folder, "cpu"), folder)
        rewrite(folder, name, data)


def test_a_golden_file_of_another_model_fails_verification(
    originals: tuple[Path, Path], folder: Path
) -> None:
    rewrite(folder, "golden.safetensors", (originals[1] / "golden.safetensors").read_bytes())
    with pytest.raises(CorruptModelError, match="golden outputs differ"):
        verify_golden(load_model(folder, "cpu"), folder)
