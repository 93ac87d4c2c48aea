"""The minimal gated recurrent unit (Feng et al. 2024, arXiv:2410.01201): neither gate nor new value reads the state, so
that all positions are computed at once."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqtrain.backbones.recurrent import Recurrent
from seqtrain.layers import Scan


class Layer(nn.Module):
    """Called as nn.GRU is."""

    def __init__(self, input_size: int, hidden_size: int, batch_first: bool):
        super().__init__()
        assert batch_first
        self.map = nn.Linear(input_size, 2 * hidden_size)
        self.scan = Scan()

    def forward(
        self, x: Float[Tensor, "B T I"], state: Float[Tensor, "1 B H"] | None = None
    ) -> tuple[Float[Tensor, "B T H"], Float[Tensor, "1 B H"]]:
        g, v = self.map(x).float().chunk(2, -1)
        before = torch.zeros_like(g[:, 0]) if state is None else state[0]
        if x.size(1) == 1:
            new = torch.where(v > 0, v + 0.5, v.sigmoid())
            y = torch.lerp(before[:, None], new, g.sigmoid())
        else:
            y = self.scan(g, v, before)
        return y, y[:, -1].contiguous()[None]


class MinGRU(Recurrent):
    kind = Layer
    parts = 1

    @staticmethod
    def initialize(layer: nn.Module) -> None:
        """Xavier for each of the two maps."""
        assert isinstance(layer, Layer)
        for weight in layer.map.weight.chunk(2):
            nn.init.xavier_uniform_(weight)
        nn.init.zeros_(layer.map.bias)
