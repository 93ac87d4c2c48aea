"""Sequence to sequence with all outputs at once (Lin et al. 2023, SegRNN, arXiv:2308.11200)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from seqtrain.contract import Batch, Fixed, Output, Reals, State
from seqtrain.layers import Embedding, Scores
from seqtrain.models.base import Encoder, Model, Parts


class Rectified(nn.Sequential):
    """A frontend and a rectifier behind it."""

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, x: Num[Tensor, "B S *F"], lengths: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B R E"], Int[Tensor, " B"]]:
        vectors, lengths = self[0](x, lengths)
        return torch.relu(vectors), lengths


class ParallelSeq2Seq(Model):
    """The encoder's summary starts every output position, each of which is a single step of the decoder: it reads a
    learned embedding of its place, and covariates that are known in advance, but no other output. Nothing feeds back,
    so no error adds up."""

    takes = ("a sequence",)
    writes = (Fixed,)
    decodes = False

    def __init__(self, parts: Parts, bidirectional: bool):
        super().__init__()
        self.spec, size = parts.spec, parts.embedding_size
        assert isinstance(self.spec.form, Fixed)
        encoder = parts.layers(causal=not bidirectional)
        self.encoder = Encoder(Rectified(parts.source(dropout=0.0)), encoder)
        self.places = nn.Parameter(torch.randn(self.spec.form.length, size))
        self.covariates = Embedding(Reals((self.spec.known,)), size, 0.0) if self.spec.known else None
        self.decoder = parts.layers(summary_size=parts.hidden_size)
        self.scores = Scores(parts.hidden_size, self.spec.likelihood.size, parts.dropout)

    def forward(self, batch: Batch, state: State = None) -> Output:
        """Each position is a sequence of one step. state: unused, nothing is carried on."""
        lengths = batch.source_lengths
        assert lengths is not None
        summary = self.encoder.summary(*self.encoder(batch.source, lengths))  # (B, H)
        inputs = self.inputs(batch)  # (B, T, E)
        steps = inputs.size(1)
        start = self.decoder.start(summary.repeat_interleave(steps, 0))
        hidden, _ = self.decoder(inputs.flatten(0, 1)[:, None], start)
        # One row for each position, sentence by sentence: all outputs have the same length, none is padded.
        return Output(self.scores(hidden[:, 0]), torch.full_like(lengths, steps))

    def inputs(self, batch: Batch) -> Float[Tensor, "B T E"]:
        places = self.places.expand(batch.size, -1, -1)
        if self.covariates is None:
            return places
        assert batch.inputs is not None
        return places + self.covariates(batch.inputs[..., -self.spec.known :])
