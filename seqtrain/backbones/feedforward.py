"""The standard network, for comparison: no recurrence, a window of inputs goes through a layer (Waibel et al. 1989;
Bengio et al. 2003, jmlr.org/papers/v3/bengio03a)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from seqtrain.backbones.base import Stack
from seqtrain.contract import Attend, State, length_mask
from seqtrain.layers import LockedDropout


class Feedforward(Stack):
    """A stack of layers h = relu(W[x of the window] + b), the same at every position.

    Where the stack is not causal, the window reaches as far behind a position as before it. The state is the inputs
    that the next windows reach back to; before the beginning they are zero.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        dropout: float,
        causal: bool,
        summary_size: int | None,
        window: int,
    ):
        super().__init__()
        self.causal = causal
        self.reach = window - 1
        sizes = [input_size] + [hidden_size] * (num_layers - 1)
        width = 1 + self.reach * (1 if causal else 2)
        self.layers = nn.ModuleList(nn.Conv1d(size, hidden_size, width) for size in sizes)
        self.dropout = LockedDropout(dropout)
        if summary_size is not None:
            self.starts = nn.Linear(summary_size, input_size)

    def forward(
        self,
        x: Float[Tensor, "B T I"],
        state: State = None,
        lengths: Int[Tensor, " B"] | None = None,
        attend: Attend | None = None,
    ) -> tuple[Float[Tensor, "B T H"], State]:
        states = []
        for i, layer in enumerate(self.layers):
            inputs = self.dropout(x) if i else x
            if self.causal:
                before = inputs.new_zeros(x.size(0), self.reach, inputs.size(2)) if state is None else state[i]
                read = torch.cat([before.to(inputs.dtype), inputs], 1)
                states.append(read[:, read.size(1) - self.reach :])
            else:
                assert lengths is not None, "a stack that is not causal needs the lengths"
                read = inputs * length_mask(lengths, x.size(1))[..., None]
                read = F.pad(read, (0, 0, self.reach, self.reach))
            x = torch.relu(layer(read.transpose(1, 2)).transpose(1, 2))
            x = attend(i, x) if attend else x
        return x, tuple(states) if self.causal else None
