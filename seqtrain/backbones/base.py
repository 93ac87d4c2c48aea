"""What backbones without recurrence share."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from seqtrain.contract import State


class Stack(nn.Module):
    """Starts from a vector by reading it as an input, and ends at the last real position. `starts` maps such a vector
    to an input; a stack that is made without `summary_size` has none."""

    starts: nn.Linear

    def start(self, summary: Float[Tensor, "B S"]) -> State:
        """The summary is read as an input before the first one."""
        return self(self.starts(summary)[:, None])[1]

    def last(self, y: Float[Tensor, "B T H"], lengths: Int[Tensor, " B"]) -> Float[Tensor, "B H"]:
        return y[torch.arange(y.size(0), device=y.device), lengths - 1]
