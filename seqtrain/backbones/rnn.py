"""The plain recurrent network (Elman 1990): h' = tanh(Wx + Uh + b)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqtrain.backbones.recurrent import LayerState, Recurrent


class RNN(Recurrent):
    kind = nn.RNN
    parts = 1

    @staticmethod
    def step(layer: nn.RNNBase, x: Float[Tensor, "B I"], state: LayerState) -> LayerState:
        return (torch.rnn_tanh_cell(x, state[0], *layer.all_weights[0]),)
