"""Long short-term memory (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqtrain.backbones.recurrent import LayerState, Recurrent, gates


class LSTM(Recurrent):
    kind = nn.LSTM
    parts = 2

    @staticmethod
    def step(layer: nn.RNNBase, x: Float[Tensor, "B I"], state: LayerState) -> LayerState:
        hidden, cell = state
        sums = gates(layer, x, hidden)
        if sums is None:
            return torch.lstm_cell(x, state, *layer.all_weights[0])
        size = hidden.size(1)
        enter, forget, leave = sums[:, : 3 * size].sigmoid().chunk(3, 1)
        cell = torch.addcmul(cell * forget, enter, sums[:, 3 * size :].tanh())
        return leave * cell.tanh(), cell
