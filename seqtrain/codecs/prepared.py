"""Texts as ids. Those of large data are made once and kept in the cache, as arrays that are mapped into memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence, Sized
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from tqdm import tqdm

from seqtrain.codecs import text
from seqtrain.codecs.ragged import Ragged
from seqtrain.codecs.text import END, PAD, UNKNOWN, Tokenizer
from seqtrain.contract import Codec, Tokens
from seqtrain.storage.cache import cached_value, prepared
from seqtrain.terminal.progress import bar, run_in_thread

BLOCK = 10_000  # sequences that are in memory as Python lists at a time


class Column:
    """Iterates over the values of a field of all records, then over those of the next field in `names`. A record that
    is itself a text counts as its only field.

    key: identifies the values in the cache, see `key_of`; None: what is made of them is not kept there.
    """

    def __init__(self, records: Sequence[Any], *names: str):
        self.records, self.names = records, names
        key = key_of(records)
        self.key = None if key is None else (key, names)

    def __len__(self) -> int:
        return len(self.records) * len(self.names)

    def __iter__(self) -> Iterator[Any]:
        for name in self.names:
            for record in self.records:
                yield record if isinstance(record, str) else getattr(record, name)


class Text(Codec):
    """Encodes a text as ids, with an end mark.

    options: the settings of `text.fit`. begin: the id of a begin mark, if there is one. max_length: items of a text
    that are kept; None: all. decoded: whether ids are also decoded into texts; if not, unusual spaces are not items,
    and the vocabulary is not filled up to `Tokenizer.size`.
    """

    tokenizer: Tokenizer

    def __init__(
        self, options: dict[str, Any], begin: int | None = None, max_length: int | None = None, decoded: bool = True
    ):
        self.options: dict[str, Any] = options if decoded else options | {"spaces": False}
        self.begin = [] if begin is None else [begin]
        self.max_length = max_length
        self.decoded = decoded

    @property
    def positions(self) -> Tokens:
        tokenizer: Tokenizer | None = getattr(self, "tokenizer", None)
        if tokenizer is None:
            return Tokens(0, PAD, UNKNOWN, unit=self.options["unit"])
        size = tokenizer.size if self.decoded else len(tokenizer)
        return Tokens(size, PAD, UNKNOWN, items=tokenizer.items, unit=tokenizer.unit)

    def fit(self, values: Iterable[str]) -> None:
        self.tokenizer = fitted(values, self.options)

    def share(self, other: Text) -> None:
        """Uses the tokenizer of another codec."""
        self.tokenizer = other.tokenizer

    def state(self) -> dict[str, Any]:
        return self.tokenizer.state()

    def load_state(self, state: dict[str, Any]) -> None:
        self.tokenizer = text.load(state)

    def exported(self) -> dict[str, Any]:
        return {"text": {"tokenizer": self.state(), "begin": self.begin, "max_length": self.max_length}}

    def encode(self, value: str) -> Int[np.ndarray, " T"]:
        return np.array([*self.begin, *self.tokenizer.encode(value)[: self.max_length], END])

    def encode_all(self, values: Iterable[str]) -> Ragged:
        return tokenized(values, self.tokenizer, self.begin, [END], self.max_length)

    def decode(self, array: Iterable[int]) -> str:
        return self.tokenizer.decode(array)

    def shown(self, value: str) -> list[str]:
        return [*self.tokenizer.split(value)[: self.max_length], "⏎"]

    def left_out(self, value: str, length: int) -> int:
        if self.max_length is None or length <= self.max_length:
            return 0
        return max(0, len(self.tokenizer.encode(value)) - self.max_length)


def fitted(values: Iterable[str], options: dict[str, Any]) -> Tokenizer:
    """Returns the tokenizer that `text.fit` learns from texts; that of a `Column` with a key is kept in the cache."""

    def learn() -> Tokenizer:
        # Subwords are learned after all texts have been read, in unknown time: no total is shown for them.
        total = len(values) if options["unit"] in text.LISTED and isinstance(values, Sized) else None
        with bar(total, "text", "tokenizer") as progress:
            return run_in_thread(lambda: text.fit(counted(values, progress), **options), lambda: redraw(progress))

    if (key := getattr(values, "key", None)) is None:
        return learn()
    return text.load(cached_value(json.dumps(["tokenizer", *key, options]), lambda: learn().state()))


def redraw(progress: tqdm) -> None:
    """Updates the time that a bar shows while its count stays the same."""
    progress.miniters = 0
    progress.update(0)


def counted(texts: Iterable[str], progress: tqdm) -> Iterator[str]:
    """Yields the texts, and counts each on the bar when it has been used."""
    for value in texts:
        yield value
        progress.update()


def tokenized(
    values: Iterable[str] | Column, tokenizer: Tokenizer, begin: list[int], end: list[int], max_length: int | None
) -> Ragged:
    """Returns the ids of each text, at most `max_length` of them, between the marks `begin` and `end`. Those of a
    `Column` with a key are kept in the cache."""
    ids = tokenizer.encode_all(values)
    with_marks = ([*begin, *sequence[:max_length], *end] for sequence in ids)
    if not isinstance(values, Column) or values.key is None:
        return Ragged.of(list(with_marks))
    dtype = np.uint16 if len(tokenizer) <= np.iinfo(np.uint16).max else np.uint32
    settings = ["ids", *values.key, tokenizer.state(), begin, end, max_length]
    folder = prepared(json.dumps(settings), partial(write, with_marks, len(values), dtype))
    return Ragged(np.memmap(folder / "values", dtype, "r"), np.fromfile(folder / "lengths", np.int64))


def write(sequences: Iterator[list[int]], total: int, dtype: type[np.integer[Any]], folder: Path) -> None:
    """Writes sequences of ids into the files `values` and `lengths` of a folder. Only one block of them, and the
    lengths, are in memory."""
    lengths = []
    with (folder / "values").open("wb") as file, bar(total, "text", "prepare") as progress:
        while block := list(islice(sequences, BLOCK)):
            lengths.append(np.fromiter(map(len, block), np.int64, len(block)))
            np.fromiter(chain.from_iterable(block), dtype, int(lengths[-1].sum())).tofile(file)
            progress.update(len(block))
    np.concatenate(lengths).tofile(folder / "lengths")


def key_of(records: Sequence[Any]) -> str | None:
    """Returns the key that identifies large records in the cache; None for others, which are not worth keeping."""
    return getattr(records, "key", None) if getattr(records, "large", False) else None
