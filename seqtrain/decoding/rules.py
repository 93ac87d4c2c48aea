"""Rules for what an output may go on with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Rules:
    """end: the id of the end mark, which is never chosen before an output has `min_length` items. no_repeat: an item is
    never chosen where it would make a run of so many items that the output has already (Paulus et al. 2017,
    arXiv:1705.04304); 0: any may be. repetition_penalty: multiplies the log-probabilities of items that the output has
    already (after Keskar et al. 2019, arXiv:1909.05858); 1 changes nothing."""

    end: int
    min_length: int = 0
    no_repeat: int = 0
    repetition_penalty: float = 1.0

    @property
    def active(self) -> bool:
        return bool(self.min_length or self.no_repeat or self.repetition_penalty != 1)

    def __call__(self, log_probs: Float[Tensor, "N V"], items: Int[Tensor, "N L"]) -> Float[Tensor, "N V"]:
        """log_probs: of the next item. items: those of each output so far."""
        if self.repetition_penalty != 1:
            again = log_probs.gather(1, items) * self.repetition_penalty
            log_probs = log_probs.scatter(1, items, again)
        if items.size(1) < self.min_length:
            log_probs = log_probs.index_fill(1, torch.tensor([self.end], device=items.device), -torch.inf)
        size = self.no_repeat
        if not size or items.size(1) < size:
            return log_probs
        runs = items.unfold(1, size, 1)  # (N, runs, size)
        again = (runs[..., :-1] == items[:, None, items.size(1) - size + 1 :]).all(-1)
        banned = torch.zeros_like(log_probs).scatter_reduce(1, runs[..., -1], again.to(log_probs.dtype), "amax")
        return log_probs.masked_fill(banned.bool(), -torch.inf)
