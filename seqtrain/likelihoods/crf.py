"""A row of classes as a whole: a linear-chain conditional random field (Lafferty et al. 2001)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seqtrain.contract import Batch, Likelihood, Output, length_mask


@dataclass
class Crf(Likelihood):
    """The scores of a position are those of each of `outputs` classes, and of each pair of a class at the position
    before and one here, row by row of the classes before. Of the first position only the former count. The probability
    of a row of classes goes by the sum of its scores (Ma & Hovy 2016, arXiv:1603.01354)."""

    values: ClassVar[str] = "ids"
    joint: ClassVar[bool] = True
    outputs: int

    @property
    def size(self) -> int:
        return self.outputs * (1 + self.outputs)

    def rows(self, classes: Sequence[Any]) -> Sequence[Any]:
        return [*classes, *((None if None in pair else pair) for pair in product(classes, classes))]

    def tables(self, output: Output) -> tuple[Float[Tensor, "B T K K"], Bool[Tensor, "B T"]]:
        """The scores of each pair, those of its second class included; at the first position all rows are those of the
        class there. And which positions are real."""
        real = length_mask(output.lengths, int(output.lengths.max()))
        scores = output.scores.float()
        single, pairs = scores.split([self.outputs, self.outputs**2], -1)
        tables = pairs.unflatten(-1, (self.outputs, self.outputs)) + single[:, None]
        padded = tables.new_zeros(*real.shape, self.outputs, self.outputs).masked_scatter(real[..., None, None], tables)
        begins = output.lengths.cumsum(0) - output.lengths
        first = single[begins][:, None, None].expand(-1, 1, self.outputs, -1)
        return torch.cat([first, padded[:, 1:]], 1), real

    def nll(self, output: Output, batch: Batch) -> Float[Tensor, " B"]:
        assert batch.target is not None
        tables, real = self.tables(output)
        target = batch.target[:, : real.size(1)].masked_fill(~real, 0)
        before = target.roll(1, 1)  # of the first position any: all its rows are alike
        chosen = tables.flatten(2).gather(2, (before * self.outputs + target)[..., None])[..., 0]
        total = tables[:, 0, 0]
        for t in range(1, real.size(1)):
            total = torch.where(real[:, t, None], torch.logsumexp(total[..., None] + tables[:, t], 1), total)
        return total.logsumexp(1) - (chosen * real).sum(1)

    def items(self, batch: Batch) -> Int[Tensor, " B"]:
        assert batch.target_lengths is not None
        return batch.target_lengths

    def pick(self, scores: Float[Tensor, "*N O"]) -> Int[Tensor, "*N"]:
        """Of each position by itself."""
        return scores[..., : self.outputs].argmax(-1)

    def best(self, output: Output) -> Int[Tensor, " N"]:
        """The likeliest classes of each row (Viterbi 1967)."""
        tables, real = self.tables(output)
        total, ways = tables[:, 0, 0], []
        stay = torch.arange(self.outputs, device=total.device).expand_as(total)
        for t in range(1, real.size(1)):
            best, way = (total[..., None] + tables[:, t]).max(1)
            total = torch.where(real[:, t, None], best, total)
            ways.append(torch.where(real[:, t, None], way, stay))
        path = [total.argmax(1, keepdim=True)]
        for way in reversed(ways):
            path.append(way.gather(1, path[-1]))
        return torch.cat(path[::-1], 1)[real]
