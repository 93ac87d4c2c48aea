"""Outputs that have no end: frames of yes-or-no values, such as those of music, one after the other."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from seqtrain.contract import Batch
from seqtrain.decoding.hypothesis import Step
from seqtrain.likelihoods.bernoulli import Bernoulli
from seqtrain.models.base import Generator


def write(
    model: Generator, step: Step, batch: Batch, length: int, temperature: float, generator: torch.Generator
) -> Float[Tensor, "B {length} H"]:
    """`length` frames for each row, which go on from `batch.inputs`. They are sampled; the higher the temperature, the
    more freely; at zero the best value of each is taken."""
    likelihood = model.spec.likelihood
    assert batch.inputs is not None
    assert isinstance(likelihood, Bernoulli)
    memory, state = model.start(batch.source, batch.source_lengths)
    inputs, frames = batch.inputs, []
    for _ in range(length):
        scores, state = step(inputs, state, memory)
        # drawn on the CPU, alike for all devices; the smallest number keeps the logarithm finite
        share = torch.rand(len(scores), likelihood.outputs, generator=generator).clamp(min=1e-7)
        noise = (temperature * torch.logit(share)).to(scores.device)
        value = likelihood.pick(scores.float(), noise)[:, None]
        frames.append(value)
        inputs = likelihood.feed(value, inputs[:, -1:])
    return torch.cat(frames, 1)
