"""A linear map that takes the fastest way, for its size and the number of rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from seqtrain.machine import matmul
from seqtrain.machine.kernels import Kernels, Ways, like, sample
from seqtrain.machine.loops import Loop, Steps, try_loop
from seqtrain.machine.matmul import (
    ByOneDNN,
    LaidOut,
    Product,
    arithmetic,
    forget,
    gradient_of_weight,
    laid_out,
    product,
)

LARGE = 2**17  # weights; below it, the call itself takes longer than the product


class Linear(nn.Linear):
    """What `accelerate` makes of an nn.Linear."""

    kernels: Kernels
    loop: Loop

    def forward(self, input: Float[Tensor, "*N I"]) -> Float[Tensor, "*N O"]:
        if input.ndim == 3 and input.size(1) == 1 and (steps := self.loop.of(self, lambda: self.steps(len(input)))):
            return steps(input)
        ways = matmul.ways(arithmetic(self.weight))
        if self.weight.numel() < LARGE or input.ndim == 1 or len(ways) == 1:
            return super().forward(input)
        rows = like(input.shape[:-1].numel())
        return (self.in_inference if torch.is_inference_mode_enabled() else self.in_training)(input, rows)

    def in_inference(self, input: Float[Tensor, "*N I"], rows: int) -> Float[Tensor, "*N O"]:
        """By the fastest way for so many rows, weights laid out for oneDNN among them."""
        way = self.choose("product", rows, matmul.WAYS, lambda: self.products(rows, matmul.WAYS))
        if way == "torch":
            return super().forward(input)
        weights = (self.weight, self.bias)
        return laid_out(self, weights, lambda: weights, way)(input)

    def in_training(self, input: Float[Tensor, "*N I"], rows: int) -> Float[Tensor, "*N O"]:
        """Three choices, by torch or by oneDNN: of the product itself, and of the gradients of the input and of the
        weight. Each is measured the first time that so many rows come."""
        ways = matmul.TRAINED
        tried = {
            "product in training": lambda: self.products(rows, ways),
            "gradient of the input": lambda: self.gradients_of_input(rows),
            "gradient of the weight": lambda: self.gradients_of_weight(rows),
        }
        by_onednn = ByOneDNN(*(self.choose(what, rows, ways, make) == "oneDNN" for what, make in tried.items()))
        if not any(by_onednn):
            return super().forward(input)
        dtype = arithmetic(self.weight)
        bias = None if self.bias is None else self.bias.to(dtype)
        return Product.apply(input.to(dtype), self.weight.to(dtype), bias, by_onednn)

    def steps(self, rows: int) -> Steps | None:
        """Where it is called once for each position while it is trained."""
        ways = ("layer", *(way for way in matmul.ways(arithmetic(self.weight)) if way != "oneDNN"))
        way = self.choose("steps of a loop", like(rows), ways, lambda: self.loops(like(rows), ways))
        return None if way == "layer" else Steps(self.weight, self.bias, way)

    def train(self, mode: bool = True) -> Linear:
        forget(self)
        return super().train(mode)

    # ------------------------------------------------------------------------------------ what is tried

    def choose(self, what: str, rows: int, ways: tuple[str, ...], make: Callable[[], Ways]) -> str:
        dtype = str(arithmetic(self.weight)).removeprefix("torch.")
        work = f"linear {self.in_features} to {self.out_features}, {rows} rows, {dtype}: {what}"
        return self.kernels.choose(work, ways, make)

    def products(self, rows: int, ways: tuple[str, ...]) -> Ways:
        x, dtype = sample(rows, self.in_features), arithmetic(self.weight)
        made: dict[str, LaidOut] = {way: LaidOut(self.weight, self.bias, dtype, way) for way in ways[1:]}
        return {"torch": lambda: F.linear(x, self.weight, self.bias)} | {
            way: partial(map, x) for way, map in made.items()
        }

    def gradients_of_input(self, rows: int) -> Ways:
        dtype = arithmetic(self.weight)
        gradient, weight = sample(rows, self.out_features).to(dtype), self.weight.to(dtype)
        return {"torch": lambda: gradient @ weight, "oneDNN": lambda: product(gradient, weight.t(), None)}

    def gradients_of_weight(self, rows: int) -> Ways:
        dtype = arithmetic(self.weight)
        gradient, x = sample(rows, self.out_features).to(dtype), sample(rows, self.in_features).to(dtype)
        return {way: partial(gradient_of_weight, gradient, x, way == "oneDNN") for way in matmul.TRAINED}

    def loops(self, rows: int, ways: tuple[str, ...]) -> Ways:
        x = sample(rows, self.in_features)[:, None].requires_grad_()
        weights = list(self.parameters())

        @torch.enable_grad()
        def attempt(way: str) -> None:
            step = super(Linear, self).forward if way == "layer" else Steps(self.weight, self.bias, way)
            try_loop(lambda x, state: (step(x), state), x, None, weights)

        return {way: partial(attempt, way) for way in ways}
