"""torch.export of the generative models: programs of `start` and `step` compute what the model computes."""

from collections.abc import Iterator
from typing import Any

import jaxtyping
import pytest
import torch
from small import make_batch, make_model, same
from torch import nn

from seqtrain.machine.programs import Start, Step, program

CASES = [
    ("attn_seq2seq", "tokens to tokens", "mingru", {}),
    ("attn_seq2seq", "tokens to tokens", "lstm", {"num_layers": 2}),
    ("attn_seq2seq", "tokens to tokens", "transformer", {"attend": "every", "attention": "multi_head"}),
    ("attn_seq2seq", "reals to tokens", "gru", {"attention": "additive"}),
    ("seq2seq", "tokens to tokens", "rnn", {}),
    ("one_to_many", "one to tokens", "gru", {}),
    ("one_to_many", "nothing to tokens", "lstm", {}),
    ("one_to_many", "one to tokens", "tcn", {}),
]


@pytest.fixture(autouse=True)
def sizes_without_a_number() -> Iterator[None]:
    """While a program is made, sizes are symbols, which the check of signatures does not know."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


class Programs:
    """What starts the outputs of a batch, decodes what is given of them, and then single steps."""

    def __init__(self, model: Any, batches: list[Any]):
        sources = [(batch.source, batch.source_lengths) for batch in batches]
        self.start = model.start if sources[0][0] is None else self.made(Start(model), sources)
        started = [self.start(*source) for source in sources]
        firsts = [(batch.inputs, state, memory) for batch, (memory, state) in zip(batches, started, strict=True)]
        self.first = self.made(Step(model), firsts)
        steps = [(inputs[:, :1], self.first(inputs, state, memory)[1], memory) for inputs, state, memory in firsts]
        self.step = self.made(Step(model), steps)

    @staticmethod
    def made(module: nn.Module, inputs: list[Any]) -> Any:
        return program(module, *inputs).module()


@torch.no_grad()
@pytest.mark.parametrize(("model", "spec", "backbone", "changes"), CASES)
def test_programs_compute_what_the_model_does_at_any_length(model, spec, backbone, changes):
    made = make_model(model, spec, backbone, **changes)
    programs = Programs(made, [make_batch(spec), make_batch(spec, (4, 9, 2, 6), (2, 8, 4, 3))])
    for sizes, lengths in (((4, 11, 2, 3), (2, 5, 4, 3)), ((2, 3), (3, 3)), ((40, 31, 2), (70, 66, 9))):
        batch: Any = make_batch(spec, sizes, lengths, seed=1)
        memory, plain = made.start(batch.source, batch.source_lengths)
        exported, state = programs.start(batch.source, batch.source_lengths)
        same(exported, memory)
        for step, inputs in (
            (programs.first, batch.inputs), (programs.step, batch.inputs[:, :1]), (programs.step, batch.inputs[:, 1:2]),
        ):  # fmt: skip
            scores, state = step(inputs, state, exported)
            wanted, plain = made.step(inputs, plain, memory)
            same(scores, wanted)
