"""Texts as ids. Those of large records are made once, and kept in the cache as arrays that are mapped, not read."""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from seqtrain import text
from seqtrain.batch import Ragged
from seqtrain.data.cache import prepared
from seqtrain.interruption import SIGNALS
from seqtrain.record import bar
from seqtrain.text import Tokenizer

BLOCK = 10_000  # sequences that are held as Python lists at a time


def field(records: Sequence[Any], name: str | None) -> Iterable[str]:
    """One text of each record; with None the records are texts."""
    return records if name is None else (getattr(record, name) for record in records)


def fitted(records: Sequence[Any], names: Sequence[str | None], options: dict[str, Any]) -> Tokenizer:
    """The tokenizer that `text.fit` learns from the named texts of the records."""

    def make(folder: Path) -> None:
        found = text.fit(texts, **options)
        (folder / "tokenizer.json").write_text(json.dumps(found.state()), encoding="utf-8")

    texts = chain.from_iterable(field(records, name) for name in names)
    if (key := key_of(records)) is None:
        return text.fit(texts, **options)
    folder = prepared(json.dumps(["tokenizer", key, names, options]), make)
    return text.load(json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")))


def tokenized(
    records: Sequence[Any],
    name: str | None,
    tokenizer: Tokenizer,
    begin: list[int],
    end: list[int],
    max_length: int | None,
) -> Ragged:
    """The ids of one text of each record, at most `max_length` of them, between the marks `begin` and `end`."""
    ids = tokenizer.encode_all(field(records, name))
    marked = ([*begin, *sequence[:max_length], *end] for sequence in ids)
    if (key := key_of(records)) is None:
        return Ragged.of(list(marked))
    size = np.uint16 if len(tokenizer) <= np.iinfo(np.uint16).max else np.uint32
    settings = ["ids", key, name, tokenizer.state(), begin, end, max_length]
    folder = prepared(json.dumps(settings), partial(write, marked, len(records), size))
    values = np.memmap(folder / "values", size, "r")
    return Ragged(values, np.fromfile(folder / "lengths", np.int64))


@contextmanager
def beside(records: Sequence[Any], unit: str, work: Callable[[], object]) -> Iterator[None]:
    """Does some work in a process of its own meanwhile, so that what it leaves in the cache is there when it is asked
    for here; what goes wrong there is done, and told, here. With subwords all cores are busy without it."""
    if sys.platform != "linux" or key_of(records) is None or unit not in text.LISTED:
        yield
        return

    def quietly() -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        with suppress(Exception):
            work()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads that might hold locks: this needs none
        process = get_context("fork").Process(target=quietly, daemon=True)
        process.start()
    try:
        yield
        process.join()
    finally:
        process.kill()


def write(sequences: Iterator[list[int]], total: int, size: type[np.integer[Any]], folder: Path) -> None:
    """Writes sequences block by block; only their lengths stay in memory."""
    lengths = []
    with (folder / "values").open("wb") as file, bar(total, "text", "prepare") as shown:
        while block := list(islice(sequences, BLOCK)):
            lengths.append(np.fromiter(map(len, block), np.int64, len(block)))
            np.fromiter(chain.from_iterable(block), size, int(lengths[-1].sum())).tofile(file)
            shown.update(len(block))
    np.concatenate(lengths).tofile(folder / "lengths")


def key_of(records: Sequence[Any]) -> str | None:
    """What stands for the content of large records; what is made of the others is not worth keeping."""
    return getattr(records, "key", None) if getattr(records, "large", False) else None
