"""CEFLNet (Liu et al. 2022, "Clip-aware expressive feature learning for video-based facial expression recognition").

A clip-based encoder of two attention steps turns the frames of each clip into one vector, and the emotional
intensity activation network (EIAN) finds the clips that show the emotion. The paper's equations and the code of
its published weights differ; both are here, as `variant`.
"""

from __future__ import annotations

from typing import Literal

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from emozoo.contracts import Aggregated, Rate, Size
from emozoo_aggregators.common import aggregated, checked, filled, maximum, weighted_mean


class CEFLNetAggregator(nn.Module):
    """Self-attention (SAL), local-global relation (LRL) and intensity activation (EIAN) of a video's clips.

    With f_k the K frames of clip i, h = 4 heads or 1, and g the maximum of f'_k over the frames:

    | step | variant = "official" | variant = "paper" |
    |---|---|---|
    | SAL, eq. 1 | f' = LayerNorm(f + attention of 4 heads) | f' = softmax(QK' / sqrt(D)) V |
    | LRL, eq. 2 | w_k = sigmoid(q0 [f_k : g]) | w_k = sigmoid(q0 [f'_k : g]) |
    | clip, eq. 3 | R_i = q1 (sum w_k [f_k : g] / sum w_k) | R_i = q1 (sum w_k f'_k / sum w_k) |
    | EIAN, eq. 5 | A = softmax of one 1x1 convolution of R, over the clips | one such map A_c a category |
    | video, eq. 7-8 | max over clips of A_i R_i | max over maps and clips of A_ci R_i |

    The paper does not say how the maps M_c = A_c R of several categories become the one vector that its eq. 9
    classifies; the maximum over maps and clips is the reading of eq. 8 that needs nothing more. No map is then
    tied to a category, `maps` may be any number, and the clips' weights, by which eq. 6 finds the emotion-rich one,
    are the mean of the maps.

    The projection of attention's output, which eq. 1 lacks, does not change what one head can express: it merges
    with V's. The published classifier is a head with `hidden = [256, 128]` and `dropout = 0.4`.

    Args:
        in_features: D.
        variant: "official", as the published weights need it, or "paper"; decides the next three where they
            are None.
        heads: of the self-attention; 4 or 1.
        relation: which frame features LRL weighs and averages, the "backbone"'s f_k or those after "attention".
        maps: activation maps of EIAN; 1, or 7 for "paper" (give the number of the model's labels).
        sal: whether there is self-attention; f' = f without.
        lrl: whether there is local-global relation learning; R_i = g without.
        eian: whether there is intensity activation; the features are the maximum of R_i over the clips without.
        dropout: rate on attention weights and on attention's output, where it is added to f.
        relation_dropout: rate on the input of q0, not on what is averaged.
    """

    def __init__(
        self,
        in_features: int,
        *,
        variant: Literal["official", "paper"] = "official",
        heads: Size | None = None,
        relation: Literal["backbone", "attention"] | None = None,
        maps: Size | None = None,
        sal: bool = True,
        lrl: bool = True,
        eian: bool = True,
        dropout: Rate = 0.1,
        relation_dropout: Rate = 0.5,
    ) -> None:
        super().__init__()
        official = variant == "official"
        heads = heads or (4 if official else 1)
        if sal and in_features % heads:
            raise ValueError(f"heads = {heads} does not divide the {in_features} features of the backbone")
        self.relation = relation or ("backbone" if official else "attention")
        self.out_features = in_features
        self.attn = (
            nn.MultiheadAttention(in_features, heads, dropout=dropout, batch_first=True) if sal else None
        )
        self.norm1 = nn.LayerNorm(in_features) if sal and official else None
        self.dropout = nn.Dropout(dropout)
        self.relation_dropout = nn.Dropout(relation_dropout)
        averaged = 2 * in_features if self.relation == "backbone" else in_features
        self.beta = nn.Sequential(nn.Linear(2 * in_features, 1), nn.LogSigmoid()) if lrl else None
        self.fc = nn.Linear(averaged, in_features) if lrl else None
        self.temp_attn = IntensityActivation(in_features, maps or (1 if official else 7)) if eian else None

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Aggregated:
        """Map (B, clips, frames, D) to features (B, D), clip weights A and frame weights w.

        A sums to one over the real clips; of several maps it is the mean. w_k is in (0, 1). Clips without real
        frames never count. Weights are None without the step that makes them; a video without real frames has
        NaN features.

        Args:
            x: features (B, clips, frames, D); what masked frames hold never counts.
            mask: (B, clips, frames), True for real frames; None where all are.

        Raises:
            ContractError: the shapes do not fit.
        """
        x, mask = checked("ceflnet", self.out_features, x, mask)
        real = filled(mask)
        attended = self._attend(x, real)
        clips, frame_weights = self._relate(x, attended, real)
        real_clips = filled(mask.any(2))
        if self.temp_attn is None:
            return aggregated(maximum(clips, real_clips), mask, frame_weights=frame_weights)
        features, clip_weights = self.temp_attn(clips, real_clips)
        return aggregated(features, mask, clip_weights, frame_weights)

    def _attend(self, x: Tensor, real: Tensor) -> Tensor:
        """Return f' (B, clips, frames, D), each frame attending to the real frames of its clip (eq. 1)."""
        if self.attn is None:
            return x
        frames = rearrange(x, "b clips t d -> (b clips) t d")
        padding = ~rearrange(real, "b clips t -> (b clips) t")
        attended, _ = self.attn(frames, frames, frames, key_padding_mask=padding, need_weights=False)
        if self.norm1 is not None:
            attended = self.norm1(frames + self.dropout(attended))
        return rearrange(attended, "(b clips) t d -> b clips t d", b=x.shape[0], clips=x.shape[1])

    def _relate(self, x: Tensor, attended: Tensor, real: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the clips R (B, clips, D) and frame weights w (B, clips, frames) (eq. 2 and 3)."""
        summary = maximum(attended, real)
        if self.beta is None or self.fc is None:
            return summary, None
        local = x if self.relation == "backbone" else attended
        related = torch.cat([local, repeat(summary, "b clips d -> b clips t d", t=local.shape[2])], -1)
        log_weights = self.beta(self.relation_dropout(related)).squeeze(-1)
        averaged = related if self.relation == "backbone" else local
        return self.fc(weighted_mean(averaged, log_weights, real)), log_weights.exp()


class IntensityActivation(nn.Module):
    """EIAN: how much of the emotion each clip shows, and the video's features (eq. 4-8).

    Args:
        in_features: D.
        maps: activation maps, each with its own softmax over the clips.
    """

    def __init__(self, in_features: int, maps: int) -> None:
        super().__init__()
        convolution = nn.Conv1d(in_features, maps, 1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        self.attn = nn.Sequential(convolution)

    def forward(self, clips: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, D) and the mean activation map (B, clips).

        Args:
            clips: R (B, clips, D).
            real: (B, clips), with a real clip in every video.
        """
        scores = self.attn(rearrange(clips, "b clips d -> b d clips"))
        activation = scores.masked_fill(~real[:, None], -torch.inf).softmax(2)
        maps = rearrange(activation[..., None] * clips[:, None], "b maps clips d -> b (maps clips) d")
        return maximum(maps, repeat(real, "b clips -> b (m clips)", m=activation.shape[1])), activation.mean(
            1
        )
