"""The records of each kind of data, and what a source of them is.

A source has a `kind` and reads one split at a time. Its records are `Pair` ("pairs"), `Labelled` ("labelled"),
`Document` ("text"), `Tagged` ("tagged"), `Piece` ("music"), `Recording` ("recordings"), `Written` ("strokes"),
`LineImage` ("line_images"), or `Series` ("series"); a task names the kinds that it takes. What `read` returns is a
sequence, which may make its records when they are asked for. One that may be large also has a `key`, equal for equal
records, and `large`, which says whether what is made of them is worth keeping in the cache.
"""

import json
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np

from seqtrain.config.json_values import is_a

SPLITS = ("train", "valid", "test")
ROUNDING = 1e-12  # relative error that operations on floats may leave
MARKS = {"point": ".", "comma": ",", "space": r"\s", "apostrophe": "'’"}  # in numbers, as regular expressions
FORWARD = re.compile("[1-9A-Za-z]")  # how a step begins: neither 0h nor -1h is one
KEYS, LOWEST = 88, 21  # of a piano; the MIDI number of its lowest one, A0
AGGREGATES = ("mean", "sum", "median", "min", "max", "first", "last")
T = TypeVar("T", covariant=True)


class Source(Generic[T]):
    """A source whose splits are all there from the beginning."""

    kind: ClassVar[str]
    splits: Mapping[str, Sequence[T]]

    def read(self, split: str) -> Sequence[T]:
        check_split(split)
        return self.splits[split]


def check_split(name: str) -> None:
    if name not in SPLITS:
        raise ValueError(f"a split is one of {', '.join(SPLITS)}, not {name}")


class Keyed(list[Any]):
    """Records in memory, with the key of their content; what is made of them is kept in the cache."""

    large = True

    def __init__(self, records: Iterable[Any], key: str):
        super().__init__(records)
        self.key = key


class Document(NamedTuple):
    """A text by itself."""

    text: str

    @classmethod
    def parse(cls, line: str) -> "Document":
        """The record of which a line is all that is known."""
        return cls(line)


class Pair(NamedTuple):
    """A text and the text it becomes."""

    source: str
    target: str

    @classmethod
    def parse(cls, line: str) -> "Pair":
        return cls(line, "")


class Labelled(NamedTuple):
    """A text and the name of its class."""

    text: str
    label: str

    @classmethod
    def parse(cls, line: str) -> "Labelled":
        return cls(line, "")


class Tagged(NamedTuple):
    """A sentence and the tag of each of its tokens. columns: the tokens, then what else is known of each of them: parts
    of speech, say."""

    columns: tuple[tuple[str, ...], ...]
    tags: tuple[str, ...]

    @property
    def tokens(self) -> tuple[str, ...]:
        return self.columns[0]

    @classmethod
    def parse(cls, line: str) -> "Tagged":
        """Tokens between blanks; or in JSON a list of tokens, or of lists of a token and what else is known of it.
        Raises ValueError where tokens have unequal numbers of columns."""
        tokens = json_list(line) if line.lstrip().startswith("[") else None
        rows = line.split() if tokens is None else tokens
        cells = [(row,) if isinstance(row, str) else tuple(row) for row in rows]
        return cls(tuple(zip(*cells, strict=True)), ())


def json_list(line: str) -> list[Any] | None:
    """A list of texts, or of lists of texts, of which a line is the JSON; None where it is something else."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if is_a(found, list[str]) or is_a(found, list[list[str]]) else None


class Roll(NamedTuple):
    """Which of the 88 keys of a piano sound in each frame. frames: (T, 88) int8, 1 where a key sounds. steps: frames in
    a quarter note. tempo: quarter notes in a minute."""

    frames: np.ndarray
    steps: int
    tempo: float


class Piece(NamedTuple):
    """A piece of music."""

    name: str
    roll: Roll


class Sound(NamedTuple):
    """A recording in memory. name: what tables and messages call it. rate: samples a second. samples: (N,) int16."""

    name: str
    rate: int
    samples: np.ndarray

    def __str__(self) -> str:
        return self.name


class Recording(NamedTuple):
    """A recording, or the path of its file, and the text that is spoken in it."""

    sound: Sound | str
    text: str

    @classmethod
    def parse(cls, line: Sound | str) -> "Recording":
        return cls(line, "")


class Ink(NamedTuple):
    """Strokes of a pen in memory. name: what tables and messages call them. strokes: (N, 2) points each, x to the right
    and y downwards, in any unit."""

    name: str
    strokes: tuple[np.ndarray, ...]

    def __str__(self) -> str:
        return self.name


class Written(NamedTuple):
    """Strokes of a pen, or the path of their file, and the text that is written with them."""

    ink: Ink | str
    text: str

    @classmethod
    def parse(cls, line: Ink | str) -> "Written":
        return cls(line, "")


class LineImage(NamedTuple):
    """An image of a line of writing: strokes that are drawn, or the path of its file, and its text."""

    image: Ink | str
    text: str

    @classmethod
    def parse(cls, line: Ink | str) -> "LineImage":
        return cls(line, "")


class Pictured(NamedTuple):
    """A picture, as (H, W, 3) uint8 or the path of its file, and sentences that say what is on it."""

    picture: Any
    captions: tuple[str, ...]

    @classmethod
    def parse(cls, line: Any) -> "Pictured":
        return cls(line, ("",))


class Described(NamedTuple):
    """Attributes, such as "name[The Mill], area[riverside]", and sentences that say them."""

    attributes: str
    captions: tuple[str, ...]

    @classmethod
    def parse(cls, line: str) -> "Described":
        return cls(line, ("",))


# The records that a line can ask for.
RECORDS: dict[str, Any] = {
    "text": Document,
    "pairs": Pair,
    "labelled": Labelled,
    "tagged": Tagged,
    "recordings": Recording,
    "strokes": Written,
    "line_images": LineImage,
    "pictures": Pictured,
    "attributes": Described,
}


@dataclass(frozen=True)
class Reading:
    """How tables of time series are read. timezone: of their dates. decimal, thousands: the marks in their numbers.
    every: the step that irregular dates are resampled to. aggregate: what the values in such a step become."""

    timezone: str | None = None
    decimal: str = "point"
    thousands: str | None = None
    every: str | None = None
    aggregate: str = "mean"

    def __post_init__(self) -> None:
        """Raises ValueError for what no configuration may ask for."""
        if not {self.decimal, self.thousands} <= {*MARKS, None} or self.aggregate not in AGGREGATES:
            raise ValueError("reading: wrong marks or aggregate")
        if self.every and not FORWARD.match(self.every):
            raise ValueError("reading: wrong step")
        zone = self.timezone
        if zone and (zone.startswith("dateutil") or not re.fullmatch(r"[\w+:-]+(/[\w+-]+)*", zone)):
            raise ValueError("reading: wrong timezone")

    def __iter__(self) -> Iterator[str]:
        """The settings that differ from the defaults: as a rule none, which then leave a hash of records as it was."""
        return (f"{name}={value}" for name, value in vars(self).items() if value != getattr(Reading, name))


class Layout(NamedTuple):
    """What the columns of a table of time series are.

    past: covariates known up to now only; known: covariates known ahead, such as holidays or prices. id: says which
    series a row belongs to. frequency: the step from row to row, see `reading.frequency`. date_format: how dates are
    written, where not as ISO 8601: in the notation of strftime, with %q for a quarter, or "seconds" (milliseconds, …)
    since 1970, or "integer". static: what stays the same in each series; a table to forecast need not have these.
    """

    targets: tuple[str, ...]
    past: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    date: str = "date"
    id: str | None = None
    frequency: str | None = None
    date_format: str | None = None
    reading: Reading = Reading()
    static: tuple[str, ...] = ()

    def numbers(self) -> list[str]:
        return [*self.targets, *self.past, *self.known]

    def columns(self) -> list[str]:
        return [*([self.id] if self.id else []), self.date, *self.numbers()]


class Series(NamedTuple):
    """One time series, cut so that the targets of a split lie in rows `begin` to the end; rows before are context.

    times: (T,) datetime64, one row a step. values: (T, C) float64, NaN where missing, by the targets of the layout.
    past, known: (T, P) and (T, K) covariates, by those of the layout; None where there are none. static: the values
    that stay the same, by those of the layout: numbers or names.
    """

    name: str
    times: np.ndarray
    values: np.ndarray
    begin: int
    layout: Layout
    past: np.ndarray | None = None
    known: np.ndarray | None = None
    static: tuple[float | str, ...] = ()

    def cut(self, begin: int, end: int) -> "Series":
        """The rows before `end`, with targets from `begin` on."""
        past, known = (None if extra is None else extra[:end] for extra in (self.past, self.known))
        return self._replace(times=self.times[:end], values=self.values[:end], begin=begin, past=past, known=known)

    def constant(self) -> np.ndarray:
        """(C,) whether a channel never changes, apart from the rounding of its numbers."""
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # of channels without a value
            low, high = np.nanmin(self.values, axis=0), np.nanmax(self.values, axis=0)
        return ~(high - low > ROUNDING * np.maximum(abs(low), abs(high)))

    def apart(self) -> "list[Series]":
        """Each channel as a series of its own, with the covariates of all."""
        return [
            self._replace(values=self.values[:, i : i + 1], layout=self.layout._replace(targets=(name,)))
            for i, name in enumerate(self.layout.targets)
        ]
