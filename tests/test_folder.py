"""A model folder gives back exactly the model that was saved, appears whole or not at all, and is verified."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small import install, photos, refresh, tiny_config, tiny_model

import emozoo
from emozoo import folder as folders
from emozoo import hashing
from emozoo.errors import ContractError, CorruptModelError, MissingPluginError, RecipeError
from emozoo.folder import check_requirements, load_model, save_model, verify_golden, write_manifest
from emozoo.model import EmotionModel, create

FILES = ("config.json", "golden.safetensors", "manifest.json", "model.safetensors")


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("EMOZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def outputs(model: EmotionModel) -> dict[str, torch.Tensor]:
    shape = model.preprocessor.config
    pixels = torch.from_numpy(photos(4 * shape.channels, shape.size))
    return model.predict_outputs(pixels.view(4, shape.channels, shape.size, shape.size))


def assert_same_outputs(first: EmotionModel, second: EmotionModel) -> None:
    one, two = outputs(first), outputs(second)
    assert one.keys() == two.keys()
    for name in one:
        assert torch.equal(one[name], two[name])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"aggregator": {"name": "mean"}},
        {
            "preprocess": {
                "size": 40,
                "crop": 32,
                "colour": "rgb",
                "mean": [0.4] * 3,
                "std": [0.2] * 3,
                "fit": "pad",
            }
        },
        {
            "labels": ["fröhlich", "怒り", 'a"b\\'],
            "heads": {"einziger": {"name": "classification", "hidden": [5]}},
        },
        {"backbone": {"name": "timm/test_resnet"}},
    ],
    ids=["both heads", "aggregator", "rgb", "labels", "timm"],
)
def test_save_load_save_gives_the_same_bytes_in_every_file(tmp_path: Path, changes: dict) -> None:
    model = tiny_model(**changes)
    model.save(tmp_path / "first")
    loaded = load_model(tmp_path / "first", "cpu")
    loaded.save(tmp_path / "second")
    assert sorted(contents(tmp_path / "first")) == list(FILES)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    assert_same_outputs(model, loaded)
    assert loaded.config == model.config


def test_the_record_and_the_card_are_kept_as_they_were_given(tmp_path: Path) -> None:
    record, card = {"name": "tiny", "result": {"n": 3, "note": "größer"}}, "# A card\n"
    save_model(tiny_model(), tmp_path / "first", record, card)
    assert json.loads((tmp_path / "first" / "run.json").read_text(encoding="utf-8")) == record
    assert (tmp_path / "first" / "README.md").read_text() == card
    save_model(load_model(tmp_path / "first", "cpu"), tmp_path / "second", record, card)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_the_card_may_be_edited_and_the_record_may_not(tmp_path: Path) -> None:
    folder = save_model(tiny_model(), tmp_path / "m", {"name": "tiny"}, "# A card\n")
    (folder / "README.md").write_text("# My own words\n")
    load_model(folder, "cpu")
    (folder / "run.json").write_text('{"name": "tinY"}')
    with pytest.raises(CorruptModelError, match=r"run\.json"):
        load_model(folder, "cpu")


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_golden_outputs_do_not_depend_on_how_the_weights_lay_in_memory(
    tmp_path: Path, layout: torch.memory_format
) -> None:
    model = tiny_model(seed=9).to(memory_format=layout).train()
    folder = model.save(tmp_path / "m")
    loaded = load_model(folder, "cpu")
    assert verify_golden(loaded, folder) == 0
    assert contents(loaded.save(tmp_path / "again")) == contents(folder)
    assert model.training


def test_golden_outputs_are_in_single_precision_under_autocast_too(tmp_path: Path) -> None:
    model = tiny_model()
    with torch.autocast("cpu", torch.bfloat16):
        folder = model.save(tmp_path / "m")
    assert verify_golden(load_model(folder, "cpu"), folder) == 0


def test_initialisation_is_provenance_and_not_architecture(tmp_path: Path) -> None:
    first = create(tiny_config(), seed=1).save(tmp_path / "first")
    second = create(tiny_config(), seed=2).save(tmp_path / "second")
    one, two = contents(first), contents(second)
    assert one["config.json"] == two["config.json"]
    assert one["model.safetensors"] != two["model.safetensors"]
    assert not any(word in one["config.json"].decode() for word in ("seed", "init", "pretrained"))


def test_loading_draws_no_random_number_and_leaves_the_file_alone(tmp_path: Path) -> None:
    folder = tiny_model().save(tmp_path / "m")
    before = contents(folder)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    model = load_model(folder, "cpu")
    assert torch.equal(torch.rand(3), expected)
    with torch.no_grad():
        for value in model.parameters():
            value.zero_()
    assert contents(folder) == before
    assert not model.training
    assert all(value.requires_grad for value in model.parameters())


def test_loading_imports_no_compiler() -> None:
    code = (
        "import sys, tempfile, pathlib; sys.path.insert(0, 'tests')\n"
        "from small import tiny_config; from emozoo.model import create; import emozoo\n"
        "folder = pathlib.Path(tempfile.mkdtemp()) / 'm'; create(tiny_config()).save(folder)\n"
        "emozoo.load(folder, 'cpu')\n"
        "print([name for name in ('torch._dynamo', 'sympy', 'timm', 'torchvision') if name in sys.modules])"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


# --- tensors that no file holds -------------------------------------------------------------------------------

KEEPERS = """
import torch
from torch import nn

class Keeper(nn.Module):
    task = "keeper"
    def __init__(self, in_features, labels, *, noisy: bool = False, attribute: bool = False):
        super().__init__()
        self.out_features = in_features
        steps = torch.rand(in_features) if noisy else torch.arange(in_features) / 10
        if attribute:
            self.steps = steps
        else:
            self.register_buffer("steps", steps, persistent=False)
    def forward(self, features): return features * self.steps
    def decode(self, output): return [{"sum": float(row.sum())} for row in output]

class NewerKeeper(Keeper):
    def __init__(self, in_features, labels, *, noisy: bool = False, attribute: bool = False, sign: int = 1):
        super().__init__(in_features, labels, noisy=noisy, attribute=attribute)
        self.sign = sign
    def forward(self, features): return self.sign * super().forward(features)

class ContraryKeeper(NewerKeeper):
    def __init__(self, in_features, labels, *, noisy: bool = False, attribute: bool = False, sign: int = -1):
        super().__init__(in_features, labels, noisy=noisy, attribute=attribute, sign=sign)
"""


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    site = tmp_path / "site"
    site.mkdir()
    install(monkeypatch, site, "emozoo-keepers", "1.2", {"heads/keeper": "Keeper"}, KEEPERS)
    return site


def keeping(**options: bool) -> EmotionModel:
    return tiny_model(heads={"kept": {"name": "keeper", **options}})


@pytest.mark.parametrize("attribute", [False, True], ids=["buffer that is not saved", "mere attribute"])
def test_tensors_outside_the_state_are_made_by_the_constructor(
    keeper: Path, tmp_path: Path, attribute: bool
) -> None:
    model = keeping(attribute=attribute)
    folder = model.save(tmp_path / "m")
    assert "heads.kept.steps" not in load_file(folder / "model.safetensors")
    assert_same_outputs(model, load_model(folder, "cpu"))


def test_a_model_with_numbers_that_are_neither_saved_nor_repeatable_cannot_be_saved(
    keeper: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        ContractError, match="cannot be saved as its config and weights: golden outputs differ"
    ):
        keeping(noisy=True).save(tmp_path / "m")
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(("name", "fits"), [("NewerKeeper", True), ("ContraryKeeper", False)])
def test_an_option_that_is_newer_than_the_model_may_have_a_default_that_changes_nothing(
    keeper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, fits: bool
) -> None:
    model = keeping()
    folder = model.save(tmp_path / "m")
    points = keeper / "emozoo_keepers-1.2.dist-info" / "entry_points.txt"
    points.write_text(points.read_text().replace(":Keeper", f":{name}"))
    refresh(monkeypatch)
    if fits:
        assert_same_outputs(model, load_model(folder, "cpu"))
    else:
        with pytest.raises(CorruptModelError, match="golden outputs differ"):
            load_model(folder, "cpu")


# --- components in options of others --------------------------------------------------------------------------

TINY = """
import torch
from torch import nn

class Relu(nn.Module):
    input_kind, f = "frames", torch.relu
    def __init__(self, in_channels: int, *, width: int = 8) -> None:
        super().__init__()
        self.out_features = width
        self.conv = nn.Conv2d(in_channels, width, 3)
    def forward(self, x): return type(self).f(self.conv(x)).mean((2, 3))

class Tanh(Relu):
    f = torch.tanh
"""


@pytest.fixture
def sites(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Path]:
    """Where two distributions lie that both offer a backbone `tiny`; only "relu" is on the path."""
    found = {name: tmp_path / name for name in ("tanh", "relu")}
    for name, site in found.items():
        site.mkdir()
        install(monkeypatch, site, f"emozoo-{name}", "1.2", {"backbones/tiny": name.title()}, TINY)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(found["tanh"])])
    refresh(monkeypatch)
    return found


def copies(tmp_path: Path, **inner: object) -> Path:
    """A saved model of two copies of `tiny`; its config then names them as an older emozoo did, by `inner`."""
    backbone = {"name": "separate", "backbone": {"name": "tiny", "width": 6}, "copies": 2}
    folder = tiny_model(backbone=backbone).save(tmp_path / "m")
    if inner:
        config = json.loads((folder / "config.json").read_text())
        config["backbone"]["backbone"] = inner
        config["requires"].pop("emozoo-relu", None)
        (folder / "config.json").write_text(json.dumps(config))
        write_manifest(folder)
    return folder


def test_what_an_option_names_is_saved_in_full_and_required(sites: dict[str, Path], tmp_path: Path) -> None:
    config = json.loads((copies(tmp_path) / "config.json").read_text())
    assert config["backbone"]["backbone"] == {"name": "emozoo-relu:tiny", "width": 6}
    assert config["requires"]["emozoo-relu"] == ">=1.2,<2"
    loaded = load_model(tmp_path / "m", "cpu")
    assert contents(loaded.save(tmp_path / "again")) == contents(tmp_path / "m")


def test_a_network_of_the_same_name_of_another_distribution_is_never_taken(
    sites: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copies(tmp_path)
    monkeypatch.syspath_prepend(str(sites["tanh"]))
    refresh(monkeypatch)
    assert type(load_model(folder, "cpu").backbone.copies[0]).__name__ == "Relu"
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(sites["relu"])])
    refresh(monkeypatch)
    with pytest.raises(MissingPluginError, match=r"pip install 'emozoo-relu>=1.2,<2'"):
        load_model(folder, "cpu")


@pytest.mark.parametrize(
    "inner", [{"name": "tiny", "width": 6}, {"name": "emozoo-relu:tiny", "width": 6}], ids=["short", "full"]
)
def test_a_folder_that_does_not_require_what_an_option_names_must_give_the_golden_outputs(
    sites: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inner: dict
) -> None:
    folder = copies(tmp_path, **inner)
    model = load_model(folder, "cpu")
    assert model.config.backbone.options["backbone"] == {"name": "emozoo-relu:tiny", "width": 6}
    assert model.requires["emozoo-relu"] == ">=1.2,<2"
    code = sites["relu"] / "emozoo_relu.py"
    code.write_text(TINY.replace("torch.relu", "torch.sigmoid"))
    monkeypatch.delitem(sys.modules, "emozoo_relu")
    with pytest.raises(CorruptModelError, match="golden outputs differ"):
        load_model(folder, "cpu")


def test_a_folder_that_names_nothing_where_a_component_is_asked_for_is_not_loaded(tmp_path: Path) -> None:
    inner = {"name": "resnet18", "stem": "strided", "width": 4}
    folder = tiny_model(backbone={"name": "separate", "backbone": inner, "copies": 2}).save(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    config["backbone"]["backbone"] = None
    (folder / "config.json").write_text(json.dumps(config))
    write_manifest(folder)
    with pytest.raises(CorruptModelError, match=r"model\.backbone\.backbone: should be a table"):
        load_model(folder, "cpu")


def test_a_folder_that_names_what_two_distributions_offer_is_not_loaded(
    sites: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copies(tmp_path, name="tiny", width=6)
    monkeypatch.syspath_prepend(str(sites["tanh"]))
    refresh(monkeypatch)
    with pytest.raises(CorruptModelError, match="write emozoo-relu:tiny or emozoo-tanh:tiny"):
        load_model(folder, "cpu")


# --- requirements and devices ---------------------------------------------------------------------------------


def test_a_missing_plugin_is_named_with_the_pip_line_before_anything_is_built(
    keeper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = keeping().save(tmp_path / "m")
    (keeper / "emozoo_keepers-1.2.dist-info").rename(keeper / "gone")
    refresh(monkeypatch)
    monkeypatch.setattr(EmotionModel, "__init__", lambda *_: pytest.fail("something was built"))
    pip = r"needs emozoo-keepers>=1.2,<2 \(not installed\): pip install 'emozoo-keepers>=1.2,<2'"
    with pytest.raises(MissingPluginError, match=pip):
        load_model(folder, "cpu")


def test_a_plugin_in_an_older_version_is_named_with_the_version_that_is_there(
    keeper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = keeping().save(tmp_path / "m")
    metadata = keeper / "emozoo_keepers-1.2.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.2", "Version: 1.1.9"))
    refresh(monkeypatch)
    with pytest.raises(MissingPluginError, match=r"emozoo-keepers>=1.2,<2 \(1.1.9\): pip install"):
        load_model(folder, "cpu")


@pytest.mark.parametrize("how", ["renamed", "hidden"])
def test_a_component_that_is_not_there_makes_no_model_corrupt(
    keeper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    folder = keeping().save(tmp_path / "m")
    if how == "hidden":
        monkeypatch.setenv("EMOZOO_PLUGINS", "none")
    else:
        points = keeper / "emozoo_keepers-1.2.dist-info" / "entry_points.txt"
        points.write_text(points.read_text().replace("keeper =", "keeper-v2 ="))
    refresh(monkeypatch)
    with pytest.raises(MissingPluginError, match="no head is called 'emozoo-keepers:keeper'") as caught:
        load_model(folder, "cpu")
    assert ("EMOZOO_PLUGINS=none hides" in str(caught.value)) == (how == "hidden")
    assert "Install the version of the plugin" in str(caught.value)


@pytest.mark.parametrize(
    "versions", ["===1`id`", '==="|sh|"', "===$HOME", "===1&&id", ">=1,===$(id)", "===1"]
)
def test_a_requirement_that_a_shell_would_run_is_in_no_line_for_pip(versions: str) -> None:
    with pytest.raises(CorruptModelError, match=r"requires.emozoo-x is .*, no version range"):
        check_requirements({"emozoo-x": versions}, Path("m"))


@pytest.mark.parametrize("versions", [">=1!2.0,<1!3", "~=1.4.2", "==1.*,!=1.3", ">= 1.2rc1", "==1.0+cu128"])
def test_a_line_for_pip_is_one_word_a_requirement_to_a_shell(versions: str) -> None:
    with pytest.raises(MissingPluginError) as caught:
        check_requirements({"emozoo-x": versions}, Path("m"))
    line = str(caught.value).partition("pip install ")[2]
    assert shlex.split(line) == [f"emozoo-x{versions}"]


@pytest.mark.parametrize("device", ["cpu", "auto", "cpu:0"])
def test_a_model_is_loaded_to_the_device_that_is_asked_for(tmp_path: Path, device: str) -> None:
    model = emozoo.load(tiny_model().save(tmp_path / "m"), device=device)
    wanted = "cuda" if device == "auto" and torch.cuda.is_available() else "cpu"
    assert {value.device.type for value in model.state_dict().values()} == {wanted}


@pytest.mark.parametrize("device", ["banana", "meta", "cuda:99", "cpu:x", ""])
def test_a_device_that_does_not_exist_is_refused_by_name(tmp_path: Path, device: str) -> None:
    with pytest.raises(RecipeError, match=f"device '{device}': write auto, cpu, cuda or cuda:N"):
        load_model(tiny_model().save(tmp_path / "m"), device)


# --- writing --------------------------------------------------------------------------------------------------


def test_an_older_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    save_model(tiny_model(seed=1), tmp_path / "m", {"name": "old"}, "# Old\n")
    new = tiny_model(seed=2)
    new.save(tmp_path / "m")
    assert sorted(contents(tmp_path / "m")) == list(FILES)
    assert_same_outputs(load_model(tmp_path / "m", "cpu"), new)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("at", ["write", "first rename", "second rename"])
def test_a_failure_while_saving_keeps_the_older_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    folder = tiny_model(seed=1).save(tmp_path / "m")
    before = contents(folder)
    calls: list[str] = []
    rename = os.replace

    def failing(source: Path, target: Path) -> None:
        calls.append(str(target))
        if len(calls) == {"first rename": 1, "second rename": 2}.get(at):
            raise OSError("the disk is full")
        rename(source, target)

    def full(path: Path) -> None:
        raise OSError("the disk is full")

    if at == "write":
        monkeypatch.setattr(folders, "write_manifest", full)
    else:
        monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="the disk is full"):
        tiny_model(seed=2).save(folder)
    monkeypatch.undo()
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_folder_or_file_that_is_no_model_is_never_overwritten(tmp_path: Path) -> None:
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter1.txt").write_text("years of work")
    web = tmp_path / "web"
    web.mkdir()
    (web / "manifest.json").write_text("{}")
    (web / "index.html").write_text("<html>")
    file = tmp_path / "file"
    file.write_text("a file")
    for place in (thesis, web, file):
        with pytest.raises(
            CorruptModelError, match="not a model folder, or holds more than one; it is left as it is"
        ):
            tiny_model().save(place)
    assert (thesis / "chapter1.txt").read_text() == "years of work"
    assert sorted(contents(web)) == ["index.html", "manifest.json"]
    assert file.read_text() == "a file"


def test_a_model_goes_into_an_empty_folder_and_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    returned = tiny_model().save(tmp_path / "link")
    assert returned == tmp_path / "link"
    assert (tmp_path / "link").is_symlink()
    assert sorted(contents(tmp_path / "empty")) == list(FILES)


def test_others_may_read_what_was_saved_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        folder = tiny_model().save(tmp_path / "m")
    finally:
        os.umask(before)
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir()} == dict.fromkeys(
        FILES, "0o640"
    )
    assert oct(folder.stat().st_mode & 0o777) == "0o750"


def change_head(model: EmotionModel) -> None:
    model.heads["emotion"] = torch.nn.Linear(64, 7)


def diverge(model: EmotionModel) -> None:
    model.heads["vad"].layers[1].bias.data.fill_(float("nan"))


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (EmotionModel.half, "torch.float16, the model that is loaded has torch.float32"),
        (EmotionModel.bfloat16, "torch.bfloat16, the model that is loaded has torch.float32"),
        (change_head, "missing: heads.emotion.layers.1.weight"),
        (diverge, "holds NaN in"),
    ],
    ids=["half precision", "brain floats", "another head", "not a number"],
)
def test_a_model_that_could_not_be_loaded_again_is_not_saved(
    tmp_path: Path, tamper: object, message: str
) -> None:
    model = tiny_model()
    tamper(model)
    with pytest.raises(ContractError, match=rf"cannot be saved as its config and weights: [\s\S]*{message}"):
        model.save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


# --- verifying ------------------------------------------------------------------------------------------------


def test_golden_outputs_are_what_the_model_makes_of_the_golden_input(tmp_path: Path) -> None:
    model = tiny_model()
    golden = load_file(model.save(tmp_path / "m") / "golden.safetensors")
    assert golden["input"].dtype == torch.uint8
    for name, value in model.predict_outputs(golden["input"]).items():
        assert torch.equal(golden[f"output.{name}"], value)


def rewrite_golden(folder: Path, **changes: torch.Tensor | None) -> None:
    golden = load_file(folder / "golden.safetensors") | changes
    save_file(
        {name: value for name, value in golden.items() if value is not None}, folder / "golden.safetensors"
    )
    write_manifest(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output.emotion": torch.zeros(2, 7)}, "golden outputs differ by"),
        ({"output.emotion": torch.full((2, 7), float("nan"))}, "not finite"),
        ({"output.emotion": torch.zeros(2, 1)}, "golden outputs are"),
        ({"output.emotion": None}, "golden outputs are"),
        ({"output.other": torch.zeros(2, 1)}, "golden outputs are"),
        ({"input": None}, "holds no input"),
        ({"input": torch.zeros(2, 3, 48, 48, dtype=torch.uint8)}, "the golden input is"),
        ({"input": torch.zeros(0, 1, 48, 48, dtype=torch.uint8)}, "the golden input is"),
        ({"input": torch.zeros(2, 1, 48, 48)}, "the golden input is"),
        ({"input": torch.zeros(2, 1, 48, 48, dtype=torch.uint8)}, "golden outputs differ by"),
    ],
)
def test_golden_outputs_that_the_model_does_not_give_are_found(
    tmp_path: Path, changes: dict[str, torch.Tensor | None], message: str
) -> None:
    folder = tiny_model().save(tmp_path / "m")
    rewrite_golden(folder, **changes)
    model = load_model(folder, "cpu")
    with pytest.raises(CorruptModelError, match=message):
        verify_golden(model, folder)


def test_weights_of_another_model_under_a_manifest_made_to_match_do_not_pass_verification(
    tmp_path: Path,
) -> None:
    folder, other = (tiny_model(seed=seed).save(tmp_path / str(seed)) for seed in (1, 2))
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    write_manifest(folder)
    with pytest.raises(CorruptModelError, match="golden outputs differ by"):
        verify_golden(load_model(folder, "cpu"), folder)


def test_a_difference_as_small_as_between_machines_passes(tmp_path: Path) -> None:
    folder = tiny_model().save(tmp_path / "m")
    value = load_file(folder / "golden.safetensors")["output.emotion"]
    rewrite_golden(folder, **{"output.emotion": value + 2e-5 * value.abs().max()})
    assert verify_golden(load_model(folder, "cpu"), folder) == pytest.approx(2e-5, rel=0.2)


def test_a_newer_format_says_how_to_upgrade_whatever_else_is_new(tmp_path: Path) -> None:
    folder = tiny_model().save(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({"format": 2, "emozoo_version": "9.0", "parts": config}))
    (folder / "manifest.json").write_text(json.dumps({"format": 2, "entries": ["config.json", "extra.bin"]}))
    with pytest.raises(CorruptModelError, match=r"has format 2, emozoo .* reads 1: pip install -U emozoo"):
        load_model(folder, "cpu")


# --- hashing ---------------------------------------------------------------------------------------------------


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that have been hashed."""
    names: list[str] = []
    digest = hashing.sha256

    def counting(path: Path) -> str:
        names.append(path.name)
        return digest(path)

    monkeypatch.setattr(hashing, "sha256", counting)
    return names


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files count as left alone at once."""
    monkeypatch.setattr(hashing, "SETTLED", -1.0)


def test_an_untouched_file_is_not_hashed_twice(tmp_path: Path, hashed: list[str], settled: None) -> None:
    folder = tiny_model().save(tmp_path / "m")
    hashed.clear()
    load_model(folder, "cpu")
    assert sorted(hashed) == ["config.json", "golden.safetensors", "model.safetensors"]
    load_model(folder, "cpu")
    assert len(hashed) == 3


def test_a_touched_file_is_hashed_again_and_a_changed_one_is_found(
    tmp_path: Path, hashed: list[str], settled: None
) -> None:
    folder = tiny_model().save(tmp_path / "m")
    load_model(folder, "cpu")
    hashed.clear()
    os.utime(folder / "config.json")
    load_model(folder, "cpu")
    assert hashed == ["config.json"]
    weights = folder / "model.safetensors"
    status = weights.stat()
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    with open(weights, "r+b") as file:  # in place: same inode, same size
        file.write(data)
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))  # and the old time of modification
    with pytest.raises(CorruptModelError, match=r"model\.safetensors is damaged"):
        load_model(folder, "cpu")


def test_a_file_that_has_just_been_written_is_not_trusted_to_stay(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    assert hashing.matches(path, hashing.sha256(path))
    assert not cache.exists()
    later = time.time() - 10
    os.utime(path, (later, later))
    assert hashing.matches(path, hashing.sha256(path))
    assert not cache.exists(), "its change time is recent"


@pytest.mark.parametrize("fault", ["file in place of the folder", "stamp is no text", "no home"])
def test_a_cache_that_cannot_be_used_only_costs_time(
    tmp_path: Path, cache: Path, settled: None, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    folder = tiny_model().save(tmp_path / "m")
    if fault == "file in place of the folder":
        cache.write_text("")
    elif fault == "no home":
        for name in ("EMOZOO_CACHE", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(Path, "expanduser", lambda self: (_ for _ in ()).throw(RuntimeError("no home")))
    else:
        load_model(folder, "cpu")
        for stamp in (cache / "emozoo" / "verified").iterdir():
            stamp.write_bytes(b"\xff\xfe")
    load_model(folder, "cpu")
