"""Long short-term memory (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqtrain.backbones.recurrent import LayerState, Recurrent


class LSTM(Recurrent):
    kind = nn.LSTM
    parts = 2

    @staticmethod
    def cell(x: Float[Tensor, "B I"], state: LayerState, weights: Sequence[Tensor]) -> LayerState:
        return torch.lstm_cell(x, state, *weights)

    @staticmethod
    def gate(sums: Float[Tensor, "B G"], state: LayerState) -> LayerState:
        hidden, cell = state
        size = hidden.size(1)
        opened, new, leave = sums.split([2 * size, size, size], 1)
        enter, forget = opened.sigmoid().chunk(2, 1)
        cell = torch.addcmul(cell * forget, enter, new.tanh())
        return leave.sigmoid() * cell.tanh(), cell
