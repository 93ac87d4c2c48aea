"""Layers that models and backbones share: embeddings of ids or reals, locked dropout, attention, scans, pooling."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor, nn
from torch.nn import functional as F

from seqtrain.config import UserError
from seqtrain.contract import Reals, Tokens, length_mask

IMPOSSIBLE = 1e-30  # a probability whose logarithm float32 and bfloat16 can hold


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
            self.map = nn.Linear(math.prod(positions.shape), size)
        self.dropout = LockedDropout(dropout)

    def embed(self, x: Num[Tensor, "B T *F"]) -> Float[Tensor, "B T *W E"]:
        """Without dropout. Of several ids a position the vectors are added up."""
        ids = self.positions
        if not isinstance(ids, Tokens):
            return self.map(x.flatten(-len(ids.shape)))
        if x.ndim > 2:
            x = x[..., : ids.width]
        if self.training and self.word_dropout and ids.unknown is not None:
            dropped = (torch.rand(x.shape, device=x.device) < self.word_dropout) & (x != ids.pad)
            x = x.masked_fill(dropped, ids.unknown)
        vectors = self.map(x) * self.scale
        return vectors.sum(2) if x.ndim > 2 else vectors

    def forward(self, x: Num[Tensor, "B T *F"]) -> Float[Tensor, "B T E"]:
        return self.dropout(self.embed(x))


class Scores(nn.Module):
    """Turns hidden vectors into scores. With `table`, an embedding of the same vocabulary, the weights are tied
    (Press & Wolf 2017, arXiv:1608.05859), after a linear map where the sizes differ."""

    def __init__(self, hidden_size: int, outputs: int, dropout: float, table: nn.Embedding | None = None):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        size = hidden_size if table is None else table.embedding_dim
        self.map = nn.Identity() if size == hidden_size else nn.Linear(hidden_size, size)
        self.scores = nn.Linear(size, outputs)
        if table is not None:
            self.scores.weight = table.weight

    def forward(self, hidden: Float[Tensor, "*N H"]) -> Float[Tensor, "*N O"]:
        return self.scores(self.map(self.dropout(hidden)))


class Memory(NamedTuple):
    """What attention looks at: computed once for a source, never reordered. `real` is False at padding. ids: of the
    source, where they can be copied."""

    keys: Float[Tensor, "B S K"]
    values: Float[Tensor, "B S H"]
    real: Bool[Tensor, "B S"]
    ids: Int[Tensor, "B S"] | None = None


class Attended(NamedTuple):
    """What a decoder with attention makes of each step: a hidden vector, the weights that the positions of the source
    had, and the ids there, where they can be copied."""

    hidden: Float[Tensor, "B T H"]
    weights: Float[Tensor, "B T S"]
    ids: Int[Tensor, "B T S"] | None


class AttendedScores(Scores):
    """The scores of the hidden vectors in `Attended`."""

    def forward(self, hidden: Any) -> Float[Tensor, "*N O"]:
        return super().forward(hidden[0])


class Copying(Scores):
    """Scores mixed with copying (pointer-generator, See et al. 2017, arXiv:1704.04368): with a probability that is
    learned, the item is one of the source, by its attention, else one of the vocabulary. The scores of the mixture are
    the logarithms of its probabilities."""

    def __init__(self, hidden_size: int, outputs: int, dropout: float, table: nn.Embedding | None = None):
        super().__init__(hidden_size, outputs, dropout, table)
        self.share = nn.Linear(hidden_size, 1)

    def forward(self, hidden: Any) -> Float[Tensor, "*N O"]:
        hidden, weights, ids = hidden
        copied = self.share(hidden).float().sigmoid()
        written = (1 - copied) * super().forward(hidden).float().softmax(-1)
        return written.scatter_add(-1, ids, copied * weights.float()).clamp_min(IMPOSSIBLE).log()

    def copied(self, attended: Attended, items: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """How probable it is that the items were copied."""
        hidden, weights, ids = attended
        share = self.share(hidden).float().sigmoid()[..., 0]
        pointed = (weights.float() * (ids == items[..., None])).sum(-1)
        return share * pointed / self(attended).gather(-1, items[..., None])[..., 0].exp()


class Attention(nn.Module):
    """Weighs the positions of a memory by their score with a query, and sums them up.

    score: "dot", q·k (Luong et al. 2015, arXiv:1508.04025); "general", q·Wk (ibid.); "additive", v·tanh(Wq + Uk)
    (Bahdanau et al. 2015, arXiv:1409.0473); "multi_head", scaled dot products in `heads` subspaces (Vaswani et al.
    2017, arXiv:1706.03762).

    A memory of B sources serves B*k queries (k hypotheses a source, side by side) without being repeated. coverage: the
    score depends on the weights that a position has had before, by a factor that is learned.
    """

    def __init__(self, score: str, size: int, heads: int, coverage: bool = False):
        super().__init__()
        if score == "multi_head" and size % heads:
            raise UserError(f"model.hidden_size={size} cannot be divided among model.heads={heads}")
        self.score = score
        self.heads = heads if score == "multi_head" else 1
        self.covered = nn.Parameter(torch.zeros(self.heads, 1, 1)) if coverage else None
        self.key = nn.Identity() if score == "dot" else nn.Linear(size, size, bias=False)
        if score == "additive":
            self.query = nn.Linear(size, size)
            self.weight = nn.Linear(size, 1, bias=False)
        if score == "multi_head":
            self.query, self.value, self.merge = (nn.Linear(size, size) for _ in range(3))

    def memory(
        self, states: Float[Tensor, "B S H"], lengths: Int[Tensor, " B"], ids: Int[Tensor, "B S"] | None = None
    ) -> Memory:
        values = self.value(states) if self.score == "multi_head" else states
        return Memory(self.key(states), values, length_mask(lengths, states.size(1)), ids)

    def forward(
        self, query: Float[Tensor, "Bk T H"], memory: Memory, seen: Float[Tensor, "Bk T S"] | None = None
    ) -> tuple[Float[Tensor, "Bk T H"], Float[Tensor, "Bk T S"]]:
        """seen: the weights before, summed up, for `coverage`."""
        rows, steps, size = query.shape
        sources = memory.real.size(0)
        scores = self.scores(query.reshape(sources, -1, size), memory).float()  # (B, heads, kT, S)
        if self.covered is not None and seen is not None:
            scores = scores + self.covered * seen.reshape(sources, 1, -1, seen.size(2))
        weights = scores.masked_fill(~memory.real[:, None, None], -math.inf).softmax(-1).to(memory.values.dtype)
        if self.score == "multi_head":
            values = self.split(memory.values)
            context = self.merge((weights @ values).transpose(1, 2).flatten(2))
        else:
            context = weights[:, 0] @ memory.values
        return context.view(rows, steps, size), weights.mean(1).view(rows, steps, -1)

    def scores(self, query: Float[Tensor, "B Q H"], memory: Memory) -> Float[Tensor, "B heads Q S"]:
        if self.score == "additive":
            sums = self.query(query)[:, :, None] + memory.keys[:, None]  # (B, Q, S, H)
            return self.weight(torch.tanh(sums)).squeeze(-1)[:, None]
        if self.score == "multi_head":
            scores = self.split(self.query(query)) @ self.split(memory.keys).transpose(2, 3)
            return scores * (query.size(2) // self.heads) ** -0.5
        return (query @ memory.keys.transpose(1, 2))[:, None]

    def split(self, x: Float[Tensor, "B Q H"]) -> Float[Tensor, "B heads Q D"]:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class AttentionLayer(nn.Module):
    """Attention as a layer of a stack: vectors ask, normalised, and the answer is added to them. See `Attention`."""

    def __init__(self, score: str, size: int, heads: int, dropout: float, coverage: bool = False):
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.attention = Attention(score, size, heads, coverage)
        self.dropout = nn.Dropout(dropout)

    def memory(
        self, states: Float[Tensor, "B S H"], lengths: Int[Tensor, " B"], ids: Int[Tensor, "B S"] | None = None
    ) -> Memory:
        return self.attention.memory(states, lengths, ids)

    def forward(
        self, x: Float[Tensor, "Bk T H"], memory: Memory, seen: Float[Tensor, "Bk T S"] | None = None
    ) -> tuple[Float[Tensor, "Bk T H"], Float[Tensor, "Bk T S"]]:
        context, weights = self.attention(self.norm(x), memory, seen)
        return x + self.dropout(context), weights


class Scan(nn.Module):
    """The states h[t] = (1 - gate[t]) h[t-1] + gate[t] new[t] of all positions, where gate = sigmoid(g) and new is
    positive: v + 0.5 for v above zero, else sigmoid(v).

    Sums of logarithms take the place of products (Heinsen 2023, arXiv:2311.06281). The scan starts from zero; what a
    state adds, which may have any sign, is added to it.
    """

    def forward(
        self, g: Float[Tensor, "B T H"], v: Float[Tensor, "B T H"], state: Float[Tensor, "B H"]
    ) -> Float[Tensor, "B T H"]:
        kept = -F.softplus(g).cumsum(1)  # the logarithm of what is left of the state
        new = torch.where(v > 0, (v.relu() + 0.5).log(), -F.softplus(-v)) - F.softplus(-g)
        return (kept + (new - kept).logcumsumexp(1)).exp() + kept.exp() * state[:, None]


class Pooling(nn.Module):
    """One vector of a sequence by a mean, a maximum, or weights learned by a single query ("attention",
    Yang et al. 2016, aclanthology.org/N16-1174). Padding is left out."""

    def __init__(self, kind: str, size: int):
        super().__init__()
        self.kind = kind
        if kind == "attention":
            self.weigh = nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Linear(size, 1, bias=False))

    def forward(self, x: Float[Tensor, "B S H"], lengths: Int[Tensor, " B"]) -> Float[Tensor, "B H"]:
        real = length_mask(lengths, x.size(1))[..., None]  # (B, S, 1)
        if self.kind == "max":
            return x.masked_fill(~real, -math.inf).amax(1)
        if self.kind == "mean":
            return x.masked_fill(~real, 0).sum(1) / lengths[:, None]
        return (self.weigh(x).masked_fill(~real, -math.inf).softmax(1) * x).sum(1)
