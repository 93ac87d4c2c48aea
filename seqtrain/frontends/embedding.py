"""Each position becomes one vector: ids by a table, reals by a linear map."""

from __future__ import annotations

from jaxtyping import Float, Int, Num
from torch import Tensor

from seqtrain.frontends.base import Table


class Embedding(Table):
    """All positions stay."""

    def forward(
        self, x: Num[Tensor, "B S *F"], lengths: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B S E"], Int[Tensor, " B"]]:
        return self.dropout(self.embed(x)), lengths
