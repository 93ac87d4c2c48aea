"""Training data in many files, shards, that are read while training goes on, and never as a whole."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from seqtrain.config import UserError, expanded
from seqtrain.reading.files import ending
from seqtrain.reading.folders import find_files, is_pattern
from seqtrain.reading.hub import hub_size, is_hub
from seqtrain.reading.splits import Files, digest
from seqtrain.reading.streams import Line, rows_of
from seqtrain.reading.tables import ENDINGS, Columns, Rows, form_of

log = logging.getLogger(__name__)
READERS = 8  # shards that are read in turn, so that batches mix them
HEAD = 32_000_000  # characters that are learned from before training at most
TABLES = tuple(name for name, form in ENDINGS.items() if form != "xlsx")
UNITS = {"parquet": "row", "arrow": "row", "tar": "sample"}
Place = tuple[int, int]  # a shard, by its place in the order of a reader, and the rows of it that have been read


class Row(NamedTuple):
    """A row of a shard. line: where it begins, from 1 on."""

    shard: int
    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Shards:
    """Files of one form. names: those of each shard: a table, or plain text files whose lines belong together. buffer:
    rows that are in memory at a time."""

    names: Sequence[tuple[str, ...]]
    columns: Columns
    form: str
    encoding: str
    buffer: int

    def __len__(self) -> int:
        return len(self.names)

    def rows(self, shard: int, start: int) -> Iterator[Line]:
        return rows_of(self.names[shard], self.columns, self.form, self.encoding, start)

    def place(self, row: Row) -> str:
        """File and line of a row, for messages."""
        return f"{self.names[row.shard][0]}, {UNITS.get(self.form, 'line')} {row.line:,}"

    @property
    def size(self) -> int:
        """Bytes of all files."""
        files = (name for names in self.names for name in names)
        return sum(hub_size(name) if is_hub(name) else os.path.getsize(expanded(name)) for name in files)


@dataclass(frozen=True)
class Sharding:
    """How shards are read; the YAML files in `configs/data` say what each setting means."""

    fit_records: int
    buffer: int

    def open(self, files: Files, columns: Columns, endings: Sequence[str] = TABLES) -> Head:
        """The shards that data.train names."""
        check(files)
        names, form = find_shards(files, columns, endings)
        return Head(Shards(names, columns, form, files.encoding, self.buffer), self.fit_records, files.seed)


# ------------------------------------------------------------------------------------------------ finding them


def is_sharded(place: str | list[str], endings: Sequence[str] = TABLES) -> bool:
    """Whether a setting names shards: a pattern, a folder, several files with one of these endings,
    or files of the hub."""
    places = [place] if isinstance(place, str) else place
    several = len(places) > 1 and all(ending(name) in endings for name in places)
    return several or any(is_hub(name) or is_pattern(name) or os.path.isdir(expanded(name)) for name in places)


def are_shards(place: str | list[str], endings: Sequence[str] = TABLES) -> bool:
    """The same, for data of which no files are read side by side: every list names shards."""
    return isinstance(place, list) or is_sharded(place, endings)


def find_shards(files: Files, columns: Columns, endings: Sequence[str]) -> tuple[Sequence[tuple[str, ...]], str]:
    """The files of each shard, and their form, "txt" for plain text. Two patterns or folders of plain text name
    parallel files where there are two columns. Raises `UserError` where there are none, or of two forms."""
    places = [files.train] if isinstance(files.train, str) else files.train
    if len(places) == 2 and len(columns) == 2 and not any(form_of(name, files.format) for name in places):
        sides = [find_files(place, "data.train") for place in places]
        if len(sides[0]) != len(sides[1]):
            found = ", ".join(f"{place} has {len(side):,}" for place, side in zip(places, sides, strict=True))
            raise UserError(f"data.train: parallel shards must be as many as one another; {found}")
        return [*zip(*sides, strict=True)], "txt"
    names = find_files(files.train, "data.train", endings)
    forms = {files.format or ENDINGS.get(ending(name), ending(name).removeprefix(".")): name for name in names}
    if len(forms) > 1:
        one, other = list(forms.values())[:2]
        raise UserError(f"data.train: shards have one form, and {one} and {other} have two: name those of one form, "
                        "such as 'shards/*.jsonl.gz'")  # fmt: skip
    ((form, name),) = forms.items()
    if form == "xlsx" or (not files.format and ending(name) not in endings):
        known = ", ".join(endings)
        raise UserError(f"data.train: {name}: expected shards that end in one of {known}; data.format=csv, tsv or "
                        "jsonl says what others are")  # fmt: skip
    return [(name,) for name in names], form


def check(files: Files) -> None:
    """Raises `UserError` for settings that do not go with shards."""
    if missing := [f"data.{split}=FILE" for split in ("valid", "test") if getattr(files, split) is None]:
        raise UserError(f"data.train names shards, which are not read as a whole and cannot be split: add "
                        f"{' '.join(missing)}")  # fmt: skip
    if "\n".encode(files.encoding) != b"\n":
        raise UserError(f"data.encoding={files.encoding}: shards are read line by line, and in this encoding line ends "
                        "are not one byte; convert them to utf-8")  # fmt: skip


class Head(Rows):
    """The first rows of shards in a seeded order, in memory: what is learned before training is learned from them.
    count: of these rows; fewer where they have more than `HEAD` characters."""

    def __init__(self, shards: Shards, count: int, seed: int):
        self.shards = shards
        readers = Readers(shards, seed, range(min(READERS, len(shards))))
        self.rows = readers.take(count, HEAD)[:count]
        if not self.rows:
            raise UserError(f"data.train: there is no row in {len(shards)} shards, such as {shards.names[0][0]}")
        if len(self.rows) < count and not readers.ended:
            log.warning(
                "data.fit_records=%s: the first %s rows of the shards have %s characters already, and no more are "
                "learned from beforehand", f"{count:,}", f"{len(self.rows):,}", f"{HEAD:,}"
            )  # fmt: skip
        content = hashlib.sha256()
        for row in self.rows:
            content.update(repr(row.cells).encode("utf-8", "surrogatepass"))
        self.names = [shards.names[0][0]]
        self.digests = [digest(shards.names, content.hexdigest())]
        self.first = np.array([row.line - 1 for row in self.rows])

    def __getitem__(self, index: int) -> tuple[str, ...]:
        return self.rows[index].cells

    def place(self, index: int) -> str:
        return self.shards.place(self.rows[index])


def head_of(records: Sequence[Any]) -> Head | None:
    """The rows that stand for shards, where the records of a split are made from such."""
    rows = getattr(records, "rows", None)
    return rows if isinstance(rows, Head) else None


# ------------------------------------------------------------------------------------------------ reading them


class Reader:
    """Reads some of the shards, one after the other. order: which. place: where it goes on."""

    def __init__(self, shards: Shards, order: Sequence[int], place: Place = (0, 0)):
        self.shards, self.order = shards, order
        self.shard, self.row = place
        self.rows: Iterator[Line] | None = None

    @property
    def place(self) -> Place:
        return self.shard, self.row

    @property
    def ended(self) -> bool:
        return self.shard >= len(self.order)

    def take(self, count: int, characters: int) -> list[Row]:
        """The next rows: so many, or until they have so many characters."""
        taken: list[Row] = []
        while len(taken) < count and characters > 0 and not self.ended:
            if self.rows is None:
                self.rows = self.shards.rows(self.order[self.shard], self.row)
            line = next(self.rows, None)
            if line is None:
                self.rows, self.shard, self.row = None, self.shard + 1, 0
                continue
            self.row += 1
            taken.append(Row(self.order[self.shard], *line))
            characters -= sum(map(len, line[1]))
        return taken


class Readers:
    """Several readers, which take turns; each has every `count`-th shard of an order that the seed and the epoch give.

    numbers: which of the readers are in this process. places: where they go on.
    """

    def __init__(
        self,
        shards: Shards,
        seed: int,
        numbers: Iterable[int],
        count: int | None = None,
        epoch: int = 0,
        places: Mapping[int, Place] | None = None,
    ):
        numbers = [*numbers]
        order = np.random.default_rng([seed, epoch]).permutation(len(shards)).tolist()
        step = count or len(numbers)
        self.readers = {n: Reader(shards, order[n::step], (places or {}).get(n, (0, 0))) for n in numbers}

    @property
    def places(self) -> dict[int, Place]:
        return {number: reader.place for number, reader in self.readers.items()}

    @property
    def ended(self) -> bool:
        return all(reader.ended for reader in self.readers.values())

    def take(self, count: int, characters: int) -> list[Row]:
        """The next rows, as many of each reader: about so many, or until they have about so many characters. Only where
        all shards have ended there are none."""
        taken: list[Row] = []
        while count > 0 and characters > 0 and not self.ended:
            active = [reader for reader in self.readers.values() if not reader.ended]
            share = max(1, count // len(active)), max(1, characters // len(active))
            for reader in active:
                rows = reader.take(*share)
                taken += rows
                count -= len(rows)
                characters -= sum(len(cell) for row in rows for cell in row.cells)
        return taken
