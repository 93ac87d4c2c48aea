"""Several models as one: at each position their scores are mixed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from seqtrain.config import UserError
from seqtrain.contract import Batch, Output, State
from seqtrain.models.base import Generator, Model


class Ensemble(Model):
    """Models of the same data, each as good as the others (Hansen & Salamon 1990). What they say together is up to the
    likelihood, see `Likelihood.mixed`. Raises UserError where they cannot say anything together."""

    def __init__(self, members: Sequence[Any]):
        super().__init__()
        self.members: Any = nn.ModuleList(members)
        self.spec = members[0].spec
        if len({type(member.spec.likelihood) for member in members}) > 1:
            raise UserError("their scores mean different things (likelihood)")
        self.mixed = self.spec.likelihood.mixed

    def forward(self, batch: Batch, state: State = None) -> Output:
        states = [None] * len(self.members) if state is None else state
        outputs = [member(batch, before) for member, before in zip(self.members, states, strict=True)]
        if len({tuple(output.lengths.tolist()) for output in outputs}) > 1:
            raise UserError("their frontends leave different numbers of positions")
        scores = self.mixed(torch.stack([output.scores for output in outputs]))
        return Output(scores, outputs[0].lengths, tuple(output.state for output in outputs))

    def align(self, batch: Batch) -> Float[Tensor, "B T R"] | None:
        """A mean, where all members can tell, and of the same positions."""
        found = [member.align(batch) for member in self.members]
        shapes = {None if weights is None else weights.shape for weights in found}
        return None if None in shapes or len(shapes) > 1 else torch.stack(found).mean(0)


class Mixture(nn.Module):
    """The scores of several models as one."""

    def __init__(self, outputs: Sequence[Any], mixed: Callable[[Tensor], Tensor]):
        super().__init__()
        self.outputs = [*outputs]
        self.mixed = mixed

    def forward(self, hidden: Any) -> Float[Tensor, "*N O"]:
        return self.mixed(torch.stack([output(part) for output, part in zip(self.outputs, hidden, strict=True)]))


class GeneratorEnsemble(Ensemble, Generator):
    """An ensemble of generators: memory, state and what is decoded have a part for each."""

    def __init__(self, members: Sequence[Any]):
        super().__init__(members)
        self.output = Mixture([member.output for member in members], self.mixed)

    def start(self, source: Any, lengths: Any) -> tuple[Any, State]:
        memories, states = zip(*(member.start(source, lengths) for member in self.members), strict=True)
        return memories, states

    def decode(self, inputs: Num[Tensor, "B T *F"], state: State, memory: Any) -> tuple[Any, State]:
        rows = zip(self.members, state, memory, strict=True)
        hidden, states = zip(*(member.decode(inputs, before, of) for member, before, of in rows), strict=True)
        return hidden, states


def together(members: Sequence[Any]) -> Any:
    """An ensemble of models, which are all generators or none."""
    kinds = {isinstance(member, Generator) for member in members}
    if len(kinds) > 1:
        raise UserError("some of them write step by step, and some do not")
    return GeneratorEnsemble(members) if True in kinds else Ensemble(members)
