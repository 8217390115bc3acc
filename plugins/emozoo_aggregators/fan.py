"""Frame attention network (Meng et al. 2019, "Frame attention networks for facial expression recognition")."""

from __future__ import annotations

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from emozoo.contracts import Aggregated, Rate
from emozoo_aggregators.common import aggregated, checked, filled, weighted_mean


class FANAggregator(nn.Module):
    """Weigh each frame f_i by itself, then by its relation to the whole video.

    Self-attention:      alpha_i = sigmoid(W_a f_i);        v = sum alpha_i f_i / sum alpha_i.
    Relation-attention:  beta_i = sigmoid(W_b [f_i : v]);   v' = sum alpha_i beta_i [f_i : v] / sum alpha_i beta_i.

    These are the paper's formulas, in training and evaluation alike; the published code's evaluation leaves
    beta out of the numerator. All frames of a video count alike, whichever clip they are in. The published
    models put a dropout of 0.6 (0.5 without the relation) before the classifier: the head's `dropout`.

    Args:
        in_features: D.
        relation: whether relation-attention follows; features then have 2 D values instead of D.
        dropout: rate on the inputs of W_a and W_b, not on what is averaged.
    """

    def __init__(self, in_features: int, *, relation: bool = True, dropout: Rate = 0.5) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = 2 * in_features if relation else in_features
        self.dropout = nn.Dropout(dropout)
        self.alpha = nn.Sequential(nn.Linear(in_features, 1), nn.LogSigmoid())
        self.beta = nn.Sequential(nn.Linear(2 * in_features, 1), nn.LogSigmoid()) if relation else None

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Aggregated:
        """Map (B, clips, frames, D) to features (B, D or 2 D) and frame weights alpha, or alpha * beta.

        The weights are in (0, 1) and do not sum to one. A video whose frames are all masked has NaN features.

        Args:
            x: features (B, clips, frames, D); what masked frames hold never counts.
            mask: (B, clips, frames), True for real frames; None where all are.

        Raises:
            ContractError: the shapes do not fit.
        """
        x, mask = checked("fan", self.in_features, x, mask)
        frames = rearrange(x, "b clips t d -> b (clips t) d")
        real = filled(rearrange(mask, "b clips t -> b (clips t)"))
        log_weights = self.alpha(self.dropout(frames)).squeeze(-1)
        video = weighted_mean(frames, log_weights, real)
        if self.beta is not None:
            related = torch.cat([frames, repeat(video, "b d -> b n d", n=frames.shape[1])], -1)
            log_weights = log_weights + self.beta(self.dropout(related)).squeeze(-1)
            video = weighted_mean(related, log_weights, real)
        clips, t = mask.shape[1:]
        weights = rearrange(log_weights.exp(), "b (clips t) -> b clips t", clips=clips, t=t)
        return aggregated(video, mask, frame_weights=weights)
