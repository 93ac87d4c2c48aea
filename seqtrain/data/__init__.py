"""Where examples come from: one file a source. Every source has a `kind` and reads one split at a time.

A record is what a source yields for its kind: `Pair` ("pairs"), `Labelled` ("labelled"), a plain `str`, one document
("text"), or `Series` ("series"). A task names the kinds it takes. What `read` returns is a sequence, which may make its
records when they are asked for; one that may be large also has a `key`, the same for the same records, and says with
`large` whether what is made of them is worth keeping.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from seqtrain.config import UserError

SPLITS = ("train", "valid", "test")


def check_split(name: str) -> None:
    if name not in SPLITS:
        raise ValueError(f"a split is one of {', '.join(SPLITS)}, not {name}")


class Pair(NamedTuple):
    """A text and the text it becomes."""

    source: str
    target: str


class Labelled(NamedTuple):
    """A text and the name of its class."""

    text: str
    label: str


class Kept(list[Any]):
    """Records in memory, with the key of their content; what is made of them is kept in the cache."""

    large = True

    def __init__(self, records: Iterable[Any], key: str):
        super().__init__(records)
        self.key = key


class Layout(NamedTuple):
    """What the columns of a table of time series are.

    past: covariates known up to now only; known: covariates known ahead, such as holidays or prices. id: says which
    series a row belongs to. frequency: the step from row to row, as pandas writes it. date_format: how dates are
    written (strftime), where not as ISO 8601.
    """

    targets: tuple[str, ...]
    past: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    date: str = "date"
    id: str | None = None
    frequency: str | None = None
    date_format: str | None = None

    def numbers(self) -> list[str]:
        return [*self.targets, *self.past, *self.known]

    def columns(self) -> list[str]:
        return [*([self.id] if self.id else []), self.date, *self.numbers()]


class Series(NamedTuple):
    """One time series, cut so that the targets of a split lie in rows `begin` to the end; rows before are context.

    times: (T,) datetime64, one row a step. values: (T, C) float64, NaN where missing, by the targets of the layout.
    past, known: (T, P) and (T, K) covariates, by those of the layout; None where there are none.
    """

    name: str
    times: np.ndarray
    values: np.ndarray
    begin: int
    layout: Layout
    past: np.ndarray | None = None
    known: np.ndarray | None = None

    def cut(self, begin: int, end: int) -> "Series":
        """The rows before `end`, with targets from `begin` on."""
        past, known = (None if extra is None else extra[:end] for extra in (self.past, self.known))
        return Series(self.name, self.times[:end], self.values[:end], begin, self.layout, past, known)

    def apart(self) -> "list[Series]":
        """Each channel as a series of its own, with the covariates of all."""
        return [
            self._replace(values=self.values[:, i : i + 1], layout=self.layout._replace(targets=(name,)))
            for i, name in enumerate(self.layout.targets)
        ]


def find_locale(language: str) -> Any:
    """Babel's locale of a language."""
    from babel import Locale, UnknownLocaleError

    try:
        return Locale.parse(language)
    except (UnknownLocaleError, ValueError):
        raise UserError(f"data.languages: Babel knows no {language!r}; expected codes such as de or pt_BR") from None
