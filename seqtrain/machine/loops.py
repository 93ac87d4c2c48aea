"""The training of a loop over positions, as input feeding is one: a layer that is called once for each position.

Its weights are laid out once for all positions, and their gradient is one product of all that the positions have seen,
instead of a small one for each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqtrain.machine.matmul import LaidOut, arithmetic, gradient_of_weight

TRIED = 6  # positions of the loops that are timed


class Loop:
    """Finds the loops of a model: a layer that is called a second time with a single position, in the same forward
    pass with gradients, is in one. Hooks of the model say where a pass begins and ends: in between no weight changes.
    """

    def __init__(self) -> None:
        self.called: set[nn.Module] | None = None  # layers called with a single position; None outside of a pass
        self.steps: dict[nn.Module, Steps | None] = {}

    def watch(self, model: nn.Module) -> None:
        model.register_forward_pre_hook(self.begin)
        model.register_forward_hook(self.end, always_call=True)

    def begin(self, *_: Any) -> None:
        self.called = set()

    def end(self, *_: Any) -> None:
        self.called = None
        self.steps.clear()

    def of(self, layer: nn.Module, make: Callable[[], Steps | None]) -> Steps | None:
        """What a layer has laid out for the steps of its loop, if it is in one, and `make` makes it."""
        if self.called is None or not torch.is_grad_enabled():
            return None
        if layer not in self.called:
            self.called.add(layer)
            return None
        if layer not in self.steps:
            self.steps[layer] = make()
        return self.steps[layer]


Seen = list[tuple[Tensor, Tensor]]  # the input of each step and the gradient of its output, from the last step on


class Steps:
    """A linear map in a loop. way: one of matmul.WAYS."""

    def __init__(self, weight: Float[Tensor, "O I"], bias: Float[Tensor, " O"] | None, way: str):
        self.dtype = arithmetic(weight)
        with torch.no_grad():
            self.ahead = LaidOut(weight, bias, self.dtype, way)
            self.back = LaidOut(weight.to(self.dtype).t().contiguous(), None, self.dtype, way)
        self.seen: Seen = []
        self.end = End.apply(weight, bias, self.seen, way != "torch")

    def __call__(self, x: Float[Tensor, "*N I"]) -> Float[Tensor, "*N O"]:
        return Step.apply(x.to(self.dtype), self.end, self.ahead, self.back, self.seen)


class End(torch.autograd.Function):
    """Makes a number of no meaning that each step reads: so its turn in the backward pass comes after all of theirs."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor | None, seen: Seen, by_onednn: bool) -> Tensor:
        ctx.dtype, ctx.seen, ctx.by_onednn = weight.dtype, seen, by_onednn
        return weight.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        inputs, gradients = (torch.cat(parts) for parts in zip(*ctx.seen, strict=True))
        ctx.seen.clear()
        bias = gradients.sum(0, dtype=ctx.dtype) if ctx.needs_input_grad[1] else None
        return gradient_of_weight(gradients, inputs, ctx.by_onednn).to(ctx.dtype), bias, None, None


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


def try_loop(
    step: Callable[[Tensor, Any], tuple[Tensor, Any]], x: Tensor, state: Any, weights: Sequence[Tensor]
) -> None:
    """A loop forward and backward, to be timed."""
    outputs = []
    for _ in range(TRIED):
        y, state = step(x, state)
        outputs.append(y)
    torch.autograd.grad(outputs, [x, *weights], [torch.ones_like(y) for y in outputs])
