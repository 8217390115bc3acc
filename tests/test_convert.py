"""Checkpoints of the authors' code become model folders that compute what that code computes; nothing in them runs."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import published
import pytest
import torch
from typer.testing import CliRunner

import emozoo
from emozoo.card_text import check_card
from emozoo.cli.app import app
from emozoo.convert import convert, read_checkpoint
from emozoo.errors import ConversionError

SMALL = ["model.preprocess.size=48", "model.preprocess.crop=48"]
"""The networks take frames of any size; small ones are faster."""


def save(
    tmp_path: Path, state: Any, *, wrapped: bool = True, parallel: bool = True, zipped: bool = True
) -> Path:
    """Write a checkpoint as the authors' training script does."""
    if parallel:
        state = OrderedDict((f"module.{name}", value) for name, value in state.items())
    tree = {"epoch": 87, "state_dict": state, "prec1": 0.6512} if wrapped else state
    torch.save(tree, tmp_path / "best.pth.tar", _use_new_zipfile_serialization=zipped)
    return tmp_path / "best.pth.tar"


def videos(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (*shape, 3, 48, 48), np.uint8)


def close(ours: torch.Tensor, theirs: Any) -> None:
    """Compare what was computed in double precision, where only another function makes a difference."""
    np.testing.assert_allclose(ours.numpy(), np.stack(theirs), rtol=0, atol=1e-5)


def test_a_ceflnet_checkpoint_computes_what_the_authors_code_computes(tmp_path):
    state = published.ceflnet()
    done = convert(save(tmp_path, state), "ceflnet", out=tmp_path / "model", overrides=SMALL)
    model = emozoo.load(done.folder, "cpu").double()
    frames = videos(1, 7, 5)
    output = model.outputs(torch.from_numpy(frames))
    logits, activation, weights = zip(
        *(published.ceflnet_forward(state, video) for video in frames), strict=True
    )
    close(output.heads["emotion"], logits)
    close(output.clip_weights, activation)
    close(output.frame_weights, weights)
    assert done.dropped == ("fc2.weight", "fc2.bias")


@pytest.mark.parametrize(
    ("relation", "dropped"),
    [(True, ("pred_fc1.weight", "pred_fc1.bias")),
     (False, ("beta.0.weight", "beta.0.bias", "pred_fc2.weight", "pred_fc2.bias"))],
)  # fmt: skip
def test_a_fan_checkpoint_computes_the_papers_formula_with_and_without_the_relation(
    tmp_path, relation, dropped
):
    state = published.fan()
    options = [*SMALL, f"model.aggregator.relation={str(relation).lower()}"]
    done = convert(save(tmp_path, state), "fan", out=tmp_path / "model", overrides=options)
    model = emozoo.load(done.folder, "cpu").double()
    frames = videos(2, 5)
    logits = [published.fan_forward(state, video, relation) for video in frames]
    close(model.outputs(torch.from_numpy(frames)[:, None]).heads["emotion"], logits)
    assert done.dropped == dropped


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("zipped", [True, False])
def test_state_dicts_are_read_bare_or_in_a_table_parallel_or_not_in_both_of_torchs_formats(
    tmp_path, wrapped, parallel, zipped
):
    state = {"conv1.weight": torch.randn(2, 2), "fc2.bias": torch.zeros(3)}
    read = read_checkpoint(save(tmp_path, state, wrapped=wrapped, parallel=parallel, zipped=zipped))
    assert list(read) == list(state)
    assert all(torch.equal(read[name], value) for name, value in state.items())


def test_a_prefix_that_not_all_names_have_is_part_of_them(tmp_path):
    state = {"module.conv1.weight": torch.zeros(1), "conv1.weight": torch.ones(1)}
    assert read_checkpoint(save(tmp_path, state, parallel=False)).keys() == state.keys()


def test_what_a_model_is_comes_from_the_zoo_entrys_recipe(tmp_path):
    done = convert(save(tmp_path, published.ceflnet()), "ceflnet-afew", out=tmp_path / "model")
    config = emozoo.load(done.folder, "cpu").config
    assert config == emozoo.create("ceflnet-afew").config
    assert (config.preprocess.size, config.preprocess.crop, config.preprocess.colour) == (224, 224, "rgb")
    assert (config.preprocess.mean, config.preprocess.std) == ((0, 0, 0), (1, 1, 1))
    assert config.preprocess.fit == "stretch"
    assert config.sampling.name == "clips"
    assert emozoo.load_recipe("fan-afew").model.sampling.name == "thirds"


@pytest.mark.parametrize(
    ("outputs", "given", "labels"),
    [
        (7, None, "angry disgust fear happy neutral sad surprise"),
        (6, None, "angry disgust fear happy sad surprise"),
        (6, "a b c d e f", "a b c d e f"),
        (3, "x y z", "x y z"),
    ],
)
def test_labels_are_those_given_or_the_documented_ones_for_that_many_outputs(
    tmp_path, outputs, given, labels
):
    file = save(tmp_path, published.ceflnet(outputs))
    done = convert(file, "ceflnet", labels=given and given.split(), out=tmp_path / "model", overrides=SMALL)
    assert emozoo.load(done.folder, "cpu").labels == tuple(labels.split())


def test_labels_that_are_not_as_many_as_the_outputs_are_refused_with_the_way_on(tmp_path):
    file = save(tmp_path, published.ceflnet(7))
    with pytest.raises(ConversionError) as caught:
        convert(file, "ceflnet-mmi", out=tmp_path / "model")
    text = str(caught.value)
    assert (
        "has 7 outputs, and the labels are 6 (ceflnet-mmi: angry, disgust, fear, happy, sad, surprise)"
        in text
    )
    assert "--labels a,b,..." in text
    assert not (tmp_path / "model").exists()
    labels = ["angry", "disgust", "fear", "happy", "sad", "surprise", "unused"]
    done = convert(file, "ceflnet-mmi", labels=labels, out=tmp_path / "model", overrides=SMALL)
    assert emozoo.load(done.folder, "cpu").labels == tuple(labels)


def test_every_tensor_that_does_not_fit_is_named_and_nothing_is_written(tmp_path):
    state = published.ceflnet()
    del state["norm1.bias"]
    state["extra.weight"] = torch.zeros(4, 5)
    state["fc2.other"] = torch.zeros(6)
    state["attn.out_proj.weight"] = torch.zeros(512, 256)
    state["conv1.weight"] = state["conv1.weight"].half()
    with pytest.raises(ConversionError) as caught:
        convert(save(tmp_path, state), "ceflnet", out=tmp_path / "model")
    assert str(caught.value).splitlines() == [
        f"{tmp_path / 'best.pth.tar'} does not hold the weights of this model:",
        "  missing: norm1.bias float32 (512,)",
        "  unexpected: extra.weight float32 (4, 5)",
        "  unexpected: fc2.other float32 (6,)",
        "  conv1.weight: the file has float16 (64, 3, 7, 7), the model float32 (64, 3, 7, 7)",
        "  attn.out_proj.weight: the file has float32 (512, 256), the model float32 (512, 512)",
    ]
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(("made", "to"), [(published.fan, "ceflnet"), (published.ceflnet, "fan")])
def test_a_checkpoint_of_the_other_architecture_is_refused(tmp_path, made, to):
    with pytest.raises(ConversionError, match="does not hold the weights of this model:\n  missing: "):
        convert(save(tmp_path, made()), to, out=tmp_path / "model")


def test_files_of_old_torch_without_counters_are_taken(tmp_path):
    state = {name: value for name, value in published.fan().items() if "num_batches" not in name}
    done = convert(save(tmp_path, state), "fan", out=tmp_path / "model", overrides=SMALL)
    assert emozoo.load(done.folder, "cpu").backbone.bn1.num_batches_tracked == 0


class Runs:
    """What touches a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["beside", "among", "bare"])
def test_a_tampered_file_is_refused_by_what_it_would_call_and_runs_nothing(tmp_path, zipped, place):
    runs = Runs(tmp_path / "ran")
    state = {"conv1.weight": torch.zeros(2), **({"evil": runs} if place == "among" else {})}
    tree = {"beside": {"state_dict": state, "epoch": runs}, "among": {"state_dict": state}, "bare": runs}[
        place
    ]
    file = tmp_path / "evil.pth.tar"
    torch.save(tree, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        ConversionError, match=f"{os.system.__module__}.system would have to be called"
    ) as caught:
        convert(file, "ceflnet", out=tmp_path / "model")
    assert "nothing of it was run" in str(caught.value)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "model").exists()
    torch.load(file, weights_only=False)
    assert (tmp_path / "ran").exists(), "the file would have run something"


def test_a_whole_pickled_network_is_refused_with_the_way_to_save_its_weights(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.pth.tar")
    with pytest.raises(
        ConversionError, match=r"torch\.nn\.modules\.linear\.Linear would have to be called"
    ) as caught:
        read_checkpoint(tmp_path / "whole.pth.tar")
    assert "torch.save(model.state_dict(), FILE)" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"hello world", b"\x80\x02.", b"PK\x03\x04 no zip"])
def test_a_file_that_is_not_torchs_is_named(tmp_path, content):
    (tmp_path / "x.pth.tar").write_bytes(content)
    with pytest.raises(ConversionError, match="is nothing that torch reads as weights"):
        read_checkpoint(tmp_path / "x.pth.tar")


@pytest.mark.parametrize("zipped", [True, False])
def test_half_a_file_is_refused(tmp_path, zipped):
    file = save(tmp_path, {"a": torch.randn(1000)}, zipped=zipped)
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(ConversionError, match="it is damaged, or was not written by torch"):
        read_checkpoint(file)


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ([1, 2], "holds no state dict"),
        ({"state_dict": 3}, "holds no state dict"),
        ({}, "holds no state dict"),
        ({"epoch": 3, "best": 0.5}, r"this one 'epoch' \(int\), 'best' \(float\)"),
        ({"state_dict": {"a": torch.eye(2).to_sparse()}}, r"dense tensors by name, this one 'a' \(Tensor\)"),
        ({"state_dict": {3: torch.eye(2)}}, r"this one 3 \(Tensor\)"),
    ],
)
@pytest.mark.filterwarnings("ignore:Validating sparse")
def test_a_file_without_a_state_dict_is_refused(tmp_path, tree, said):
    torch.save(tree, tmp_path / "x.pth")
    with pytest.raises(ConversionError, match=said):
        read_checkpoint(tmp_path / "x.pth")


def test_a_missing_file_and_an_architecture_without_published_names_are_named(tmp_path):
    with pytest.raises(ConversionError, match=r"there is no file nowhere\.pth\.tar"):
        convert("nowhere.pth.tar", "ceflnet")
    with pytest.raises(
        ConversionError, match="lstm-dfew has the aggregator lstm: known are checkpoints of ceflnet"
    ):
        convert(save(tmp_path, {"a": torch.zeros(1)}), "lstm-dfew")


def test_the_command_says_what_it_left_out_whose_labels_it_took_and_where_the_model_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sets = [part for assignment in SMALL for part in ("--set", assignment)]
    file = str(save(tmp_path, published.ceflnet()))
    done = CliRunner().invoke(app, ["convert", file, "--to", "ceflnet", "--name", "theirs", *sets])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [
        "left out, no output depends on it: fc2.weight, fc2.bias",
        "labels: angry, disgust, fear, happy, neutral, sad, surprise (as in the recipe ceflnet-dfew; --labels if the "
        "file's are others)",
        "model:  models/theirs",
        "next:   emozoo eval dir:models/theirs --data FOLDER",
    ]
    assert CliRunner().invoke(app, ["verify", "dir:models/theirs"]).exit_code == 0
    card = Path("models/theirs/README.md").read_text()
    check_card(card)
    assert "emozoo has measured nothing on these weights" in card
    assert "`best.pth.tar`, sha256 `" in card
    assert "%" not in card
    given = ["--labels", "a, b,c,d,e,f,g", "--out", "elsewhere"]
    done = CliRunner().invoke(app, ["convert", file, "--to", "ceflnet", *given, *sets])
    assert "labels: a, b, c, d, e, f, g (as given)" in done.output
    assert Path("elsewhere/model.safetensors").is_file()
