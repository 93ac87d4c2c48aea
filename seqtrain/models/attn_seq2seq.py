"""Sequence to sequence with attention: each step looks back at every position of the source."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor

from seqtrain.backbones import State
from seqtrain.batch import Batch, Fixed, Free, Source, Spec
from seqtrain.layers import Attention, Embedding, LockedDropout, Memory, Scores
from seqtrain.models.base import Encoder, Generator, MakeBackbone, tied_table
from seqtrain.products import Linear, stepping


class AttnSeq2Seq(Generator):
    """A lower decoder layer asks, attention answers, both make the attentional vector tanh(W[context; hidden]) (Luong
    et al. 2015, arXiv:1508.04025), and the remaining layers walk over it: with two layers or more, what was attended to
    is remembered, and yet a whole sequence is one call a layer. The attentional vector is also added to their output
    (He et al. 2016, arXiv:1512.03385): attention is learned several times sooner.

    input_feeding: the attentional vector is also read at the next step, which makes decoding a loop (ibid.).
    """

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
        attention: str,
        heads: int,
        input_feeding: bool,
    ):
        super().__init__()
        assert spec.source is not None
        assert spec.inputs is not None
        self.spec = spec
        self.teacher_forcing = teacher_forcing
        self.input_feeding = input_feeding
        self.hidden_size = hidden_size
        sizes: dict[str, Any] = {"hidden_size": hidden_size, "dropout": dropout}
        encoder = backbone(
            input_size=embedding_size, num_layers=num_layers, causal=not bidirectional, summary_size=None, **sizes
        )
        self.embedding = Embedding(spec.inputs, embedding_size, dropout, word_dropout)
        shared = tie_embeddings and spec.one_vocab
        self.encoder = Encoder(
            self.embedding if shared else Embedding(spec.source, embedding_size, dropout, word_dropout), encoder
        )
        sizes |= {"causal": True, "summary_size": hidden_size}
        fed = hidden_size if input_feeding else 0
        self.lower = backbone(input_size=embedding_size + fed, num_layers=1, **sizes)
        self.attention = Attention(attention, hidden_size, heads)
        self.combine = Linear(2 * hidden_size, hidden_size)
        self.upper = backbone(input_size=hidden_size, num_layers=num_layers - 1, **sizes) if num_layers > 1 else None
        self.dropout = LockedDropout(dropout)
        self.output = Scores(hidden_size, spec.outputs, 0.0, tied_table(tie_embeddings, self.embedding.map, spec))

    def start(self, batch: Batch) -> tuple[Memory, State]:
        assert batch.source_lengths is not None
        states = self.encoder(batch)
        summary = self.encoder.summary(batch, states)
        fed = summary.new_zeros(len(summary), 1, self.hidden_size) if self.input_feeding else None
        upper = self.upper.start(summary) if self.upper else None
        return self.attention.memory(self.dropout(states), batch.source_lengths), (
            self.lower.start(summary),
            upper,
            fed,
        )

    def decode(
        self, inputs: Num[Tensor, "B T *F"], state: State, memory: Memory
    ) -> tuple[Float[Tensor, "B T H"], State]:
        (lower, upper, fed), embedded = state, self.embedding(inputs)
        if self.input_feeding:
            steps = []
            with stepping(self.lower, self.combine) if len(embedded[0]) > 1 else nullcontext():
                for step in embedded.split(1, 1):
                    fed, lower, _ = self.attend(torch.cat([step, fed], -1), lower, memory)
                    steps.append(fed)
            attentional = torch.cat(steps, 1)
        else:
            attentional, lower, _ = self.attend(embedded, lower, memory)
        if self.upper is None:
            return self.dropout(attentional), (lower, upper, fed)
        hidden, upper = self.upper(self.dropout(attentional), upper)
        return self.dropout(attentional + hidden), (lower, upper, fed)

    def attend(
        self, x: Float[Tensor, "B T I"], lower: State, memory: Memory
    ) -> tuple[Float[Tensor, "B T H"], State, Float[Tensor, "B T S"]]:
        """The lower layer and its attention: attentional vectors, state, and the weights given to the source."""
        query, lower = self.lower(x, lower)
        context, weights = self.attention(query, memory)
        return torch.tanh(self.combine(torch.cat([context, query], -1))), lower, weights

    def align(self, batch: Batch) -> Float[Tensor, "B T S"]:
        memory, (lower, _, fed) = self.start(batch)
        rows = []
        for step in self.embedding(batch.inputs).split(1, 1):
            fed, lower, weights = self.attend(step if fed is None else torch.cat([step, fed], -1), lower, memory)
            fed = fed if self.input_feeding else None
            rows.append(weights)
        return torch.cat(rows, 1)
