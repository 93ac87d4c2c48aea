"""The scan of a minimal gated unit, position by position: on a CPU less work than sums of logarithms, and exact."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from seqtrain import layers
from seqtrain.machine.kernels import Kernels, Ways, like, sample

LONGEST = 256  # positions of what is tried


class Scan(layers.Scan):
    """What `accelerate` makes of a layers.Scan. Its ways are "layer", all positions at once, and "cell"."""

    kernels: Kernels

    def forward(
        self, g: Float[Tensor, "B T H"], v: Float[Tensor, "B T H"], state: Float[Tensor, "B H"]
    ) -> Float[Tensor, "B T H"]:
        rows, positions, size = like(g.size(0)), min(LONGEST, 1 << g.size(1).bit_length() - 1), g.size(2)
        work = f"scan of {size} numbers, {rows} rows, {positions} positions"
        way = self.kernels.choose(work, ("layer", "cell"), lambda: self.ways(rows, positions, size))
        return walk(g, v, state) if way == "cell" else super().forward(g, v, state)

    @torch.inference_mode(False)
    def ways(self, rows: int, positions: int, size: int) -> Ways:
        values = sample(2 * rows * positions, size).requires_grad_()
        state = sample(rows, size)

        @torch.inference_mode(False)  # of a beam, say, whose rows no training had
        @torch.enable_grad()
        def attempt(way: Any) -> None:
            y = way(*values.view(2, rows, positions, size), state)
            torch.autograd.grad(y.sum(), values)

        return {"layer": partial(attempt, super().forward), "cell": partial(attempt, walk)}


def walk(g: Float[Tensor, "B T H"], v: Float[Tensor, "B T H"], state: Float[Tensor, "B H"]) -> Float[Tensor, "B T H"]:
    gate = g.sigmoid()
    return Walk.apply(1 - gate, gate * torch.where(v > 0, v + 0.5, v.sigmoid()), state)


class Walk(torch.autograd.Function):
    """h[t] = keep[t] h[t-1] + new[t]. The gradient walks back in the same way."""

    @staticmethod
    def forward(ctx: Any, keep: Tensor, new: Tensor, state: Tensor) -> Tensor:
        h = torch.empty_like(new)
        before = state
        for k, n, y in zip(keep.unbind(1), new.unbind(1), h.unbind(1), strict=True):
            before = torch.addcmul(n, k, before, out=y)
        ctx.save_for_backward(keep, h, state)
        return h

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (gradient,), (keep, h, state) = outer, ctx.saved_tensors
        new = gradient.clone()
        steps = new.unbind(1)
        for t in range(len(steps) - 1, 0, -1):
            steps[t - 1].addcmul_(keep[:, t], steps[t])
        before = torch.cat([state[:, None], h[:, :-1]], 1)
        return new * before, new, new[:, 0] * keep[:, 0]
