"""Recurrent layers that walk a single position in the fastest way; torch's own are made for whole sequences.

The ways of a step are "layer", torch's whole layer; "cell", torch's cell; and "folded", one product of the input and
the hidden vector side by side with all weights, and the gates that follow from its sums; also with weights "laid out".
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqtrain.machine import matmul
from seqtrain.machine.kernels import Kernels, Ways, like, sample
from seqtrain.machine.loops import Loop, Steps, try_loop
from seqtrain.machine.matmul import LaidOut, arithmetic, forget, laid_out

LayerState = tuple[Tensor, ...]  # (B, H) each: the hidden vector, for an LSTM also the cell
Weight = Float[Tensor, "G _"]
Bias = Float[Tensor, " G"]
Folded = tuple[Float[Tensor, "F C"], Float[Tensor, " F"]]
PRODUCTS = {"folded": "torch", "laid out": "laid out"}  # of a folded layer, as in matmul.WAYS


class Cell(nn.RNNBase):
    """One layer in one direction. parts: tensors that its state is made of."""

    parts: ClassVar[int] = 1
    weight_hh_l0: Tensor
    kernels: Kernels
    loop: Loop

    @staticmethod
    @abstractmethod
    def cell(x: Float[Tensor, "B I"], state: LayerState, weights: Sequence[Tensor]) -> LayerState:
        """A step by torch's own cell."""

    @staticmethod
    def fold(from_input: Weight, from_state: Weight, input_bias: Bias, state_bias: Bias) -> Folded:
        """One matrix and bias for the input and the hidden vector side by side."""
        return torch.cat([from_input, from_state], 1), input_bias + state_bias

    @staticmethod
    @abstractmethod
    def gate(sums: Float[Tensor, "B G"], state: LayerState) -> LayerState:
        """The state that follows from the sums that a folded layer makes."""

    def forward(self, input: Float[Tensor, "B T I"], hx: Any = None) -> tuple[Float[Tensor, "B T H"], Any]:
        if input.size(1) != 1:
            return super().forward(input, hx)
        if hx is None:
            hx = (self.weight_hh_l0.new_zeros(1, len(input), self.hidden_size),) * self.parts
        step = self.loop.of(self, lambda: self.steps(len(input))) or self.step(len(input))
        y, state = self.walk(step, input, tuple(part[0] for part in (hx if isinstance(hx, tuple) else (hx,))))
        hx = tuple(part[None] for part in state)
        return y, hx if self.parts > 1 else hx[0]

    def walk(
        self, step: Any, x: Float[Tensor, "B 1 I"], state: LayerState
    ) -> tuple[Float[Tensor, "B 1 H"], LayerState]:
        """A single position. step: "layer", "cell", or the product of the folded weights."""
        if step == "layer":
            hx = tuple(part[None] for part in state)
            y, last = super().forward(x, hx if self.parts > 1 else hx[0])
            return y, tuple(part[0] for part in (last if self.parts > 1 else (last,)))
        inputs = x[:, 0].to(state[0].dtype)
        if step == "cell":
            state = self.cell(inputs, state, self.weights())
        else:
            state = self.gate(step(torch.cat([inputs, state[0]], 1)), state)
        return state[0][:, None], state

    def step(self, rows: int) -> Any:
        """How a position is walked that stands alone."""
        rows, weights = like(rows), self.weights()
        if not torch.is_inference_mode_enabled():
            return self.choose("step in training", rows, self.ways()[:2], self.loops)
        way = self.choose("step", rows, self.ways(), self.single_steps)
        return laid_out(self, weights, lambda: self.fold(*weights), PRODUCTS[way]) if way in PRODUCTS else way

    def steps(self, rows: int) -> Steps | None:
        """How a loop over positions is walked that is trained; None: as positions that stand alone."""
        rows, ways = like(rows), self.ways()
        alone = self.choose("step in training", rows, ways[:2], self.loops)
        way = self.choose("steps of a loop", rows, (alone, *ways[2:]), self.loops)
        return Steps(*self.fold(*self.weights()), PRODUCTS[way]) if way in PRODUCTS else None

    def train(self, mode: bool = True) -> Cell:
        forget(self)
        return super().train(mode)

    def weights(self) -> list[Any]:
        return self._flat_weights  # as `all_weights` has them, without a search for each

    # ------------------------------------------------------------------------------------ what is tried

    def ways(self) -> tuple[str, ...]:
        products = matmul.ways(arithmetic(self.weight_hh_l0))
        return "layer", "cell", *(way for way, product in PRODUCTS.items() if product in products)

    def choose(self, what: str, rows: int, ways: tuple[str, ...], make: Any) -> str:
        dtype = str(arithmetic(self.weight_hh_l0)).removeprefix("torch.")
        work = f"{self.mode} {self.input_size} to {self.hidden_size}, {rows} rows, {dtype}: {what}"
        return self.kernels.choose(work, ways, lambda: make(rows, ways))

    def single_steps(self, rows: int, ways: tuple[str, ...]) -> Ways:
        x, state = self.samples(rows)
        dtype, folded = arithmetic(self.weight_hh_l0), self.fold(*self.weights())
        products = {way: LaidOut(*folded, dtype, PRODUCTS[way]) for way in ways if way in PRODUCTS}
        return {way: partial(self.walk, products.get(way, way), x, state) for way in ways}

    def loops(self, rows: int, ways: tuple[str, ...]) -> Ways:
        x, state = self.samples(rows)

        @torch.enable_grad()
        def attempt(way: str) -> None:
            step = Steps(*self.fold(*self.weights()), PRODUCTS[way]) if way in PRODUCTS else way
            try_loop(partial(self.walk, step), x.requires_grad_(), state, self.weights())

        return {way: partial(attempt, way) for way in ways}

    def samples(self, rows: int) -> tuple[Float[Tensor, "B 1 I"], LayerState]:
        return sample(rows, self.input_size)[:, None], (sample(rows, self.hidden_size),) * self.parts


class LSTM(Cell, nn.LSTM):  # pyright: ignore[reportIncompatibleMethodOverride]
    parts = 2

    @staticmethod
    def cell(x: Float[Tensor, "B I"], state: LayerState, weights: Sequence[Tensor]) -> LayerState:
        return torch.lstm_cell(x, state, *weights)

    @staticmethod
    def gate(sums: Float[Tensor, "B G"], state: LayerState) -> LayerState:
        hidden, cell = state
        size = hidden.size(1)
        opened, new, leave = sums.split([2 * size, size, size], 1)
        enter, forget = opened.sigmoid().chunk(2, 1)
        cell = torch.addcmul(cell * forget, enter, new.tanh())
        return leave.sigmoid() * cell.tanh(), cell


class GRU(Cell, nn.GRU):  # pyright: ignore[reportIncompatibleMethodOverride]
    @staticmethod
    def cell(x: Float[Tensor, "B I"], state: LayerState, weights: Sequence[Tensor]) -> LayerState:
        return (torch.gru_cell(x, state[0], *weights),)

    @staticmethod
    def fold(from_input: Weight, from_state: Weight, input_bias: Bias, state_bias: Bias) -> Folded:
        """The new values are made of two sums, of which the reset gate lies between: each reads its half only."""
        gates = 2 * from_state.size(1)
        first = torch.cat([from_input[:gates], from_state[:gates]], 1)
        new = torch.cat([from_input[gates:], torch.zeros_like(from_state[gates:])], 1)
        old = torch.cat([torch.zeros_like(from_input[gates:]), from_state[gates:]], 1)
        bias = torch.cat([input_bias[:gates] + state_bias[:gates], input_bias[gates:], state_bias[gates:]])
        return torch.cat([first, new, old]), bias

    @staticmethod
    def gate(sums: Float[Tensor, "B G"], state: LayerState) -> LayerState:
        (hidden,) = state
        size = hidden.size(1)
        opened, new, old = sums.split([2 * size, size, size], 1)
        reset, keep = opened.sigmoid().chunk(2, 1)
        new = torch.addcmul(new, reset, old).tanh()
        return (torch.addcmul(new, keep, hidden - new),)


class RNN(Cell, nn.RNN):  # pyright: ignore[reportIncompatibleMethodOverride]
    @staticmethod
    def cell(x: Float[Tensor, "B I"], state: LayerState, weights: Sequence[Tensor]) -> LayerState:
        return (torch.rnn_tanh_cell(x, state[0], *weights),)

    @staticmethod
    def gate(sums: Float[Tensor, "B G"], state: LayerState) -> LayerState:
        return (sums.tanh(),)
