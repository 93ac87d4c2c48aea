"""What is to be predicted: lines of text, or the rows of a table, in blocks of what is there to be read."""

from __future__ import annotations

import codecs
import json
import os
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from seqtrain.config import LineError, UserError, expanded
from seqtrain.config.quoting import typed
from seqtrain.contract import Codec
from seqtrain.reading.files import MAX_RECORD, check_encoding, encoding_hint, ending
from seqtrain.reading.lines import unescaped
from seqtrain.reading.rows import DELIMITERS, json_object
from seqtrain.reading.sentences import CONLL
from seqtrain.reading.sheets import SHEETS
from seqtrain.reading.tables import choose, form_of, open_table, read_lines

BLOCK = 1024  # rows of a table that are answered together
READ = 1 << 16  # bytes
MOST = 1 << 28  # bytes of a file that is piped in


class Block(NamedTuple):
    """Inputs that are answered together. numbers: the line or row that each of them is, from 1. rows: what stands in
    the input, by name; it goes out beside the answer."""

    texts: Sequence[Any]  # str, or bytes where a file came in
    numbers: Sequence[int]
    rows: Sequence[dict[str, Any]]


class Inputs(NamedTuple):
    """form: text, or a form of tables. header: the names of all rows; None where each row has its own."""

    form: str
    header: list[str] | None
    blocks: Iterator[Block]
    titled: bool = True  # the header stands in the input
    table: Any = None  # a pandas.DataFrame where it is no text
    a_token_a_row: bool = False  # the rows of a sentence are those of its tokens


def open_inputs(cfg: dict[str, Any], field: str | None, codec: Codec | None) -> Inputs:
    """Opens the input of a configuration. field: what of a record of the training data the task answers; it names the
    column that is read. None: lines are handed on as they are. codec: of what is answered. Where the names of its files
    stand in the input, they are looked for beside it; those of lines in the current folder first."""
    name = cfg["input"]
    if codec is None or not codec.endings:
        return open_lines_or_table(cfg, field)
    if ending(name) in codec.endings and cfg["input_format"] is None:
        return Inputs("text", ["input"], iter([Block([name], [1], [{"input": name}])]))
    inputs = open_lines_or_table(cfg, field, codec.begins if name == "-" else ())
    folder = Path() if name == "-" else expanded(name).parent

    def place(text: Any) -> Any:
        if not isinstance(text, str) or not text.strip():
            return text
        return text if inputs.form == "text" and os.path.exists(text) else codec.located(text, folder)

    return inputs._replace(blocks=(block._replace(texts=[*map(place, block.texts)]) for block in inputs.blocks))


def open_lines_or_table(cfg: dict[str, Any], field: str | None, begins: tuple[bytes, ...] = ()) -> Inputs:
    name, data = cfg["input"], cfg["data"]
    form = cfg["input_format"] or form_by_name(name, data.get("format"))
    encoding = cfg["encoding"] or ("utf-8" if name == "-" else data.get("encoding", "utf-8"))
    check_encoding(encoding, "encoding")
    if form in CONLL:
        raise UserError(f"input_format={form}: it holds sentences of given tokens, which task=tagging reads")
    if cfg["column"] is not None and (field is None or form == "text"):
        kind = "lines of text" if field else "series, whose columns training named"
        raise UserError(f"column={cfg['column']}: input={name} is read as {kind}; leave it out"
                        f"{', or input_format=csv reads a table' if field else ''}")  # fmt: skip
    if field is None:
        return Inputs("text", ["input"], series_lines(name, form, encoding))
    column = column_of(cfg, field)
    if form == "text":
        no_column = column if cfg["input_format"] is None else None
        return Inputs("text", ["input"], text_blocks(name, encoding, no_column, begins))
    if form == "jsonl":
        return Inputs("jsonl", None, json_blocks(name, encoding, column))
    table = open_table(table_path(name), "input", {"column": column}, form, encoding)
    header, numbers = table.header or [*table.row(0)], table.first + 1

    def blocks() -> Iterator[Block]:
        for begin in range(0, len(table), BLOCK):
            places = range(begin, min(begin + BLOCK, len(table)))
            rows = [table.row(i) for i in places]
            yield Block([table[i][0] for i in places], numbers[begin : begin + BLOCK].tolist(), rows)

    return Inputs(form, header, blocks(), table.header is not None, getattr(table, "table", None))


def table_path(name: str) -> str:
    return f"/dev/fd/{standard_input()}" if name == "-" else name


def column_of(cfg: dict[str, Any], field: str | None) -> str | int:
    """The column of a table that holds what a task answers."""
    return cfg["column"] or cfg["data"].get(field) or str(field)


def form_by_name(name: str, trained: str | None) -> str:
    """The form of an input: a file that ends in .csv is separated as the training data were."""
    form = form_of(name, None) or "text"
    return trained if form == "csv" and trained in DELIMITERS else form


# ------------------------------------------------------------------------------------------------ lines


def text_blocks(name: str, encoding: str, column: str | int | None, begins: tuple[bytes, ...] = ()) -> Iterator[Block]:
    """Lines, in which \\n, \\r and \\\\ stand for a line end, a carriage return and a backslash, as in what goes out.
    column: what must not be the name of a column in the first line, as if the input were a table. begins: of files that
    are the input as a whole, as bytes."""
    number, raw, first = 1, raw_blocks(name), b""
    while any(len(first) < len(mark) and mark.startswith(first) for mark in begins) and (block := next(raw, b"")):
        first += block
    if begins and first.startswith(begins):
        yield Block([whole(first, raw)], [1], [{"input": name}])
        return
    for lines in line_blocks(name, encoding, chain([first] if first else [], raw)):
        if number == 1 and column is not None:
            check_no_table(lines[0], column, name)
        texts = [unescaped(line) for line in lines]
        yield Block(texts, range(number, number + len(lines)), [{"input": text} for text in texts])
        number += len(lines)


def check_no_table(line: str, column: str | int, name: str) -> None:
    """Raises `UserError` where a line is the head of a table, or a row of JSON Lines."""
    form = next((form for form, mark in DELIMITERS.items() if column in head(line, mark)), None)
    if form is None and line.lstrip().startswith("{"):
        try:
            form = "jsonl" if str(column) in json.loads(line) else None
        except (ValueError, RecursionError):
            form = None
    if form:
        raise UserError(
            f"input={name}: the first line looks like a table's, it names the column {column}; "
            f"{typed('input_format', form)} reads that, input_format=text takes each line as it is"
        )


def head(line: str, mark: str) -> list[str]:
    """The cells of a line that may be the head of a table: several, without space around them."""
    cells = [cell.strip('"') for cell in line.split(mark)]
    return cells if len(cells) > 1 and all(cell == cell.strip() for cell in cells) else []


def json_blocks(name: str, encoding: str, column: str | int) -> Iterator[Block]:
    before = 0
    for lines in line_blocks(name, encoding):
        found: list[tuple[str, int, dict[str, Any]]] = []
        for number, line in enumerate(lines, before + 1):
            if line.strip():
                try:
                    row = json_object(line)
                    (text,) = choose(row, {"column": str(column)})
                except ValueError as error:
                    raise LineError(number, str(error)) from None
                found.append((text, number, row))
        before += len(lines)
        if found:
            texts, numbers, rows = zip(*found, strict=True)
            yield Block(texts, numbers, rows)


def series_lines(name: str, form: str, encoding: str) -> Iterator[Block]:
    """The lines of series: a table that is not CSV becomes one that is."""
    number = 1
    if form in SHEETS:
        found: Iterator[list[str]] = iter([csv_lines(open_table(name, "input", {}).frame())])
    else:
        found = line_blocks(name, encoding)
        if form == "jsonl":
            lines = list(chain.from_iterable(found))
            table = bool(lines) and lines[0].lstrip().startswith("{")
            found = iter([csv_lines(read_lines(lines, "jsonl"))] if table else [lines] if lines else [])
    for lines in found:
        yield Block(lines, range(number, number + len(lines)), [{"input": line} for line in lines])
        number += len(lines)
    if number == 1 and form not in ("text", "jsonl"):
        raise UserError(f"input={name}: the file is empty")


def csv_lines(table: Any) -> list[str]:
    """A DataFrame as the lines of a CSV table."""
    return table.to_csv(index=False).removesuffix("\n").split("\n")


def whole(first: bytes, raw: Iterator[bytes]) -> bytes:
    """All of what comes in."""
    parts, size = [first], len(first)
    for block in raw:
        parts.append(block)
        if (size := size + len(block)) > MOST:
            raise LineError(1, f"more than {MOST >> 20:,} MiB came in; write them into a file, and give input=FILE")
    return b"".join(parts)


def line_blocks(name: str, encoding: str, raw: Iterator[bytes] | None = None) -> Iterator[list[str]]:
    """The lines of a file, or of standard input where the name is -, in blocks of what is there to be read. \\n ends a
    line, or \\r\\n; in a text without any \\n, \\r does. raw: the bytes of it, where that has been opened."""
    end, rest, size, number = "\n", [], 0, 1
    for text in chain(decoded(unpacked(raw or raw_blocks(name), name), name, encoding), [None]):
        last = text is None
        rest.append(text or "")
        size += len(rest[-1])
        if end not in rest[-1] and size <= MAX_RECORD and not last:
            continue
        whole = "".join(rest)
        if number == 1 and "\n" not in whole and "\r" in whole:
            end = "\r"
        *lines, over = whole.split(end)
        if last and over:
            lines, over = [*lines, over], ""
        rest, size = [over], len(over)
        for i, line in enumerate([*lines, over]):
            if len(line) > MAX_RECORD:
                raise LineError(number + i, f"more than {MAX_RECORD:,} characters; are its line ends lost?")
        if lines:
            yield [line.removesuffix("\r") for line in lines]
            number += len(lines)


def raw_blocks(name: str) -> Iterator[bytes]:
    try:
        descriptor = standard_input() if name == "-" else os.open(expanded(name), os.O_RDONLY)
        try:
            while block := os.read(descriptor, READ):
                yield block
        finally:
            if name != "-":
                os.close(descriptor)
    except OSError as error:
        raise UserError(f"input={name}: the input cannot be read ({error.strerror})") from None


def standard_input() -> int:
    return sys.stdin.fileno()


def unpacked(blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """The same, unpacked where it is gzipped."""
    first = b""
    while len(first) < 2 and (block := next(blocks, b"")):
        first += block
    if first[:2] != b"\x1f\x8b":
        yield from chain([first], blocks)
        return
    reader = zlib.decompressobj(31)
    try:
        for block in chain([first], blocks):
            while block:
                yield reader.decompress(block)
                block = reader.unused_data
                if block:  # a file of several parts
                    reader = zlib.decompressobj(31)
    except zlib.error as error:
        raise UserError(f"input={name}: the gzipped file is damaged ({error})") from None
    if not reader.eof:
        raise UserError(f"input={name}: the gzipped file is cut off")


def decoded(blocks: Iterator[bytes], name: str, encoding: str) -> Iterator[str]:
    plain = codecs.lookup(encoding).name == "utf-8"
    decoder, line = codecs.getincrementaldecoder("utf-8-sig" if plain else encoding)(), 1
    for block in chain(blocks, [b""]):
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeError as error:
            data, place = getattr(error, "object", block), getattr(error, "start", 0)
            line += data[:place].count(b"\n")
            what = "UTF-8" if plain else encoding
            raise UserError(
                f"input={name}: not {what} at line {line:,}; {encoding_hint(data, place, 'encoding')}"
            ) from None
        line += text.count("\n")
        yield text


# ------------------------------------------------------------------------------------------------ in Python


def as_texts(inputs: Any) -> list[str]:
    """The inputs of `predict` as a list of texts. Raises `TypeError` with what to hand over instead."""
    if isinstance(inputs, bytes | dict | PurePath) or not isinstance(inputs, Iterable):
        cure = {
            bytes: "decode them first",
            dict: "pandas.DataFrame makes a table of it",
        }.get(type(inputs), "a file is read by its caller, or by mode=predict" if isinstance(inputs, PurePath) else "")
        raise TypeError(f"predict takes a text, a list of texts, or a pandas Series or DataFrame, "
                        f"not {type(inputs).__name__}{cure and f'; {cure}'}")  # fmt: skip
    texts = list(inputs)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"predict: input {i} is {text!r:.60}, of the type {type(text).__name__}; expected a text; "
                            "str() makes one, '' is none, a history of numbers a text such as '1.5, 2, 3'")  # fmt: skip
    return texts
