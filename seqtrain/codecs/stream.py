"""A language model's examples: all texts as one long stream of ids, read in windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int

from seqtrain.contract import Batch, Batching, Examples, Plan

EVALUATION_STREAMS = 16  # parallel streams in evaluation, whatever the size of a training batch


@dataclass(frozen=True)
class Window:
    """A batch of windows: the position in the stream where each row begins, and where it ends. continues: whether each
    row goes on where the same row of the batch before has ended."""

    starts: np.ndarray
    ends: np.ndarray
    continues: bool

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, rows: slice) -> Window:
        return Window(self.starts[rows], self.ends[rows], self.continues)


class Stream(Examples):
    """Cuts the ids of all texts into windows.

    ids: (N,) the texts, each with an end mark. end: the id of that mark. window: items of a window. carry: whether the
    state is carried from window to window: the ids are first cut into parallel streams, one for each row of a batch.
    """

    def __init__(self, ids: np.ndarray, end: int, window: int, carry: bool):
        self.ids, self.end, self.window, self.carry = ids, end, window, carry

    @property
    def sizes(self) -> Int[np.ndarray, "1 2"]:
        return np.array([[0, len(self.ids)]])

    def plan(self, batching: Batching, seed: int | None) -> Plan:
        count = batching.examples or max(1, (batching.positions or 0) // self.window)
        if self.carry:
            return self.parallel_streams(EVALUATION_STREAMS if seed is None else count, seed)
        return self.single_windows(count, seed)

    def parallel_streams(self, count: int, seed: int | None) -> Plan:
        """Plans `count` parallel streams, read in windows of equal length. In training (a seed is given) the beginning
        of the streams is shifted at random in each epoch."""
        count = max(1, min(count, len(self.ids) // 2))

        def plan(epoch: int) -> list[Window]:
            shift = 0 if seed is None else int(np.random.default_rng([seed, epoch]).integers(self.window))
            bounds = np.linspace(min(shift, len(self.ids) - count), len(self.ids), count + 1).astype(np.int64)
            longest = int(np.diff(bounds).max())
            num_windows = -(-longest // self.window)  # rounded up
            width = -(-longest // num_windows)  # so only in the last window may a row be shorter than the others
            cuts = [np.minimum(bounds[:-1] + i * width, bounds[1:]) for i in range(num_windows + 1)]
            return [Window(cuts[i], cuts[i + 1], continues=i > 0) for i in range(num_windows)]

        return plan

    def single_windows(self, size: int, seed: int | None) -> Plan:
        """Plans batches of `size` windows that do not continue each other. In training (a seed is given) the cuts are
        shifted at random in each epoch, and the windows are shuffled."""
        total = len(self.ids)

        def plan(epoch: int) -> list[Window]:
            random = None if seed is None else np.random.default_rng([seed, epoch])
            shift = 0 if random is None else int(random.integers(min(self.window, total)))
            starts = np.arange(shift, total, self.window)
            if random is not None:
                random.shuffle(starts)
            groups = (starts[i : i + size] for i in range(0, len(starts), size))
            return [Window(group, np.minimum(group + self.window, total), continues=False) for group in groups]

        return plan

    def batch(self, rows: Window, random: np.random.Generator | None = None) -> Batch:
        lengths = rows.ends - rows.starts
        indices = np.minimum(rows.starts[:, None] + np.arange(lengths.max(initial=1)), len(self.ids) - 1)
        target = torch.from_numpy(self.ids[indices].astype(np.int64))
        # The input is the id before; the very first id follows an end mark, like the first id of any text.
        inputs = torch.from_numpy(np.where(indices > 0, self.ids[indices - 1], self.end).astype(np.int64))
        return Batch(None, None, inputs, target, torch.from_numpy(lengths), rows.continues)
