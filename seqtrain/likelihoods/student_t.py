"""A number with its uncertainty, by a bell curve with heavy tails."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from seqtrain.contract import Batch, Likelihood, Output, by_row

EXPANSION = (  # of a quantile: {power of the normal one: factor}, by a divisor; divided by the freedom, its square, …
    (4, {3: 1, 1: 1}),
    (96, {5: 5, 3: 16, 1: 3}),
    (384, {7: 3, 5: 19, 3: 17, 1: -15}),
    (92160, {9: 79, 7: 776, 5: 1482, 3: -1920, 1: -945}),
)
SMALLEST = 1e-4  # scale: with a smaller one a single value that is hit exactly would count for more than all others


@dataclass
class StudentT(Likelihood):
    """The scores are the place, the scale and the degrees of freedom (above 2, so that there is a variance) of each of
    `outputs` numbers, number by number (Salinas et al. 2020, DeepAR, arXiv:1704.04110)."""

    values: ClassVar[str] = "numbers"
    outputs: int

    @property
    def size(self) -> int:
        return 3 * self.outputs

    def parameters(self, scores: Float[Tensor, "*N O"]) -> tuple[Tensor, Tensor, Tensor]:
        """Place, scale and degrees of freedom, (*N, C) each."""
        place, scale, freedom = scores.float().unflatten(-1, (self.outputs, 3)).unbind(-1)
        return place, F.softplus(scale) + SMALLEST, 2 + F.softplus(freedom)

    def nll(self, output: Output, batch: Batch) -> Float[Tensor, " B"]:
        target = batch.real(batch.target)
        place, scale, freedom = self.parameters(output.scores)
        off = torch.where(target.isnan(), 0.0, target - place) / scale
        nats = (
            torch.lgamma(freedom / 2)
            - torch.lgamma((freedom + 1) / 2)
            + 0.5 * torch.log(math.pi * freedom)
            + scale.log()
            + (freedom + 1) / 2 * torch.log1p(off**2 / freedom)
        )
        return by_row(torch.where(target.isnan(), 0.0, nats).sum(-1), output.lengths)

    def quantiles(self, scores: Float[Tensor, "*N O"], levels: Sequence[float]) -> Float[Tensor, "*N C L"]:
        """By the expansion around the normal quantile in 1 / freedom (Abramowitz & Stegun 1964, 26.7.5): between 0.05
        and 0.95 it is right to 0.3%."""
        place, scale, freedom = (part[..., None] for part in self.parameters(scores))
        z = torch.special.ndtri(place.new_tensor(levels))
        series = torch.zeros_like(z)
        for divisor, powers in reversed(EXPANSION):
            term = sum(factor * z**power for power, factor in powers.items()) / divisor
            series = (series + term) / freedom
        return place + scale * (z + series)

    def pick(self, scores: Float[Tensor, "*N O"]) -> Float[Tensor, "*N C"]:
        return self.parameters(scores)[0]
