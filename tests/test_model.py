"""A model is composed from its config, keeps the contracts of its parts, and says what it is made of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from small import BACKBONE, HEADS, install, photos, tiny_config, tiny_model
from torch import nn

import emozoo
from emozoo.data.media import Videos
from emozoo.data.sampling import All, Sampling, Sliding, Thirds
from emozoo.errors import ContractError, RecipeError, UnknownComponentError
from emozoo.model import EmotionModel, create, evaluating
from emozoo.recipe import Recipe, load_recipe

RECIPE = """
name = "tiny"
[model]
backbone = {name = "resnet18", stem = "strided", width = 8}
heads = {emotion = {name = "classification"}, vad = {name = "vad", dimensions = ["arousal", "valence"]}}
[data]
name = "synthetic"
"""

ODD_PARTS = """
from torch import nn
import torch

class Base(nn.Module):
    input_kind = "frames"
    out_features = 4
    def __init__(self, in_channels): super().__init__(); self.layer = nn.Linear(in_channels, 4)
    def forward(self, x): return self.layer(x.mean((-2, -1)))

class Undeclared(Base):
    out_features = None

class Wider(Base):
    out_features = 5

class Sideways(Base):
    input_kind = "sideways"

class Clips(Base):
    input_kind = "clips"
    def forward(self, x):
        assert x.ndim == 5
        self.seen = tuple(x.shape)
        return self.layer(x.mean((-3, -2, -1)))

def function(in_channels):
    return lambda x: x.mean((-2, -1))

class TooMany(nn.Module):
    task, out_features = "odd", 2
    def __init__(self, in_features, labels): super().__init__()
    def forward(self, features): return features.new_zeros(len(features), 3)

class Narrow(nn.Module):
    def __init__(self, in_features): super().__init__(); self.out_features = in_features
    def forward(self, x, mask=None):
        from emozoo.contracts import Aggregated
        return Aggregated(x.mean((1, 2))[:, 1:])

class Pooled(Narrow):
    def forward(self, x, mask=None): return x.mean((1, 2))

class Heavy(Narrow):
    def forward(self, x, mask=None):
        from emozoo.contracts import Aggregated
        return Aggregated(x.mean((1, 2)), **{self.weights: x.mean(3).flatten(1)})

class HeavyClips(Heavy):
    weights = "clip_weights"

class HeavyFrames(Heavy):
    weights = "frame_weights"

class Twofold(Base):
    def forward(self, x): return super().forward(x), x

class OneForAll(TooMany):
    out_features = 3
    def decode(self, output): return [{"a": 1}]

class Dictionary(OneForAll):
    def decode(self, output): return {"a": output}
"""
ODD_POINTS = {
    **{f"backbones/{name.lower()}": name for name in ("Base", "Undeclared", "Wider", "Sideways", "Clips", "function")},
    "backbones/twofold": "Twofold",
    **{f"heads/{name.lower()}": name for name in ("TooMany", "OneForAll", "Dictionary")},
    **{f"aggregators/{name.lower()}": name for name in ("Narrow", "Pooled", "HeavyClips", "HeavyFrames")},
}  # fmt: skip


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    install(monkeypatch, site, "odd-parts", "1.0", ODD_POINTS, ODD_PARTS)


def images(count: int, channels: int = 1, side: int = 44) -> torch.Tensor:
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(1))


def test_every_head_answers_every_image_with_the_width_it_declares() -> None:
    output = tiny_model()(images(5))
    assert {name: tuple(value.shape) for name, value in output.heads.items()} == {
        "emotion": (5, 7),
        "vad": (5, 3),
    }
    assert output.features.shape == (5, 64)
    assert output.clip_weights is None
    assert output.frame_weights is None


def test_all_heads_are_given_the_same_features() -> None:
    model = tiny_model()
    output = model(images(3))
    for name, head in model.heads.items():
        torch.testing.assert_close(output.heads[name], head(output.features), rtol=0, atol=0)


def test_a_video_is_the_mean_of_its_real_frames() -> None:
    model = tiny_model(aggregator={"name": "mean"})
    videos = torch.randn(2, 3, 4, 1, 44, 44, generator=torch.Generator().manual_seed(2))
    mask = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(3)) < 0.6
    output = model(videos, mask)
    for video, real, features, logits in zip(
        videos, mask, output.features, output.heads["emotion"], strict=True
    ):
        frames = [video[c, f] for c in range(3) for f in range(4) if real[c, f]]
        alone = torch.stack([model.backbone(frame[None])[0] for frame in frames]).mean(0)
        torch.testing.assert_close(features, alone, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(logits, model.heads["emotion"](alone[None])[0], rtol=1e-5, atol=1e-6)


def test_all_frames_of_all_clips_go_through_the_backbone_in_one_call() -> None:
    model = tiny_model(aggregator={"name": "ceflnet", "heads": 1})
    batches: list[int] = []
    model.backbone.register_forward_hook(lambda _, arguments, __: batches.append(len(arguments[0])))
    videos = torch.randn(2, 7, 5, 1, 44, 44)
    model(videos)
    model.train()(videos)
    assert batches == [70, 70]
    batches.clear()
    model(videos, bn_per_frame=True)
    assert batches == [2] * 35, "a call for each place, as in CEFLNet's code, where that is asked for"


def test_what_masked_frames_hold_does_not_matter() -> None:
    model = tiny_model(aggregator={"name": "mean"})
    videos = torch.randn(1, 1, 3, 1, 44, 44)
    other = videos.clone()
    other[0, 0, 2] = 77.0
    mask = torch.tensor([[[True, True, False]]])
    assert torch.equal(model(videos, mask).heads["vad"], model(other, mask).heads["vad"])


def test_an_image_is_a_video_of_one_frame_to_a_model_with_an_aggregator() -> None:
    model = tiny_model(aggregator={"name": "mean"})
    batch = images(3)
    video = model(batch[:, None, None])
    assert torch.equal(model(batch).heads["emotion"], video.heads["emotion"])


@pytest.mark.parametrize("shape", [(1, 44, 44), (2, 3, 1, 44, 44), (1, 2, 3, 1, 44, 44)])
def test_an_input_with_other_axes_is_refused_with_the_shapes_that_are_taken(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ContractError, match=r"images are \(B, C, H, W\); videos, .* need a model with an aggregator"
    ):
        tiny_model()(torch.zeros(shape))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": {"odd": {"name": "toomany"}}}, r"head 'odd' returned \(2, 3\), it declares \(2, 2\)"),
        ({"backbone": {"name": "wider"}}, r"the backbone returned \(2, 4\), it declares \(2, 5\)"),
        (
            {"backbone": {"name": "base"}, "aggregator": {"name": "narrow"}},
            r"the aggregator returned \(2, 3\)",
        ),
        (
            {"backbone": {"name": "twofold"}},
            r"the backbone returned a tuple, not a tensor \(2, 4\)\. odd_parts\.Twofold breaks",
        ),
        (
            {"aggregator": {"name": "pooled"}},
            r"the aggregator returned a Tensor, not emozoo\.contracts\.Aggregated\. odd_parts\.Pooled breaks",
        ),
        (
            {"aggregator": {"name": "heavyframes"}},
            r"the aggregator \(frame_weights\) returned \(2, 1\), it declares \(2, 1, 1\)",
        ),
    ],
)
def test_a_part_that_returns_another_shape_than_it_declares_is_named(
    odd: None, changes: dict, message: str
) -> None:
    model = create(tiny_config(**{"backbone": {"name": "base"}, **changes}))
    with pytest.raises(ContractError, match=message):
        model(images(2))


def test_weights_of_other_clips_than_there_are_are_refused(odd: None) -> None:
    model = create(tiny_config(backbone={"name": "base"}, aggregator={"name": "heavyclips"}))
    with pytest.raises(ContractError, match=r"\(clip_weights\) returned \(1, 6\), it declares \(1, 2\)"):
        model(torch.zeros(1, 2, 3, 1, 44, 44))


@pytest.mark.parametrize(("head", "what"), [("oneforall", "1 rows"), ("dictionary", "a dict")])
def test_a_head_that_decodes_samples_to_something_else_than_as_many_rows_is_named(
    odd: None, head: str, what: str
) -> None:
    model = create(tiny_config(heads={"mine": {"name": head}}))
    with pytest.raises(ContractError, match=rf"head 'mine' decoded 2 samples to {what}, not to a list"):
        model.decode({"mine": torch.zeros(2, 3)})


@pytest.mark.parametrize(
    ("backbone", "error", "message"),
    [
        (
            "undeclared",
            ContractError,
            r"model.backbone: Undeclared must declare out_features \(int\), has None",
        ),
        ("sideways", ContractError, "input_kind is 'sideways', not 'frames' or 'clips'"),
        ("function", ContractError, "odd-parts:function built a function, not a torch.nn.Module"),
        ("clips", RecipeError, "model.aggregator: a backbone that sees clips needs one"),
    ],
)
def test_a_part_that_does_not_keep_its_contract_is_refused_when_it_is_built(
    odd: None, backbone: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        create(tiny_config(backbone={"name": backbone}))


@pytest.fixture(scope="module")
def clip_model() -> EmotionModel:
    parts = {"backbone": {"name": "r3d"}, "aggregator": {"name": "mean"}}
    return create(tiny_config(preprocess={"size": 20, "crop": 16}, **parts), seed=0).eval()


def test_a_clip_backbone_leaves_out_frames_and_clips_that_are_not_there(clip_model: EmotionModel) -> None:
    model = clip_model
    clips = torch.randn(2, 3, 4, 1, 16, 16)
    mask = torch.ones(2, 3, 4, dtype=torch.bool)
    mask[0, 1, 3] = mask[0, 2, 1] = False
    mask[1, 2] = False
    with torch.no_grad():
        features = model(clips, mask).features
        seen = [clips[0, :1], clips[0, 1:2, :3], clips[0, 2:, [0, 2, 3]], clips[1, :1], clips[1, 1:2]]
        alone = [model(clip[None]).features[0] for clip in seen]
    expected = torch.stack([torch.stack(alone[:3]).mean(0), torch.stack(alone[3:]).mean(0)])
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "sampling",
    [
        All(name="all"),
        All(name="all", cap=10),
        Thirds(name="thirds"),
        Sliding(name="sliding", length=8, stride=4),
    ],
    ids=["all", "capped", "thirds", "sliding"],
)
def test_what_a_clip_backbone_says_of_a_video_depends_on_no_other_video(
    clip_model: EmotionModel, sampling: Sampling
) -> None:
    pixels = [torch.from_numpy(photos(count, 20, seed=count))[:, None] for count in (6, 11, 6)]
    videos = Videos(["a", "b", "c"], [], [6, 11, 6], sampling, pixels)
    together = videos.fetch(torch.arange(3))
    said = clip_model.predict_outputs(together.x, mask=together.mask)["emotion"]
    for number, row in enumerate(said):
        alone = videos.fetch(torch.tensor([number]))
        expected = clip_model.predict_outputs(alone.x, mask=alone.mask)["emotion"][0]
        torch.testing.assert_close(row, expected, atol=1e-5, rtol=1e-5)


def test_clips_of_one_length_go_through_a_clip_backbone_together(odd: None) -> None:
    model = create(tiny_config(backbone={"name": "clips"}, aggregator={"name": "mean"}))
    shapes: list[tuple[int, ...]] = []
    model.backbone.register_forward_hook(lambda _, arguments, __: shapes.append(tuple(arguments[0].shape)))
    mask = torch.ones(2, 3, 5, dtype=torch.bool)
    model(torch.randn(2, 3, 5, 1, 8, 9), mask)
    mask[0, 1, 3:] = mask[1, 0, 3:] = mask[1, 2] = False
    features = model(torch.randn(2, 3, 5, 1, 8, 9, requires_grad=True), mask).features
    assert shapes == [(6, 1, 5, 8, 9), (2, 1, 3, 8, 9), (3, 1, 5, 8, 9)]
    features.sum().backward()
    assert model.backbone.layer.weight.grad.isfinite().all()


@pytest.mark.parametrize("bn_per_frame", [False, True])
def test_a_backbone_in_training_sees_real_frames_alone(bn_per_frame: bool) -> None:
    model = tiny_model(aggregator={"name": "mean"}).train()
    videos = torch.randn(3, 1, 4, 1, 44, 44, generator=torch.Generator().manual_seed(2))
    mask = torch.tensor(
        [[[True, True, True, False]], [[True, True, True, False]], [[True, True, False, False]]]
    )
    places = [videos[mask[:, 0, frame], 0, frame] for frame in range(3)]
    features = videos.new_zeros(3, 1, 4, 64)
    if bn_per_frame:
        for frame, place in enumerate(places):
            features[mask[:, 0, frame], 0, frame] = model.backbone(place)
    else:
        features[mask] = model.backbone(videos[mask])
    expected = model.aggregate(features, mask)
    batches: list[int] = []
    model.backbone.register_forward_hook(lambda _, arguments, __: batches.append(len(arguments[0])))
    output = model(videos, mask, bn_per_frame=bn_per_frame)
    assert batches == ([3, 3, 2] if bn_per_frame else [8])
    torch.testing.assert_close(output.features, expected.features)
    output.heads["vad"].sum().backward()
    assert model.backbone.conv1.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("backbone", ["base", "clips"])
def test_a_mask_of_another_shape_or_type_than_the_videos_have_is_refused(odd: None, backbone: str) -> None:
    model = create(tiny_config(backbone={"name": backbone}, aggregator={"name": "mean"})).train()
    videos = torch.zeros(2, 1, 5, 1, 16, 16)
    for mask, said in (
        (torch.ones(2, 5).bool(), r"\(2, 5\) of torch.bool"),
        (torch.ones(2, 1, 5), "torch.float32"),
    ):
        with pytest.raises(
            ContractError, match=rf"a mask .*{said} for videos \(2, 1, 5\): it is of torch.bool"
        ):
            model(videos, mask)


def test_a_clip_backbone_sees_each_clip_whole_with_time_before_space(odd: None) -> None:
    model = create(tiny_config(backbone={"name": "clips"}, aggregator={"name": "mean"}))
    video = torch.randn(2, 3, 5, 1, 8, 9)
    output = model(video)
    assert model.backbone.seen == (6, 1, 5, 8, 9)
    expected = model.backbone.layer(video.mean((2, 4, 5))).mean(1)
    torch.testing.assert_close(output.features, expected)


@pytest.mark.parametrize("name", ["keys", "pop", "train", "forward"])
def test_a_head_may_not_be_called_like_a_method_of_torch(name: str) -> None:
    with pytest.raises(RecipeError, match=f"model.heads.{name}: '{name}' has a meaning in torch"):
        create(tiny_config(heads={name: {"name": "classification"}}))


def test_an_option_that_a_part_does_not_take_is_refused_before_anything_is_built() -> None:
    with pytest.raises(RecipeError, match=r"model.heads.vad.bound: unknown key. Did you mean 'bounded'"):
        create(tiny_config(heads={"vad": {"name": "vad", "bound": "clip"}}))
    with pytest.raises(
        UnknownComponentError, match=r"no backbone is called 'resnet81'\. Did you mean 'resnet18'"
    ):
        create(tiny_config(backbone={"name": "resnet81"}))


def test_a_model_is_created_from_a_file_with_overrides(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    model = emozoo.create(path, ["model.backbone.width=4", "model.labels=['calm', 'wild']"], seed=0)
    assert model.heads["emotion"].out_features == 2
    assert model.backbone.out_features == 32
    assert model.labels == ("calm", "wild")
    from_recipe = emozoo.create(load_recipe(path))
    assert from_recipe.backbone.out_features == 64


def test_overrides_apply_to_files_alone(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    recipe: Recipe = load_recipe(path)
    with pytest.raises(RecipeError, match="overrides apply to a recipe file or a zoo name"):
        create(recipe, ["model.backbone.width=4"])


def test_the_seed_alone_decides_the_initial_weights() -> None:
    first, again, other = (create(tiny_config(), seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["backbone.conv1.weight"], other["backbone.conv1.weight"])


def test_the_config_names_each_part_in_full_with_every_option() -> None:
    model = create(tiny_config(aggregator={"name": "mean"}))
    assert model.config.model_dump(mode="json") == {
        "labels": ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"],
        "preprocess": {
            "size": 48, "crop": 44, "colour": "grey", "fit": "crop", "mean": [0.5], "std": [0.25],
            "face_margin": 0.0,
        },
        "backbone": {"name": "emozoo:resnet18", "stem": "strided", "width": 8, "strides": [1, 2, 2, 2]},
        "sampling": None,
        "aggregator": {"name": "emozoo:mean"},
        "heads": {
            "emotion": {"name": "emozoo:classification", "dropout": 0.0, "hidden": [], "part": None},
            "vad": {
                "name": "emozoo:vad", "dimensions": ["valence", "arousal", "dominance"], "bounded": "tanh",
                "dropout": 0.0, "hidden": [], "part": None,
            },
        },
    }  # fmt: skip


def test_the_saved_config_is_the_model_s_config_and_what_it_requires(tmp_path: Path) -> None:
    model = tiny_model()
    saved = json.loads((model.save(tmp_path / "m") / "config.json").read_text())
    assert saved.pop("format") == 1
    assert saved.pop("emozoo_version") == emozoo.__version__
    assert saved.pop("requires") == model.requires == {"emozoo": ">=0.1.0,<0.2"}
    assert saved == model.config.model_dump(mode="json")


def test_a_part_of_a_plugin_makes_the_plugin_a_requirement(odd: None) -> None:
    model = create(tiny_config(backbone={"name": "base"}))
    assert model.config.backbone.name == "odd-parts:base"
    assert model.requires == {"odd-parts": ">=1.0,<2", "emozoo": ">=0.1.0,<0.2"}


def test_a_model_that_is_being_trained_predicts_as_in_evaluation_and_goes_on_training() -> None:
    model = tiny_model()
    pixels = torch.from_numpy(photos(3))[:, None]
    expected = model.predict_outputs(pixels)
    model.train()
    model.backbone.bn1.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = {name: module.training for name, module in model.named_modules()}
    outputs = model.predict_outputs(pixels)
    assert all(torch.equal(outputs[name], expected[name]) for name in expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert {name: module.training for name, module in model.named_modules()} == modes


def test_modes_come_back_after_an_error() -> None:
    model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2)).train()
    model[1].eval()
    seen = []
    model[0].register_forward_hook(lambda *_: seen.append(model[0].training))
    with pytest.raises(RuntimeError), evaluating(model):
        model(torch.zeros(1, 99))
    assert seen == [False]
    assert (model.training, model[0].training, model[1].training) == (True, True, False)


@pytest.mark.parametrize(("tta", "views"), [("none", 1), ("flip", 2), ("ten-crop", 10)])
def test_test_time_augmentation_averages_the_raw_outputs_of_the_views(tta: str, views: int) -> None:
    model = tiny_model(seed=5)
    pixels = torch.from_numpy(photos(2))[:, None]
    outputs = model.predict_outputs(pixels, tta)
    for index, image in enumerate(pixels):
        crops = model.preprocessor.views(image[None], tta)[0]
        assert len(crops) == views
        with torch.no_grad():
            alone = [model(crop[None]).heads["emotion"][0] for crop in crops]
        torch.testing.assert_close(outputs["emotion"][index], sum(alone) / views, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "pixels",
    [
        torch.zeros(2, 1, 64, 64, dtype=torch.uint8),
        torch.zeros(2, 3, 48, 48, dtype=torch.uint8),
        torch.zeros(2, 1, 48, 48),
    ],
    ids=["another size", "another number of channels", "another type"],
)
def test_pixels_that_were_not_decoded_for_this_model_are_refused_and_never_cropped_askew(
    pixels: torch.Tensor,
) -> None:
    with pytest.raises(
        ContractError, match=r"this model takes uint8 \(N, 1, 48, 48\), or videos .*: decode them"
    ):
        tiny_model().predict_outputs(pixels)


def test_a_model_without_parts_to_choose_is_what_the_recipe_says_and_no_more() -> None:
    model = create(tiny_config(heads={"vad": HEADS["vad"]}, backbone=BACKBONE))
    assert list(model.heads) == ["vad"]
    assert model.aggregator is None


# --- layout -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ambient", [False, True], ids=["plainly", "in inference mode"])
def test_predicting_lays_kernels_out_for_speed_and_leaves_a_model_that_trains(ambient: bool) -> None:
    model = tiny_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.inference_mode(ambient):
        model.predict_outputs(torch.zeros(1, 1, 48, 48, dtype=torch.uint8))
    kernels = [weight for weight in model.parameters() if weight.ndim == 4]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in kernels)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.train()(images(2)).heads["emotion"].sum().backward()
    assert all(weight.grad is not None for weight in kernels)
