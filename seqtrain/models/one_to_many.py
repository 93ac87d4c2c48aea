"""Vector to sequence: a language model, from nothing or from one thing that says what the text shall be."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float, Num
from torch import Tensor

from seqtrain.backbones import State
from seqtrain.batch import Batch, Fixed, Free, Source, Spec
from seqtrain.layers import Embedding, LockedDropout, Scores
from seqtrain.models.base import Generator, MakeBackbone, tied_table


class OneToMany(Generator):
    """A causal stack over its own outputs; a single input, where there is one, becomes the state it starts from."""

    takes = (Source.NONE, Source.ONE)
    writes = (Fixed, Free)

    def __init__(
        self,
        spec: Spec,
        backbone: MakeBackbone,
        embedding_size: int,
        hidden_size: int,
        num_layers: int,
        dropout: float,
        word_dropout: float,
        tie_embeddings: bool,
        teacher_forcing: float,
    ):
        super().__init__()
        assert spec.inputs is not None
        self.spec = spec
        self.teacher_forcing = teacher_forcing
        self.source = None if spec.source is None else Embedding(spec.source, embedding_size, dropout)
        self.embedding = Embedding(spec.inputs, embedding_size, dropout, word_dropout)
        self.backbone = backbone(
            input_size=embedding_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            dropout=dropout,
            causal=True,
            summary_size=None if spec.source is None else embedding_size,
        )
        self.dropout = LockedDropout(dropout)
        table = tied_table(tie_embeddings, self.embedding.map, spec)
        self.output = Scores(hidden_size, spec.outputs, 0.0, table)

    def start(self, batch: Batch) -> tuple[Any, State]:
        if self.source is None:
            return None, None
        return None, self.backbone.start(self.source(batch.source)[:, 0])

    def decode(self, inputs: Num[Tensor, "B T *F"], state: State, memory: Any) -> tuple[Float[Tensor, "B T H"], State]:
        hidden, state = self.backbone(self.embedding(inputs), state)
        return self.dropout(hidden), state
