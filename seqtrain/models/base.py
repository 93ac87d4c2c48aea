"""What every model is: what it takes and writes, and what the generative ones share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from seqtrain.contract import (
    Aligned,
    Backbone,
    Batch,
    Fixed,
    Likelihood,
    MakeBackbone,
    MakeFrontend,
    Output,
    Spec,
    State,
    Tokens,
)
from seqtrain.layers import Embedding, Scores
from seqtrain.trees import join, map_tensors


class Model(nn.Module):
    """takes and writes say which forms of data the model is made for (`Spec.incoming`, `Spec.form`); `decodes`, whether
    it reads its own outputs; `aligns`, whether it leaves it to the likelihood which of its positions is which output;
    `attends`, whether `align` can say where it looks; `upsample`, how many positions it makes of each that the frontend
    leaves.
    """

    spec: Spec
    takes: ClassVar[tuple[str, ...]]
    writes: ClassVar[tuple[type, ...]]
    decodes: ClassVar[bool]
    aligns: ClassVar[bool] = False
    attends: ClassVar[bool] = False
    upsample: int = 1

    @classmethod
    def refuse(cls, spec: Spec) -> str | None:
        """Why this model cannot work with such data, or None. Sizes do not matter."""
        if spec.likelihood.aligns and not cls.aligns:
            return "it says itself which position comes when, and the likelihood aligns positions by itself"
        if spec.likelihood.joint and not isinstance(spec.form, Aligned):
            return f"the likelihood weighs neighbouring positions together, of {Aligned()}"
        if spec.incoming not in cls.takes:
            return f"it takes {' or '.join(cls.takes)}, not {spec.incoming}"
        if not isinstance(spec.form, cls.writes):
            return f"it writes {' or '.join(str(form()) for form in cls.writes)}, not {spec.form}"
        if cls.decodes and spec.inputs is None:
            return "it writes step by step and reads what it wrote, for which a class label has no use"
        return None

    @classmethod
    def likelihood(cls, spec: Spec) -> Likelihood:
        """What its scores mean where no likelihood is chosen: as a rule what the task says."""
        return spec.likelihood

    @property
    def loops(self) -> bool:
        """Whether training calls the layers of its decoder once for each position."""
        return False

    @abstractmethod
    def forward(self, batch: Batch, state: State = None) -> Output:
        """The scores of the batch's real target positions."""

    def room(self, lengths: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
        """How many positions it scores of sources of such lengths, where the likelihood aligns them."""
        return lengths

    def align(self, batch: Batch) -> Float[Tensor, "B T R"] | None:
        """How much each output position belongs to each source position that the frontend has left, where the model can
        tell."""
        return None

    def copied(self, batch: Batch) -> Float[Tensor, "B T"] | None:
        """How probable it is that each target item was copied from the source, where the model can copy."""
        return None


class Generator(Model):
    """A model that writes step by step, in three short methods:

        start(source, lengths)          -> (memory, state)
        decode(inputs, state, memory)   -> (hidden (B, T, H), state), any T
        output(hidden)                  -> scores

    All of these are tensors, or trees of them: what `output` needs beside hidden vectors goes with them. memory belongs
    to the source and stays as it is; state belongs to a hypothesis, goes in and comes out.

    While training, a share `teacher_forcing` of the steps reads the true output of the step before, the others the
    model's own (Bengio et al. 2015, arXiv:1506.03099). Otherwise an output of fixed length is always written on the
    model's own outputs: what a forecast is judged by.
    """

    decodes = True
    teacher_forcing: float
    output: nn.Module

    @abstractmethod
    def start(self, source: Any, lengths: Any) -> tuple[Any, State]: ...

    @abstractmethod
    def decode(self, inputs: Num[Tensor, "B T *F"], state: State, memory: Any) -> tuple[Any, State]: ...

    @property
    def loops(self) -> bool:
        return self.teacher_forcing < 1

    def penalty(self, hidden: Any, batch: Batch) -> Tensor | None:
        """What training adds to the loss of every target item, by the decoded hidden tree, if anything."""
        return None

    def step(self, inputs: Num[Tensor, "B T *F"], state: State, memory: Any) -> tuple[Float[Tensor, "B O"], State]:
        """Decodes, and scores what comes after the last position."""
        hidden, state = self.decode(inputs, state, memory)
        return self.output(last(hidden)), state

    def forward(self, batch: Batch, state: State = None) -> Output:
        assert batch.inputs is not None
        memory, first = self.start(batch.source, batch.source_lengths)
        state = first if state is None else state
        given = self.teacher_forcing if self.training else float(not isinstance(self.spec.form, Fixed))
        if given < 1:
            hidden, state = self.roll_out(batch.inputs, state, memory, given)
        else:
            hidden, state = self.decode(batch.inputs, state, memory)
        penalty = self.penalty(hidden, batch) if self.training else None
        return Output(self.output(batch.real(hidden)), lengths_of(batch), state, penalty)

    def roll_out(self, inputs: Num[Tensor, "B T *F"], state: State, memory: Any, given: float) -> tuple[Any, State]:
        """Decodes step by step; a share `given` of the inputs after the first is kept, the rest is the model's own."""
        step, hidden = inputs[:, :1], []
        for t in range(1, inputs.size(1) + 1):
            y, state = self.decode(step, state, memory)
            hidden.append(y)
            if t < inputs.size(1):
                true = inputs[:, t : t + 1]
                keep = torch.rand(true.shape[:2], device=true.device) < given
                value = self.spec.likelihood.pick(self.output(y))
                fed = self.spec.likelihood.feed(value, true)
                step = torch.where(keep.view(-1, *[1] * (true.ndim - 1)), true, fed)
        return join(hidden, 1), state


def last(hidden: Any) -> Any:
    """A hidden tree of (B, T, *H) tensors at its last step."""
    return map_tensors(lambda tensor: tensor[:, -1], hidden)


def lengths_of(batch: Batch) -> Int[Tensor, " B"]:
    """How many positions of each row are real; all that a decoder reads, where there is no target."""
    if batch.target_lengths is not None:
        return batch.target_lengths
    assert batch.inputs is not None
    return torch.full((batch.size,), batch.inputs.size(1), device=batch.inputs.device)


class Encoder(nn.Module):
    """Turns a source into vectors and walks them in both directions, or only ahead.

    The vectors of padding mean nothing, and there may be fewer of them than positions: what it returns says how many.
    """

    def __init__(self, embedding: nn.Module, backbone: Any):
        super().__init__()
        self.embedding = embedding
        self.backbone: Backbone = backbone

    def forward(
        self, source: Num[Tensor, "B S *F"], lengths: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B R H"], Int[Tensor, " B"]]:
        vectors, lengths = self.embedding(source, lengths)
        return self.backbone(vectors, lengths=lengths)[0], lengths

    def left(self, lengths: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
        """How many vectors there are of sources of such lengths."""
        embedding: Any = self.embedding
        return embedding.left(lengths)

    def summary(self, states: Float[Tensor, "B R H"], lengths: Int[Tensor, " B"]) -> Float[Tensor, "B H"]:
        return self.backbone.last(states, lengths)


@dataclass(frozen=True)
class Parts:
    """What models are made of: the spec of the data, the chosen frontend and backbone, which wait for their sizes, and
    the sizes that most models have. A model whose argument this is has its fields as keys in its YAML file."""

    spec: Spec
    frontend: MakeFrontend
    backbone: MakeBackbone
    embedding_size: int
    hidden_size: int
    num_layers: int
    dropout: float

    def source(self, dropout: float, word_dropout: float = 0.0, scaled: bool = True) -> nn.Module:
        """Embeds the source."""
        assert self.spec.source is not None
        return self.frontend(
            source=self.spec.source,
            size=self.embedding_size,
            dropout=dropout,
            word_dropout=word_dropout,
            scaled=scaled,
        )

    def layers(
        self,
        causal: bool = True,
        summary_size: int | None = None,
        input_size: int | None = None,
        num_layers: int | None = None,
    ) -> Any:
        """A backbone; without sizes of its own it reads embeddings, by all layers."""
        return self.backbone(
            input_size=input_size or self.embedding_size,
            hidden_size=self.hidden_size,
            num_layers=num_layers or self.num_layers,
            dropout=self.dropout,
            causal=causal,
            summary_size=summary_size,
        )

    def encoder(self, bidirectional: bool, word_dropout: float, scaled: bool = True) -> Encoder:
        return Encoder(self.source(self.dropout, word_dropout, scaled), self.layers(causal=not bidirectional))

    def inputs(self, word_dropout: float) -> Embedding:
        """Embeds what a decoder reads."""
        assert self.spec.inputs is not None
        return Embedding(self.spec.inputs, self.embedding_size, self.dropout, word_dropout)

    def scores(self, tied: Embedding | None = None, kind: type[Scores] = Scores) -> Scores:
        """Scores hidden vectors. tied: an embedding that serves as output weights too, where it stands for the same
        vocabulary."""
        inputs, size, table = self.spec.inputs, self.spec.likelihood.size, None
        if tied is not None and isinstance(inputs, Tokens) and inputs.size == size:
            assert isinstance(tied.map, nn.Embedding)
            table = tied.map
        return kind(self.hidden_size, size, 0.0, table)
