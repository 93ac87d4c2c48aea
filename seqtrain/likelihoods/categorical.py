"""One of several classes, or of the ids of a vocabulary."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor
from torch.nn import functional as F

from seqtrain.contract import Batch, Likelihood, Output, by_row

CrossEntropy = Callable[[Tensor, Tensor, float], Tensor]


def cross_entropy(scores: Float[Tensor, "N O"], target: Int[Tensor, " N"], smoothing: float) -> Float[Tensor, " N"]:
    """The cross-entropy of each target in nats. smoothing moves that share of the probability to all classes alike
    (Szegedy et al. 2016, arXiv:1512.00567)."""
    return F.cross_entropy(scores.float(), target, reduction="none", label_smoothing=smoothing)


def mixture(scores: Float[Tensor, "M *N O"]) -> Float[Tensor, "*N O"]:
    """The logarithms of the mean of several probabilities of each class."""
    return scores.float().log_softmax(-1).logsumexp(0) - math.log(len(scores))


@dataclass
class Categorical(Likelihood):
    """The scores are logits of `outputs` classes. In training alone, labels are smoothed (see `cross_entropy`), and
    each class counts with its weight."""

    values: ClassVar[str] = "ids"
    outputs: int
    label_smoothing: float = 0.0
    weights: tuple[float, ...] | None = None
    cross_entropy: CrossEntropy = field(default=cross_entropy, compare=False, repr=False)

    def nll(self, output: Output, batch: Batch) -> Float[Tensor, " B"]:
        return by_row(self.cross_entropy(output.scores, batch.real(batch.target), 0.0), output.lengths)

    def loss(self, output: Output, batch: Batch) -> Float[Tensor, " B"]:
        nats = self.cross_entropy(output.scores, batch.real(batch.target), self.label_smoothing)
        return by_row(nats if self.weights is None else nats * self.weights_of(batch), output.lengths)

    def weight(self, batch: Batch) -> Float[Tensor, " B"] | Int[Tensor, " B"]:
        if self.weights is None:
            return self.items(batch)
        assert batch.target_lengths is not None
        return by_row(self.weights_of(batch), batch.target_lengths)

    def weights_of(self, batch: Batch) -> Float[Tensor, " N"]:
        """The weight of each target."""
        target = batch.real(batch.target)
        return torch.tensor(self.weights, device=target.device)[target]

    def items(self, batch: Batch) -> Int[Tensor, " B"]:
        assert batch.target_lengths is not None
        return batch.target_lengths

    def pick(self, scores: Float[Tensor, "*N O"]) -> Int[Tensor, "*N"]:
        return scores.argmax(-1)

    def feed(self, value: Int[Tensor, "B T"], inputs: Num[Tensor, "B T *F"]) -> Int[Tensor, "B T"]:
        return value

    def mixed(self, scores: Float[Tensor, "M *N O"]) -> Float[Tensor, "*N O"]:
        """The logarithms of the mean probabilities."""
        return mixture(scores)

    def divergence(self, scores: Float[Tensor, "N O"], others: Float[Tensor, "N O"]) -> Float[Tensor, ""]:
        """Half of the sum of the Kullback-Leibler divergences either way (Liang et al. 2021, arXiv:2106.14448)."""
        a, b = scores.float().log_softmax(-1), others.float().log_softmax(-1)
        return ((a.exp() - b.exp()) * (a - b)).sum() / 2
