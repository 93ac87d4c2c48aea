"""Sequence to vector: read everything, then say one thing. A label, or a whole forecast at once."""

from __future__ import annotations

import math

import torch
from torch import nn

from seqtrain.backbones import State
from seqtrain.batch import Batch, Fixed, Reals, Source, Spec
from seqtrain.layers import Embedding, LockedDropout, Pooling
from seqtrain.models.base import Encoder, MakeBackbone, Model, Output


class ManyToOne(Model):
    """Pools a sequence into one vector and maps it to all scores of all positions.

    pooling: "last", what the backbone holds at the end (both ends where it reads both ways), "mean", "max" or
    "attention". Covariates of the outputs that are known in advance stand beside the pooled vector.
    """

    takes = (Source.MANY,)
    writes = (Fixed,)
    decodes = False

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
        pooling: str,
    ):
        super().__init__()
        assert spec.source is not None
        assert isinstance(spec.form, Fixed)
        self.spec = spec
        layers = backbone(
            input_size=embedding_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            dropout=dropout,
            causal=not bidirectional,
            summary_size=None,
        )
        embedding = Embedding(spec.source, embedding_size, dropout, word_dropout, scaled=False)
        self.encoder = Encoder(embedding, layers)
        self.pooling = None if pooling == "last" else Pooling(pooling, hidden_size)
        self.dropout = LockedDropout(dropout)
        self.covariates = math.prod(spec.inputs.shape) - spec.outputs if isinstance(spec.inputs, Reals) else 0
        width = hidden_size + self.covariates * spec.form.length
        self.scores = nn.Linear(width, spec.form.length * spec.outputs)

    def forward(self, batch: Batch, state: State = None) -> Output:
        assert batch.source_lengths is not None
        states = self.dropout(self.encoder(batch))
        if self.pooling is None:
            vector = self.encoder.summary(batch, states)  # (B, H)
        else:
            vector = self.pooling(states, batch.source_lengths)
        if self.covariates:
            assert batch.inputs is not None
            vector = torch.cat([vector, batch.inputs[..., self.spec.outputs :].flatten(1)], -1)
        scores = self.scores(vector).unflatten(1, (-1, self.spec.outputs))  # (B, T, O)
        return Output(batch.real(scores))
