from __future__ import annotations

import subprocess
import sys

import pytest
import timm
import torch
from timm.layers import DropPath
from torch import nn

from emozoo import registry
from emozoo.errors import ContractError, RecipeError
from emozoo_backbones.resnet import ResNet18
from emozoo_backbones.timm_models import TimmBackbone


def _randomised(model: nn.Module) -> nn.Module:
    """Give each parameter and buffer a value that matters: fresh norms and zeroed blocks hide errors."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2, generator=generator)
            elif value.is_floating_point():
                value.normal_(0, 0.05 if value.ndim == 4 else 0.5, generator=generator)
    return model


def _timm_resnet18(stem: str, in_channels: int) -> nn.Module:
    model = timm.create_model("resnet18", num_classes=0, in_chans=in_channels)
    if stem != "imagenet":
        model.conv1 = nn.Conv2d(in_channels, 64, 3, 1 if stem == "small" else 2, 1, bias=False)
        model.maxpool = nn.Identity()
    return _randomised(model)


def _copy_of(reference: nn.Module, stem: str, in_channels: int) -> ResNet18:
    own = ResNet18(in_channels, stem=stem)
    own.load_state_dict(reference.state_dict(), strict=True)
    return own


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    ("stem", "in_channels", "side"),
    [("imagenet", 3, 97), ("imagenet", 1, 64), ("small", 1, 44), ("strided", 3, 45)],
)
def test_resnet18_equals_timms_bit_for_bit_on_the_same_weights(stem, in_channels, side, channels_last):
    reference = _timm_resnet18(stem, in_channels).eval()
    own = _copy_of(reference, stem, in_channels).eval()
    x = torch.randn(2, in_channels, side, side)
    if channels_last:
        reference, own, x = (each.to(memory_format=torch.channels_last) for each in (reference, own, x))
    with torch.inference_mode():
        expected = reference(x)
        assert torch.equal(own(x), expected)
    assert expected.std() > 1e-3


def test_resnet18_trains_like_timms_bit_for_bit():
    reference = _timm_resnet18("small", 1).train()
    own = _copy_of(reference, "small", 1).train()
    x = torch.randn(4, 1, 24, 24)
    for model in (reference, own):
        model(x).square().sum().backward()
    others = dict(reference.named_parameters())
    for name, parameter in own.named_parameters():
        assert torch.equal(parameter.grad, others[name].grad), name
    statistics = reference.state_dict()
    assert all(torch.equal(value, statistics[name]) for name, value in own.state_dict().items())


def test_resnet18_has_timms_parameter_names_in_timms_order():
    assert list(ResNet18(3).state_dict()) == list(timm.create_model("resnet18", num_classes=0).state_dict())


def test_resnet18_starts_as_timms_does_with_each_blocks_last_norm_at_zero():
    torch.manual_seed(0)
    own, reference = ResNet18(3).state_dict(), timm.create_model("resnet18", num_classes=0).state_dict()
    for name, value in own.items():
        if value.ndim == 4:
            assert value.std().item() == pytest.approx(reference[name].std().item(), rel=0.05), name
        else:
            assert torch.equal(value, reference[name]), name
    assert not own["layer3.1.bn2.weight"].any()


def test_the_imagenet_resnet18_has_11176512_parameters():
    assert sum(parameter.numel() for parameter in ResNet18(3).parameters()) == 11_176_512


@pytest.mark.parametrize(("stem", "reduction"), [("imagenet", 32), ("small", 8), ("strided", 16)])
def test_the_stem_decides_how_far_the_frame_shrinks(stem, reduction):
    shapes = []
    model = ResNet18(1, stem=stem, width=4)
    model.layer4.register_forward_hook(lambda module, given, output: shapes.append(output.shape))
    assert model(torch.randn(2, 1, 64, 64)).shape == (2, 32)
    assert shapes == [(2, 32, 64 // reduction, 64 // reduction)]


@pytest.mark.parametrize("strides", [(1, 1, 2, 2), (2, 1, 1, 2)])
def test_the_strides_decide_which_stages_halve_the_frame_and_nothing_else(strides):
    sides = []
    model, usual = ResNet18(1, stem="strided", width=8, strides=strides), ResNet18(1, stem="strided", width=8)
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
        stage.register_forward_hook(lambda module, given, output: sides.append(output.shape[-1]))
    assert model(torch.randn(2, 1, 64, 64)).shape == (2, 64)
    before = (32, *sides)
    assert [this // that for this, that in zip(before, sides, strict=False)] == list(strides)
    kept = {
        name: value.shape for name, value in model.state_dict().items() if "layer1.0.downsample" not in name
    }
    assert kept == {name: value.shape for name, value in usual.state_dict().items()}


@pytest.mark.parametrize("width", [8, 24])
def test_width_multiplies_every_stage(width):
    model = ResNet18(1, stem="small", width=width)
    assert [model.get_submodule(f"layer{n}.1.conv2").out_channels for n in (1, 2, 3, 4)] == [
        width,
        2 * width,
        4 * width,
        8 * width,
    ]
    assert model.out_features == 8 * width
    assert model(torch.randn(3, 1, 32, 32)).shape == (3, 8 * width)


def test_orthogonal_regularisation_takes_each_blocks_first_convolution_and_the_shortcuts():
    model = ResNet18(3, width=4)
    names = {id(module): name for name, module in model.named_modules()}
    assert sorted(names[id(conv)] for conv in model.orthogonal_convs()) == sorted(
        [f"layer{stage}.{block}.conv1" for stage in (1, 2, 3, 4) for block in (0, 1)]
        + [f"layer{stage}.0.downsample.0" for stage in (2, 3, 4)]
    )


def test_resnet18_builds_on_the_meta_device_and_its_state_dict_fills_every_tensor():
    source = _randomised(ResNet18(3, width=8)).eval()
    with torch.device("meta"):
        model = ResNet18(3, width=8)
    assert all(value.is_meta for value in model.state_dict().values())
    model.load_state_dict(source.state_dict(), assign=True)
    assert not [name for name, buffer in model.named_buffers() if buffer.is_meta]
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(model.eval()(x), source(x))


def test_resnet18_and_the_import_of_the_timm_backbone_need_no_timm():
    code = (
        "import sys, emozoo_backbones.timm_models; from emozoo_backbones.resnet import ResNet18; "
        "ResNet18(1, width=4); sys.exit('timm' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("in_channels", [1, 3])
@pytest.mark.parametrize(
    "member", ["test_resnet", "test_vit", "test_efficientnet", "test_mambaout", "mobilenetv3_small_050"]
)
def test_a_timm_backbone_returns_as_many_features_as_it_declares(member, in_channels):
    backbone = registry.build("backbone", f"timm/{member}", {}, in_channels, where="model.backbone").eval()
    frames = torch.randn(2, in_channels, 160, 160)
    with torch.inference_mode():
        features = backbone(frames)
        assert torch.equal(features, backbone.model(frames))
    assert features.shape == (2, backbone.out_features)
    assert backbone.input_kind == "frames"


def test_a_timm_backbone_never_asks_for_weights(monkeypatch):
    asked = []
    create = timm.create_model
    monkeypatch.setattr(
        timm, "create_model", lambda *a, **k: asked.append(k["pretrained"]) or create(*a, **k)
    )
    TimmBackbone(3, member="test_resnet")
    assert asked == [False]


def test_timm_options_reach_the_model():
    backbone = TimmBackbone(3, member="test_vit", img_size=48, drop_path_rate=0.25)
    assert backbone(torch.randn(2, 3, 48, 48)).shape == (2, 64)
    assert backbone.model.blocks[-1].drop_path1.drop_prob == pytest.approx(0.25)
    assert TimmBackbone(3, member="test_resnet", global_pool="catavgmax").out_features == 192


def _drop_rates(backbone: TimmBackbone) -> set[float]:
    return {round(module.drop_prob, 3) for module in backbone.modules() if isinstance(module, DropPath)}


def test_timm_skips_branches_as_often_as_the_recipe_says_and_by_default_never():
    member = "swin_tiny_patch4_window7_224"  # of which timm itself skips some
    with torch.device("meta"):
        assert max(_drop_rates(TimmBackbone(3, member=member, drop_path_rate=0.2))) == 0.2
        assert _drop_rates(TimmBackbone(3, member=member)) == set()


def test_a_timm_model_without_branches_to_skip_is_built_unless_it_is_to_skip_them():
    with torch.device("meta"):
        assert TimmBackbone(3, member="vgg11").out_features == 4096
        with pytest.raises(ValueError, match=r"cannot build 'vgg11' .* drop_path_rate=0\.1: TypeError"):
            TimmBackbone(3, member="vgg11", drop_path_rate=0.1)
        with pytest.raises(ValueError, match=r"cannot build 'vgg11' .* img_size=64: TypeError"):
            TimmBackbone(3, member="vgg11", img_size=64)


def test_a_frame_of_the_wrong_size_is_named_with_the_option_that_fixes_it():
    message = r"timm/test_vit was built for frames of 160x160 px, not 44x44: set model.backbone.img_size to"
    with pytest.raises(ContractError, match=message):
        TimmBackbone(1, member="test_vit")(torch.randn(1, 1, 44, 44))


def test_a_timm_model_that_does_not_pool_is_refused():
    with pytest.raises(
        ContractError, match=r"shape \(2, \d+, 64\) instead of \(2, 64\): set model.backbone.global_"
    ):
        TimmBackbone(3, member="test_vit", global_pool="")(torch.randn(2, 3, 160, 160))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet18", {"stemm": "small"}, r"model.backbone.stemm: unknown key. Did you mean 'stem'\?"),
        ("resnet18", {"stem": "smal"}, r"model.backbone.stem: .*'smal'.* Did you mean 'small'\?"),
        ("resnet18", {"strides": [1, 3, 2, 2]}, r"model.backbone.strides.1: .*1 or 2.*3"),
        ("resnet18", {"strides": [1, 2, 2]}, r"model.backbone.strides.3: missing"),
        ("resnet18", {"width": 0}, r"model.backbone.width: .*greater than 0 \(given: 0\)"),
        (
            "timm/resnt18",
            {},
            r"model.backbone: emozoo:timm.*no model 'resnt18'. Did you mean timm/resnet18 or ",
        ),
        ("timm/resnet18.a1_in1k", {}, r"'resnet18.a1_in1k' names weights \(a1_in1k\).* write timm/resnet18"),
        ("timm", {}, "model.backbone.member: missing"),
        ("timm", {"member": "hf-hub:timm/resnet18"}, "has no model 'hf-hub:timm/resnet18'"),
        ("timm/test_resnet", {"img_size": 64}, "cannot build 'test_resnet' .* img_size=64: TypeError"),
        ("timm/test_vit", {"global_pool": "nope"}, "global_pool='nope': AssertionError: Only avg, avgmax"),
        ("timm/test_vit", {"drop_path_rate": 1}, r"model.backbone.drop_path_rate: .*less than 1"),
        ("timm/test_vit", {"pretrained": True}, r"model.backbone.pretrained: unknown key"),
    ],
)
def test_a_wrong_backbone_option_is_named_with_its_path(name, options, message):
    with pytest.raises(RecipeError, match=message):
        registry.build("backbone", name, options, 1, where="model.backbone")
