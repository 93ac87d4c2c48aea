"""Sequence to sequence with all outputs at once (Lin et al. 2023, SegRNN, arXiv:2308.11200)."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqtrain.backbones import State
from seqtrain.batch import Batch, Fixed, Reals, Source, Spec
from seqtrain.layers import Embedding, Scores
from seqtrain.models.base import Encoder, MakeBackbone, Model, Output


class ParallelSeq2Seq(Model):
    """The encoder's summary starts every output position, each of which is a single step of the decoder: it reads a
    learned embedding of its place, and covariates that are known in advance, but no other output. Nothing feeds back,
    so no error adds up."""

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
        bidirectional: bool,
    ):
        super().__init__()
        assert spec.source is not None
        assert isinstance(spec.form, Fixed)
        self.spec = spec
        sizes: dict[str, Any] = {"input_size": embedding_size, "hidden_size": hidden_size, "num_layers": num_layers}
        encoder = backbone(causal=not bidirectional, summary_size=None, dropout=dropout, **sizes)
        self.encoder = Encoder(nn.Sequential(Embedding(spec.source, embedding_size, 0.0), nn.ReLU()), encoder)
        self.places = nn.Parameter(torch.randn(spec.form.length, embedding_size))
        covariates = math.prod(spec.inputs.shape) - spec.outputs if isinstance(spec.inputs, Reals) else 0
        self.covariates = Embedding(Reals((covariates,)), embedding_size, 0.0) if covariates else None
        self.decoder = backbone(causal=True, summary_size=hidden_size, dropout=dropout, **sizes)
        self.scores = Scores(hidden_size, spec.outputs, dropout)

    def forward(self, batch: Batch, state: State = None) -> Output:
        summary = self.encoder.summary(batch, self.encoder(batch))  # (B, H)
        inputs = self.inputs(batch)  # (B, T, E)
        steps = inputs.size(1)
        start = self.decoder.start(summary.repeat_interleave(steps, 0))
        hidden, _ = self.decoder(inputs.flatten(0, 1)[:, None], start)
        return Output(self.scores(batch.real(hidden.view(len(summary), steps, -1))))

    def inputs(self, batch: Batch) -> Float[Tensor, "B T E"]:
        places = self.places.expand(len(batch.target), -1, -1)
        if self.covariates is None:
            return places
        assert batch.inputs is not None
        return places + self.covariates(batch.inputs[..., self.spec.outputs :])
