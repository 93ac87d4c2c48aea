"""A word becomes a vector by its characters (Kim et al. 2016, arXiv:1508.06615; Ma & Hovy 2016, arXiv:1603.01354)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from seqtrain.contract import Reals, Spec, Tokens
from seqtrain.frontends.base import Table


class Characters(Table):
    """The vectors of a word's characters go through a convolution over the word with a rectifier. The maximum of each
    of its features, and the vector of the word itself, become one by a linear map."""

    def __init__(
        self,
        source: Tokens | Reals,
        size: int,
        dropout: float,
        word_dropout: float,
        scaled: bool,
        width: int,
        character_size: int,
        features: int,
        vectors: str | None,
    ):
        super().__init__(source, size, dropout, word_dropout, scaled, vectors)
        assert isinstance(source, Tokens)
        assert source.parts is not None
        self.first = source.width
        self.characters = nn.Embedding(source.parts.size, character_size, padding_idx=source.parts.pad)
        self.conv = nn.Conv1d(character_size, features, width, padding=width - 1)
        self.merge = nn.Linear(size + features, size)

    @classmethod
    def refuse(cls, spec: Spec) -> str | None:
        words = isinstance(spec.source, Tokens) and spec.source.parts is not None
        return None if words else "it reads the characters of words, and here is nothing that has such parts"

    def forward(
        self, x: Num[Tensor, "B S W"], lengths: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B S E"], Int[Tensor, " B"]]:
        letters = self.characters(x[..., self.first :]).flatten(0, 1).transpose(1, 2)
        features = torch.relu(self.conv(letters)).amax(2).unflatten(0, x.shape[:2])
        return self.dropout(self.merge(torch.cat([self.embed(x), features], -1))), lengths
