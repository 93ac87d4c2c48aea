"""The cross-entropy of many classes, faster than torch's own on a CPU."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqtrain.likelihoods import categorical
from seqtrain.machine.kernels import Kernels, Ways, like, sample
from seqtrain.machine.matmul import with_room


def fastest_cross_entropy(
    kernels: Kernels, scores: Float[Tensor, "N O"], target: Int[Tensor, " N"], smoothing: float
) -> Float[Tensor, " N"]:
    """As `likelihoods.categorical.cross_entropy`, while it is trained by what is faster with the gradient."""
    if torch.is_grad_enabled() and scores.requires_grad:
        rows, size, dtype = like(len(scores)), scores.size(1), scores.dtype
        work = f"cross-entropy of {size} classes, {rows} rows, {str(dtype).removeprefix('torch.')}"
        if kernels.choose(work, ("torch", "fused"), lambda: candidates(rows, size, dtype)) == "fused":
            return cross_entropy(scores, target, smoothing)
    return categorical.cross_entropy(scores, target, smoothing)


def cross_entropy(scores: Float[Tensor, "N O"], target: Int[Tensor, " N"], smoothing: float) -> Float[Tensor, " N"]:
    """As `likelihoods.categorical.cross_entropy`."""
    return CrossEntropy.apply(scores, target, smoothing)


def candidates(rows: int, size: int, dtype: torch.dtype) -> Ways:
    """The ways to be timed: each takes the loss and its gradient of as many scores, all with the same value."""
    scores, target = sample(rows, size).to(dtype).requires_grad_(), torch.arange(rows) % size

    @torch.enable_grad()
    def loss_and_gradient(way: Any) -> None:
        torch.autograd.grad(way(scores, target, smoothing=0.0).sum(), scores)

    ways = {"torch": categorical.cross_entropy, "fused": cross_entropy}
    return {name: partial(loss_and_gradient, way) for name, way in ways.items()}


class CrossEntropy(torch.autograd.Function):
    """Some rows at a time, and with them their gradient, while they are in the processor's cache. torch's own goes over
    all scores several times, in new memory each time.
    """

    CHUNK = 2**19  # scores, 2 MB

    @staticmethod
    def forward(ctx: Any, scores: Tensor, target: Tensor, smoothing: float) -> Tensor:
        loss = torch.empty(len(scores))
        gradient = with_room(scores) if ctx.needs_input_grad[0] else None
        size = scores.size(1)
        rows = max(1, CrossEntropy.CHUNK // size)
        for start in range(0, len(scores), rows):
            some, places = scores[start : start + rows].float(), target[start : start + rows, None]
            true, highest = some.gather(1, places), some.amax(1, keepdim=True)
            nats = (highest - true)[:, 0]
            if smoothing:
                nats += smoothing * (true[:, 0] - some.sum(1) / size)
            place = None if gradient is None or gradient.dtype != some.dtype else gradient[start : start + rows]
            probabilities = torch.softmax(some, 1, out=place)
            # the highest score has the probability 1 / sum(exp(score - highest))
            loss[start : start + rows] = nats - probabilities.amax(1).log()
            if gradient is not None:
                if smoothing:
                    probabilities -= smoothing / size
                probabilities.scatter_add_(1, places, torch.full_like(true, smoothing - 1))
                if place is None:
                    gradient[start : start + rows] = probabilities
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None]:
        (gradient,), (weight,) = ctx.saved_tensors, outer
        if not (weight == 1).all():  # as a rule it is
            gradient = gradient * weight[:, None].to(gradient.dtype)
        return gradient, None, None
