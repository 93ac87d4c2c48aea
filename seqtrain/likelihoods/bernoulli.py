"""Several things that are each there or not: the notes of a piano roll."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Num
from torch import Tensor
from torch.nn import functional as F

from seqtrain.contract import Batch, Likelihood, Output, by_row


@dataclass
class Bernoulli(Likelihood):
    """The scores are logits of `outputs` independent yes-or-no values, 1 or 0 each. NaN in the target is missing."""

    values: ClassVar[str] = "yes-or-no values"
    outputs: int

    def logits(self, scores: Float[Tensor, "N O"], target: Float[Tensor, "N H"]) -> Float[Tensor, "N H"]:
        """The logit of each value."""
        return scores

    def nll(self, output: Output, batch: Batch) -> Float[Tensor, " B"]:
        target = batch.real(batch.target)
        missing, known = target.isnan(), target.nan_to_num()
        logits = self.logits(output.scores.float(), known)
        nats = F.binary_cross_entropy_with_logits(logits, known, reduction="none")
        return by_row(nats.masked_fill(missing, 0.0).sum(-1), output.lengths)

    def items(self, batch: Batch) -> Num[Tensor, " B"]:
        """Positions, not values: nats are counted by the frame (Boulanger-Lewandowski et al. 2012, arXiv:1206.6392)."""
        assert batch.target_lengths is not None
        return by_row((~batch.real(batch.target).isnan()).any(-1).long(), batch.target_lengths)

    def pick(
        self, scores: Float[Tensor, "*N O"], thresholds: Float[Tensor, "*N H"] | float = 0.0
    ) -> Float[Tensor, "*N H"]:
        """thresholds: what a logit has to pass for its value to be 1. Logistic noise makes a sample of the values."""
        return (scores > thresholds).to(scores.dtype)
