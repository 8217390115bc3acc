"""The contract suite: every installed component passes it, and each check finds the fault that it is for."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faulty
import pytest
import video_trees
from PIL import Image
from small import install
from video_trees import TREES

from emozoo import registry, testing
from emozoo.errors import ContractError, RecipeError, UnknownComponentError

CHECKS = {
    "backbone": testing.check_backbone,
    "aggregator": testing.check_aggregator,
    "head": testing.check_head,
    "consistency": testing.check_consistency,
    "dataset": testing.check_dataset,
    "detector": testing.check_detector,
}

FEW = {"samples": 14, "validation_samples": 7, "test_samples": 7, "size": 24}

SMALL: dict[str, dict[str, Any]] = {
    "c3d": {"size": 16, "frames": 4},
    "r3d": {"size": 16, "frames": 4},
    "resnet18": {"options": {"width": 8}},
    "timm": {"options": {"member": "test_resnet"}},
    "lstm": {"options": {"hidden": 8}},
    "synthetic": {"options": FEW},
    "planted": {"options": {"source": "synthetic", "source_options": FEW, "videos": {"train": 6}}},
}
"""What keeps a check quick, by name."""

YUNET = "yunet_n_320_320.onnx"


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    for split in ("train", "test"):
        for label in ("angry", "happy"):
            (tmp_path / split / label).mkdir(parents=True)
            Image.new("L", (48, 48)).save(tmp_path / split / label / f"{split}-{label}.png")
    return tmp_path


@pytest.mark.parametrize("component", registry.discover(), ids=lambda c: f"{c.kind}-{c.name}")
def test_every_installed_component_keeps_its_contract(component, faces, tmp_path_factory, request):
    given = SMALL.get(component.name, {})
    if component.kind == "dataset" and component.name in TREES:
        given = {"root": TREES[component.name](tmp_path_factory.mktemp("videos") / component.name)}
    elif component.kind == "dataset" and component.name not in SMALL:
        given = {"root": faces}
    if component.name == "yunet":
        given = {"options": {"file": str(request.getfixturevalue("real_data") / "detectors" / YUNET)}}
    CHECKS[component.kind](component.qualified, **given)


@pytest.mark.parametrize("options", [{}, {"learned": True}, {"distance": "euclidean"}], ids=str)
def test_prototypes_that_the_training_targets_give_keep_the_contract_of_costs(options):
    testing.check_consistency("prototype", {"prototypes": "annotated", **options})


@pytest.fixture(scope="module", autouse=True)
def faulty_components(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Every class of tests/faulty.py, installed as a component of its base's kind, under its own name."""
    kinds = {"backbone": faulty.Backbone, "aggregator": faulty.Aggregator, "head": faulty.Head}
    kinds |= {"consistency": faulty.Cost, "dataset": faulty.Reader}
    others = {"NotAModule": "backbone", "Unfinished": "dataset"}
    info = tmp_path_factory.mktemp("site") / "emozoo_faulty-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: emozoo-faulty\nVersion: 1.0\n")
    lines: list[str] = []
    for kind, base in kinds.items():
        names = [
            name
            for name, value in vars(faulty).items()
            if isinstance(value, type) and issubclass(value, base)
        ]
        names += [name for name, of_kind in others.items() if of_kind == kind]
        lines += [f"[{registry.GROUPS[kind]}]", *(f"{name} = faulty:{name}" for name in names)]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    sys.path.insert(0, str(info.parent))
    registry.discover.cache_clear()
    yield
    sys.path.remove(str(info.parent))
    registry.discover.cache_clear()


def check(kind: str, name: str, **given: Any) -> None:
    CHECKS[kind](f"emozoo-faulty:{name}", **given)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("backbone", "Backbone"),
        ("aggregator", "Aggregator"),
        ("head", "Head"),
        ("head", "NegativeLoss"),
        ("consistency", "Cost"),
        ("dataset", "Reader"),
        ("dataset", "FilmReader"),
    ],
)
def test_what_the_faulty_ones_are_made_from_keeps_its_contract(kind, name):
    check(kind, name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NotAModule", r"it built a NotAModule, not a torch\.nn\.Module\. Derive the class from"),
        ("Undeclared", r"out_features is None\. Set self\.out_features to a value of type int"),
        ("WrongKind", r"input_kind is 'videos'\. Set it to 'frames'"),
        ("WrongShape", r"the output for \(2, 1, 48, 48\) is \(2, 4\), not \(2, 5\)"),
        ("Raises", r"input of shape \(2, 1, 48, 48\) in evaluation mode raised KeyError: 'surprise'"),
        ("GreyOnly", r"input of shape \(2, 3, 48, 48\) in evaluation mode raised RuntimeError"),
        ("Restless", r"gives different outputs in evaluation mode\. Draw random numbers only while"),
        ("BatchMean", r"depends on the other samples of the batch\. Reduce over no batch axis"),
        ("InPlace", r"it changes its input\. Work on a copy"),
        ("NotANumber", r"its output is not finite"),
        ("Frozen", r"no gradient reaches parameter 'conv\.weight'\. Use it in forward without detach"),
        ("View", r"input in channels_last order raised RuntimeError: view size .* Use reshape or flatten"),
        ("Mixed", r"mixed precision \(bfloat16 autocast\) raised RuntimeError"),
        ("Unsaved", r"tensor 'scale' would not be saved\. .*without persistent=False"),
        ("Attribute", r"tensor 'offset' would not be saved\. Make it a parameter or register_buffer"),
        ("Forgetful", r"saving and loading a model with it raised .* golden .* differ"),
        ("Peeks", r"cannot be called on meta tensors\. It is rebuilt from its options on the meta device"),
        ("Positional", r"recipes cannot set its parameter 'width'\. Make it keyword-only"),
        ("Keywords", r"it takes \*\*options\. Name its options"),
        ("Untyped", r"option 'width' takes -1, 0, .* alike\. Annotate it with the type"),
        ("Unguarded", r"width = -1 ends in RuntimeError.*Field\(gt=0\)"),
        (
            "FixedClips",
            r"a clip of one frame raised RuntimeError.*Clips of short videos may be as short as one",
        ),
        ("Unsavable", r"cannot be saved as JSON: .*scale.* make the default a JSON value"),
    ],
)
def test_a_fault_of_a_backbone_is_found_and_named(name, message):
    with pytest.raises(
        ContractError, match=rf"backbone 'emozoo-faulty:{name}' \(faulty:{name}\): .*{message}"
    ):
        check("backbone", name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Bare", r"it returns a Tensor\. Return emozoo\.contracts\.Aggregated"),
        ("IgnoresMask", r"padded frames, filled with 0\.0, change the result\. Leave out"),
        ("WeighsPadding", r"padded clips or frames have a weight\. Set the weights of what is masked to 0"),
        ("MaskMatters", r"a mask that is all True changes the result"),
        ("WeightShape", r"clip_weights is \(3,\), not \(3, 2\)"),
        ("Spoils", r"a video without real frames changes the others of its batch"),
        ("Detached", r"no gradient reaches the input\. Use it in forward without detach"),
    ],
)
def test_a_fault_of_an_aggregator_is_found_and_named(name, message):
    with pytest.raises(ContractError, match=message):
        check("aggregator", name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NoTask", r"task is None\. Set self\.task to a value of type str"),
        (
            "NanLoss",
            r"the loss of a batch without any target is nan, not 0\. Leave out rows whose target is NaN",
        ),
        ("Diluted", r"samples without targets change the loss from"),
        ("NanGradient", r"samples without targets have a gradient|gradient .* not finite"),
        ("NoLoss", r"the loss of random output is 0\.0\. Return a finite number; 0 is the loss of"),
        ("VectorLoss", r"the loss is \(17,\), not \(\)"),
        ("UntypedLoss", r"no annotation for weight"),
        ("DecodesTensors", r"decode returned what JSON cannot hold: .*Tensor.* use \.tolist\(\)"),
        ("DecodesOne", r"decode returned \{'pleasure': .*Return a list with a dictionary for each sample"),
        ("MeasuresNan", r"measure returned .*ValueError.*None for undefined"),
        ("CountsUnknown", r"samples without targets change the measurement: n is 17 of 12"),
        (
            "FewLogits",
            r"it has 1 outputs for 7 labels\. A head of task 'classification' has one logit a label",
        ),
        (
            "Nameless",
            r"dimensions is \(\) for 1 outputs\. A head of task 'vad' names each output's dimension",
        ),
        ("WrongProbabilities", r"A head of task 'classification' gives label and probabilities"),
        ("Terse", r"measure returns no metrics\.accuracy, .*no confusion.* classification_measure of emozoo"),
        (
            "Misshapen",
            r"showing what measure returned raised .*Names that the measures of emozoo\.evaluation",
        ),
    ],
)
def test_a_fault_of_a_head_is_found_and_named(name, message):
    with pytest.raises(ContractError, match=message):
        check("head", name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("MeanCost", r"raised RuntimeError|the cost is \(\), not \(24,\)"),
        ("NegativeCost", r"costs lie between -0.98.* and .* A cost is finite and never negative"),
        ("Overflows", r"costs lie between nan and nan.* use softmax or log_softmax"),
        (
            "Steps",
            r"differentiable is True, but no gradient reaches logits or values\. Say differentiable = False",
        ),
        ("Modest", r"differentiable is False, but a gradient reaches"),
        (
            "ByPosition",
            r"labels and dimensions in another order have other costs\. Find labels and dimensions by",
        ),
        ("RootOfZero", r"its gradient is not finite"),
        ("Volatile", r"built anew and given its state, it has other costs"),
        ("MeanOfAll", r"costs lie between nan and nan"),
        ("Unprepared", r"prepare\(train\) with some targets missing raised TypeError"),
        ("Unbalanced", r"do not add up to the cost\. Return how much of each sample's cost"),
        ("Unmeasurable", r"measures is True, but there is no per_dimension\. Add per_dimension"),
        ("AllDimensions", r"for the dimension 'valence' alone it ends in KeyError\('dominance'\)"),
    ],
)
def test_a_fault_of_a_consistency_cost_is_found_and_named(name, message):
    with pytest.raises(ContractError, match=message):
        check("consistency", name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Unfinished", r"it lacks a part of its contract\. Give it title, licence"),
        ("Untitled", r"title is ''\. Records and cards quote it"),
        ("Unscaled", r"there are valence, arousal or dominance values, but vad_scale is None"),
        ("Credulous", r"recognises says True of an empty folder or a text file\. Return False"),
        ("Twins", r"2 rows have the id 'a'\. Give each row an id of its own"),
        ("Numbered", r"column 'id' is Value\('int64'\), not Value\('string'\)"),
        ("Splitless", r"a row has no split\. Give every row one"),
        ("Beyond", r"row 'b' has valence 2\.0\. Map the source's scale to \[-1, 1\]"),
        ("NanValue", r"row 'b' has valence nan.* a missing value is None"),
        ("Synonyms", r"label names are \['happy', 'happiness'\]\. Name each category once"),
        ("Pictureless", r"the image of row 'a': .*Give encoded bytes"),
        ("Shuffled", r"reading twice gives different ids\. Sort what you read"),
        ("Listless", r"read returned a list\. Return a datasets\.Dataset"),
        (
            "PicturesAndVideos",
            r"the columns are .*image.*video.*a picture, 'image', or a video, 'video'; not both",
        ),
        ("FilmGone", r"the video of row 'a': there is no video file or folder of frames .*gone.*has render"),
        ("FilmUncounted", r"row 'a' has frames None\. Say how many frames each video has that render makes"),
        ("FilmOfFloats", r"render\('a'\) returns float64 \(3, 8, 8\)\. Return uint8"),
        ("FilmTooShort", r"render\('a'\) returns uint8 \(1, 8, 8\)\. Return uint8 .*a frame for each number"),
        ("FilmFlickers", r"frame 0 of 'a' is not the same each time\. Draw what is random from"),
        ("FilmFromFoldZero", r"folds are \[0, 1\]\. Count them from 1"),
        ("FilmOneFold", r"every row is in fold 1, so that nothing is left to train on"),
        ("Mumbles", r"check returned 'all is well'\. Return emozoo\.contracts\.Finding"),
    ],
)
def test_a_fault_of_a_dataset_reader_is_found_and_named(name, message):
    with pytest.raises(ContractError, match=message):
        check("dataset", name)


def test_a_reader_must_say_what_is_missing_from_a_folder_that_is_not_its_dataset(faces):
    check("dataset", "Reader", root=faces)
    with pytest.raises(ContractError, match=r"an empty folder ends in FileNotFoundError.*Raise a DataError"):
        check("dataset", "Careless", root=faces)


def test_a_wrong_count_of_a_video_s_frames_is_found(tmp_path, monkeypatch):
    folder = video_trees.frames(tmp_path / "film")
    monkeypatch.setattr(faulty.FilmOnDisk, "films", {"video": [str(folder)] * 2, "frames": [3, None]})
    check("dataset", "FilmOnDisk")
    monkeypatch.setattr(faulty.FilmOnDisk, "films", {"video": [str(folder)] * 2, "frames": [3, 4]})
    with pytest.raises(ContractError, match=r"row 'b' has frames 4, the video has 3\. Count them"):
        check("dataset", "FilmOnDisk")


def test_a_name_that_is_not_installed_and_a_wrong_option_are_the_caller_s_errors():
    with pytest.raises(UnknownComponentError, match="no backbone is called 'resnet81'"):
        testing.check_backbone("resnet81")
    with pytest.raises(RecipeError, match=r"model\.backbone\.widht: unknown key\. Did you mean 'width'"):
        testing.check_backbone("resnet18", {"widht": 8})


def test_the_aggregator_of_the_readme_keeps_its_contract(monkeypatch, tmp_path):
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    code = next(
        block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "LastFrame" in block
    )
    install(monkeypatch, tmp_path, "emozoo-lastframe", "0.1.0", {"aggregators/last-frame": "LastFrame"}, code)
    testing.check_aggregator("last-frame", {"blend": 0.25})
