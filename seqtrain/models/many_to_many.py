"""Sequence to sequence, position by position: a tagger, or a recogniser whose likelihood aligns its outputs."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn

from seqtrain.contract import Aligned, Batch, Free, Likelihood, Output, Spec, State, real
from seqtrain.layers import LockedDropout
from seqtrain.likelihoods.ctc import Ctc
from seqtrain.models.base import Model, Parts


class ManyToMany(Model):
    """Scores each position of the source, knowing what stands on both sides of it, or only before it.

    With a likelihood that aligns itself, the output may be shorter than the source, or longer: upsample makes several
    positions out of each that the backbone has walked, by a linear map (Libovický & Helcl 2018, arXiv:1811.04719).
    """

    takes = ("a sequence",)
    writes = (Aligned, Free)
    decodes = False
    aligns = True

    def __init__(self, parts: Parts, word_dropout: float, bidirectional: bool, upsample: int):
        super().__init__()
        self.spec, hidden_size = parts.spec, parts.hidden_size
        self.encoder = parts.encoder(bidirectional, word_dropout)
        self.dropout = LockedDropout(parts.dropout)
        self.upsample = upsample if self.spec.likelihood.aligns else 1
        self.split = nn.Linear(hidden_size, self.upsample * hidden_size) if self.upsample > 1 else None
        self.scores = parts.scores()

    @classmethod
    def refuse(cls, spec: Spec) -> str | None:
        if isinstance(spec.form, Free) and not spec.likelihood.aligns:
            return f"it writes {Aligned()}, or {spec.form} where the likelihood aligns it, which this one does not"
        return super().refuse(spec)

    @classmethod
    def likelihood(cls, spec: Spec) -> Likelihood:
        """Of ids that end by themselves, one that aligns them."""
        free = isinstance(spec.form, Free) and spec.likelihood.values == "ids"
        return Ctc(spec.likelihood.outputs) if free else spec.likelihood

    def room(self, lengths: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
        return self.upsample * self.encoder.left(lengths)

    def align(self, batch: Batch) -> Float[Tensor, "B T R"] | None:
        likelihood = self.spec.likelihood
        return likelihood.align(self(batch), batch) if isinstance(likelihood, Ctc) else None

    def forward(self, batch: Batch, state: State = None) -> Output:
        states, lengths = self.encoder(batch.source, batch.source_lengths)
        states = self.dropout(states)
        if self.split is not None:
            states = self.split(states).unflatten(2, (self.upsample, -1)).flatten(1, 2).relu()
            lengths = lengths * self.upsample
        return Output(self.scores(real(states, lengths)), lengths)
