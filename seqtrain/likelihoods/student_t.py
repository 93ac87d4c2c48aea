"""A number with its uncertainty, by a bell curve with heavy tails."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from seqtrain.contract import Batch, Likelihood, Output, by_row

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

    def pick(self, scores: Float[Tensor, "*N O"]) -> Float[Tensor, "*N C"]:
        return self.parameters(scores)[0]
