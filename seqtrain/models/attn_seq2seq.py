"""Sequence to sequence with attention: each step looks back at every position of the source."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from seqtrain.config import UserError
from seqtrain.contract import Batch, Fixed, Free, State
from seqtrain.layers import Attended, AttendedScores, Attention, AttentionLayer, Copying, LockedDropout, Memory
from seqtrain.models.base import Generator, Parts
from seqtrain.trees import join


class AttnSeq2Seq(Generator):
    """A lower decoder layer asks, attention answers, both make the attentional vector tanh(W[context; hidden]) (Luong
    et al. 2015, arXiv:1508.04025), and the remaining layers walk over it: with two layers or more, what was attended to
    is remembered, and yet a whole sequence is one call a layer. The attentional vector is also added to their output
    (He et al. 2016, arXiv:1512.03385): attention is learned several times sooner. With `input_feeding` (Luong et al.)
    the next step reads the attentional vector too, and with `coverage` (See et al. 2017, arXiv:1704.04368) attention
    knows what it has looked at: either makes decoding a loop. With `copy`, items of the source can be written.

    So it is with `attend=first`. With `every`, each decoder layer asks for itself and adds the answer to its vectors,
    as in the Transformer (Vaswani et al. 2017, arXiv:1706.03762); all of them are the lower stack then.
    """

    takes = ("a sequence",)
    writes = (Fixed, Free)
    attends = True

    def __init__(
        self,
        parts: Parts,
        word_dropout: float,
        bidirectional: bool,
        tie_embeddings: bool,
        teacher_forcing: float,
        attention: str,
        heads: int,
        attend: str,
        input_feeding: bool,
        copy: bool | None,
        coverage: float,
    ):
        super().__init__()
        if copy and not parts.spec.one_vocab:
            raise UserError("model.copy=true needs one vocabulary for source and target: task.joint_vocab=true")
        self.spec = parts.spec
        self.teacher_forcing = teacher_forcing
        self.input_feeding = input_feeding
        self.coverage = coverage
        self.hidden_size = size = parts.hidden_size
        self.embedding = parts.inputs(word_dropout)
        self.encoder = parts.encoder(bidirectional, word_dropout)
        shortens = self.encoder.embedding.shortens
        if copy and shortens:
            raise UserError("model.copy=true needs each position of the source: frontend=embedding keeps them")
        self.copy = self.spec.copies and not shortens if copy is None else copy
        if tie_embeddings and self.spec.one_vocab:
            self.encoder.embedding.map = self.embedding.map
        every = attend == "every"
        lower, upper = (parts.num_layers, 0) if every else (1, parts.num_layers - 1)
        read = parts.embedding_size + (size if input_feeding else 0)
        self.lower = parts.layers(summary_size=size, input_size=read, num_layers=lower)
        self.upper = parts.layers(summary_size=size, input_size=size, num_layers=upper) if upper else None
        looks = (AttentionLayer(attention, size, heads, parts.dropout, coverage > 0) for _ in range(lower))
        self.every = nn.ModuleList(looks) if every else None
        if not every:
            self.attention = Attention(attention, size, heads, coverage > 0)
            self.combine = nn.Linear(2 * size, size)
        self.dropout = LockedDropout(parts.dropout)
        self.output = parts.scores(self.embedding if tie_embeddings else None, Copying if self.copy else AttendedScores)

    @property
    def loops(self) -> bool:
        return super().loops or self.input_feeding or self.coverage > 0

    def start(self, source: Num[Tensor, "B S *F"], lengths: Int[Tensor, " B"]) -> tuple[tuple[Memory, ...], State]:
        ids = source if self.copy else None
        states, lengths = self.encoder(source, lengths)
        summary = self.encoder.summary(states, lengths)
        fed = summary.new_zeros(summary.size(0), 1, self.hidden_size) if self.input_feeding else None
        seen = summary.new_zeros(summary.size(0), 1, states.size(1)) if self.coverage else None
        upper = self.upper.start(summary) if self.upper else None
        states = self.dropout(states)
        looks: Any = [self.attention] if self.every is None else self.every
        memory = tuple(look.memory(states, lengths, ids) for look in looks)
        return memory, (self.lower.start(summary), upper, fed, seen)

    def decode(self, inputs: Num[Tensor, "B T *F"], state: State, memory: tuple[Memory, ...]) -> tuple[Attended, State]:
        (lower, upper, fed, seen), embedded = state, self.embedding(inputs)
        at_once, steps = fed is None and seen is None, []
        for step in [embedded] if at_once else embedded.split(1, 1):
            x = step if fed is None else torch.cat([step, fed], -1)
            attentional, lower, weights = self.attend(x, lower, memory, seen)
            steps.append((attentional, weights))
            fed = None if fed is None else attentional
            seen = None if seen is None else seen + weights
        attentional, weights = steps[0] if at_once else join(steps, 1)
        hidden = self.dropout(attentional)
        if self.upper is not None:
            walked, upper = self.upper(hidden, upper)
            hidden = self.dropout(attentional + walked)
        ids = memory[0].ids
        if ids is not None:  # of each hypothesis, at each step
            ids = ids.repeat_interleave(weights.size(0) // ids.size(0), 0)[:, None].expand_as(weights)
        return Attended(hidden, weights, ids), (lower, upper, fed, seen)

    def attend(
        self, x: Float[Tensor, "B T I"], lower: State, memory: tuple[Memory, ...], seen: Float[Tensor, "B T S"] | None
    ) -> tuple[Float[Tensor, "B T H"], State, Float[Tensor, "B T S"]]:
        """The lower layer and its attention: attentional vectors, state, and the weights given to the source:
        their mean over several layers."""
        if self.every is not None:
            looks, given = self.every, []

            def look(i: int, hidden: Tensor) -> Tensor:
                hidden, weights = looks[i](hidden, memory[i], seen)
                given.append(weights)
                return hidden

            hidden, lower = self.lower(x, lower, attend=look)
            return hidden, lower, torch.stack(given).mean(0)
        query, lower = self.lower(x, lower)
        context, weights = self.attention(query, memory[0], seen)
        return torch.tanh(self.combine(torch.cat([context, query], -1))), lower, weights

    def penalty(self, hidden: Attended, batch: Batch) -> Tensor | None:
        """What is looked at again (See et al. 2017): at each step the smaller one of the weight of a position now and
        of its weights before, summed over positions."""
        if not self.coverage:
            return None
        before = hidden.weights.cumsum(1) - hidden.weights
        return self.coverage * batch.real(torch.minimum(hidden.weights, before)).sum(-1).mean()

    def align(self, batch: Batch) -> Float[Tensor, "B T R"] | None:
        return self.attended(batch).weights

    def attended(self, batch: Batch) -> Attended:
        """What a batch is decoded to."""
        assert batch.source is not None
        assert batch.source_lengths is not None
        assert batch.inputs is not None
        memory, state = self.start(batch.source, batch.source_lengths)
        return self.decode(batch.inputs, state, memory)[0]

    def copied(self, batch: Batch) -> Float[Tensor, "B T"] | None:
        if not isinstance(self.output, Copying):
            return None
        assert batch.target is not None
        return self.output.copied(self.attended(batch), batch.target)
