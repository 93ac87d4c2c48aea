"""Neighbouring positions become one (Chan et al. 2016, Listen, Attend and Spell, arXiv:1508.01211)."""

from __future__ import annotations

from jaxtyping import Float, Int, Num
from torch import Tensor, nn
from torch.nn import functional as F

from seqtrain.contract import Reals, Spec, Tokens, length_mask
from seqtrain.frontends.base import Frontend


class Stack(Frontend):
    """The vectors of `factor` neighbours, side by side, become one by a linear map. Of n positions ceil(n / factor) are
    left; where the last of them has too few neighbours, zeros stand in."""

    shortens = True

    def __init__(
        self, source: Tokens | Reals, size: int, dropout: float, word_dropout: float, scaled: bool, factor: int
    ):
        super().__init__(source, size, dropout, word_dropout, scaled)
        self.factor = factor
        self.merge = nn.Linear(factor * size, size)

    @classmethod
    def refuse(cls, spec: Spec) -> str | None:
        return super().refuse(spec) or (None if spec.many else f"it takes a sequence, not {spec.incoming}")

    def left(self, lengths: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
        return (lengths + self.factor - 1) // self.factor

    def forward(
        self, x: Num[Tensor, "B S *F"], lengths: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B R E"], Int[Tensor, " B"]]:
        vectors = self.embed(x) * length_mask(lengths, x.size(1))[..., None]
        vectors = F.pad(vectors, (0, 0, 0, -x.size(1) % self.factor)).unflatten(1, (-1, self.factor)).flatten(2)
        return self.dropout(self.merge(vectors)), self.left(lengths)
