"""Long short-term memory (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqtrain.backbones.recurrent import LayerState, Recurrent


class LSTM(Recurrent):
    kind = nn.LSTM
    parts = 2

    @staticmethod
    def step(layer: nn.RNNBase, x: Float[Tensor, "B I"], state: LayerState) -> LayerState:
        return torch.lstm_cell(x, state, *layer.all_weights[0])
