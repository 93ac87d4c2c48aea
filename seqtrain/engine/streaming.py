"""Loads batches of shards: pools of rows are read, prepared and batched one after the other, and then forgotten."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice, repeat
from typing import Any, NamedTuple

import torch
from torch.nn.functional import pad
from torch.utils.data import DataLoader, Dataset

from seqtrain.config import UserError
from seqtrain.config.json_values import is_a
from seqtrain.contract import Batch, Batching, Examples
from seqtrain.engine.loader import ALL, CPU, Loader, ignore_signals, unchanged
from seqtrain.engine.processes import Shared, Team
from seqtrain.reading.shards import READERS, Place, Readers, Row, Shards
from seqtrain.reading.splits import is_full
from seqtrain.trees import weave

log = logging.getLogger(__name__)
CHARACTERS = 16_000_000  # of a pool at most, in each process: a bound on memory
EMPTY = Batch(None, None, None, torch.empty(0, 0))


class Rows(NamedTuple):
    """The rows of a pool. places: where the readers were before it. problem: why it could not be read."""

    epoch: int
    places: dict[int, Place]
    rows: Sequence[Row]
    problem: str | None = None


class Prepared(NamedTuple):
    """A pool, prepared for batching; without examples where it has no records. The rest: see `Rows`."""

    epoch: int
    places: dict[int, Place]
    examples: Examples | None
    problem: str | None = None


class Pool(NamedTuple):
    """A pool of all processes. size: how many batches it has; that of this process may have fewer. number: of the pools
    before it. loader: None where the others alone have such a pool."""

    epoch: int
    places: dict[int, Place]
    number: int
    size: int
    loader: Loader | None

    def batches(self, start: int, device: torch.device) -> Iterator[Batch]:
        """The batches from one of them on, endlessly: behind the last one they are empty."""
        own = () if self.loader is None else self.loader.load(self.loader.entries(self.number, start), ALL, device)
        return chain(own, repeat(EMPTY))


class Preparing(Dataset[Prepared]):
    """Makes records of rows, and examples of records. make: a record of the cells of a row. prepare: see
    `Task.examples`."""

    def __init__(self, shards: Shards, make: Callable[..., Any], prepare: Callable[[Sequence[Any]], Examples]):
        self.shards, self.make, self.prepare = shards, make, prepare

    def __getitem__(self, pool: Rows) -> Prepared:
        rows = [row for row in pool.rows if is_full(row.cells)]
        examples, problem = None, pool.problem
        if rows:
            records = [self.make(*row.cells) for row in rows]
            try:
                examples = self.prepare(records)
            except UserError as error:
                problem = self.located(rows, records) or str(error)
        return Prepared(pool.epoch, pool.places, examples, problem)

    def located(self, rows: Sequence[Row], records: Sequence[Any]) -> str | None:
        """What is wrong with the first record that cannot be prepared."""
        for row, record in zip(rows, records, strict=True):
            try:
                self.prepare([record])
            except UserError as error:
                problem = str(error).removeprefix("data: ")
                return (
                    f"{self.shards.place(row)}: {problem}; a larger data.fit_records learns from more rows beforehand"
                )
        return None


class Streaming:
    """Loads the batches of shards, epoch after epoch, as `Loader` does those of a split.

    A pool of rows is read from several shards in turn, its rows are shuffled and batched by length, and the next pool
    follows. All that a resumed run needs to get the same batches is where the readers were before the pool (`state`).
    Of several processes each has readers of its own, and makes its own part of a batch; they agree on when a pool and
    an epoch have ended. workers: processes that prepare pools ahead.
    """

    def __init__(self, preparing: Preparing, batching: Batching, seed: int, workers: int):
        self.preparing, self.batching, self.seed, self.workers = preparing, batching, seed, workers
        self.team = Team()
        self.state_before: dict[str, Any] = {"first": 0, "number": 0, "count": 0, "places": {}}
        self.pools: deque[Pool] = deque()  # the one that is trained on, and the one behind it, where that is known
        self.first = 0  # batches of the epoch before the first of these pools
        self.entries: Iterator[Prepared] = iter(())
        self.held: Prepared | None = None  # a pool of the next epoch, which other processes have not begun

    def join(self, team: Team) -> None:
        """Makes this process one of several that train together."""
        self.team = team

    def close(self) -> None:
        """Ends the processes that prepare pools: at the exit of this one they could not be told to."""
        self.entries = iter(())

    @property
    def examples(self) -> Examples:
        """Those of the first pool."""
        examples = next(self.prepared(0, {}, self.count())).examples
        assert examples is not None
        return examples

    def example(self) -> Batch:
        """One example."""
        return Loader.of(self.examples, self.batching, self.seed).example()

    def first_batches(self, number: int) -> Loader:
        """A loader whose epochs all consist of the first `number` batches."""
        return Loader.of(self.examples, self.batching, self.seed).first_batches(number)

    # ------------------------------------------------------------------------------------------------ where it is

    def size(self, number: int = 0) -> None:
        """The number of batches in an epoch: nobody knows."""

    def left(self, number: int, position: int) -> int:
        """How many batches of an epoch are left, as far as it is known: those of the pool."""
        return self.pools[0].size - (position - self.first)

    def over(self, number: int, position: int) -> bool:
        """Whether an epoch is known to have no more batches."""
        return False

    def advance(self, number: int, position: int) -> bool:
        """Goes on to a position in an epoch; returns whether that was its end."""
        if self.left(number, position):
            return False
        done = self.pools.popleft()
        ended = self.pools[0].epoch > done.epoch
        self.first = 0 if ended else position
        return ended

    def state(self) -> dict[str, Any]:
        """Where the readers of this process were before the present pool."""
        if not self.pools:
            return self.state_before
        pool = self.pools[0]
        return {"first": self.first, "number": pool.number, "count": self.count(), "places": pool.places}

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes what `state` gave in all processes, see `joined`. Raises ValueError for anything else."""
        numbers, places = [state.get(name) for name in ("first", "number", "count")], state.get("places", {})
        if not is_a(numbers, list[int]) or places is None or not is_a(places, dict[int, list[int]]):
            raise ValueError("shards: no places of readers")
        if any(len(place) != 2 for place in places.values()) or not all(n < state["count"] for n in places):
            raise ValueError("shards: no places of readers")
        self.state_before = state
        self.pools.clear()

    def count(self) -> int:
        """How many readers there are in all processes. Raises `UserError` where these cannot share them."""
        size, shards = self.team.size, len(self.preparing.shards)
        if found := self.state_before["count"]:
            if found % size:
                raise Shared(f"device.processes={size}: this run reads its shards with {found} readers, which {size} "
                             f"processes cannot share: expected a divisor of {found}")  # fmt: skip
            return found
        return max(size, min(READERS, shards) // size * size)

    # ------------------------------------------------------------------------------------------------ batches

    def stream(self, number: int, start: int, part: slice = ALL, device: torch.device = CPU) -> Iterator[Batch]:
        """The batches of this process from batch `start` of epoch `number` on, endlessly."""
        before = self.state_before if not self.pools else self.state()
        self.state_before, self.first = before, before["first"]
        self.entries = self.prepared(number, before["places"], self.count())
        self.pools, self.held, self.number = deque(), None, before["number"]
        self.fetch(number)
        self.first = max(self.first, start - self.pools[0].size + 1)  # with larger batches than before
        return self.batches(start - self.first, device)

    def batches(self, start: int, device: torch.device) -> Iterator[Batch]:
        while True:
            pool = self.pools[-1]
            for i, batch in enumerate(islice(pool.batches(start, device), pool.size - start), start):
                if i == pool.size - 1:  # whether it is the last of the epoch, the next pool says
                    self.fetch(pool.epoch)
                yield batch
            start = 0

    def fetch(self, epoch: int) -> None:
        """Gets the next pool of all processes that is not empty. epoch: of the last one."""
        while True:
            mine = self.held or next(self.entries)
            part = split(self.batching, self.team)
            loader = Loader.of(mine.examples, part, self.seed) if mine.examples is not None else None
            size = 0 if loader is None else loader.size(self.number)
            pools = self.team.gather((mine.problem, mine.epoch, size))
            if problem := next((problem for problem, *_ in pools if problem), None):
                raise Shared(problem)
            earliest = min(begun for _, begun, _ in pools)
            size = max(size for _, begun, size in pools if begun == earliest)
            here = mine.epoch == earliest
            self.held = None if here else mine
            if size:
                places = mine.places if here else self.ends()
                self.pools.append(Pool(earliest, places, self.number, size, loader if here else None))
                self.number += 1
                return
            if earliest > epoch + 1:
                raise Shared("data.train: there is no record left in the shards")

    def ends(self) -> dict[int, Place]:
        """The places of readers that have ended."""
        count, shards = self.count(), len(self.preparing.shards)
        return {n: (len(range(n, shards, count)), 0) for n in range(*self.team.part.indices(count))}

    def prepared(self, epoch: int, places: dict[int, Place], count: int) -> Iterator[Prepared]:
        """The pools of this process from some places of an epoch on, endlessly."""
        return iter(
            DataLoader(
                self.preparing,
                batch_size=None,
                sampler=self.read(epoch, places, count),  # type: ignore[arg-type]
                num_workers=self.workers,
                prefetch_factor=1 if self.workers else None,
                collate_fn=unchanged,
                worker_init_fn=alone,
                generator=torch.Generator(),  # not torch's global one, whose state a resumed run restores
            )
        )

    def read(self, epoch: int, places: dict[int, Place], count: int) -> Iterator[Rows]:
        """The rows of the pools of this process; an epoch ends with a pool of none. The very first pool is small: the
        first step waits for it."""
        numbers, size = range(*self.team.part.indices(count)), self.team.size
        rows = max(1, self.preparing.shards.buffer // size)
        while True:
            readers = Readers(self.preparing.shards, self.seed, numbers, count, epoch, places)
            while True:
                before = readers.places
                try:
                    begun = epoch > 0 or any(map(any, before.values()))
                    pool = Rows(epoch, before, readers.take(rows if begun else max(1, rows // 8), CHARACTERS))
                except UserError as error:
                    yield Rows(epoch, before, (), str(error))
                    return
                yield pool
                if not pool.rows:
                    break
            epoch, places = epoch + 1, {}

    def whole(self, number: int, position: int, group: Sequence[Batch]) -> list[Batch]:
        """The batches of all processes, of those of this one."""
        return [woven(parts) for parts in zip(*self.team.gather(group), strict=True)]


def split(batching: Batching, team: Team) -> Batching:
    """The part of a batch that a process makes."""
    if batching.examples:
        return Batching(max(1, len(range(batching.examples)[team.part])), None)
    return Batching(None, max(1, (batching.positions or 1) // team.size))


def joined(states: Sequence[Any]) -> Any:
    """The state of all processes, of that of each."""
    places = {n: place for state in states if state for n, place in state["places"].items()}
    return states[0] and {**states[0], "places": dict(sorted(places.items()))}


def woven(parts: Sequence[Batch]) -> Batch:
    """A batch, of the parts of it that several processes have made."""
    parts = [part for part in parts if part.size]
    widths = [max(v.size(1) for v in values) if (values := [v for v in field if v is not None and v.dim() > 1]) else 0
              for field in zip(*(part[:4] for part in parts), strict=True)]  # fmt: skip

    def wide(part: Batch) -> Batch:
        fields = [
            v if v is None or v.dim() < 2 else pad(v, [0, 0] * (v.dim() - 2) + [0, width - v.size(1)])
            for v, width in zip(part[:4], widths, strict=True)
        ]
        return Batch(*fields, *part[4:])  # type: ignore[arg-type]

    return weave([wide(part) for part in parts])


def alone(worker: int) -> None:
    """Makes a worker ignore signals, and tokenize in one thread: there are others."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    ignore_signals(worker)
