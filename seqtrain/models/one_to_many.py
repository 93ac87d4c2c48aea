"""Vector to sequence: a language model, from nothing or from one thing that says what the text shall be."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float, Int, Num
from torch import Tensor

from seqtrain.contract import Fixed, Free, State
from seqtrain.layers import LockedDropout
from seqtrain.models.base import Generator, Parts


class OneToMany(Generator):
    """A causal stack over its own outputs; a single input, where there is one, becomes the state it starts from."""

    takes = ("nothing", "a single input")
    writes = (Fixed, Free)

    def __init__(self, parts: Parts, word_dropout: float, tie_embeddings: bool, teacher_forcing: float):
        super().__init__()
        self.spec = parts.spec
        self.teacher_forcing = teacher_forcing
        self.source = None if self.spec.source is None else parts.source(parts.dropout)
        self.embedding = parts.inputs(word_dropout)
        self.backbone = parts.layers(summary_size=None if self.source is None else parts.embedding_size)
        self.dropout = LockedDropout(parts.dropout)
        self.output = parts.scores(self.embedding if tie_embeddings else None)

    def start(self, source: Num[Tensor, "B S *F"] | None, lengths: Int[Tensor, " B"] | None) -> tuple[Any, State]:
        if self.source is None:
            return None, None
        return None, self.backbone.start(self.source(source, lengths)[0][:, 0])

    def decode(self, inputs: Num[Tensor, "B T *F"], state: State, memory: Any) -> tuple[Float[Tensor, "B T H"], State]:
        hidden, state = self.backbone(self.embedding(inputs), state)
        return self.dropout(hidden), state
