"""What every model is: what it takes and writes, and what the generative ones share."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from seqtrain.backbones import Backbone, State
from seqtrain.batch import Aligned, Batch, Fixed, Free, Source, Spec, Tokens


class Output(NamedTuple):
    """scores: (N, outputs), for the real positions only, in the order of `batch.index`. state: goes on into the next
    batch where that one continues. lengths: (B,), where a model shortens its sequence. penalty: added to the loss of
    every target item while training."""

    scores: Float[Tensor, "N O"]
    state: State = None
    lengths: Tensor | None = None
    penalty: Tensor | None = None


@runtime_checkable
class MakeBackbone(Protocol):
    """The chosen backbone, waiting for its sizes."""

    def __call__(
        self,
        *,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        dropout: float,
        causal: bool,
        summary_size: int | None,
    ) -> Any: ...


class Model(nn.Module):
    """takes and writes say which forms of data the model is made for; `decodes`, whether it reads its own outputs."""

    takes: ClassVar[tuple[Source, ...]]
    writes: ClassVar[tuple[type, ...]]
    decodes: ClassVar[bool]

    @classmethod
    def refuse(cls, spec: Spec) -> str | None:
        """Why this model cannot work with such data, or None. Sizes do not matter."""
        if spec.source_form not in cls.takes:
            return f"it takes {' or '.join(form.value for form in cls.takes)}, not {spec.source_form.value}"
        if not isinstance(spec.form, cls.writes):
            return f"it writes {' or '.join(str(example(form)) for form in cls.writes)}, not {spec.form}"
        if cls.decodes and spec.inputs is None:
            return "it writes step by step and reads what it wrote, for which a class label has no use"
        return None

    @abstractmethod
    def forward(self, batch: Batch, state: State = None) -> Output:
        """The scores of the batch's real target positions."""


def example(form: type) -> Fixed | Aligned | Free:
    return Fixed(1) if form is Fixed else form()


class Generator(Model):
    """A model that writes step by step, in three short methods:

        start(batch)                    -> (memory, state)
        decode(inputs, state, memory)   -> (hidden (B, T, H), state), any T
        output(hidden)                  -> scores

    memory belongs to the source and stays as it is; state belongs to a hypothesis, goes in and comes out.

    teacher_forcing: the share of steps that read the true output of the step before while training; the others
    read the model's own (Bengio et al. 2015, arXiv:1506.03099). An output of fixed length is always written on the
    model's own outputs when not training: what a forecast is judged by.
    """

    decodes = True
    spec: Spec
    teacher_forcing: float
    output: nn.Module

    @abstractmethod
    def start(self, batch: Batch) -> tuple[Any, State]: ...

    @abstractmethod
    def decode(
        self, inputs: Num[Tensor, "B T *F"], state: State, memory: Any
    ) -> tuple[Float[Tensor, "B T H"], State]: ...

    def step(self, inputs: Num[Tensor, "B T *F"], state: State, memory: Any) -> tuple[Float[Tensor, "B O"], State]:
        """Decodes, and scores what comes after the last position."""
        hidden, state = self.decode(inputs, state, memory)
        return self.output(hidden[:, -1]), state

    def align(self, batch: Batch) -> Float[Tensor, "B T S"] | None:
        """How much each output position looked at each source position, where the model can tell."""
        return None

    def forward(self, batch: Batch, state: State = None) -> Output:
        assert batch.inputs is not None
        memory, first = self.start(batch)
        state = first if state is None else state
        given = self.teacher_forcing if self.training else float(not isinstance(self.spec.form, Fixed))
        if given < 1:
            hidden, state = self.roll_out(batch.inputs, state, memory, given)
        else:
            hidden, state = self.decode(batch.inputs, state, memory)
        return Output(self.output(batch.real(hidden)), state)

    def roll_out(
        self, inputs: Num[Tensor, "B T *F"], state: State, memory: Any, given: float
    ) -> tuple[Float[Tensor, "B T H"], State]:
        """Decodes step by step; a share `given` of the inputs after the first is kept, the rest is the model's own."""
        step, hidden = inputs[:, :1], []
        for t in range(1, inputs.size(1) + 1):
            y, state = self.decode(step, state, memory)
            hidden.append(y)
            if t < inputs.size(1):
                true = inputs[:, t : t + 1]
                keep = torch.rand(true.shape[:2], device=true.device) < given
                step = torch.where(keep.view(-1, *[1] * (true.ndim - 1)), true, self.spec.feed(self.output(y), true))
        return torch.cat(hidden, 1), state


def tied_table(tie: bool, embedding: nn.Module, spec: Spec) -> nn.Embedding | None:
    """The decoder's embedding where it is to serve as output weights too and stands for the same vocabulary."""
    if tie and isinstance(spec.inputs, Tokens) and spec.inputs.size == spec.outputs:
        assert isinstance(embedding, nn.Embedding)
        return embedding
    return None


class Encoder(nn.Module):
    """Embeds a source and walks it in both directions, or only ahead."""

    def __init__(self, embedding: nn.Module, backbone: Any):
        super().__init__()
        self.embedding = embedding
        self.backbone: Backbone = backbone

    def forward(self, batch: Batch) -> Float[Tensor, "B S H"]:
        return self.backbone(self.embedding(batch.source), lengths=batch.source_lengths)[0]

    def summary(self, batch: Batch, states: Float[Tensor, "B S H"]) -> Float[Tensor, "B H"]:
        assert batch.source_lengths is not None
        return self.backbone.last(states, batch.source_lengths)
