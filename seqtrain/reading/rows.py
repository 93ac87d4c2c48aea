"""Rows of text tables: finds the lines of each row in a file of CSV, TSV or JSON Lines, and parses its cells."""

from __future__ import annotations

import csv
import json
from array import array
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from seqtrain.config import UserError
from seqtrain.reading.files import MAX_RECORD, File

Row = dict[str, Any]
DELIMITERS = {"csv": ",", "csv_semicolon": ";", "csv_tab": "\t"}
DELIMITER_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs"}
CSV_ERRORS = {
    "unexpected end": "a quote opens a cell and does not close it",
    "field limit": "a quote opens a cell and does not close it",
    "expected after": "a quote inside a quoted cell must be doubled",
    "new-line": "a carriage return stands inside a row; lines must end in \\n or \\r\\n",
}

csv.field_size_limit(MAX_RECORD)


def form_key(key: str) -> str:
    """Returns the key that sets the form of a file (CSV, TSV, …). key: any other key about the same file."""
    return "data.format" if key.startswith("data.") else "input_format"


def json_object(text: str) -> Row:
    """Parses a line of JSON Lines; raises ValueError where it is not an object."""
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"broken JSON: {error.msg} at column {error.colno}; expected one object a line") from None
    except RecursionError:
        raise ValueError("broken JSON: nested too deeply") from None
    except ValueError:
        raise ValueError("broken JSON: a number has more digits than can be read") from None
    if not isinstance(row, dict):
        raise ValueError(f"{text[:20]!r} is no object; expected JSON Lines, one object a line")
    return row


def named_cells(text: str, split: Callable[[str], list[str]], names: list[str]) -> Row:
    """Splits the text of a row into cells, by the names of their columns. Raises ValueError for another number."""
    cells = split(text)
    if len(cells) != len(names):
        raise ValueError(f"expected {len(names)} columns, as in the first line, found {len(cells)}: {text[:60]!r}")
    return dict(zip(names, cells, strict=True))


def split_csv(text: str, delimiter: str) -> list[str]:
    """Splits a row of CSV into cells; a row without quotes is split faster."""
    return next(csv.reader([text], delimiter=delimiter, strict=True)) if '"' in text else text.split(delimiter)


def header(line: str) -> list[str]:
    """Returns the column names in the first line of a CSV table, whose delimiter is guessed."""
    line = line.removeprefix("\ufeff")
    return [name.strip() for name in next(csv.reader([line], delimiter=guess_delimiter(line)), [])]


def guess_delimiter(line: str) -> str:
    """Returns what occurs most often in a line: the comma, the semicolon or the tab."""
    return max(DELIMITER_NAMES, key=line.count)


def other_form(head: str, form: str | None, key: str) -> str:
    """Returns a hint at the right form of a file whose first line lacks the delimiter of `form`; "" where no other form
    fits. head: the first line. key: any key about the same file."""
    if form in (*DELIMITERS, "tsv") and DELIMITERS.get(form, "\t") not in head:
        for other, delimiter in (*DELIMITERS.items(), ("tsv", "\t")):
            if delimiter in head and other != form:
                return f"is it separated by {DELIMITER_NAMES[delimiter]}? {form_key(key)}={other} reads that"
    return ""


def full_lines(file: File, starts: np.ndarray) -> np.ndarray:
    """Returns the lines [first, last) of each row, (2, N), of a file in which each row is one line. Empty lines are no
    rows. starts: see `File.line_starts`."""
    short = np.flatnonzero(np.diff(starts) <= 2)  # at most a line end
    empty = [line for line in short if not file.line(int(starts[line]), int(starts[line + 1]))]
    full = np.delete(np.arange(len(starts) - 1), empty)
    return np.stack([full, full + 1])


def quoted_rows(file: File, starts: np.ndarray, delimiter: str, form: str | None, setting: str) -> np.ndarray:
    """Returns the lines [first, last) of each row, (2, N), of a CSV file, whose quoted cells may hold line ends.
    setting: the key that names the file, for messages."""
    reader = csv.reader(decoded_lines(file, starts), delimiter=delimiter, strict=True)
    first, last = array("q"), array("q")
    line = 0
    try:
        for row in reader:
            if row:
                first.append(line)
                last.append(reader.line_num)
            line = reader.line_num
    except csv.Error as error:
        problem = next((words for part, words in CSV_ERRORS.items() if part in str(error)), str(error))
        problem = other_form(next(decoded_lines(file, starts)), form, setting) or problem
        raise UserError(f"{file.name}, line {line + 1:,}: {problem}") from None
    return np.stack([np.asarray(first), np.asarray(last)])


def decoded_lines(file: File, starts: np.ndarray) -> Iterator[str]:
    """Yields the lines with their ends. Offsets become Python ints in blocks: faster than one by one, and in bounded
    memory."""
    block = 1 << 16
    for first in range(0, len(starts) - 1, block):
        for begin, end in pairwise(starts[first : first + block + 1].tolist()):
            yield file.data[begin:end].decode()
