"""Sequence to sequence through one vector (Sutskever et al. 2014, arXiv:1409.3215; Cho et al. 2014,
arXiv:1406.1078)."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float, Int, Num
from torch import Tensor

from seqtrain.contract import Fixed, Free, State
from seqtrain.layers import LockedDropout
from seqtrain.models.base import Generator, Parts


class Seq2Seq(Generator):
    """The encoder's summary of the source starts the decoder; nothing else passes from one to the other."""

    takes = ("a sequence",)
    writes = (Fixed, Free)

    def __init__(
        self, parts: Parts, word_dropout: float, bidirectional: bool, tie_embeddings: bool, teacher_forcing: float
    ):
        super().__init__()
        self.spec = parts.spec
        self.teacher_forcing = teacher_forcing
        self.embedding = parts.inputs(word_dropout)
        self.encoder = parts.encoder(bidirectional, word_dropout)
        if tie_embeddings and self.spec.one_vocab:
            self.encoder.embedding.map = self.embedding.map
        self.decoder = parts.layers(summary_size=parts.hidden_size)
        self.dropout = LockedDropout(parts.dropout)
        self.output = parts.scores(self.embedding if tie_embeddings else None)

    def start(self, source: Num[Tensor, "B S *F"], lengths: Int[Tensor, " B"]) -> tuple[Any, State]:
        return None, self.decoder.start(self.encoder.summary(*self.encoder(source, lengths)))

    def decode(self, inputs: Num[Tensor, "B T *F"], state: State, memory: Any) -> tuple[Float[Tensor, "B T H"], State]:
        hidden, state = self.decoder(self.embedding(inputs), state)
        return self.dropout(hidden), state
