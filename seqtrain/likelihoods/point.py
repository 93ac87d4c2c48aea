"""A number, of which only the best guess is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from seqtrain.config import UserError
from seqtrain.contract import Batch, Likelihood, Output, by_row

CRITERIA = {"mae": "absolute error", "mse": "squared error", "huber": "Huber error"}  # and what it is measured in


@dataclass
class Point(Likelihood):
    """The scores are the numbers themselves. `nll` is no likelihood but the criterion: the sum of the absolute ("mae"),
    squared ("mse") or Huber errors ("huber": squared below 1, absolute above; Huber 1964). NaN in the target is a
    missing value, which counts as no item."""

    values: ClassVar[str] = "numbers"
    density: ClassVar[bool] = False
    outputs: int
    criterion: str = "mae"

    def __post_init__(self) -> None:
        if self.criterion not in CRITERIA:
            raise UserError(f"a point forecast is trained by {', '.join(CRITERIA)}, not {self.criterion!r}")

    @property
    def unit(self) -> str:
        return CRITERIA[self.criterion]

    def nll(self, output: Output, batch: Batch) -> Float[Tensor, " B"]:
        target = batch.real(batch.target)
        error = torch.where(target.isnan(), 0.0, output.scores.float() - target).abs()
        if self.criterion == "mse":
            error = error**2
        elif self.criterion == "huber":
            error = torch.where(error < 1, 0.5 * error**2, error - 0.5)
        return by_row(error.sum(-1), output.lengths)

    def pick(self, scores: Float[Tensor, "*N O"]) -> Float[Tensor, "*N O"]:
        return scores
