"""How one stack of layers walks a sequence: one file a backbone.

The contract, whatever the kind: `Backbone(input_size, hidden_size, num_layers, dropout, causal, summary_size)` with

    forward(x (B, T, I), state=None, lengths=None) -> (y (B, T, H), state)
    start(summary (B, summary_size)) -> state
    last(y, lengths) -> (B, H)

A causal stack goes on from the state that it returned, over any number of positions; the state is made of batch-first
tensors and is valid where all rows have full length. A stack that is not causal sees the whole sequence, needs
`lengths`, and has no state. `start` turns a vector into a state; `last` is the end of what the stack has read.
"""

from typing import Any, Protocol

from jaxtyping import Float, Int
from torch import Tensor

State = Any  # nested tuples of batch-first tensors; None at the beginning


class Backbone(Protocol):
    def __call__(
        self, x: Float[Tensor, "B T I"], state: State = None, lengths: Int[Tensor, " B"] | None = None
    ) -> tuple[Float[Tensor, "B T H"], State]: ...

    def start(self, summary: Float[Tensor, "B S"]) -> State: ...

    def last(self, y: Float[Tensor, "B T H"], lengths: Int[Tensor, " B"]) -> Float[Tensor, "B H"]: ...
