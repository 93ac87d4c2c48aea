"""A number, said by quantiles of its distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seqtrain.config import UserError
from seqtrain.contract import Batch, Likelihood, Output, by_row


@dataclass
class Quantiles(Likelihood):
    """The scores are the quantiles of each of `outputs` numbers, number by number. `nll` is no likelihood but the mean
    pinball loss over the levels, twice (Koenker & Bassett 1978): of the median alone it is the absolute error, and with
    many levels it is the continuous ranked probability score (Gneiting & Raftery 2007).
    The best value is the quantile at 0.5, which has to be among them."""

    values: ClassVar[str] = "numbers"
    density: ClassVar[bool] = False
    outputs: int
    levels: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95)

    def __post_init__(self) -> None:
        levels = list(self.levels)
        if 0.5 not in levels or sorted(set(levels)) != levels or not 0 < levels[0] <= levels[-1] < 1:
            raise UserError(f"likelihood.levels={levels}: expected rising numbers between 0 and 1, 0.5 among them")

    @property
    def unit(self) -> str:
        return "pinball loss"

    @property
    def size(self) -> int:
        return self.outputs * len(self.levels)

    def quantiles(self, scores: Float[Tensor, "*N O"], levels: Sequence[float]) -> Float[Tensor, "*N C L"]:
        """Sorted, as they must not cross; linear between the levels that are learned, and constant beyond them."""
        learned = scores.float().unflatten(-1, (self.outputs, -1)).sort(-1).values
        shares = [np.interp(levels, self.levels, one) for one in np.eye(len(self.levels))]
        return learned @ learned.new_tensor(np.array(shares))

    def nll(self, output: Output, batch: Batch) -> Float[Tensor, " B"]:
        target, scores = batch.real(batch.target), output.scores.float().unflatten(-1, (self.outputs, -1))
        levels = scores.new_tensor(self.levels)
        error = target[..., None] - scores  # (N, C, Q)
        pinball = 2 * torch.maximum(levels * error, (levels - 1) * error).mean(-1)
        return by_row(torch.where(target.isnan(), 0.0, pinball).sum(-1), output.lengths)

    def pick(self, scores: Float[Tensor, "*N O"]) -> Float[Tensor, "*N C"]:
        return self.quantiles(scores, [0.5])[..., 0]
