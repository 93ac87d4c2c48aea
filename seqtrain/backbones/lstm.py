"""Long short-term memory (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqtrain.backbones.recurrent import Bias, Folded, LayerState, Recurrent, Weight


class LSTM(Recurrent):
    kind = nn.LSTM
    parts = 2

    @staticmethod
    def cell(x: Float[Tensor, "B I"], state: LayerState, weights: Sequence[Tensor]) -> LayerState:
        return torch.lstm_cell(x, state, *weights)

    @staticmethod
    def fold(from_input: Weight, from_state: Weight, input_bias: Bias, state_bias: Bias) -> Folded:
        """The new values come last, so that one call opens all gates."""
        both = torch.cat([from_input, from_state], 1), input_bias + state_bias
        (enter, forget, new, leave), biases = (part.chunk(4) for part in both)
        return torch.cat([enter, forget, leave, new]), torch.cat([biases[0], biases[1], biases[3], biases[2]])

    @staticmethod
    def gate(sums: Float[Tensor, "B G"], state: LayerState) -> LayerState:
        hidden, cell = state
        size = hidden.size(1)
        enter, forget, leave = sums[:, : 3 * size].sigmoid().chunk(3, 1)
        cell = torch.addcmul(cell * forget, enter, sums[:, 3 * size :].tanh())
        return leave * cell.tanh(), cell
