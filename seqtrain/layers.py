"""Layers that models share: embeddings of ids or reals, locked dropout, attention, pooling."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor, nn
from torch.nn import functional as F

from seqtrain.batch import Reals, Tokens, length_mask
from seqtrain.config import UserError
from seqtrain.products import Linear


class LockedDropout(nn.Module):
    """Dropout with one mask for all positions of a sequence (Gal & Ghahramani 2016, arXiv:1512.05287)."""

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: Float[Tensor, "B T H"]) -> Float[Tensor, "B T H"]:
        if not self.training or self.p == 0:
            return x
        return x * F.dropout(x.new_ones(x.size(0), 1, x.size(2)), self.p)


class Embedding(nn.Module):
    """Turns positions into vectors of `size`: ids by a table, reals by a linear map. Dropout is locked.

    word_dropout: share of the ids that are read as unknown while training (Iyyer et al. 2015,
    aclanthology.org/P15-1162): the model learns to do without any of them, and what to make of a truly unknown one.

    The table is small enough to serve as output weights too, and what it yields is scaled to unit variance (Vaswani et
    al. 2017, section 3.4), unless `scaled` is False: then rare words, about which little is learned, say little.
    """

    def __init__(
        self, positions: Tokens | Reals, size: int, dropout: float, word_dropout: float = 0.0, scaled: bool = True
    ):
        super().__init__()
        self.positions = positions
        self.word_dropout = word_dropout
        self.scale = 1.0
        if isinstance(positions, Tokens):
            self.scale = size**0.5 if scaled else 1.0
            self.map = nn.Embedding(positions.size, size, padding_idx=positions.pad)
            nn.init.normal_(self.map.weight, std=size**-0.5)
            with torch.no_grad():
                self.map.weight[positions.pad].zero_()
        else:
            self.map = Linear(math.prod(positions.shape), size)
        self.dropout = LockedDropout(dropout)

    def forward(self, x: Num[Tensor, "B T *F"]) -> Float[Tensor, "B T E"]:
        ids = self.positions
        if self.training and self.word_dropout and isinstance(ids, Tokens) and ids.unknown is not None:
            dropped = (torch.rand(x.shape, device=x.device) < self.word_dropout) & (x != ids.pad)
            x = x.masked_fill(dropped, ids.unknown)
        return self.dropout(self.map(x if x.ndim == 2 else x.flatten(2)) * self.scale)


class Scores(nn.Module):
    """Turns hidden vectors into scores. With `table`, an embedding of the same vocabulary, the weights are tied
    (Press & Wolf 2017, arXiv:1608.05859), after a linear map where the sizes differ."""

    def __init__(self, hidden_size: int, outputs: int, dropout: float, table: nn.Embedding | None = None):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        size = hidden_size if table is None else table.embedding_dim
        self.map = nn.Identity() if size == hidden_size else Linear(hidden_size, size)
        self.scores = Linear(size, outputs)
        if table is not None:
            self.scores.weight = table.weight

    def forward(self, hidden: Float[Tensor, "*N H"]) -> Float[Tensor, "*N O"]:
        return self.scores(self.map(self.dropout(hidden)))


class Memory(NamedTuple):
    """What attention looks at: computed once for a source, never reordered. `real` is False at padding."""

    keys: Float[Tensor, "B S K"]
    values: Float[Tensor, "B S H"]
    real: Bool[Tensor, "B S"]


class Attention(nn.Module):
    """Weighs the positions of a memory by their score with a query, and sums them up.

    score: "dot", q·k (Luong et al. 2015, arXiv:1508.04025); "general", q·Wk (ibid.); "additive", v·tanh(Wq + Uk)
    (Bahdanau et al. 2015, arXiv:1409.0473); "multi_head", scaled dot products in `heads` subspaces (Vaswani et al.
    2017, arXiv:1706.03762).

    A memory of B sources serves B*k queries (k hypotheses a source, side by side) without being repeated.
    """

    def __init__(self, score: str, size: int, heads: int):
        super().__init__()
        if score == "multi_head" and size % heads:
            raise UserError(f"model.hidden_size={size} cannot be divided among model.heads={heads}")
        self.score = score
        self.heads = heads if score == "multi_head" else 1
        self.key = nn.Identity() if score == "dot" else Linear(size, size, bias=False)
        if score == "additive":
            self.query = Linear(size, size)
            self.weight = Linear(size, 1, bias=False)
        if score == "multi_head":
            self.query, self.value, self.merge = (Linear(size, size) for _ in range(3))

    def memory(self, states: Float[Tensor, "B S H"], lengths: Int[Tensor, " B"]) -> Memory:
        values = self.value(states) if self.score == "multi_head" else states
        return Memory(self.key(states), values, length_mask(lengths, states.size(1)))

    def forward(
        self, query: Float[Tensor, "Bk T H"], memory: Memory
    ) -> tuple[Float[Tensor, "Bk T H"], Float[Tensor, "Bk T S"]]:
        rows, steps, size = query.shape
        sources = memory.real.size(0)
        weights = self.weigh(query.reshape(sources, -1, size), memory)  # (B, heads, kT, S)
        if self.score == "multi_head":
            values = self.split(memory.values)
            context = self.merge((weights @ values).transpose(1, 2).flatten(2))
        else:
            context = weights[:, 0] @ memory.values
        return context.view(rows, steps, size), weights.mean(1).view(rows, steps, -1)

    def weigh(self, query: Float[Tensor, "B Q H"], memory: Memory) -> Float[Tensor, "B heads Q S"]:
        if self.score == "additive":
            sums = self.query(query)[:, :, None] + memory.keys[:, None]  # (B, Q, S, H)
            scores = self.weight(torch.tanh(sums)).squeeze(-1)[:, None]
        elif self.score == "multi_head":
            scores = self.split(self.query(query)) @ self.split(memory.keys).transpose(2, 3)
            scores = scores * (query.size(2) // self.heads) ** -0.5
        else:
            scores = (query @ memory.keys.transpose(1, 2))[:, None]
        return scores.float().masked_fill(~memory.real[:, None, None], -math.inf).softmax(-1).to(memory.values.dtype)

    def split(self, x: Float[Tensor, "B Q H"]) -> Float[Tensor, "B heads Q D"]:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Pooling(nn.Module):
    """One vector of a sequence by a mean, a maximum, or weights learned by a single query ("attention",
    Yang et al. 2016, aclanthology.org/N16-1174). Padding is left out."""

    def __init__(self, kind: str, size: int):
        super().__init__()
        self.kind = kind
        if kind == "attention":
            self.weigh = nn.Sequential(Linear(size, size), nn.Tanh(), Linear(size, 1, bias=False))

    def forward(self, x: Float[Tensor, "B S H"], lengths: Int[Tensor, " B"]) -> Float[Tensor, "B H"]:
        real = length_mask(lengths, x.size(1))[..., None]  # (B, S, 1)
        if self.kind == "max":
            return x.masked_fill(~real, -math.inf).amax(1)
        if self.kind == "mean":
            return x.masked_fill(~real, 0).sum(1) / lengths[:, None]
        return (self.weigh(x).masked_fill(~real, -math.inf).softmax(1) * x).sum(1)
