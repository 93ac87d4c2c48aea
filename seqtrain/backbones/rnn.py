"""The plain recurrent network (Elman 1990): h' = tanh(Wx + Uh + b)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqtrain.backbones.recurrent import Bias, Folded, LayerState, Recurrent, Weight


class RNN(Recurrent):
    kind = nn.RNN
    parts = 1

    @staticmethod
    def cell(x: Float[Tensor, "B I"], state: LayerState, weights: Sequence[Tensor]) -> LayerState:
        return (torch.rnn_tanh_cell(x, state[0], *weights),)

    @staticmethod
    def fold(from_input: Weight, from_state: Weight, input_bias: Bias, state_bias: Bias) -> Folded:
        return torch.cat([from_input, from_state], 1), input_bias + state_bias

    @staticmethod
    def gate(sums: Float[Tensor, "B G"], state: LayerState) -> LayerState:
        return (sums.tanh(),)
