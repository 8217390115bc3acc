"""C3D and torchvision's video networks: published sizes and costs, and how they compose into models."""

from __future__ import annotations

import pytest
import torch
import torchvision
from clip_samples import RGB
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from emozoo import registry
from emozoo.errors import RecipeError
from emozoo.model import EmotionModel
from emozoo.recipe import ModelConfig
from emozoo_backbones.c3d import C3D
from emozoo_backbones.r3d import VideoResNet

MEMBERS = ("r3d_18", "mc3_18", "r2plus1d_18")


def _model(backbone: str, **changes: object) -> EmotionModel:
    config = {
        "preprocess": RGB,
        "backbone": {"name": backbone},
        "aggregator": {"name": "mean"},
        "heads": {"emotion": {"name": "classification"}},
    }
    with torch.device("meta"):
        return EmotionModel(ModelConfig.model_validate(config | changes))


@pytest.mark.parametrize(
    ("backbone", "millions", "gmacs"),
    [
        ("c3d", 78.03, 38.6),
        ("r3d/r3d_18", 33.17, 40.7),
        ("r3d/mc3_18", 11.49, 43.4),
        ("r3d/r2plus1d_18", 31.30, 40.6),
    ],
)
def test_the_seven_class_model_has_the_benchmarks_parameters_and_macs_for_a_clip_of_16x112(
    backbone, millions, gmacs
):
    model = _model(backbone)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)
    with FlopCounterMode(display=False) as counter:
        assert model(torch.zeros(1, 1, 16, 3, 112, 112, device="meta")).features.shape[0] == 1
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, rel=0.005)


def test_c3d_differs_from_the_ceflnet_papers_79_99_million_by_norms_biases_and_the_487_sports():
    with torch.device("meta"):
        model = C3D(3)
    convolutions = [module for module in model.features if isinstance(module, nn.Conv3d)]
    assert [conv.out_channels for conv in convolutions] == [64, 128, 256, 256, 512, 512, 512, 512]
    total = sum(p.numel() for p in model.parameters())
    channels = sum(conv.out_channels for conv in convolutions)
    original = total - 2 * channels + channels + (4096 * 487 + 487)
    assert round(original / 1e6, 2) == 79.99


def test_c3d_pools_space_first_and_leaves_1x4x4_places_of_a_16x112_clip():
    shapes = []
    with torch.device("meta"):
        model = C3D(1)
    for module in model.features:
        if isinstance(module, nn.MaxPool3d):
            module.register_forward_hook(lambda module, given, output: shapes.append(tuple(output.shape[1:])))
    model(torch.zeros(2, 1, 16, 112, 112, device="meta"))
    assert shapes == [
        (64, 16, 56, 56), (128, 8, 28, 28), (256, 4, 14, 14), (512, 2, 7, 7), (512, 1, 4, 4)
    ]  # fmt: skip


@pytest.mark.parametrize("shape", [(1, 48, 48), (5, 224, 224), (15, 112, 112), (35, 96, 128)])
@pytest.mark.parametrize("backbone", ["c3d", "r3d"])
def test_clips_of_any_length_and_size_become_features_of_the_declared_size(backbone, shape):
    with torch.device("meta"):
        built = registry.build("backbone", backbone, {}, 1, where="model.backbone")
        assert built(torch.zeros(2, 1, *shape)).shape == (2, built.out_features)
    assert built.input_kind == "clips"


def test_c3d_sees_all_frames_and_their_order():
    torch.manual_seed(0)
    model = C3D(1, dropout=0.0).eval()
    clip = torch.rand(1, 1, 8, 32, 32, requires_grad=True)
    with torch.no_grad():
        features = model(clip)
        assert not torch.allclose(model(clip.flip(2)), features, atol=1e-5)
    model(clip).sum().backward()
    assert clip.grad.abs().sum((0, 1, 3, 4)).gt(0).all()


def test_c3d_drops_out_after_both_linear_layers_in_training_only():
    torch.manual_seed(0)
    model, clips = C3D(1), torch.rand(2, 1, 4, 32, 32)
    with torch.no_grad():
        assert (model(clips) == 0).float().mean() > 0.6
        assert torch.equal(model.eval()(clips), model(clips))


@pytest.mark.parametrize("member", MEMBERS)
def test_r3d_is_torchvisions_network_without_its_classifier(member):
    torch.manual_seed(0)
    reference = getattr(torchvision.models.video, member)(weights=None).eval()
    own = VideoResNet(3, member=member).eval()
    missing, unexpected = own.model.load_state_dict(reference.state_dict(), strict=False)
    assert (missing, sorted(unexpected)) == ([], ["fc.bias", "fc.weight"])
    clips = torch.rand(2, 3, 4, 32, 32)
    with torch.inference_mode():
        assert torch.equal(reference.fc(own(clips)), reference(clips))


@pytest.mark.parametrize("member", MEMBERS)
def test_a_grey_r3d_differs_in_its_first_convolution_only(member):
    with torch.device("meta"):
        grey, colour = VideoResNet(1, member=member).state_dict(), VideoResNet(3, member=member).state_dict()
    assert list(grey) == list(colour)
    assert [name for name in grey if grey[name].shape != colour[name].shape] == ["model.stem.0.weight"]
    assert grey["model.stem.0.weight"].shape[1] == 1


@pytest.mark.parametrize("member", MEMBERS)
def test_a_grey_r3d_starts_as_widely_spread_as_a_colour_one(member):
    torch.manual_seed(0)
    grey, colour = (VideoResNet(channels, member=member).model.stem[0].weight for channels in (1, 3))
    assert grey.std().item() == pytest.approx(colour.std().item(), rel=0.05)


def test_r3d_never_asks_for_weights(monkeypatch):
    asked = []
    create = torchvision.models.video.r3d_18
    monkeypatch.setattr(
        torchvision.models.video, "r3d_18", lambda weights: asked.append(weights) or create(weights=weights)
    )
    VideoResNet(3)
    assert asked == [None]


def test_the_member_of_r3d_is_part_of_its_qualified_name():
    assert registry.resolve("backbone", "r3d", {}, "b").plain == {"name": "emozoo:r3d/r3d_18"}
    assert registry.resolve("backbone", "r3d/mc3_18", {}, "b").plain == {"name": "emozoo:r3d/mc3_18"}
    with pytest.raises(RecipeError, match=r"b.member: .*'r3d_19'.* Did you mean 'r3d_18'\?"):
        registry.resolve("backbone", "r3d/r3d_19", {}, "b")


@pytest.mark.parametrize("backbone", ["c3d", "r3d/mc3_18"])
@pytest.mark.parametrize("aggregator", ["mean", "max", "lstm", "fan", "ceflnet"])
def test_a_clip_backbone_composes_with_every_aggregator_each_clip_being_one_frame(backbone, aggregator):
    model = _model(backbone, aggregator={"name": aggregator}).train()
    output = model(torch.zeros(2, 3, 5, 3, 64, 64, device="meta"))
    assert output.heads["emotion"].shape == (2, 7)
    assert output.frame_weights is None or output.frame_weights.shape == (2, 3, 1)


def test_every_parameter_of_c3d_with_an_lstm_over_clips_learns():
    torch.manual_seed(0)
    config = {
        "backbone": {"name": "c3d"},
        "aggregator": {"name": "lstm", "hidden": 16},
        "heads": {"emotion": {"name": "classification"}},
    }
    model = EmotionModel(ModelConfig.model_validate(config))
    output = model(torch.rand(2, 2, 4, 1, 32, 32))
    output.heads["emotion"].square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
