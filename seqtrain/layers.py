"""Layers that models share: embeddings of ids or reals, locked dropout, attention, pooling."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor, nn
from torch.nn import functional as F

from seqtrain.batch import Reals, Tokens, length_mask
from seqtrain.config import UserError


class LockedDropout(nn.Module):
    """Dropout with one mask for all positions of a sequence (Gal & Ghahramani 2016, arXiv:1512.05287)."""

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: Float[Tensor, "B T H"]) -> Float[Tensor, "B T H"]:
        if not self.training or self.p == 0:
            return x
        return x * F.dropout(x.new_ones(x.size(0), 1, x.size(2)), self.p)


class Linear(nn.Linear):
    """A linear map that is fast for few rows, too, where it is large: see `laid_out` and `stepping`."""

    LARGE = 2**17  # weights; below it, the call itself takes longer than the product

    def forward(self, input: Float[Tensor, "*N I"]) -> Float[Tensor, "*N O"]:
        if (steps := vars(self).get("steps")) is not None:
            return steps(input)
        few = self.in_features * self.out_features < self.LARGE
        if few or not torch.is_inference_mode_enabled() or torch.is_autocast_enabled(input.device.type):
            return super().forward(input)
        return laid_out(self, [self.weight, self.bias], lambda: (self.weight, self.bias))(input)

    def train(self, mode: bool = True) -> Linear:
        forget(self)
        return super().train(mode)


class LaidOut:
    """The weights of a linear map as oneDNN reads them, where the processor has it. A product of 320 rows with weights
    of 16 MB takes 0.76 of the time, of 64 rows 0.40, of one row 0.14 (two threads)."""

    def __init__(self, weight: Float[Tensor, "O I"], bias: Float[Tensor, " O"] | None):
        self.bias = bias
        plain = weight.device.type != "cpu" or weight.dtype not in (torch.float32, torch.bfloat16)
        self.packed = not plain and torch.backends.mkldnn.is_available()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight) if self.packed else weight

    def __call__(self, x: Float[Tensor, "*N I"]) -> Float[Tensor, "*N O"]:
        if self.packed:
            return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return F.linear(x, self.weight, self.bias)


def laid_out(
    module: nn.Module, weights: Sequence[Tensor | None], fold: Callable[[], tuple[Tensor, Tensor | None]]
) -> LaidOut:
    """The linear map that `fold` makes of the weights of a module, kept there until they change or are trained on: of
    an optimizer's fused update they bear no sign, and so `train` has to `forget` it."""
    made = [(id(weight), weight._version) for weight in weights if weight is not None]
    kept = vars(module).get("laid_out")
    if kept is None or kept[0] != made:
        kept = made, LaidOut(*fold())
        vars(module)["laid_out"] = kept
    return kept[1]


def forget(module: nn.Module) -> None:
    vars(module).pop("laid_out", None)


class Steps:
    """A linear map that is trained in a loop over positions. Its weights are laid out once for all steps, and their
    gradient is one product of all that the steps have seen, instead of a small one a step."""

    def __init__(self, weight: Float[Tensor, "O I"], bias: Float[Tensor, " O"] | None):
        low = torch.is_autocast_enabled(weight.device.type)
        self.dtype = torch.get_autocast_dtype(weight.device.type) if low else weight.dtype
        with torch.no_grad():
            matrix = weight.to(self.dtype)
            self.ahead = LaidOut(matrix, None if bias is None else bias.to(self.dtype))
            self.back = LaidOut(matrix.t().contiguous(), None)
        self.seen: Seen = []
        self.end = End.apply(weight, bias, self.seen)

    def __call__(self, x: Float[Tensor, "*N I"]) -> Float[Tensor, "*N O"]:
        return Step.apply(x.to(self.dtype), self.end, self.ahead, self.back, self.seen)


Seen = list[tuple[Tensor, Tensor]]  # the input of each step and the gradient of its output, from the last step on


class End(torch.autograd.Function):
    """Makes a number of no meaning that each step reads: so its turn in the backward pass comes after all of theirs."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor | None, seen: Seen) -> Tensor:
        ctx.dtype, ctx.seen = weight.dtype, seen
        return weight.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, Tensor | None, None]:
        inputs, gradients = (torch.cat(parts) for parts in zip(*ctx.seen, strict=True))
        ctx.seen.clear()
        bias = gradients.sum(0, dtype=ctx.dtype) if ctx.needs_input_grad[1] else None
        return (gradients.t() @ inputs).to(ctx.dtype), bias, None


class Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, end: Tensor, ahead: LaidOut, back: LaidOut, seen: Seen) -> Tensor:
        ctx.back, ctx.seen = back, seen
        ctx.save_for_backward(x, end)
        return ahead(x)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        (gradient,), (x, end) = outer, ctx.saved_tensors
        ctx.seen.append((x.detach().flatten(0, -2), gradient.flatten(0, -2)))  # with its graph, x would hold the list
        return ctx.back(gradient), torch.zeros_like(end), None, None, None


@contextmanager
def stepping(*modules: nn.Module) -> Iterator[None]:
    """Within it, the linear maps and recurrent cells of the modules are those of a loop over positions."""
    found: list[tuple[nn.Module, Tensor, Tensor | None]] = []
    if torch.is_grad_enabled():
        for module in (inner for outer in modules for inner in outer.modules()):
            if isinstance(module, Linear):
                found.append((module, module.weight, module.bias))
            elif isinstance(module, nn.LSTM):
                found.append((module, *folded(module)))
    for module, weight, bias in found:
        vars(module)["steps"] = Steps(weight, bias)
    try:
        yield
    finally:
        for module, _, _ in found:
            del vars(module)["steps"]


def folded(layer: nn.RNNBase) -> tuple[Float[Tensor, "G C"], Float[Tensor, " G"]]:
    """One matrix and bias for a layer whose gates are sums: of its input and hidden vector side by side."""
    weights: list[Any] = layer._flat_weights  # as `all_weights` has them, without a search for each
    return torch.cat([weights[0], weights[1]], 1), weights[2] + weights[3]


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
