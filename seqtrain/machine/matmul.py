"""Matrix products by torch's own kernels or by oneDNN's: the only place that knows the one from the other.

torch leaves float32 products to MKL, where it has that. Which of the two is faster depends on the processor, the sizes,
and on whether the weights were laid out before as oneDNN reads them, which pays where they are read many times: in
decoding, and in a loop over positions that is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from seqtrain.machine.processor import runs_bfloat16

ROWS = 64  # oneDNN makes a kernel for each number of rows: their multiples are few
WAYS = ("torch", "oneDNN", "laid out")  # of a product; the last one has its weights laid out for oneDNN
TRAINED = WAYS[:2]  # those that have a gradient


def arithmetic(weight: Tensor) -> torch.dtype:
    """The type that products with a weight are taken in: autocast's, where it is on."""
    kind = weight.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype


@cache
def ways(dtype: torch.dtype) -> tuple[str, ...]:
    """The ways of a product in a type."""
    known = {torch.float32: torch.backends.mkldnn.is_available, torch.bfloat16: runs_bfloat16}
    return WAYS if dtype in known and known[dtype]() else WAYS[:1]


def product(x: Float[Tensor, "*N I"], weight: Tensor, bias: Float[Tensor, " O"] | None) -> Float[Tensor, "*N O"]:
    """x Wᵀ + b by oneDNN; weight: (O, I), or that as oneDNN reads it."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class ByOneDNN(NamedTuple):
    """Which products of a linear map in training are oneDNN's: its output, the gradient of its input, of its weight."""

    output: bool
    input: bool
    weight: bool


class Product(torch.autograd.Function):
    """A linear map in training. It takes oneDNN 1 to 5 ms to make a kernel, and so rows are filled up to multiples of
    ROWS."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, by_onednn: ByOneDNN) -> Tensor:
        rows = filled(x.flatten(0, -2))
        ctx.save_for_backward(rows, weight)
        ctx.shape, ctx.by_onednn = x.shape, by_onednn
        outputs = (product if by_onednn.output else F.linear)(rows, weight, bias)
        return outputs[: x.shape[:-1].numel()].view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (x, weight) = outer, ctx.saved_tensors
        gradient = gradient.flatten(0, -2)
        rows = filled(gradient)
        of_input = of_weight = None
        if ctx.needs_input_grad[0]:
            of_input = product(rows, weight.t(), None) if ctx.by_onednn.input else rows @ weight
            of_input = of_input[: len(gradient)].view(ctx.shape)
        if ctx.needs_input_grad[1]:
            of_weight = gradient_of_weight(rows, x, ctx.by_onednn.weight)
        return of_input, of_weight, gradient.sum(0) if ctx.needs_input_grad[2] else None, None


def gradient_of_weight(outer: Float[Tensor, "N O"], x: Float[Tensor, "N I"], by_onednn: bool) -> Float[Tensor, "O I"]:
    """Of a linear map with these inputs, and gradients of its outputs. oneDNN lays its first factor out anew: the
    narrower one is that."""
    if not by_onednn:
        return outer.t() @ x
    outer, x = filled(outer), filled(x)
    if outer.size(1) > x.size(1):
        return product(x.t(), outer.t(), None).t().contiguous()
    return product(outer.t(), x.t(), None)


def with_room(rows: Float[Tensor, "N O"]) -> Float[Tensor, "N O"]:
    """New memory like that of rows, with so many rows of zeros behind it that `filled` need not copy it."""
    whole = rows.new_empty(len(rows) + -len(rows) % ROWS, rows.size(1))
    whole[len(rows) :] = 0
    return whole[: len(rows)]


def filled(rows: Float[Tensor, "N O"]) -> Float[Tensor, "F O"]:
    """Filled up to a multiple of ROWS with rows of zeros: with those that follow in memory, if they do."""
    lack = -len(rows) % ROWS
    if not lack:
        return rows
    whole = rows._base
    if whole is None or whole.shape != (len(rows) + lack, rows.size(1)) or not whole.is_contiguous():
        return F.pad(rows, (0, 0, 0, lack))
    same = whole.data_ptr() == rows.data_ptr() and not whole[len(rows) :].any()
    return whole if same else F.pad(rows, (0, 0, 0, lack))


class LaidOut:
    """The weights of a linear map, cast and laid out once for many products by one of WAYS."""

    def __init__(self, weight: Float[Tensor, "O I"], bias: Float[Tensor, " O"] | None, dtype: torch.dtype, way: str):
        self.dtype = dtype
        self.bias = None if bias is None else bias.to(dtype)
        self.weight = weight.to(dtype)
        self.product = F.linear if way == "torch" else product
        if way == "laid out":
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight)

    def __call__(self, x: Float[Tensor, "*N I"]) -> Float[Tensor, "*N O"]:
        return self.product(x.to(self.dtype), self.weight, self.bias).to(x.dtype)


def laid_out(
    module: nn.Module,
    weights: Sequence[Tensor | None],
    fold: Callable[[], tuple[Tensor, Tensor | None]],
    way: str,
) -> LaidOut:
    """The linear map that `fold` makes of the weights of a module, kept there until they change or are trained on: a
    fused optimizer leaves no sign of its updates, and so `train` has to `forget` it."""
    present = [weight for weight in weights if weight is not None]
    dtype = arithmetic(present[0])
    version = [dtype, *((id(weight), weight._version) for weight in present)]
    kept = vars(module).get("laid_out")
    if kept is None or kept[0] != version:
        kept = vars(module)["laid_out"] = version, {}
    if way not in kept[1]:
        kept[1][way] = LaidOut(*fold(), dtype, way)
    return kept[1][way]


def forget(module: nn.Module) -> None:
    vars(module).pop("laid_out", None)
