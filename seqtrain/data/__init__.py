"""Where examples come from: one file a source. Every source has a `kind` and reads one split at a time.

A record is what a source yields for its kind: `Pair` ("pairs"), `Labelled` ("labelled"), a plain `str`, one document
("text"), or `Series` ("series"). A task names the kinds it takes. What `read` returns is a sequence, which may make its
records when they are asked for; one that may be large also has a `key`, the same for the same records, and says with
`large` whether what is made of them is worth keeping.
"""

from typing import Any, NamedTuple

import numpy as np

from seqtrain.config import UserError


class Pair(NamedTuple):
    """A text and the text it becomes."""

    source: str
    target: str


class Labelled(NamedTuple):
    """A text and the name of its class."""

    text: str
    label: str


class Series(NamedTuple):
    """One time series, cut so that the targets of a split lie in rows `begin` to the end; rows before are context.

    times: (T,) datetime64[D], one row a step. values: (T, C) float64, NaN where missing. channels: C names.
    """

    name: str
    times: np.ndarray
    values: np.ndarray
    begin: int
    channels: tuple[str, ...]


def find_locale(language: str) -> Any:
    """Babel's locale of a language."""
    from babel import Locale, UnknownLocaleError

    try:
        return Locale.parse(language)
    except (UnknownLocaleError, ValueError):
        raise UserError(f"data.languages: Babel knows no {language!r}; expected codes such as de or pt_BR") from None
