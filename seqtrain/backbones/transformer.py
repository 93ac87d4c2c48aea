"""The Transformer (Vaswani et al. 2017, arXiv:1706.03762), normalised before each sublayer (Xiong et al. 2020,
arXiv:2002.04745)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from seqtrain.backbones.base import Stack
from seqtrain.config import UserError
from seqtrain.contract import Attend, State, length_mask

BLOCK = 64  # positions by which a cache grows
Cache = tuple[Tensor, Tensor]  # (B, C, heads, D) each: keys and values of the last C positions, zeros before the first
Rotation = tuple[Tensor, Tensor]  # (B, T, 1, D / 2) each: cosine and sine of the angle that turns each pair of numbers


class Transformer(Stack):
    """A stack of layers in which each position attends to itself, to at most `reach` positions before it and, where the
    stack is not causal, to as many behind it.

    Rotary positions turn queries and keys by their places (Su et al. 2021, arXiv:2104.09864); learned ones add a vector
    of the place to the input, the same one again after 2 reach + 1 places, so that those in reach differ. Gated
    feed-forward layers multiply by a GELU (Shazeer 2020, arXiv:2002.05202), with as many weights.

    The state is the number of positions that each row has seen, and a cache for each layer. It grows by BLOCK positions
    at a time, so that most steps have states of the same shape, and is never longer than `reach`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        dropout: float,
        causal: bool,
        summary_size: int | None,
        heads: int,
        expansion: int,
        gated: bool,
        positions: str,
        reach: int,
    ):
        super().__init__()
        if hidden_size % (2 * heads):
            raise UserError(f"model.hidden_size={hidden_size} cannot be divided among backbone.heads={heads}, "
                            "each of an even width")  # fmt: skip
        self.causal = causal
        self.reach = reach
        self.width = hidden_size // heads
        self.enter = nn.Identity() if input_size == hidden_size else nn.Linear(input_size, hidden_size)
        self.places = nn.Embedding(2 * reach + 1, hidden_size) if positions == "learned" else None
        inner = expansion * hidden_size * 2 // 3 if gated else expansion * hidden_size
        made = (Layer(hidden_size, heads, inner, gated, dropout, num_layers) for _ in range(num_layers))
        self.layers = nn.ModuleList(made)
        self.norm = nn.LayerNorm(hidden_size)
        if summary_size is not None:
            self.starts = nn.Linear(summary_size, input_size)

    def forward(
        self,
        x: Float[Tensor, "B T I"],
        state: State = None,
        lengths: Int[Tensor, " B"] | None = None,
        attend: Attend | None = None,
    ) -> tuple[Float[Tensor, "B T H"], State]:
        if state is None:
            state = torch.zeros(x.size(0), dtype=torch.long, device=x.device), [None] * len(self.layers)
        (seen, caches), width, x = state, x.size(1), self.enter(x)
        size = 0 if caches[0] is None else caches[0][0].size(1)
        places = seen[:, None] + torch.arange(width, device=x.device)
        if self.places is None:
            rotation = rotation_of(places, self.width)
        else:
            rotation, x = None, x + self.places(places % self.places.num_embeddings)
        mask, capacity = self.mask(seen, size, width, lengths), self.capacity(seen, size, width)
        kept = []
        for i, (layer, cache) in enumerate(zip(self.layers, caches, strict=True)):
            x, read = layer(x, cache, rotation, mask, partial(attend, i) if attend else None)
            kept.append(tuple(F.pad(part, (0, 0, 0, 0, capacity - part.size(1), 0)) for part in read))
        return self.norm(x), (seen + width, tuple(kept)) if self.causal else None

    def capacity(self, seen: Int[Tensor, " B"], size: int, width: int) -> int:
        """How many positions caches of `size` have after `width` more. Those of an exported program keep all: it cannot
        choose by a number, as of positions seen."""
        if torch.compiler.is_exporting():
            return size + width
        if size == 0:
            return min(self.reach, blocks(width))
        full = size < self.reach and bool((seen + width > size).any())
        return min(self.reach, blocks(int(seen.max()) + width)) if full else size

    def mask(
        self, seen: Int[Tensor, " B"], size: int, width: int, lengths: Int[Tensor, " B"] | None
    ) -> Bool[Tensor, "#B 1 T C"] | None:
        """Which of the cached and the new positions each new one attends to; None: all up to itself."""
        if self.causal and size == 0 and width <= self.reach + 1:
            return None
        keys = torch.arange(size + width, device=seen.device)
        ahead = keys - keys[size:, None]  # (T, C): how far a key is behind a query
        if self.causal:
            near, real = (ahead <= 0) & (ahead >= -self.reach), keys >= size - seen[:, None]
        else:
            assert lengths is not None, "a stack that is not causal needs the lengths"
            near, real = ahead.abs() <= self.reach, length_mask(lengths, width)
        return (near & real[:, None])[:, None]


class Layer(nn.Module):
    """x + attention(norm(x)), then what `attend` makes of it, then x + map(norm(x))."""

    def __init__(self, size: int, heads: int, inner: int, gated: bool, dropout: float, num_layers: int):
        super().__init__()
        self.heads = heads
        self.gated = gated
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(2))
        self.read = nn.Linear(size, 3 * size)
        self.merge = nn.Linear(size, size)
        self.widen = nn.Linear(size, 2 * inner if gated else inner)
        self.narrow = nn.Linear(inner, size)
        self.dropout = nn.Dropout(dropout)
        for weight in (*self.read.weight.chunk(3), self.widen.weight):
            nn.init.xavier_uniform_(weight)
        for linear in (self.merge, self.narrow):  # the sum of all layers begins small (Radford et al. 2019)
            nn.init.xavier_uniform_(linear.weight, (2 * num_layers) ** -0.5)
        for linear in (self.read, self.merge, self.widen, self.narrow):
            nn.init.zeros_(linear.bias)

    def forward(
        self,
        x: Float[Tensor, "B T H"],
        cache: Cache | None,
        rotation: Rotation | None,
        mask: Bool[Tensor, "#B 1 T C"] | None,
        attend: Callable[[Tensor], Tensor] | None,
    ) -> tuple[Float[Tensor, "B T H"], Cache]:
        """The new vectors, and the keys and values that were attended to."""
        queries, keys, values = self.read(self.norms[0](x)).unflatten(2, (3, self.heads, -1)).unbind(2)
        if rotation is not None:
            queries, keys = rotated(queries, rotation), rotated(keys, rotation)
        if cache is not None:
            keys, values = (
                torch.cat([old.to(new.dtype), new], 1) for old, new in zip(cache, (keys, values), strict=True)
            )
        heads = (part.transpose(1, 2) for part in (queries, keys, values))
        context = F.scaled_dot_product_attention(*heads, attn_mask=mask, is_causal=mask is None)
        x = x + self.dropout(self.merge(context.transpose(1, 2).flatten(2)))
        x = attend(x) if attend else x
        inner = self.widen(self.norms[1](x))
        if self.gated:
            inner, gate = inner.chunk(2, -1)
            inner = inner * F.gelu(gate)
        else:
            inner = F.gelu(inner)
        return x + self.dropout(self.narrow(self.dropout(inner))), (keys, values)


def blocks(positions: int) -> int:
    """So many positions, filled up to whole blocks."""
    return -(-positions // BLOCK) * BLOCK


def rotation_of(places: Int[Tensor, "B T"], width: int) -> Rotation:
    speeds = 10_000.0 ** -torch.arange(0, 1, 2 / width, device=places.device)
    angles = (places[..., None] * speeds)[:, :, None]
    return angles.cos(), angles.sin()


def rotated(x: Float[Tensor, "B T heads D"], rotation: Rotation) -> Float[Tensor, "B T heads D"]:
    (a, b), (cos, sin) = x.chunk(2, -1), rotation
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1).to(x.dtype)
