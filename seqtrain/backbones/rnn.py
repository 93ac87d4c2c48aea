"""The plain recurrent network (Elman 1990): h' = tanh(Wx + Uh + b)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqtrain.backbones.recurrent import LayerState, Recurrent


class RNN(Recurrent):
    kind = nn.RNN
    parts = 1

    @staticmethod
    def cell(x: Float[Tensor, "B I"], state: LayerState, weights: Sequence[Tensor]) -> LayerState:
        return (torch.rnn_tanh_cell(x, state[0], *weights),)

    @staticmethod
    def gate(sums: Float[Tensor, "B G"], state: LayerState) -> LayerState:
        return (sums.tanh(),)
