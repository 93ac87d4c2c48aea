"""What the parts of seqtrain promise each other: read me first.

Sizes flow from data to model: a task describes its data once in a `Spec`, a model is built from it, and neither knows
the other's name. What moves through the training loop is a `Batch` in and an `Output` out. What a score means, how it
is trained, and how a value is chosen by it, is a `Likelihood`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

from seqtrain.codecs.ragged import Ragged
from seqtrain.config import expanded
from seqtrain.trees import map_tensors

State = Any  # nested tuples of batch-first tensors; None at the beginning


# ------------------------------------------------------------------------------------------------- data, in a few words


@dataclass(frozen=True)
class Tokens:
    """Positions that hold an id below `size`; `pad` fills up short rows, `unknown` stands for what has no id. width:
    ids a position, where that is more than one: a word and its part of speech. parts: what stands behind these ids, the
    characters of the word, short ones filled up with padding. items: what the ids stand for; behind them are ids that
    are not used. unit: what an item is."""

    size: int
    pad: int = 0
    unknown: int | None = None
    width: int = 1
    parts: Tokens | None = None
    items: Sequence[Any] = field(default=(), compare=False, repr=False)
    unit: str = field(default="item", compare=False)


@dataclass(frozen=True)
class Reals:
    """Positions that hold real numbers of the given shape: (7,) for seven series, (1, 28, 28) for a small image."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class Fixed:
    """A known number of positions comes out: 1 for a label, the horizon for a forecast."""

    length: int = 1

    def __str__(self) -> str:
        return "a fixed number of positions"


@dataclass(frozen=True)
class Aligned:
    """One position comes out for each that comes in."""

    def __str__(self) -> str:
        return "one position for each that comes in"


@dataclass(frozen=True)
class Free:
    """The output decides its own length. longest: the length of the longest output seen in training."""

    longest: int | None = None

    def __str__(self) -> str:
        return "a sequence that ends by itself"


class Spec(NamedTuple):
    """What a model has to know of a task's data.

    source: what a position of the source is; None where nothing comes in.
    many: whether a sequence comes in, or a single thing (a label, an image).
    inputs: what a decoder reads at each step, None where the task has no such thing. Reals hold the value of the step
        before first, and behind it `known` covariates of the step itself, which are known ahead.
    likelihood: what the scores of a position mean.
    form: how many positions come out.
    one_vocab: whether source and inputs are ids of the same vocabulary.
    copies: whether much of the output stands in the source, so that a model which can copy should.
    classes: what the classes of the likelihood stand for, where it chooses among such.
    """

    source: Tokens | Reals | None
    many: bool
    inputs: Tokens | Reals | None
    likelihood: Likelihood
    form: Fixed | Aligned | Free
    known: int = 0
    one_vocab: bool = False
    copies: bool = False
    classes: Sequence[Any] = ()

    @property
    def incoming(self) -> str:
        """What comes in before the first output: one of the words that `Model.takes` holds."""
        return "nothing" if self.source is None else "a sequence" if self.many else "a single input"


# ----------------------------------------------------------------------------------------- what moves through the loop


class Batch(NamedTuple):
    """Examples, padded to the length of the longest. A prediction has no target.

    continues: every row goes on where the same row of the batch before has ended.
    """

    source: Num[Tensor, "B S *F"] | None
    source_lengths: Int[Tensor, " B"] | None
    inputs: Num[Tensor, "B T *G"] | None
    target: Num[Tensor, "B T *H"] | None = None
    target_lengths: Int[Tensor, " B"] | None = None
    continues: bool = False

    @property
    def size(self) -> int:
        """How many examples it holds."""
        return self.any_tensor.size(0)

    @property
    def any_tensor(self) -> Tensor:
        """One of its tensors: on the device of all, with a row for each example."""
        return next(tensor for tensor in (self.source, self.inputs, self.target) if tensor is not None)

    def to(self, device: torch.device) -> Batch:
        """The batch on a device. A copy of pinned memory to a GPU is only begun here; what works on it waits for it."""
        return map_tensors(lambda tensor: tensor.to(device, non_blocking=device.type == "cuda"), self)

    def select(self, rows: slice) -> Batch:
        """Some of the examples, padded as they are here."""
        return map_tensors(lambda tensor: tensor[rows], self)

    def positions(self) -> tuple[int, int]:
        """How many positions the source and the target have: real ones, and all."""
        pairs = (self.source, self.source_lengths), (self.target, self.target_lengths)
        present = [(values, lengths) for values, lengths in pairs if values is not None and lengths is not None]
        real = sum(int(lengths.sum()) for _, lengths in present)
        return real, sum(values.size(0) * values.size(1) for values, _ in present)

    def real(self, positions: Any) -> Any:
        """The real target positions of a (B, T, *F) tensor, or of each in a tree, row by row: (N, *F)."""
        return map_tensors(lambda tensor: real(tensor, self.target_lengths), positions)


class Output(NamedTuple):
    """What a model makes of a batch.

    scores: the scores of the real positions, row by row. lengths: how many of these each row has. state: goes on into
    the next batch where that one continues. penalty: added to the loss of every target item while training.
    """

    scores: Float[Tensor, "N O"]
    lengths: Int[Tensor, " B"]
    state: State = None
    penalty: Tensor | None = None


def length_mask(lengths: Int[Tensor, " B"], width: int) -> Bool[Tensor, "B {width}"]:
    """True at the positions before each row's length."""
    return torch.arange(width, device=lengths.device) < lengths[:, None]


def real(positions: Num[Tensor, "B T *F"], lengths: Int[Tensor, " B"] | None) -> Num[Tensor, "N *F"]:
    """The positions before each row's length, row by row; all where there are no lengths."""
    flat = positions.flatten(0, 1)
    if lengths is None:
        return flat
    return flat[length_mask(lengths, positions.size(1)).flatten().nonzero()[:, 0]]


def by_row(values: Num[Tensor, " N"], lengths: Int[Tensor, " B"]) -> Num[Tensor, " B"]:
    """Sums of the values of each row, of which it has so many."""
    rows = torch.arange(len(lengths), device=values.device).repeat_interleave(lengths, output_size=len(values))
    return values.new_zeros(len(lengths)).index_add(0, rows, values)


# ---------------------------------------------------------------------------------------------------- what scores mean


class Likelihood(ABC):
    """What the scores of a position mean.

    values: what a target is made of: "ids", "numbers" or "yes-or-no values". outputs: how many classes there are, or
    how many values a position has. size: scores a position. aligns: whether it finds out by itself which position an
    item of a shorter target is at. joint: whether it weighs the positions of a row together, which must all be there.
    density: whether `nll` is what it is called, and not the error of a best guess. unit: what `nll` is measured in.
    """

    values: ClassVar[str]
    aligns: ClassVar[bool] = False
    joint: ClassVar[bool] = False
    density: ClassVar[bool] = True
    outputs: int

    @property
    def unit(self) -> str:
        return "nats"

    @property
    def size(self) -> int:
        return self.outputs

    def rows(self, classes: Sequence[Any]) -> Sequence[Any]:
        """What each score stands for, by what its classes stand for."""
        return classes

    @abstractmethod
    def nll(self, output: Output, batch: Batch) -> Float[Tensor, " B"]:
        """The negative log-likelihood of each row's target, in nats, summed over its items."""

    def loss(self, output: Output, batch: Batch) -> Float[Tensor, " B"]:
        """What is trained on; another than `nll` where that is smoothed."""
        return self.nll(output, batch)

    def weight(self, batch: Batch) -> Num[Tensor, " B"]:
        """How much each row counts in the mean of `loss`: as many times as it has items, unless these have weights."""
        return self.items(batch)

    def items(self, batch: Batch) -> Num[Tensor, " B"]:
        """How many target items each row has: of numbers, those that are not missing (NaN)."""
        assert batch.target_lengths is not None
        return by_row((~batch.real(batch.target).isnan()).sum(-1), batch.target_lengths)

    def needed(self, target: Num[Tensor, "B T *H"], lengths: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
        """How many scored positions a target needs at least."""
        return lengths

    @abstractmethod
    def pick(self, scores: Float[Tensor, "*N O"]) -> Num[Tensor, "*N *H"]:
        """The best value by the scores of each position."""

    def best(self, output: Output) -> Num[Tensor, "N *H"]:
        """The best values of all rows, each row as a whole."""
        return self.pick(output.scores)

    def quantiles(self, scores: Float[Tensor, "*N O"], levels: Sequence[float]) -> Float[Tensor, "*N C L"]:
        """The quantiles of each number at these levels; of a best guess alone, that guess at each."""
        return self.pick(scores)[..., None].expand(*scores.shape[:-1], -1, len(levels))

    def feed(self, value: Num[Tensor, "B T *H"], inputs: Num[Tensor, "B T *F"]) -> Num[Tensor, "B T *F"]:
        """The inputs of the next step: of numbers, the value beside the covariates that `inputs` hold."""
        return torch.cat([value.to(inputs.dtype), inputs[..., value.size(-1) :]], -1)

    def mixed(self, scores: Float[Tensor, "M *N O"]) -> Float[Tensor, "*N O"]:
        """What several models, each with its scores, say together: as a rule the mean of their scores."""
        return scores.mean(0)

    def divergence(self, scores: Float[Tensor, "N O"], others: Float[Tensor, "N O"]) -> Tensor | None:
        """How much the scores of two passes disagree, summed over positions, for R-Drop; None: that has no meaning."""
        return None


# -------------------------------------------------------------------------------------------------------------- layers


@runtime_checkable
class MakeFrontend(Protocol):
    """The chosen frontend, waiting for its sizes: a module that turns the positions of a source into vectors of `size`,
    and tells how many are left: (x (B, S, *F), lengths) -> (vectors (B, S', size), lengths'). word_dropout and scaled:
    see `layers.Embedding`."""

    def __call__(
        self, *, source: Tokens | Reals, size: int, dropout: float, word_dropout: float, scaled: bool
    ) -> Any: ...


# Called once in each layer of a backbone, with the place of the layer and its vectors (B, T, H): the same vectors, with
# what they have read of a source.
Attend = Callable[[int, Tensor], Tensor]


class Backbone(Protocol):
    """A stack of layers that walks a sequence.

    A causal stack goes on from the state that it returned, over any number of positions; the state is made of
    batch-first tensors and is valid where all rows have full length. A stack that is not causal sees the whole
    sequence, needs `lengths`, and has no state.
    """

    def __call__(
        self,
        x: Float[Tensor, "B T I"],
        state: State = None,
        lengths: Int[Tensor, " B"] | None = None,
        attend: Attend | None = None,
    ) -> tuple[Float[Tensor, "B T H"], State]: ...

    def start(self, summary: Float[Tensor, "B S"]) -> State:
        """A state that holds a vector."""
        ...

    def last(self, y: Float[Tensor, "B T H"], lengths: Int[Tensor, " B"]) -> Float[Tensor, "B H"]:
        """The end of what the stack has read."""
        ...


@runtime_checkable
class MakeBackbone(Protocol):
    """The chosen backbone, waiting for its sizes. summary_size: of the vector that `start` takes; None: it has none."""

    def __call__(
        self,
        *,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        dropout: float,
        causal: bool,
        summary_size: int | None,
    ) -> Any: ...


# ------------------------------------------------------------------------------------------------ values and examples


class Codec(ABC):
    """Turns values of one kind (texts, labels, lists of numbers) into arrays of positions, and back.

    endings: of the names of files that hold a value each. begins: how the content of such files begins.
    """

    endings: ClassVar[tuple[str, ...]] = ()
    begins: ClassVar[tuple[bytes, ...]] = ()

    @property
    @abstractmethod
    def positions(self) -> Tokens | Reals:
        """What a position of an array is; before `fit`, of no size."""

    @abstractmethod
    def fit(self, values: Iterable[Any]) -> None:
        """Learns from the training values what it needs: a vocabulary, names, scales."""

    def renew(self, values: Iterable[Any]) -> None:  # noqa: B027
        """Learns anew, from the training values of another run than its state came from, what cannot stay: labels, of
        which there are others now. A vocabulary and scales stay."""

    @abstractmethod
    def state(self) -> Any:
        """What `fit` learned, as JSON."""

    @abstractmethod
    def load_state(self, state: Any) -> None:
        """Takes what `state` gave. A stranger's may hold anything: raises an exception where `fit` learns no such."""

    def load(self, line: Any) -> Any:
        """The value that a line of the input stands for: the line itself, or what is in the file of that name; `bytes`
        are the content of such a file. Raises `UserError` where it cannot be read."""
        return line

    def located(self, line: str, folder: Path) -> str:
        """A line of an input in that folder; where it is the name of a file, with the folder."""
        return str(folder / expanded(line)) if self.endings else line

    @abstractmethod
    def encode(self, value: Any) -> Num[np.ndarray, "T *F"]: ...

    def encode_all(self, values: Iterable[Any]) -> Any:
        """All arrays, of which a batch can be made: `Ragged`, or what can be padded as it can."""
        return Ragged.of([self.encode(value) for value in values])

    @abstractmethod
    def decode(self, array: Num[np.ndarray, "T *F"]) -> Any: ...

    def exported(self) -> dict[str, Any] | None:
        """What a script without seqtrain has to know to encode lines and to decode, as JSON (`exported/run.py`); None:
        it cannot."""
        return None

    def shown(self, value: Any) -> list[str] | None:
        """What stands at each position of a value, as a reader would want to see it; None where that cannot be said."""
        return None

    def left_out(self, value: Any, length: int) -> int:
        """How many items of a value its array of that length leaves out."""
        return 0


class Batching(NamedTuple):
    """How large a batch is: a number of examples, or of padded target positions. Exactly one is set."""

    examples: int | None
    positions: int | None


# What `Examples.batch` takes in an epoch, batch by batch: arrays of rows, or what can be cut and counted as they can.
Plan = Callable[[int], Sequence[Any]]


class Examples(ABC):
    """One split, prepared for batching."""

    @property
    @abstractmethod
    def sizes(self) -> Int[np.ndarray, "N 2"]:
        """The lengths of source and target; rows of like lengths make a batch."""

    @abstractmethod
    def batch(self, rows: Any, random: np.random.Generator | None = None) -> Batch:
        """The named rows, padded. random: for what changes examples at random in training."""

    def plan(self, batching: Batching, seed: int | None) -> Plan | None:
        """A plan of its own, shuffled by `seed`, or in order where that is None; None: rows are batched by `sizes`."""
        return None
