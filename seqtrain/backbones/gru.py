"""The gated recurrent unit (Cho et al. 2014, arXiv:1406.1078)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqtrain.backbones.recurrent import Bias, Folded, LayerState, Recurrent, Weight


class GRU(Recurrent):
    kind = nn.GRU
    parts = 1

    @staticmethod
    def cell(x: Float[Tensor, "B I"], state: LayerState, weights: Sequence[Tensor]) -> LayerState:
        return (torch.gru_cell(x, state[0], *weights),)

    @staticmethod
    def fold(from_input: Weight, from_state: Weight, input_bias: Bias, state_bias: Bias) -> Folded:
        """The new values are made of two sums, of which the reset gate lies between: each reads its half only."""
        gates = 2 * from_state.size(1)
        first = torch.cat([from_input[:gates], from_state[:gates]], 1)
        new = torch.cat([from_input[gates:], torch.zeros_like(from_state[gates:])], 1)
        old = torch.cat([torch.zeros_like(from_input[gates:]), from_state[gates:]], 1)
        bias = torch.cat([input_bias[:gates] + state_bias[:gates], input_bias[gates:], state_bias[gates:]])
        return torch.cat([first, new, old]), bias

    @staticmethod
    def gate(sums: Float[Tensor, "B G"], state: LayerState) -> LayerState:
        (hidden,) = state
        size = hidden.size(1)
        opened, new, old = sums.split([2 * size, size, size], 1)
        reset, keep = opened.sigmoid().chunk(2, 1)
        new = torch.addcmul(new, reset, old).tanh()
        return (torch.addcmul(new, keep, hidden - new),)
