"""Sequence to sequence through one vector (Sutskever et al. 2014, arXiv:1409.3215; Cho et al. 2014,
arXiv:1406.1078)."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float, Num
from torch import Tensor

from seqtrain.backbones import State
from seqtrain.batch import Batch, Fixed, Free, Source, Spec
from seqtrain.layers import Embedding, LockedDropout, Scores
from seqtrain.models.base import Encoder, Generator, MakeBackbone, tied_table


class Seq2Seq(Generator):
    """The encoder's summary of the source starts the decoder; nothing else passes from one to the other."""

    takes = (Source.MANY,)
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
        bidirectional: bool,
        tie_embeddings: bool,
        teacher_forcing: float,
    ):
        super().__init__()
        assert spec.source is not None
        assert spec.inputs is not None
        self.spec = spec
        self.teacher_forcing = teacher_forcing
        sizes: dict[str, Any] = {"hidden_size": hidden_size, "num_layers": num_layers, "dropout": dropout}
        encoder = backbone(input_size=embedding_size, causal=not bidirectional, summary_size=None, **sizes)
        self.embedding = Embedding(spec.inputs, embedding_size, dropout, word_dropout)
        shared = tie_embeddings and spec.one_vocab
        self.encoder = Encoder(
            self.embedding if shared else Embedding(spec.source, embedding_size, dropout, word_dropout), encoder
        )
        self.decoder = backbone(input_size=embedding_size, causal=True, summary_size=hidden_size, **sizes)
        self.dropout = LockedDropout(dropout)
        self.output = Scores(hidden_size, spec.outputs, 0.0, tied_table(tie_embeddings, self.embedding.map, spec))

    def start(self, batch: Batch) -> tuple[Any, State]:
        return None, self.decoder.start(self.encoder.summary(batch, self.encoder(batch)))

    def decode(self, inputs: Num[Tensor, "B T *F"], state: State, memory: Any) -> tuple[Float[Tensor, "B T H"], State]:
        hidden, state = self.decoder(self.embedding(inputs), state)
        return self.dropout(hidden), state
