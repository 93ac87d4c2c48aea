"""Tables in files of the user: CSV, TSV, JSON Lines, Parquet and Excel, or parallel text files. A row of a text file is
parsed each time it is read, so that memory holds only the offsets of the rows."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any, TypeVar

import numpy as np

from seqtrain.config import UserError, expanded, in_brief
from seqtrain.config.json_values import flat
from seqtrain.config.quoting import typed
from seqtrain.config.spelling import did_you_mean, near
from seqtrain.reading.files import File, content, ending, find, open_text, read_utf8
from seqtrain.reading.rows import (
    DELIMITERS,
    Row,
    decoded_lines,
    form_key,
    full_lines,
    guess_delimiter,
    json_object,
    named_cells,
    other_form,
    quoted_rows,
    split_csv,
)
from seqtrain.reading.sheets import SHEETS, DataFrame, plain, read_sheet

ENDINGS = {
    **{".csv": "csv", ".tsv": "tsv", ".tab": "tsv"},
    **{".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"},
    **{".parquet": "parquet", ".arrow": "arrow", ".xlsx": "xlsx"},
}
Columns = Mapping[str, str | int]  # {setting, such as data.source: name of the column, or its number from 1}
T = TypeVar("T")


class Rows(ABC):
    """The rows of one or more files. `rows[i]` gives the chosen cells of a row as texts, "" where a cell is missing.

    names: the files. digests: the SHA-256 of each file. first: (N,) the line in which each row begins, from 0 on.
    """

    names: list[str]
    digests: list[str]
    first: np.ndarray
    unit = "line"

    def __len__(self) -> int:
        return len(self.first)

    @abstractmethod
    def __getitem__(self, index: int) -> tuple[str, ...]: ...

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        return map(self.__getitem__, range(len(self)))

    def place(self, index: int) -> str:
        """Returns file and line of a row, for messages."""
        return f"{self.names[0]}, {self.unit} {self.first[index] + 1:,}"


class Parallel(Rows):
    """Parallel text files: row i consists of line i of each file."""

    def __init__(self, files: Sequence[File]):
        self.names = [file.name for file in files]
        self.digests = [file.digest for file in files]
        self.files = files
        self.starts = [file.line_starts() for file in files]
        counts = [len(starts) - 1 for starts in self.starts]
        if len(set(counts)) > 1:
            lines = ", ".join(f"{file.name} has {count:,} lines" for file, count in zip(files, counts, strict=True))
            raise UserError(f"data: parallel files must have the same number of lines; {lines}")
        self.first = np.arange(counts[0])

    def __getitem__(self, index: int) -> tuple[str, ...]:
        files = zip(self.files, self.starts, strict=True)
        return tuple(file.line(int(starts[index]), int(starts[index + 1])) for file, starts in files)


class Folders(Rows):
    """The texts of files that have the same name in each of several folders."""

    unit = "file"

    def __init__(self, folders: Sequence[str], setting: str, encoding: str):
        self.names, self.encoding = list(folders), encoding
        inside = [{path.name for path in expanded(folder).iterdir() if path.is_file()} for folder in folders]
        both = sorted(set.intersection(*inside))
        if alone := sorted(set.union(*inside) - set(both)):
            where = next(folder for folder, names in zip(folders, inside, strict=True) if alone[0] not in names)
            raise UserError(f"{setting}: {len(alone)} of the files are in one folder only: {where} has no {alone[0]}")
        if not both:
            raise UserError(f"{setting}: there are no files in {' and '.join(folders)}")
        self.paths = [tuple(f"{folder}/{name}" for folder in folders) for name in both]
        self.digests = [open_text(path, setting, encoding).digest for paths in self.paths for path in paths]
        self.first = np.arange(len(both))

    def __getitem__(self, index: int) -> tuple[str, ...]:
        return tuple(bytes(read_utf8(path, path, self.encoding)).decode().strip() for path in self.paths[index])

    def place(self, index: int) -> str:
        return self.paths[index][0]


class Table(Rows):
    """The rows of one file.

    columns: the chosen columns by setting, {"data.source": "question"}. header: the names of all columns; None for a
    file without a header, and for JSON Lines, where each row has its own names.
    """

    columns: dict[str, str]
    header: list[str] | None = None

    @abstractmethod
    def parse(self, index: int, wanted: Iterable[str] | None = None) -> Row:
        """Returns the cells of a row by column: at least those of the wanted columns, or all. Raises ValueError."""

    @abstractmethod
    def frame(self) -> DataFrame:
        """Returns all rows as a pandas DataFrame, whose index holds file and line of each row."""

    def row(self, index: int) -> Row:
        """Returns all cells of a row by column."""
        return self.with_place(index, lambda: self.parse(index))

    def __getitem__(self, index: int) -> tuple[str, ...]:
        return self.with_place(index, lambda: choose(self.parse(index, self.columns.values()), self.columns))

    def with_place(self, index: int, make: Callable[[], T]) -> T:
        """Calls `make`, and raises what is wrong with a row as a `UserError` with file and line."""
        try:
            return make()
        except (ValueError, RecursionError) as error:
            raise UserError(f"{self.place(index)}: {error}") from None


class TextTable(Table):
    """The rows of a text file, of which memory holds only the offsets.

    starts: (lines + 1,) the offsets of the lines. lines: (2, N) the lines [first, last) of each row. cells: parses the
    text of a row, or raises ValueError.
    """

    def __init__(
        self, file: File, starts: np.ndarray, lines: np.ndarray, cells: Callable[[str], Row], columns: dict[str, str]
    ):
        self.names, self.digests = [file.name], [file.digest]
        self.first = lines[0]
        self.file = file
        self.begin, self.end = starts[lines[0]], starts[lines[1]]  # the offsets of each row
        self.cells, self.columns = cells, columns

    def parse(self, index: int, wanted: Iterable[str] | None = None) -> Row:
        return self.cells(self.file.line(int(self.begin[index]), int(self.end[index])))

    def frame(self) -> DataFrame:
        """See `Table.frame`. Cells of CSV are texts. Keys of nested JSON objects are joined: outer.inner. Rows of empty
        cells are left out."""
        import pandas as pd

        rows = {self.place(i): self.with_place(i, lambda i=i: flat(self.parse(i))) for i in range(len(self))}
        rows = {place: row for place, row in rows.items() if any(cell != "" for cell in row.values())}
        return pd.DataFrame([*rows.values()], index=[*rows], dtype=object if self.header is None else str)


class Sheet(Table):
    """The rows of a DataFrame, whose index holds their numbers from 1. has_header: whether its columns have names."""

    unit = "row"

    def __init__(self, name: str, digest: str, table: DataFrame, columns: dict[str, str], has_header: bool):
        self.names, self.digests = [name], [digest]
        self.columns, self.table = columns, table
        self.first = table.index.to_numpy() - 1
        self.header = list(table.columns) if has_header else None
        self.lists: dict[str, list[Any]] = {}  # the columns that have been read, whose cells are found faster

    def parse(self, index: int, wanted: Iterable[str] | None = None) -> Row:
        return {name: plain(self.values(name)[index]) for name in wanted or self.table.columns}

    def values(self, column: str) -> list[Any]:
        if column not in self.lists:
            self.lists[column] = self.table[column].tolist()
        return self.lists[column]

    def frame(self) -> DataFrame:
        return self.table.set_axis([self.place(i) for i in range(len(self))])


# ------------------------------------------------------------------------------------------------ opening a table


def form_of(name: str, form: str | None) -> str | None:
    """Returns the form of a table: the given one, or that of the file's ending; None where that is unknown."""
    return form or ENDINGS.get(ending(name))


def open_table(name: str, setting: str, columns: Columns, form: str | None = None, encoding: str = "utf-8") -> Table:
    """Opens a table. setting: the key that names the file, such as data.train.

    columns: the columns to read, all by name or, in a file without a header, all by number. Empty: reads all columns,
    whose names must differ, and guesses the delimiter of CSV. form: csv, csv_semicolon, csv_tab, tsv, jsonl, parquet or
    xlsx; None: the ending of the file says it.
    """
    form = form_of(name, form)
    if form is None and columns:
        find(name, setting)
        raise UserError(
            f"{setting}={name}: the ending {ending(name)!r} does not say what form the file has; "
            f"{form_key(setting)}=csv, tsv or jsonl does"
        )
    numbered = [isinstance(column, int) for column in columns.values()]
    if any(numbered) and not all(numbered):
        settings = " and ".join(f"{key}={column}" for key, column in columns.items())
        raise UserError(f"{settings}: give names, or, for files without a header, numbers")
    if form in SHEETS:
        return open_sheet(name, setting, columns, form)
    return text_table(open_text(name, setting, encoding), setting, columns, form)


def read_lines(lines: Sequence[str], form: str | None = None) -> DataFrame:
    """Reads a table from lines of the input: JSON Lines (form "jsonl"), or CSV."""
    return text_table(File("input", "\n".join(lines).encode(), 0, ""), "input", {}, form).frame()


def text_table(file: File, setting: str, columns: Columns, form: str | None) -> TextTable:
    """Finds the rows and the columns of a text file: see `open_table`."""
    starts = file.line_starts()
    if form == "jsonl":
        names = {key: str(column) for key, column in columns.items()}
        return TextTable(file, starts, full_lines(file, starts), json_object, names)
    form = form if columns else None
    if form == "tsv":
        split = partial(str.split, sep="\t")
        lines = full_lines(file, starts)
    else:
        delimiter = DELIMITERS[form] if form else guess_delimiter(next(decoded_lines(file, starts)))
        split = partial(split_csv, delimiter=delimiter)
        lines = quoted_rows(file, starts, delimiter, form, setting)
    first_row = split(file.line(int(starts[lines[0, 0]]), int(starts[lines[1, 0]])))
    indices = {key: column_index(column, key, first_row, file.name, form) for key, column in columns.items()}
    has_header = not any(isinstance(column, int) for column in columns.values())
    names = column_names(first_row, has_header, file.name, distinct=not columns)
    if has_header:
        lines = lines[:, 1:]
    if not lines.size:
        raise UserError(f"{file.name}: there is a header, and no row below it")
    cells = partial(named_cells, split=split, names=names)
    table = TextTable(file, starts, lines, cells, {key: names[index] for key, index in indices.items()})
    table.header = names if has_header else None
    return table


def open_sheet(name: str, setting: str, columns: Columns, form: str) -> Sheet:
    """Opens a Parquet or an Arrow file or a workbook: see `open_table`."""
    has_header = form != "xlsx" or not any(isinstance(column, int) for column in columns.values())
    where = f"{setting}={name}"
    data = bytes(content(find(name, setting), where))
    table = read_sheet(data, form, where, has_header)
    if not len(table):
        raise UserError(f"{where}: the table has no rows")
    header = [str(name) for name in table.columns]
    indices = {key: column_index(column, key, header, name, form) for key, column in columns.items()}
    table.columns = column_names(header, has_header, where, distinct=not columns)
    chosen = {key: str(table.columns[index]) for key, index in indices.items()}
    return Sheet(name, hashlib.sha256(data).hexdigest(), table, chosen, has_header)


# ------------------------------------------------------------------------------------------------ columns


def column_names(first_row: Sequence[str], has_header: bool, where: str, distinct: bool) -> list[str]:
    """Returns the names of columns; their numbers in a file without a header. distinct: whether equal names raise
    `UserError`; otherwise the later of them get a number."""
    if not has_header:
        return [str(number) for number in range(1, len(first_row) + 1)]
    if not distinct:
        return make_unique(first_row)
    names = [name.strip() for name in first_row]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{where}: there are two columns of the name {repeated[0]}")
    return names


def make_unique(names: Iterable[str]) -> list[str]:
    """Returns the names, with a number after each that has occurred before, as in pandas: a, b, a.1."""
    unique: dict[str, None] = {}
    for name in names:
        candidates = (f"{name}.{i}" if i else name for i in count())
        unique[next(candidate for candidate in candidates if candidate not in unique)] = None
    return list(unique)


def column_index(column: str | int, key: str, header: list[str], name: str, form: str | None) -> int:
    """Returns the index of a column in the cells of a row; raises `UserError` where the file has no such column.

    key: the setting that chooses the column. name: the file.
    """
    if isinstance(column, int):
        if column > len(header):
            hint = did_you_mean([typed(key, str(column))]) if str(column) in header else ""
            raise UserError(f"{key}={column}: the rows of {name} have {len(header)} columns{hint}")
        return column - 1
    if header.count(column) > 1:
        raise UserError(f"{key}={column}: {name} has {header.count(column)} columns of that name")
    if column in header:
        return header.index(column)
    if len(header) == 1 and (hint := other_form(header[0], form, key)):
        raise UserError(f"{name}: one column only; {hint}")
    shortened = ", ".join(cell if len(cell) < 40 else f"{cell[:40]}…" for cell in header)
    by_number = "" if form == "parquet" else f"; if that is no header, number the columns: {key}=1"
    hint = did_you_mean([typed(key, name) for name in near(column, header)]) or by_number
    raise UserError(f"{key}={column}: {name} has no such column; it has: {shortened}{hint}")


def choose(row: Row, columns: dict[str, str]) -> tuple[str, ...]:
    """Returns the chosen cells of a row as texts. columns: {setting: column}."""
    return tuple(as_text(value_of(row, column, key), column) for key, column in columns.items())


def value_of(row: Row, column: str, key: str) -> Any:
    """Returns the value of a column. content.body means body in the object content, unless a column has that name.
    Raises ValueError where there is none. key: the setting that chooses the column."""
    if column in row:
        return row[column]
    value: Any = row
    for part in column.split("."):
        if not isinstance(value, dict) or part not in value:
            names = list(flat(row))
            hint = did_you_mean([typed(key, name) for name in near(column, names)]) or f"; {key}= names it"
            raise ValueError(f"there is no {column!r}; it has: {in_brief(', '.join(names))}{hint}")
        value = value[part]
    return value


def as_text(value: Any, column: str) -> str:
    """Returns a value as text: "" for a missing one; numbers, lists of numbers, true and false as JSON writes them.
    Raises ValueError for other lists, and for objects."""
    if isinstance(value, str):
        if not value.isascii():
            check_surrogates(value)
        return value
    if isinstance(value, list) and value and all(isinstance(item, int | float | list) for item in value):
        return json.dumps(value)
    if isinstance(value, list | dict):
        raise ValueError(f"{column!r} is a {'list' if isinstance(value, list) else 'object'}; expected a text")
    return "" if value is None else json.dumps(value)


def check_surrogates(text: str) -> None:
    """Raises ValueError for a text that UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair, such as \\ud83d, stands alone; it is no character") from None
