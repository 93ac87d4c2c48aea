"""Rows of the user's own files: CSV, TSV and JSON Lines, or plain text files side by side, parsed when asked for."""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from seqtrain.config import UserError
from seqtrain.config.spelling import did_you_mean, near
from seqtrain.data.files import MAX_RECORD, File, open_text

ENDINGS = {
    **{".csv": "csv", ".tsv": "tsv", ".tab": "tsv"},
    **{".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"},
}
DELIMITERS = {"csv": ",", "csv_semicolon": ";", "csv_tab": "\t"}
CSV_ERRORS = {
    "unexpected end": "a quote opens a cell and does not close it",
    "field limit": "a quote opens a cell and does not close it",
    "expected after": "a quote inside a quoted cell must be doubled",
    "new-line": "a carriage return stands inside a row; lines must end in \\n or \\r\\n",
}
Cells = tuple[str, ...]

csv.field_size_limit(MAX_RECORD)


class Rows(ABC):
    """The chosen cells of each row, as text; a missing cell is empty. Held is an index of a few bytes a row.

    names: the files. digests: the SHA-256 of each. first: (N,) the line, counted from 0, in which a row begins.
    """

    names: list[str]
    digests: list[str]
    first: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    @abstractmethod
    def __getitem__(self, row: int) -> Cells: ...

    def __iter__(self) -> Iterator[Cells]:
        return map(self.__getitem__, range(len(self)))

    def place(self, row: int) -> str:
        """Where a row stands, for messages."""
        return f"{self.names[0]}, line {self.first[row] + 1:,}"


class Table(Rows):
    """Rows of one file. cells: makes the chosen cells of the text of a row, ValueError says what is wrong with it.
    starts: (lines + 1,) where lines begin. rows: (2, N) the lines [first, last) of each row."""

    def __init__(self, file: File, cells: Callable[[str], Cells], starts: np.ndarray, rows: np.ndarray):
        self.names, self.digests, self.first = [file.name], [file.digest], rows[0]
        self.file, self.cells, self.begin, self.end = file, cells, starts[rows[0]], starts[rows[1]]

    def __getitem__(self, row: int) -> Cells:
        text = self.file.line(int(self.begin[row]), int(self.end[row]))
        try:
            return self.cells(text)
        except ValueError as error:
            raise UserError(f"{self.place(row)}: {error}") from None


class Parallel(Rows):
    """Line i of each of several files."""

    def __init__(self, files: Sequence[File]):
        self.names, self.digests = [file.name for file in files], [file.digest for file in files]
        self.files, self.starts = files, [file.line_starts() for file in files]
        counts = [len(starts) - 1 for starts in self.starts]
        if len(set(counts)) > 1:
            told = ", ".join(f"{file.name} has {count:,} lines" for file, count in zip(files, counts, strict=True))
            raise UserError(f"data: parallel files must have as many lines as one another; {told}")
        self.first = np.arange(counts[0])

    def __getitem__(self, row: int) -> Cells:
        files = zip(self.files, self.starts, strict=True)
        return tuple(file.line(int(starts[row]), int(starts[row + 1])) for file, starts in files)


def open_table(name: str, setting: str, columns: dict[str, str | int], form: str | None, encoding: str) -> Table:
    """Opens a table.

    columns: two or more, each by the key that names it (data.source): a name, or, in a file without a header, a number
    from 1. form: csv, csv_semicolon, csv_tab, tsv or jsonl; None: by the ending.
    """
    file = open_text(name, setting, encoding)
    stem = Path(name.removesuffix(".gz"))
    form = form or ENDINGS.get(stem.suffix.lower())
    if form is None:
        raise UserError(
            f"{setting}={name}: the ending {stem.suffix!r} does not say what form the file has; "
            f"data.format=csv, tsv or jsonl does"
        )
    starts = file.line_starts()
    if form == "jsonl":
        return Table(file, json_cells(columns), starts, full_lines(file, starts))
    delimiter = DELIMITERS.get(form)
    rows = full_lines(file, starts) if delimiter is None else quoted_rows(file, starts, delimiter)
    split = (lambda text: text.split("\t")) if delimiter is None else csv_splitter(delimiter)
    head = split(file.line(int(starts[rows[0, 0]]), int(starts[rows[1, 0]])))
    numbered = [isinstance(column, int) for column in columns.values()]
    if any(numbered) != all(numbered):
        told = " and ".join(f"{key}={column}" for key, column in columns.items())
        raise UserError(f"{told}: give names, or, for files without a header, numbers")
    places = [place_of(column, key, head, name, form) for key, column in columns.items()]
    if not all(numbered):
        rows = rows[:, 1:]
        if not rows.size:
            raise UserError(f"{setting}={name}: there is a header, and no row below it")
    return Table(file, chooser(split, places, len(head)), starts, rows)


def place_of(column: str | int, key: str, head: list[str], name: str, form: str) -> int:
    """Which cell of a row a column is."""
    if isinstance(column, int):
        if column > len(head):
            raise UserError(f"{key}={column}: the rows of {name} have {len(head)} columns")
        return column - 1
    if head.count(column) > 1:
        raise UserError(f"{key}={column}: {name} has {head.count(column)} columns of that name")
    if column in head:
        return head.index(column)
    if len(head) == 1 and form in ("csv", "tsv"):
        for other, delimiter in (*DELIMITERS.items(), ("tsv", "\t")):
            if delimiter in head[0] and other != form:
                kind = {",": "commas", ";": "semicolons", "\t": "tabs"}[delimiter]
                raise UserError(f"{name}: one column only; is it separated by {kind}? data.format={other} reads that")
    shown = ", ".join(cell if len(cell) < 40 else f"{cell[:40]}…" for cell in head)
    found = near(column, head)
    hint = (
        did_you_mean([f"{key}={found[0]}"] if found else []) or f"; if that is no header, number the columns: {key}=1"
    )
    raise UserError(f"{key}={column}: {name} has no such column; it has: {shown}{hint}")


def chooser(split: Callable[[str], list[str]], places: list[int], width: int) -> Callable[[str], Cells]:
    choose = itemgetter(*places)

    def cells(text: str) -> Cells:
        found = split(text)
        if len(found) != width:
            raise ValueError(f"expected {width} columns, as in the first line, found {len(found)}: {text[:60]!r}")
        return choose(found)

    return cells


def csv_splitter(delimiter: str) -> Callable[[str], list[str]]:
    def split(text: str) -> list[str]:
        return next(csv.reader([text], delimiter=delimiter, strict=True)) if '"' in text else text.split(delimiter)

    return split


def json_cells(columns: dict[str, str | int]) -> Callable[[str], Cells]:
    """Reads objects. Numbers, true and false become the text that they are written as, null is a missing cell."""
    keys = {str(column): key for key, column in columns.items()}

    def cells(text: str) -> Cells:
        try:
            found = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"broken JSON: {error.msg} at column {error.colno}; expected one object a line") from None
        except RecursionError:
            raise ValueError("broken JSON: nested too deeply") from None
        if not isinstance(found, dict):
            raise ValueError(f"{text[:20]!r} begins no object; expected JSON Lines, one object a line")
        return tuple(cell(found, column, key) for column, key in keys.items())

    def cell(found: dict[str, Any], column: str, key: str) -> str:
        if column not in found:
            hint = did_you_mean([f"{key}={name}" for name in near(column, found)])
            raise ValueError(f"there is no {column!r}; it has: {', '.join(found)}{hint or f'; {key}= names it'}")
        value = found[column]
        if isinstance(value, str):
            if not value.isascii():
                check_surrogates(value)
            return value
        if isinstance(value, list | dict):
            raise ValueError(f"{column!r} is a {'list' if isinstance(value, list) else 'object'}; expected a text")
        return "" if value is None else json.dumps(value)

    return cells


def check_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair, such as \\ud83d, stands alone; it is no character") from None


def full_lines(file: File, starts: np.ndarray) -> np.ndarray:
    """(2, N): first and last line of each row where a row is a line that is not empty."""
    short = np.flatnonzero(np.diff(starts) <= 2)
    empty = [line for line in short if not file.line(int(starts[line]), int(starts[line + 1]))]
    full = np.delete(np.arange(len(starts) - 1), empty)
    return np.stack([full, full + 1])


def quoted_rows(file: File, starts: np.ndarray, delimiter: str) -> np.ndarray:
    """(2, N): first and last line of each row of a CSV file, whose quoted cells may hold line ends."""
    reader = csv.reader(decoded_lines(file, starts), delimiter=delimiter, strict=True)
    first, last, line = array("q"), array("q"), 0
    try:
        for row in reader:
            if row:
                first.append(line)
                last.append(reader.line_num)
            line = reader.line_num
    except csv.Error as error:
        problem = next((words for part, words in CSV_ERRORS.items() if part in str(error)), str(error))
        raise UserError(f"{file.name}, line {line + 1:,}: {problem}") from None
    return np.stack([np.asarray(first), np.asarray(last)])


def decoded_lines(file: File, starts: np.ndarray) -> Iterator[str]:
    for block in range(0, len(starts) - 1, 1 << 16):
        places = starts[block : block + (1 << 16) + 1].tolist()
        for i in range(len(places) - 1):
            yield file.data[places[i] : places[i + 1]].decode()
