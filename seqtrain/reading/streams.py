"""The rows of a file from its first to its last, in bounded memory: each is read, and forgotten.

The functions yield (line, cells): the line from 1 on in which a row begins, and its chosen cells as texts. start: rows
that are passed over. Raises `UserError` with file and line for what cannot be read.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import chain, count, islice, zip_longest
from typing import Any

from seqtrain.config import UserError, expanded, in_brief, retold
from seqtrain.reading.files import MAX_RECORD
from seqtrain.reading.hub import is_hub, open_hub
from seqtrain.reading.rows import CSV_ERRORS, DELIMITERS, json_object
from seqtrain.reading.samples import tar_rows
from seqtrain.reading.sheets import SHEETS, arrow_batches, need_package, plain
from seqtrain.reading.tables import Columns, as_text, choose, column_index

BUFFER = 1 << 17  # bytes of a column of a Parquet file that are read at a time
BATCH = 1024  # rows of a Parquet file that are decoded at a time
Line = tuple[int, tuple[str, ...]]


def rows_of(names: Sequence[str], columns: Columns, form: str, encoding: str, start: int = 0) -> Iterator[Line]:
    """The rows of a table of some form, or of plain text files (form "txt") whose lines belong together."""
    if form == "txt":
        return islice(beside(names, encoding), start, None)
    if form == "parquet":
        return parquet_rows(names[0], columns, start)
    if form == "arrow":
        return arrow_rows(names[0], columns, start)
    if form == "tar":
        return tar_rows(names[0], columns, start)
    if form == "jsonl":
        return json_rows(names[0], columns, encoding, start)
    return delimited_rows(names[0], columns, form, encoding, start)


def text_lines(name: str, encoding: str) -> Iterator[tuple[int, str]]:
    """The lines of a text file, gzipped or not, with their ends."""
    number = 0
    try:
        with opened(name) as file:
            for number in count(1):
                line = file.readline(MAX_RECORD + 1)
                if not line:
                    return
                if len(line) > MAX_RECORD:
                    raise UserError(f"{name}, line {number:,}: more than {MAX_RECORD:,} bytes in a line; are its line "
                                    "ends lost? Break it up or leave the shard out")  # fmt: skip
                if b"\0" in line:
                    raise UserError(f"{name}, line {number:,}: a byte is zero, this is no text; is it another form of "
                                    "file? data.train names shards of one form")  # fmt: skip
                yield number, line.removeprefix(codecs.BOM_UTF8 if number == 1 else b"").decode(encoding)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{name}, line {number:,}: the gzipped file is damaged or cut off ({error}); fetch it again, "
                        "or leave it out") from None  # fmt: skip
    except UnicodeError:
        raise UserError(f"{name}, line {number:,}: not {encoding}; data.encoding=NAME says what it is") from None
    except OSError as error:
        raise UserError(f"{name}: the file cannot be read ({error.strerror or error})") from None


@contextmanager
def opened(name: str) -> Iterator[gzip.GzipFile | io.BufferedReader]:
    """A file, opened to be read in small parts, and decompressed if it is gzipped."""
    with open_hub(name) if is_hub(name) else expanded(name).open("rb") as file:
        yield gzip.GzipFile(fileobj=file) if file.peek(2)[:2] == b"\x1f\x8b" else file


def full_lines(name: str, encoding: str) -> Iterator[tuple[int, str]]:
    """The lines without their ends, and without empty ones."""
    stripped = ((number, line.removesuffix("\n").removesuffix("\r")) for number, line in text_lines(name, encoding))
    return ((number, line) for number, line in stripped if line)


def beside(names: Sequence[str], encoding: str) -> Iterator[Line]:
    """The lines of text files that belong together."""
    files = [text_lines(name, encoding) for name in names]
    for number, lines in enumerate(zip_longest(*files), 1):
        if None in lines:
            short, long = names[lines.index(None)], next(n for n, line in zip(names, lines, strict=True) if line)
            raise UserError(f"{short} ends before line {number:,}, which {long} has: lines of both belong together")
        yield number, tuple(line.removesuffix("\n").removesuffix("\r") for _, line in lines)


def json_rows(name: str, columns: Columns, encoding: str, start: int) -> Iterator[Line]:
    chosen = {key: str(column) for key, column in columns.items()}
    lines = ((number, line) for number, line in full_lines(name, encoding) if not line.isspace())
    for number, line in islice(lines, start, None):
        try:
            yield number, choose(json_object(line), chosen)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{name}, line {number:,}: {error}") from None


def delimited_rows(name: str, columns: Columns, form: str, encoding: str, start: int) -> Iterator[Line]:
    """The rows of CSV or TSV; the columns are looked for in the header of each file."""
    if form == "tsv":
        rows = ((number, line.split("\t")) for number, line in full_lines(name, encoding))
    else:
        rows = csv_rows(name, encoding, DELIMITERS[form])
    first = next(rows, None)
    if first is None:
        return
    width = len(first[1])
    places = [column_index(column, key, first[1], name, form) for key, column in columns.items()]
    if any(isinstance(column, int) for column in columns.values()):  # there is no header
        rows = chain([first], rows)
    for number, cells in islice(rows, start, None):
        if len(cells) != width:
            found = in_brief("\t".join(cells), 60)
            raise UserError(
                f"{name}, line {number:,}: expected {width} columns, as in the first line, found {len(cells)}: {found}"
            )
        yield number, tuple(cells[place] for place in places)


def csv_rows(name: str, encoding: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row, in which quotes may hold line ends."""
    reader = csv.reader((line for _, line in text_lines(name, encoding)), delimiter=delimiter, strict=True)
    number = 1
    try:
        for row in reader:
            if row:
                yield number, row
            number = reader.line_num + 1
    except csv.Error as error:
        problem = next((words for part, words in CSV_ERRORS.items() if part in str(error)), str(error))
        raise UserError(f"{name}, line {number:,}: {problem}") from None


def parquet_rows(name: str, columns: Columns, start: int) -> Iterator[Line]:
    """The rows of a Parquet file, of which a part of a row group is in memory; their number stands for the line."""
    need_package("parquet", name)
    from pyarrow.parquet import ParquetFile

    source = open_hub(name) if is_hub(name) else expanded(name)
    with raising_damaged(name, "parquet"), ParquetFile(source, buffer_size=BUFFER, pre_buffer=False) as file:
        chosen = chosen_columns(file.schema_arrow.names, columns, name, "parquet")
        row, groups = 0, []
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            if groups or row + size > start:
                groups.append(group)
            else:
                row += size
        batches = file.iter_batches(BATCH, row_groups=groups, columns=list(dict.fromkeys(chosen)))
        yield from batch_rows(batches, chosen, name, row, start)


def arrow_rows(name: str, columns: Columns, start: int) -> Iterator[Line]:
    """The rows of an Arrow file, as Hugging Face's `datasets` writes them: mapped, not read as a whole."""
    need_package("arrow", name)
    with raising_damaged(name, "arrow"), arrow_file(name) as file:
        batches = arrow_batches(file)
        first = next(batches, None)
        if first is not None:
            chosen = chosen_columns(first.schema.names, columns, name, "arrow")
            yield from batch_rows(chain([first], batches), chosen, name, 0, start)


def arrow_file(name: str) -> Any:
    import pyarrow

    return pyarrow.PythonFile(open_hub(name), "r") if is_hub(name) else pyarrow.memory_map(str(expanded(name)))


def raising_damaged(name: str, form: str) -> AbstractContextManager[None]:
    """Raises what the library says of a damaged file as a `UserError`."""

    def tell(error: Exception) -> str:
        problem = f"{type(error).__name__}: {in_brief(error)}"
        return f"{name}: this is not a complete {SHEETS[form]} ({problem}); fetch it again, or leave it out"

    return retold(tell)


def chosen_columns(header: list[str], columns: Columns, name: str, form: str) -> list[str]:
    return [header[column_index(column, key, header, name, form)] for key, column in columns.items()]


def batch_rows(batches: Iterable[Any], chosen: Sequence[str], name: str, row: int, start: int) -> Iterator[Line]:
    """The rows of batches of Arrow. row: how many are before them. start: rows that are passed over."""
    for batch in batches:
        passed = min(batch.num_rows, max(0, start - row))
        row += passed
        rest = batch.slice(passed)
        for cells in zip(*(rest.column(column).to_pylist() for column in chosen), strict=True):
            row += 1
            yield row, tuple(map(partial(cell, name, row), cells, chosen))


def cell(name: str, row: int, value: Any, column: str) -> str:
    """A cell of a Parquet or an Arrow file as a text."""
    try:
        return as_text(value if isinstance(value, str) else plain(value), column)
    except ValueError as error:
        raise UserError(f"{name}, row {row:,}: {error}") from None
