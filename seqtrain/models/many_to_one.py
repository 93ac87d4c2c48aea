"""Sequence to vector: read everything, then say one thing. A label, or a whole forecast at once."""

from __future__ import annotations

import torch
from torch import nn

from seqtrain.contract import Batch, Fixed, Output, State
from seqtrain.layers import LockedDropout, Pooling
from seqtrain.models.base import Model, Parts


class ManyToOne(Model):
    """Pools a sequence into one vector and maps it to all scores of all positions.

    Of a backbone that reads both ways, the last state is that of both ends. Covariates of the outputs that are known in
    advance stand beside the pooled vector.
    """

    takes = ("a sequence",)
    writes = (Fixed,)
    decodes = False

    def __init__(self, parts: Parts, word_dropout: float, bidirectional: bool, pooling: str):
        super().__init__()
        self.spec, form = parts.spec, parts.spec.form
        assert isinstance(form, Fixed)
        self.encoder = parts.encoder(bidirectional, word_dropout, scaled=False)
        self.pooling = None if pooling == "last" else Pooling(pooling, parts.hidden_size)
        self.dropout = LockedDropout(parts.dropout)
        width = parts.hidden_size + self.spec.known * form.length
        self.scores = nn.Linear(width, form.length * self.spec.likelihood.size)

    def forward(self, batch: Batch, state: State = None) -> Output:
        states, lengths = self.encoder(batch.source, batch.source_lengths)
        states = self.dropout(states)
        vector = self.encoder.summary(states, lengths) if self.pooling is None else self.pooling(states, lengths)
        if self.spec.known:
            assert batch.inputs is not None
            vector = torch.cat([vector, batch.inputs[..., -self.spec.known :].flatten(1)], -1)
        scores = self.scores(vector).unflatten(1, (-1, self.spec.likelihood.size))  # (B, T, O)
        return Output(scores.flatten(0, 1), torch.full_like(lengths, scores.size(1)))
