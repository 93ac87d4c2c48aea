"""Scorers of beam search: they rank hypotheses by more than their probability."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from seqtrain.contract import Batch, length_mask
from seqtrain.decoding.hypothesis import Hypothesis, select
from seqtrain.models.base import Generator


class Scorer:
    """Changes the scores of hypotheses; the highest score is the best. A scorer overrides the method that it needs."""

    def of_length(self, score: float, length: int) -> float:
        """Returns the new score of a hypothesis of `length` items, its end mark included. Called during the search."""
        return score

    def finished(
        self, model: Generator, batch: Batch, rows: list[int], hypotheses: list[Hypothesis]
    ) -> list[float] | None:
        """Returns what is added to the score of each finished hypothesis; None: nothing. Called after the search.

        rows: the row of the batch that each hypothesis belongs to.
        """
        return None


@dataclass(frozen=True)
class LengthPenalty(Scorer):
    """Divides a score by ((5 + length) / 6) ** weight (Wu et al. 2016, arXiv:1609.08144)."""

    weight: float

    def of_length(self, score: float, length: int) -> float:
        return score / ((5 + length) / 6) ** self.weight


@dataclass(frozen=True)
class CoveragePenalty(Scorer):
    """Adds weight * `log_coverage`, which is negative where source positions got little attention (Wu et al. 2016)."""

    weight: float

    def finished(
        self, model: Generator, batch: Batch, rows: list[int], hypotheses: list[Hypothesis]
    ) -> list[float] | None:
        return None if self.weight == 0 else (self.weight * log_coverage(model, batch, rows, hypotheses)).tolist()


def log_coverage(model: Generator, batch: Batch, rows: list[int], hypotheses: list[Hypothesis]) -> Float[Tensor, " N"]:
    """Returns, for each hypothesis, the sum over source positions of log(min(attention summed over the steps, 1)).

    rows: the row of the batch that each hypothesis belongs to.
    """
    assert batch.source_lengths is not None
    assert batch.inputs is not None
    rows_tensor = torch.tensor(rows, device=batch.inputs.device)
    sources: Batch = select(batch._replace(target=None, target_lengths=None), rows_tensor)  # a row a hypothesis
    assert sources.inputs is not None
    outputs = [torch.tensor(h.ids, dtype=torch.long, device=rows_tensor.device) for h in hypotheses]
    inputs = torch.cat([sources.inputs, pad_sequence(outputs, batch_first=True)], 1)
    weights = model.align(sources._replace(inputs=inputs))  # (N, T, S)
    assert weights is not None, "the model has no attention"
    first_step = sources.inputs.size(1) - 1  # the last item of the prompt predicts the first of the output
    steps = torch.tensor([len(ids) + 1 for ids in outputs], device=rows_tensor.device)  # with the end mark
    weights = weights[:, first_step:].float()
    coverage = (weights * length_mask(steps, weights.size(1))[..., None]).sum(1)  # (N, S)
    is_real = length_mask(batch.source_lengths[rows_tensor], coverage.size(1))
    return coverage.clamp(1e-9, 1).log().masked_fill(~is_real, 0).sum(1)
