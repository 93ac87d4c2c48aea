"""The temporal convolutional network (Bai et al. 2018, arXiv:1803.01271)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from seqtrain.backbones.base import Stack
from seqtrain.contract import Attend, State, length_mask
from seqtrain.layers import LockedDropout


class TCN(Stack):
    """A stack of layers; each is `blocks` blocks of two dilated convolutions, each block with twice the dilation of the
    one before. So a layer reads 2 (kernel - 1) (2^blocks - 1) positions beside its own: all before it where it is
    causal, else half of them on each side.

    The state is the inputs of each convolution that the next positions reach back to; before the beginning they are
    zero.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        dropout: float,
        causal: bool,
        summary_size: int | None,
        kernel: int,
        blocks: int,
    ):
        super().__init__()
        self.causal = causal
        self.blocks = blocks
        sizes = [input_size] + [hidden_size] * (num_layers * blocks - 1)
        made = [Block(size, hidden_size, kernel, 2 ** (i % blocks), dropout, causal) for i, size in enumerate(sizes)]
        self.layers = nn.ModuleList(made)
        if summary_size is not None:
            self.starts = nn.Linear(summary_size, input_size)

    def forward(
        self,
        x: Float[Tensor, "B T I"],
        state: State = None,
        lengths: Int[Tensor, " B"] | None = None,
        attend: Attend | None = None,
    ) -> tuple[Float[Tensor, "B T H"], State]:
        assert self.causal or lengths is not None, "a stack that is not causal needs the lengths"
        real = None if lengths is None else length_mask(lengths, x.size(1))[..., None]
        states = []
        for i, block in enumerate(self.layers):
            x, last = block(x, None if state is None else state[i], real)
            states.append(last)
            if attend and (i + 1) % self.blocks == 0:
                x = attend(i // self.blocks, x)
        return x, tuple(states) if self.causal else None


class Block(nn.Module):
    """y = relu(x + relu(conv(relu(conv(x))))), with dropout behind each convolution, which is a linear map of the
    positions that it reads: in training as fast as nn.Conv1d on a CPU, five times as fast for a single position."""

    def __init__(self, input_size: int, hidden_size: int, kernel: int, dilation: int, dropout: float, causal: bool):
        super().__init__()
        self.dilation = dilation
        self.reach = (kernel - 1) * dilation
        self.causal = causal
        self.convs = nn.ModuleList(
            weight_norm(nn.Linear(kernel * size, hidden_size)) for size in (input_size, hidden_size)
        )
        self.residual = nn.Identity() if input_size == hidden_size else nn.Linear(input_size, hidden_size)
        self.dropout = LockedDropout(dropout)

    def forward(
        self, x: Float[Tensor, "B T I"], state: State, real: Tensor | None
    ) -> tuple[Float[Tensor, "B T H"], State]:
        y, states = x, []
        for i, conv in enumerate(self.convs):
            if self.causal:
                before = y.new_zeros(y.size(0), self.reach, y.size(2)) if state is None else state[i].to(y.dtype)
                read = torch.cat([before, y], 1)
                states.append(read.narrow(1, y.size(1), self.reach))
            else:
                assert real is not None
                read = F.pad(y * real, (0, 0, self.reach // 2, self.reach - self.reach // 2))
            taps = [read.narrow(1, tap, x.size(1)) for tap in range(0, self.reach + 1, self.dilation)]
            y = self.dropout(torch.relu(conv(torch.cat(taps, 2))))
        return torch.relu(self.residual(x) + y), tuple(states)
