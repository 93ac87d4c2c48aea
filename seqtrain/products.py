"""Matrix products, as fast as the processor can do them: the only place that knows oneDNN from torch's own.

torch leaves float32 products to MKL. oneDNN reaches up to 1.2 times its rate on weights as they are, more on weights
that are laid out as it reads them, which pays where they are read many times: in decoding (`laid_out`) and in a loop
over positions that is trained (`stepping`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

LARGE = 2**17  # weights; below it, the call itself takes longer than the product
VAST = 2**21  # weights; below it, MKL makes their gradient as fast
ROWS = 64  # oneDNN makes a kernel for each number of rows: their multiples are few


class Linear(nn.Linear):
    """A linear map that is fast where it is large: in training, for the few rows of a step, and in a loop. The weights
    of a vast one lie in memory with the inputs in rows, as oneDNN makes their gradient."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        super().__init__(in_features, out_features, bias)
        if self.weight.numel() >= VAST:
            self.weight = nn.Parameter(self.weight.detach().t().contiguous().t())

    def forward(self, input: Float[Tensor, "*N I"]) -> Float[Tensor, "*N O"]:
        if (steps := vars(self).get("steps")) is not None:
            return steps(input)
        weight, bias = self.weight, self.bias
        dtype, large = arithmetic(weight), weight.numel() >= LARGE and input.ndim > 1
        if torch.is_inference_mode_enabled() and (large or dtype != weight.dtype):
            return laid_out(self, [weight, bias], lambda: (weight, bias))(input)
        if large and packable(weight, dtype, torch.float32, torch.bfloat16):
            return Product.apply(input.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype))
        return super().forward(input)

    def train(self, mode: bool = True) -> Linear:
        forget(self)
        return super().train(mode)


def arithmetic(weight: Tensor) -> torch.dtype:
    """The type that products with a weight are taken in: autocast's, where it is on."""
    kind = weight.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype


def by_columns(weight: Tensor) -> bool:
    """Whether a weight lies in memory as those of a vast `Linear` do."""
    return weight.ndim == 2 and not weight.is_contiguous()


def packable(weight: Tensor, dtype: torch.dtype, *types: torch.dtype) -> bool:
    """Whether oneDNN takes products with a weight in one of the types."""
    return weight.device.type == "cpu" and dtype in types and torch.backends.mkldnn.is_available()


def product(x: Float[Tensor, "*N I"], weight: Tensor, bias: Float[Tensor, " O"] | None) -> Float[Tensor, "*N O"]:
    """x Wᵀ + b by oneDNN; weight: (O, I), or that as oneDNN reads it."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class Product(torch.autograd.Function):
    """A linear map in training. Of MKL's time the forward pass takes 0.86, the gradient of the input 0.94, that of vast
    weights 0.85. A kernel takes 1 to 5 ms to make, and so rows are filled up."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rows = filled(x.flatten(0, -2))
        ctx.save_for_backward(rows, weight)
        ctx.shape = x.shape
        return product(rows, weight, bias)[: x.shape[:-1].numel()].view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (x, weight) = outer, ctx.saved_tensors
        gradient = gradient.flatten(0, -2)
        rows, inner = filled(gradient), None
        if ctx.needs_input_grad[0]:
            inner = product(rows, weight.t(), None)[: len(gradient)].view(ctx.shape)
        bias = gradient.sum(0) if ctx.needs_input_grad[2] else None
        return inner, of_weight(x, rows, by_columns(weight)) if ctx.needs_input_grad[1] else None, bias


def of_weight(x: Float[Tensor, "N I"], gradient: Float[Tensor, "N O"], columns: bool) -> Float[Tensor, "O I"]:
    """The gradient of a weight, which lies in memory as the weight does."""
    return product(filled(x).t(), filled(gradient).t(), None).t() if columns else gradient.t() @ x


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


# ---------------------------------------------------------------------------------------- decoding


class LaidOut:
    """The weights of a linear map as oneDNN reads them, where the processor has it. A product of 320 rows with weights
    of 16 MB takes 0.76 of the time, of 64 rows 0.40, of one row 0.14 (two threads)."""

    def __init__(self, weight: Float[Tensor, "O I"], bias: Float[Tensor, " O"] | None, dtype: torch.dtype):
        self.dtype = dtype
        self.bias = None if bias is None else bias.to(dtype)
        self.weight = weight.to(dtype)
        self.packed = packable(weight, dtype, torch.float32, torch.bfloat16)
        if self.packed:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight)

    def __call__(self, x: Float[Tensor, "*N I"]) -> Float[Tensor, "*N O"]:
        return (product if self.packed else F.linear)(x.to(self.dtype), self.weight, self.bias).to(x.dtype)


def laid_out(
    module: nn.Module, weights: Sequence[Tensor | None], fold: Callable[[], tuple[Tensor, Tensor | None]]
) -> LaidOut:
    """The linear map that `fold` makes of the weights of a module, kept there until they change or are trained on: of
    an optimizer's fused update they bear no sign, and so `train` has to `forget` it."""
    there = [weight for weight in weights if weight is not None]
    dtype = arithmetic(there[0])
    made = [dtype, *((id(weight), weight._version) for weight in there)]
    kept = vars(module).get("laid_out")
    if kept is None or kept[0] != made:
        kept = made, LaidOut(*fold(), dtype)
        vars(module)["laid_out"] = kept
    return kept[1]


def forget(module: nn.Module) -> None:
    vars(module).pop("laid_out", None)


# ---------------------------------------------------------------------------------------- training in a loop


class Steps:
    """A linear map that is trained in a loop over positions. Its weights are laid out once for all steps, and their
    gradient is one product of all that the steps have seen, instead of a small one a step."""

    def __init__(self, weight: Float[Tensor, "O I"], bias: Float[Tensor, " O"] | None):
        self.dtype = arithmetic(weight)
        with torch.no_grad():
            self.ahead = LaidOut(weight, bias, self.dtype)
            self.back = LaidOut(weight.to(self.dtype).t().contiguous(), None, self.dtype)
        self.seen: Seen = []
        self.end = End.apply(weight, bias, self.seen)

    def __call__(self, x: Float[Tensor, "*N I"]) -> Float[Tensor, "*N O"]:
        return Step.apply(x.to(self.dtype), self.end, self.ahead, self.back, self.seen)


Seen = list[tuple[Tensor, Tensor]]  # the input of each step and the gradient of its output, from the last step on


class End(torch.autograd.Function):
    """Makes a number of no meaning that each step reads: so its turn in the backward pass comes after all of theirs."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor | None, seen: Seen) -> Tensor:
        ctx.dtype, ctx.columns, ctx.seen = weight.dtype, by_columns(weight), seen
        return weight.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, Tensor | None, None]:
        inputs, gradients = (torch.cat(parts) for parts in zip(*ctx.seen, strict=True))
        ctx.seen.clear()
        bias = gradients.sum(0, dtype=ctx.dtype) if ctx.needs_input_grad[1] else None
        return of_weight(inputs, gradients, ctx.columns).to(ctx.dtype), bias, None


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


@runtime_checkable
class Folds(Protocol):
    """A stack of recurrent layers."""

    def folds(self) -> list[tuple[nn.Module, Tensor, Tensor]]:
        """Each layer, and the one linear map that a step of it is made of."""
        ...


@contextmanager
def stepping(*modules: nn.Module) -> Iterator[None]:
    """Within it, the linear maps and recurrent cells of the modules are those of a loop over positions."""
    found: list[tuple[nn.Module, Tensor, Tensor | None]] = []
    if torch.is_grad_enabled():
        for module in (inner for outer in modules for inner in outer.modules()):
            if isinstance(module, Linear):
                found.append((module, module.weight, module.bias))
            elif isinstance(module, Folds):
                found += module.folds()
    for module, weight, bias in found:
        vars(module)["steps"] = Steps(weight, bias)
    try:
        yield
    finally:
        for module, _, _ in found:
            del vars(module)["steps"]
