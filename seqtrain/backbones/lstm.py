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
        if not torch.is_inference_mode_enabled():
            return torch.lstm_cell(x, state, *layer.all_weights[0])
        hidden, cell = state
        enter, forget, new, leave = gates(layer, x, hidden).chunk(4, 1)
        cell = cell * forget.sigmoid_() + enter.sigmoid_() * new.tanh_()
        return leave.sigmoid_() * cell.tanh(), cell
