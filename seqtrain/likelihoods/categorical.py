"""One of several classes, or of the ids of a vocabulary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from jaxtyping import Float, Int, Num
from torch import Tensor
from torch.nn import functional as F

from seqtrain.contract import Batch, Likelihood, Output, by_row

CrossEntropy = Callable[[Tensor, Tensor, float], Tensor]


def cross_entropy(scores: Float[Tensor, "N O"], target: Int[Tensor, " N"], smoothing: float) -> Float[Tensor, " N"]:
    """The cross-entropy of each target in nats. smoothing moves that share of the probability to all classes alike
    (Szegedy et al. 2016, arXiv:1512.00567)."""
    return F.cross_entropy(scores.float(), target, reduction="none", label_smoothing=smoothing)


@dataclass
class Categorical(Likelihood):
    """The scores are logits of `outputs` classes. Labels are smoothed in training alone, see `cross_entropy`."""

    values: ClassVar[str] = "ids"
    outputs: int
    smoothing: float = 0.0
    cross_entropy: CrossEntropy = field(default=cross_entropy, compare=False, repr=False)

    def nll(self, output: Output, batch: Batch) -> Float[Tensor, " B"]:
        return by_row(self.cross_entropy(output.scores, batch.real(batch.target), 0.0), output.lengths)

    def loss(self, output: Output, batch: Batch) -> Float[Tensor, " B"]:
        return by_row(self.cross_entropy(output.scores, batch.real(batch.target), self.smoothing), output.lengths)

    def items(self, batch: Batch) -> Int[Tensor, " B"]:
        assert batch.target_lengths is not None
        return batch.target_lengths

    def pick(self, scores: Float[Tensor, "*N O"]) -> Int[Tensor, "*N"]:
        return scores.argmax(-1)

    def feed(self, value: Int[Tensor, "B T"], inputs: Num[Tensor, "B T *F"]) -> Int[Tensor, "B T"]:
        return value

    def divergence(self, scores: Float[Tensor, "N O"], others: Float[Tensor, "N O"]) -> Float[Tensor, ""]:
        """Half of the sum of the Kullback-Leibler divergences either way (Liang et al. 2021, arXiv:2106.14448)."""
        a, b = scores.float().log_softmax(-1), others.float().log_softmax(-1)
        return ((a.exp() - b.exp()) * (a - b)).sum() / 2
