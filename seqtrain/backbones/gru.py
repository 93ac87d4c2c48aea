"""The gated recurrent unit (Cho et al. 2014, arXiv:1406.1078)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqtrain.backbones.recurrent import LayerState, Recurrent


class GRU(Recurrent):
    kind = nn.GRU
    parts = 1

    @staticmethod
    def step(layer: nn.RNNBase, x: Float[Tensor, "B I"], state: LayerState) -> LayerState:
        return (torch.gru_cell(x, state[0], *layer.all_weights[0]),)
