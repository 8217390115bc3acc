"""Any image model of timm as a backbone: `timm/<name>`. timm is imported when one is built, not before."""

from __future__ import annotations

import difflib
from typing import Any, Literal

from torch import Tensor, nn

from emozoo.contracts import Rate, Size
from emozoo.errors import ContractError


class TimmBackbone(nn.Module):
    """Frames (N, C, H, W) to the features (N, D) that timm's classifier would see. Starts untrained.

    An architecture only: weights, and timm's tags for them ("resnet18.a1_in1k"), are another matter, and
    nothing is ever downloaded. What timm's constructor raises becomes a ValueError that names the model.

    Args:
        in_channels: 1 for grey frames, 3 for RGB.
        member: the architecture's name in timm; `timm/resnet34` in a recipe.
        drop_path_rate: probability of skipping a residual branch in training (stochastic depth); 0 for none, also
            where timm's own default is another.
        global_pool: how timm pools the last feature map ("avg", "max", "token", ...); None: the default.
        img_size: side of the square frames, in pixels, for models that fix it when built (such as ViT).
    """

    input_kind: Literal["frames"] = "frames"

    def __init__(
        self,
        in_channels: int,
        *,
        member: str,
        drop_path_rate: Rate = 0.0,
        global_pool: str | None = None,
        img_size: Size | None = None,
    ) -> None:
        super().__init__()
        _check_name(member)
        given = {"drop_path_rate": drop_path_rate, "global_pool": global_pool, "img_size": img_size}
        self.model = _create(
            member, in_channels, {name: value for name, value in given.items() if value is not None}
        )
        self.member = member
        self.fixed_size = _fixed_size(self.model, img_size)
        # For models with a layer between pooling and classifier, num_features is the size before that layer.
        self.out_features = int(getattr(self.model, "head_hidden_size", self.model.num_features))

    def forward(self, x: Tensor) -> Tensor:
        """Map frames (N, C, H, W) to features (N, out_features).

        Raises:
            ContractError: the frames are not of the size the model was built for, or it returns no vectors.
        """
        height, width = x.shape[-2:]
        if self.fixed_size and (height, width) != self.fixed_size:
            raise ContractError(
                f"timm/{self.member} was built for frames of {self.fixed_size[0]}x{self.fixed_size[1]} px, "
                f"not {height}x{width}: set model.backbone.img_size to model.preprocess.crop"
            )
        features = self.model(x)
        if features.shape != (len(x), self.out_features):
            raise ContractError(
                f"timm/{self.member} returned features of shape {tuple(features.shape)} instead of "
                f"{(len(x), self.out_features)}: set model.backbone.global_pool to one that pools, like 'avg'"
            )
        return features


def _check_name(member: str) -> None:
    """Raise a ValueError unless timm itself has that architecture; "hf-hub:..." would reach out."""
    import timm

    architecture, dot, tag = member.partition(".")
    if dot and timm.is_model(architecture):
        raise ValueError(
            f"{member!r} names weights ({tag}), which a backbone does not have: write timm/{architecture}"
        )
    if not timm.is_model(member):
        near = difflib.get_close_matches(member, timm.list_models(), n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(f'timm/{name}' for name in near)}?" if near else ""
        raise ValueError(f"timm {timm.__version__} has no model {member!r}.{hint}")


def _create(member: str, in_channels: int, options: dict[str, Any]) -> Any:
    import timm

    try:
        return timm.create_model(member, pretrained=False, in_chans=in_channels, num_classes=0, **options)
    except (
        Exception
    ) as error:  # timm's models raise what they like: TypeError, AssertionError, RuntimeError, ...
        if "unexpected keyword argument 'drop_path_rate'" in str(error) and options["drop_path_rate"] == 0:
            rest = {name: value for name, value in options.items() if name != "drop_path_rate"}
            return _create(member, in_channels, rest)  # it never skips a branch
        given = ", ".join(f"{name}={value!r}" for name, value in options.items()) or "no options"
        raise ValueError(
            f"timm cannot build {member!r} with {in_channels} input channels and {given}: "
            f"{type(error).__name__}: {error}"
        ) from error


def _fixed_size(model: Any, img_size: int | None) -> tuple[int, int] | None:
    """Return the (height, width) that a model insists on, or None where it takes frames of any size."""
    config = model.pretrained_cfg or {}
    if not config.get("fixed_input_size", False):
        return None
    return (img_size, img_size) if img_size else tuple(config["input_size"][-2:])
