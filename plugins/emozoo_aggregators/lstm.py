"""Long short-term memory over the frames: the CNN-LSTM and C3D-LSTM baselines."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from emozoo.contracts import Aggregated, Rate, Size
from emozoo.errors import ContractError
from emozoo_aggregators.common import aggregated, checked, maximum


class LSTMAggregator(nn.Module):
    """Run an LSTM over all real frames of a video, clip after clip, and pool its outputs.

    The DFEW authors' form (Jiang et al. 2020) is hidden = 256, layers = 3, pool = "concat", frames = 16.

    Args:
        in_features: D.
        hidden: size H of the state, of each direction.
        layers: LSTMs on top of each other.
        bidirectional: whether a second LSTM of each layer runs backwards; outputs then have 2 H values.
        pool: "last", the output at the last real frame (of the backward direction: at the first); "mean" or
            "max" over the outputs of real frames; "concat", all outputs one after the other, zeros after the
            last real frame.
        frames: for "concat", the most frames a video can have, all clips together; fixes the size of the features.
        dropout: rate on the outputs of every layer but the last.
    """

    def __init__(
        self,
        in_features: int,
        *,
        hidden: Size = 256,
        layers: Size = 1,
        bidirectional: bool = False,
        pool: Literal["last", "mean", "max", "concat"] = "last",
        frames: Size | None = None,
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__()
        if (pool == "concat") != (frames is not None):
            raise ValueError(
                f"frames is for pool = 'concat', which needs it (pool = {pool!r}, frames = {frames})"
            )
        if dropout and layers == 1:
            raise ValueError(
                f"dropout = {dropout} acts between layers, and there is only one: set layers = 2"
            )
        self.in_features = in_features
        self.pool = pool
        self.frames = frames
        self.out_features = hidden * (1 + bidirectional) * (frames or 1)
        self.lstm = nn.LSTM(
            in_features, hidden, layers, batch_first=True, dropout=dropout, bidirectional=bidirectional
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Aggregated:
        """Map (B, clips, frames, D) to features (B, out_features), NaN for a video without real frames.

        Args:
            x: features (B, clips, frames, D); what masked frames hold never counts, wherever they are.
            mask: (B, clips, frames), True for real frames; None where all are.

        Raises:
            ContractError: the shapes do not fit, or "concat" is given more frames than it was built for.
        """
        packed = mask is not None
        x, mask = checked("lstm", self.in_features, x, mask)
        sequence = rearrange(x, "b clips t d -> b (clips t) d")
        real = rearrange(mask, "b clips t -> b (clips t)")
        if self.frames is not None and real.shape[1] > self.frames:
            raise ContractError(
                f"lstm: pool = 'concat' was built for {self.frames} frames a video, got {real.shape[1]}: set "
                "model.aggregator.frames to the number of frames that the sampling gives"
            )
        if packed and torch.compiler.is_exporting():
            raise ContractError(
                "lstm: videos that differ in length are packed, which no fixed graph does; export needs a "
                "model.sampling that gives all of them equally many frames: clips, segments or uniform"
            )
        if packed:
            sequence, real = _real_first(sequence, real)
        outputs, state = self._run(sequence, real if packed else None)
        return aggregated(self._pooled(outputs, state, real), mask)

    def _run(self, sequence: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return outputs (B, T, H'), zero after the last real frame where `real` (B, T) is given, and final states."""
        if sequence.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):  # not every processor has an LSTM in half precision
                return self._run(sequence.float(), real)
        if real is None:
            outputs, (state, _) = self.lstm(sequence)
            return outputs, state
        lengths = real.sum(1).clamp(min=1).cpu()  # packing knows no empty sequence
        packed = pack_padded_sequence(sequence, lengths, batch_first=True, enforce_sorted=False)
        outputs, (state, _) = self.lstm(packed)
        return pad_packed_sequence(outputs, batch_first=True, total_length=real.shape[1])[0], state

    def _pooled(self, outputs: Tensor, state: Tensor, real: Tensor) -> Tensor:
        if self.pool == "last":
            last_layer = state[-2:] if self.lstm.bidirectional else state[-1:]
            return rearrange(last_layer, "directions b h -> b (directions h)")
        if self.pool == "mean":
            return outputs.sum(1) / real.sum(1, keepdim=True)
        if self.pool == "max":
            return maximum(outputs, real)
        joined = rearrange(outputs, "b n h -> b (n h)")
        return F.pad(joined, (0, self.out_features - joined.shape[1]))


def _real_first(sequence: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Move the real frames of each video to its beginning, in their order."""
    order = (~real).int().argsort(dim=1, stable=True)
    return sequence.take_along_dim(order.unsqueeze(-1), 1), real.take_along_dim(order, 1)
