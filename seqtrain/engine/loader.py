"""Divides epochs into batches, and loads these onto the device."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, count, islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from seqtrain.contract import Batch, Batching, Examples, Plan
from seqtrain.engine.processes import Team
from seqtrain.machine.signals import SIGNALS

CPU = torch.device("cpu")
ALL = slice(None)


def cut(order: np.ndarray, lengths: np.ndarray, batching: Batching) -> list[np.ndarray]:
    """Cuts rows, given in order, into batches. lengths: (N,) of all rows, see `lengths_of`."""
    if batching.examples:
        return [order[i : i + batching.examples] for i in range(0, len(order), batching.examples)]
    assert batching.positions
    batches, start, longest = [], 0, 0
    for end, length in enumerate(lengths[order]):
        longest = max(longest, int(length))
        if end > start and longest * (end + 1 - start) > batching.positions:
            batches.append(order[start:end])
            start, longest = end, int(length)
    return [*batches, order[start:]] if len(order) else batches


def lengths_of(sizes: np.ndarray) -> np.ndarray:
    """Returns the lengths by which rows are sorted: of the target, then of the source. sizes: see `Examples.sizes`.

    For odd target lengths sources are sorted up, for even ones down: so the sources of a batch that has targets of two
    lengths are still of similar length. Where all targets have one position, the source alone counts.
    """
    source, target = sizes.T
    if (target == 1).all():
        return source
    return target + 0.5 + np.where(target % 2, 1e-6, -1e-6) * source


class Loader:
    """Loads the batches of a split, epoch after epoch, from any batch of an epoch on.

    plan: plan(epoch) is the list of what `examples.batch` takes, usually rows. It depends only on the epoch, so that a
    resumed run gets the same batches as an uninterrupted one. seed: of random changes of examples; None: there are
    none. workers: processes that prepare batches ahead.
    """

    def __init__(self, examples: Examples, plan: Plan, seed: int | None = None, workers: int = 0):
        self.examples = examples
        self.plan = lru_cache(maxsize=2)(plan)
        self.seed, self.workers = seed, workers

    @classmethod
    def of(cls, examples: Examples, batching: Batching, seed: int | None, workers: int = 0) -> Loader:
        """Makes a loader for training, shuffled by `seed`, or for evaluation, in order, where `seed` is None."""
        plan = examples.plan(batching, seed)
        if plan is None:
            lengths = lengths_of(examples.sizes)
            plan = in_order(lengths, batching) if seed is None else shuffled(lengths, batching, seed)
        return cls(examples, plan, seed, workers)

    def size(self, number: int = 0) -> int:
        """Returns the number of batches in an epoch."""
        return len(self.plan(number))

    def left(self, number: int, position: int) -> int:
        """Returns the number of batches of an epoch from a position on."""
        return self.size(number) - position

    def over(self, number: int, position: int) -> bool:
        """Whether an epoch has no more batches."""
        return self.left(number, position) <= 0

    def advance(self, number: int, position: int) -> bool:
        """Goes on to a position in an epoch; returns whether that is its end."""
        return self.over(number, position)

    def join(self, team: Team) -> None:
        """Makes this process one of several that train together: it loads a part of each batch."""

    def close(self) -> None:
        """Ends what `stream` has begun, where it is not ended with its iterator."""

    def example(self) -> Batch:
        """One example."""
        return self.examples.batch(self.plan(0)[0][:1])

    def state(self) -> None:
        """What else a resumed run needs than epoch and position: nothing."""

    def load_state(self, state: Any) -> None:
        """Takes what `state` gave."""

    def whole(self, number: int, position: int, group: Sequence[Batch]) -> list[Batch]:
        """Returns the batches of which `group` has the part of this process."""
        return list(islice(self.stream(number, position), len(group)))

    def epoch(self, number: int = 0, part: slice = ALL, device: torch.device = CPU) -> Iterator[Batch]:
        """Yields the batches of an epoch. part: which rows of each batch; a batch may then be empty."""
        return self.load(self.entries(number), part, device)

    def stream(self, number: int, start: int, part: slice = ALL, device: torch.device = CPU) -> Iterator[Batch]:
        """Yields the batches of epoch `number` from batch `start` on, and then those of all later epochs, endlessly."""
        later = (entry for epoch in count(number + 1) for entry in self.entries(epoch))
        return self.load(chain(self.entries(number, start), later), part, device)

    def entries(self, number: int, start: int = 0) -> Iterator[tuple[int, int, Any]]:
        """Yields (epoch, index of the batch, rows) of the plan of an epoch."""
        for i, rows in enumerate(self.plan(number)[start:], start):
            yield number, i, rows

    def load(self, entries: Iterable[tuple[int, int, Any]], part: slice, device: torch.device) -> Iterator[Batch]:
        """Yields the batches of entries of plans, made by torch's DataLoader."""
        batches = DataLoader(
            Batches(self.examples, self.seed, part),
            batch_size=None,
            sampler=entries,
            num_workers=self.workers,
            collate_fn=unchanged,
            pin_memory=device.type == "cuda",
            worker_init_fn=ignore_signals,
            generator=torch.Generator(),  # not torch's global one, whose state a resumed run restores
        )
        return (batch.to(device) for batch in batches)

    def first_batches(self, number: int) -> Loader:
        """Returns a loader whose epochs all consist of the first `number` batches of this one."""
        rows = self.plan(0)[:number]
        return Loader(self.examples, lambda epoch: rows, self.seed, self.workers)


class Batches(Dataset[Batch]):
    """Makes the batch of an entry of a plan, of the rows in `part`."""

    def __init__(self, examples: Examples, seed: int | None, part: slice):
        self.examples, self.seed, self.part = examples, seed, part

    def __getitem__(self, entry: tuple[int, int, Any]) -> Batch:
        epoch, batch_number, rows = entry
        if self.seed is not None:
            # All rows are made, then cut: the random numbers of a row must not depend on how rows are shared out.
            random = np.random.default_rng([self.seed, epoch, batch_number])
            return self.examples.batch(rows, random).select(self.part)
        own_rows = rows[self.part]
        if not len(own_rows):  # an empty batch, with tensors of the right types
            return self.examples.batch(rows[:1]).select(slice(0))
        return self.examples.batch(own_rows)


def unchanged(batch: Any) -> Any:
    return batch


def ignore_signals(worker: int) -> None:
    """Makes a worker ignore signals, which a terminal sends to all processes: it ends when the training does."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def shuffled(lengths: np.ndarray, batching: Batching, seed: int, pool: int = 400) -> Callable[[int], list[np.ndarray]]:
    """Returns a plan for training. Rows are shuffled, cut into pools of `pool` batches, and sorted by length within a
    pool, which leaves little padding: 0.6% of Multi30k's targets, 6% of its sources (pools of 100: 1.7% and 12%)."""

    def plan(epoch: int) -> list[np.ndarray]:
        random = np.random.default_rng([seed, epoch])
        order = random.permutation(len(lengths))
        mean = max(float(lengths.mean()), 1.0)
        size = batching.examples or max(1, int((batching.positions or 1) / mean))
        batches = []
        for start in range(0, len(order), pool * size):
            rows = order[start : start + pool * size]
            batches += cut(rows[np.argsort(lengths[rows], kind="stable")], lengths, batching)
        return [batches[i] for i in random.permutation(len(batches))]

    return plan


def in_order(lengths: np.ndarray, batching: Batching) -> Callable[[int], list[np.ndarray]]:
    """Returns a plan for evaluation: every example once, sorted by length."""
    return lambda epoch: cut(np.argsort(lengths, kind="stable"), lengths, batching)
