"""Examples of encoded records: a source, a target, or both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, Num
from torch import Tensor

from seqtrain.codecs.ragged import Ragged
from seqtrain.codecs.signal import Signals
from seqtrain.contract import Batch, Examples

PAD = 0


class Encoded(Examples):
    """Examples with a source, if the task has one, and a target, if it is known.

    shifted: whether a decoder reads the target, shifted by one position; the target then begins with a begin mark.
    prompts: what a decoder has read already, where there is no target.
    """

    def __init__(
        self,
        records: Sequence[Any],
        source: Ragged | Signals | None,
        target: Ragged | None,
        shifted: bool = False,
        prompts: Ragged | None = None,
    ):
        self.records, self.source, self.target, self.shifted, self.prompts = records, source, target, shifted, prompts

    @property
    def sizes(self) -> Int[np.ndarray, "N 2"]:
        parts = self.source, self.target if self.prompts is None else self.prompts
        return np.stack([np.zeros(len(self.records), int) if part is None else part.lengths for part in parts], 1)

    def batch(self, rows: np.ndarray, random: np.random.Generator | None = None) -> Batch:
        source, source_lengths = (None, None) if self.source is None else self.source.varied(random).padded(rows, PAD)
        if self.target is None:
            inputs = None if self.prompts is None else self.prompts.padded(rows, PAD)[0]
            return Batch(source, source_lengths, inputs)
        inputs, target, lengths = self.written(rows, random)
        return Batch(source, source_lengths, inputs, target, lengths)

    def written(
        self, rows: np.ndarray, random: np.random.Generator | None = None
    ) -> tuple[Num[Tensor, "B T *G"] | None, Num[Tensor, "B T *H"], Int[Tensor, " B"]]:
        """What a decoder reads, the targets of rows, and their lengths."""
        assert self.target is not None
        target, lengths = self.target.padded(self.targets(rows, random), PAD)
        return (target[:, :-1], target[:, 1:], lengths - 1) if self.shifted else (None, target, lengths)

    def targets(self, rows: np.ndarray, random: np.random.Generator | None) -> np.ndarray:
        """The places of the targets of rows."""
        return rows

    def batches_by_length(self, size: int = 64) -> Iterator[np.ndarray]:
        """Yields all rows in batches: sources of similar length, and prompts of exactly the same length, because a
        decoder's state cannot skip padding."""
        source, prompts = self.sizes.T
        order = np.lexsort((source, prompts))
        for rows in np.split(order, np.flatnonzero(np.diff(prompts[order])) + 1):
            yield from (rows[i : i + size] for i in range(0, len(rows), size))


class Several(Encoded):
    """Records with several targets each: in training one of them, drawn anew in each epoch, else the first one.

    target: of all records, one after the other. counts: (N,) how many each record has.
    """

    def __init__(
        self, records: Sequence[Any], source: Ragged | Signals | None, target: Ragged, counts: Int[np.ndarray, " N"]
    ):
        super().__init__(records, source, target, shifted=True)
        self.counts, self.firsts = counts, np.cumsum(counts) - counts

    @property
    def sizes(self) -> Int[np.ndarray, "N 2"]:
        assert self.source is not None
        assert self.target is not None
        return np.stack([self.source.lengths, self.target.lengths[self.firsts]], 1)

    def targets(self, rows: np.ndarray, random: np.random.Generator | None) -> np.ndarray:
        return self.firsts[rows] + (0 if random is None else random.integers(self.counts[rows]))
