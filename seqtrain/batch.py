"""What a task tells a model (`Spec`), what moves through the loop (`Batch`), and how an epoch is cut into batches.

Sizes flow from data to model: a task describes its data once in a `Spec`, models are built from it, and neither knows
the other's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from itertools import chain, islice
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

Item = TypeVar("Item")


@dataclass(frozen=True)
class Tokens:
    """Positions that hold an id below `size`; `pad` fills up short rows, `unknown` stands for what has no id."""

    size: int
    pad: int = 0
    unknown: int | None = None


@dataclass(frozen=True)
class Reals:
    """Positions that hold real numbers of the given shape: (7,) for seven series, (1, 28, 28) for a small image."""

    shape: tuple[int, ...]


class Source(Enum):
    """How much comes in before the first output."""

    NONE = "nothing"
    ONE = "a single input"
    MANY = "a sequence"


@dataclass(frozen=True)
class Fixed:
    """A known number of positions comes out: 1 for a label, the horizon for a forecast."""

    length: int

    def __str__(self) -> str:
        return "a fixed number of positions"


@dataclass(frozen=True)
class Aligned:
    """One position comes out for each that comes in."""

    def __str__(self) -> str:
        return "one position for each that comes in"


@dataclass(frozen=True)
class Free:
    """The output decides its own length."""

    def __str__(self) -> str:
        return "a sequence that ends by itself"


class Spec(NamedTuple):
    """What a model has to know of a task's data.

    source: what one position of the input is; None where nothing comes in.
    source_form: whether nothing, one position or a sequence comes in.
    inputs: what a decoder reads at each step, None where the task has no such thing. Reals hold the outputs of the
        step before first and known covariates of the step behind them.
    outputs: scores a position: the size of a vocabulary, the number of classes or of series.
    form: how many positions come out.
    one_vocab: whether source and inputs are ids of the same things.
    """

    source: Tokens | Reals | None
    source_form: Source
    inputs: Tokens | Reals | None
    outputs: int
    form: Fixed | Aligned | Free
    one_vocab: bool = False

    def feed(self, scores: Float[Tensor, "B T O"], inputs: Num[Tensor, "B T *F"]) -> Num[Tensor, "B T *F"]:
        """Turns scores into the next step's inputs: the best ids, or the reals beside the covariates in `inputs`."""
        if isinstance(self.inputs, Tokens):
            return scores.argmax(-1)
        return torch.cat([scores.to(inputs.dtype), inputs[..., self.outputs :]], -1)


class Batch(NamedTuple):
    """Examples padded to the length of the longest.

    index holds the flat places (row * T + position) of the real target positions, made on the CPU, so that scores are
    computed for them only. rows are the places of the examples in their split. `continues` says that every row goes on
    where the same row of the batch before has ended. part is what this process works on of it, on the device, where
    that was begun ahead.
    """

    source: Num[Tensor, "B S *F"] | None
    source_lengths: Int[Tensor, " B"] | None
    inputs: Num[Tensor, "B T *G"] | None
    target: Num[Tensor, "B T *H"]
    target_lengths: Int[Tensor, " B"]
    index: Int[Tensor, " N"]  # pyright: ignore[reportIncompatibleMethodOverride]
    rows: np.ndarray
    continues: bool = False
    part: Batch | None = None

    def to(self, device: torch.device) -> Batch:
        """The batch on a device. A copy to a GPU is only begun here: what follows on the same stream waits for it."""
        gpu = device.type == "cuda"

        def move(tensor: Tensor) -> Tensor:
            pinned = tensor.contiguous().pin_memory() if gpu and tensor.device.type == "cpu" else tensor
            return pinned.to(device, non_blocking=gpu)

        return self._replace(**{k: move(v) for k, v in self._asdict().items() if isinstance(v, Tensor)})

    def positions(self) -> tuple[int, int]:
        """How many positions the source and the target have: real ones, and all."""
        real, every = int(self.target_lengths.sum()), self.target.shape[0] * self.target.shape[1]
        if self.source is not None and self.source_lengths is not None:
            real += int(self.source_lengths.sum())
            every += self.source.shape[0] * self.source.shape[1]
        return real, every

    def take(self, rows: slice) -> Batch:
        """Some of the examples, padded as they are here."""
        width, chosen = self.target.shape[1], np.arange(len(self.target))[rows]
        places = torch.full((len(self.target),), -1, device=self.index.device)
        places[chosen] = torch.arange(len(chosen), device=self.index.device)
        row = places[self.index // width]
        index = (row * width + self.index % width)[row >= 0]
        values = self._replace(index=None)._asdict().items()  # pyright: ignore[reportArgumentType]
        cut = {k: v[chosen] for k, v in values if isinstance(v, Tensor | np.ndarray)}
        return self._replace(**cut, index=index, part=None)

    def real(self, positions: Num[Tensor, "B T *F"]) -> Num[Tensor, "N *F"]:
        """Gathers what stands at the real target positions."""
        return positions.flatten(0, 1)[self.index]


def real_positions(lengths: np.ndarray, width: int | None = None) -> Int[Tensor, " N"]:
    """Flat places of the positions before each row's length, in rows of `width` (by default the longest)."""
    width = int(lengths.max()) if width is None else width
    return torch.from_numpy(np.flatnonzero(np.arange(width) < lengths[:, None]))


def length_mask(lengths: Int[Tensor, " B"], width: int) -> Bool[Tensor, "B {width}"]:
    """True at the positions before each row's length."""
    return torch.arange(width, device=lengths.device) < lengths[:, None]


def ahead(items: Iterator[Item], device: torch.device) -> Iterator[Item]:
    """Yields the items. For a GPU, one more is made before each: on a stream of its own, so that what it copies there
    is copied while the GPU works on the one before."""
    if device.type != "cuda":
        yield from items
        return
    stream = torch.cuda.Stream(device)

    def make() -> tuple[list[Item], Any]:
        with torch.cuda.stream(stream):
            return list(islice(items, 1)), stream.record_event()

    made, ready = make()
    while made:
        (item,), (made, following) = made, make()
        current = torch.cuda.current_stream(device)
        current.wait_event(ready)
        for tensor in tensors(item):
            if tensor.is_cuda:
                tensor.record_stream(current)  # its memory is not given away before what reads it has ended
        ready = following
        yield item


def map_tensors(function: Callable[[Tensor], Any], tree: Any) -> Any:
    """Applies a function to every tensor of nested tuples, lists and dicts: how states are detached and reordered."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, tuple):
        items = [map_tensors(function, item) for item in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else tuple(items)
    if isinstance(tree, list):
        return [map_tensors(function, item) for item in tree]
    if isinstance(tree, dict):
        return {key: map_tensors(function, item) for key, item in tree.items()}
    return tree


def leaves(tree: Any) -> Iterator[Any]:
    """What a tree holds, in order, tensors and others."""
    if isinstance(tree, tuple | list):
        for item in tree:
            yield from leaves(item)
    elif isinstance(tree, dict):
        yield from leaves(tuple(tree.values()))
    else:
        yield tree


def tensors(tree: Any) -> list[Tensor]:
    """The tensors of a tree, in order."""
    return [leaf for leaf in leaves(tree) if isinstance(leaf, Tensor)]


def join(trees: Sequence[Any]) -> Any:
    """Trees of the same form as one, their tensors laid end to end: the states of the parts of a batch."""
    joined = iter([torch.cat(same) for same in zip(*map(tensors, trees), strict=True)])
    return map_tensors(lambda tensor: next(joined), trees[0])


def weave(trees: Sequence[Any]) -> Any:
    """The states of all rows in order, from those of the rows `n::N` for each n below N; None where there are none."""
    found = [tree for tree in trees if tree is not None]
    if not found:
        return None

    def in_order(rows: Tensor) -> Tensor:
        return rows[torch.cat([torch.arange(len(rows))[n :: len(trees)] for n in range(len(trees))]).argsort()]

    return map_tensors(in_order, join(found))


class Ragged:
    """Sequences of unequal length in one flat array, in memory or mapped, so that a padded batch is a single gather.

    values: the sequences end to end, integers. lengths: (N,).
    """

    def __init__(self, values: np.ndarray, lengths: np.ndarray):
        self.values = values
        self.lengths = lengths
        self.starts = np.cumsum(lengths) - lengths

    @classmethod
    def of(cls, sequences: Sequence[Sequence[int]]) -> Ragged:
        lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
        return cls(np.fromiter(chain.from_iterable(sequences), np.int64, lengths.sum()), lengths)

    def __getitem__(self, row: int) -> np.ndarray:
        return self.values[self.starts[row] : self.starts[row] + self.lengths[row]]

    def padded(self, rows: np.ndarray, pad: int) -> tuple[Int[Tensor, "B T"], Int[Tensor, " B"]]:
        lengths = self.lengths[rows]
        positions = np.arange(lengths.max(initial=1))
        places = np.minimum(self.starts[rows, None] + positions, len(self.values) - 1)
        padded = np.where(positions < lengths[:, None], self.values[places], pad)
        return torch.from_numpy(padded.astype(np.int64)), torch.from_numpy(lengths)


@runtime_checkable
class Examples(Protocol):
    """One split, prepared: `lengths` guide the bucketing, `batch` collates the named rows."""

    @property
    def lengths(self) -> np.ndarray: ...

    def batch(self, rows: Any) -> Batch: ...


class Batching(NamedTuple):
    """How large a batch is: a number of examples, or of padded target positions. Exactly one is set."""

    examples: int | None
    positions: int | None

    def cut(self, order: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
        """Cuts rows, already in order, into batches."""
        if self.examples:
            return [order[i : i + self.examples] for i in range(0, len(order), self.examples)]
        assert self.positions
        batches, start, longest = [], 0, 0
        for end, length in enumerate(lengths[order]):
            longest = max(longest, int(length))
            if end > start and longest * (end + 1 - start) > self.positions:
                batches.append(order[start:end])
                start, longest = end, int(length)
        return [*batches, order[start:]] if len(order) else batches


class Loader:
    """Batches of a split, epoch after epoch, from any place inside an epoch.

    plan(epoch) lists what `examples.batch` takes, batch by batch: rows, as a rule; it depends on nothing but the epoch,
    so that a resumed run sees the very batches that an uninterrupted one would have seen.
    """

    def __init__(self, examples: Examples, plan: Callable[[int], Sequence[Any]]):
        self.examples = examples
        self.plan = lru_cache(maxsize=1)(plan)

    def size(self, number: int = 0) -> int:
        """Batches in an epoch."""
        return len(self.plan(number))

    def epoch(self, number: int = 0, start: int = 0) -> Iterator[Batch]:
        for rows in self.plan(number)[start:]:
            yield self.examples.batch(rows)

    def only(self, count: int) -> Loader:
        """The first `count` batches of the first epoch, again and again."""
        chosen = self.plan(0)[:count]
        return Loader(self.examples, lambda epoch: chosen)


def shuffled(lengths: np.ndarray, batching: Batching, seed: int, pool: int = 400) -> Callable[[int], list[np.ndarray]]:
    """A training plan: pools of `pool` batches are sorted by length, so that little is padding: of Multi30k's targets
    0.6%, of its sources 6% (pools of 100: 1.7% and 12%)."""

    def plan(epoch: int) -> list[np.ndarray]:
        random = np.random.default_rng([seed, epoch])
        order = random.permutation(len(lengths))
        mean = max(float(lengths.mean()), 1.0)
        size = batching.examples or max(1, int((batching.positions or 1) / mean))
        batches = []
        for start in range(0, len(order), pool * size):
            rows = order[start : start + pool * size]
            batches += batching.cut(rows[np.argsort(lengths[rows], kind="stable")], lengths)
        return [batches[i] for i in random.permutation(len(batches))]

    return plan


def in_order(lengths: np.ndarray, batching: Batching) -> Callable[[int], list[np.ndarray]]:
    """A plan for evaluation: every example once, sorted by length."""
    return lambda epoch: batching.cut(np.argsort(lengths, kind="stable"), lengths)
