"""Sequences of unequal length in one flat array."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Num
from torch import Tensor


class Ragged:
    """Sequences of unequal length in one flat array, which may be mapped from a file. A padded batch is one gather.

    values: (positions, *F) the concatenated sequences, integers or floats. lengths: (N,) of the sequences.
    """

    def __init__(self, values: np.ndarray, lengths: np.ndarray):
        self.values = values
        self.lengths = lengths
        self.starts = np.cumsum(lengths) - lengths

    @classmethod
    def of(cls, sequences: Sequence[Any]) -> Ragged:
        """Concatenates lists of ids, or arrays (T, *F)."""
        lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
        if len(sequences) and isinstance(sequences[0], np.ndarray):
            return cls(np.concatenate(sequences), lengths)
        return cls(np.fromiter(chain.from_iterable(sequences), np.int64, lengths.sum()), lengths)

    def __getitem__(self, row: int) -> np.ndarray:
        return self.values[self.starts[row] : self.starts[row] + self.lengths[row]]

    def varied(self, random: np.random.Generator | None) -> Ragged:
        """As they are in training; of ids nothing is changed at random."""
        return self

    def padded(self, rows: np.ndarray, pad: int) -> tuple[Num[Tensor, "B T *F"], Int[Tensor, " B"]]:
        """Returns the sequences of some rows, filled up with `pad` to the length of the longest, and their lengths."""
        lengths = self.lengths[rows]
        positions = np.arange(lengths.max(initial=1))
        indices = np.minimum(self.starts[rows, None] + positions, len(self.values) - 1)
        is_real = np.expand_dims(positions < lengths[:, None], (*range(2, self.values.ndim + 1),))  # (B, T, 1, …)
        padded = np.where(is_real, self.values[indices], pad)
        dtype = np.float32 if padded.dtype.kind == "f" else np.int64
        return torch.from_numpy(padded.astype(dtype)), torch.from_numpy(lengths)
