"""Answers as they go out: lines, objects, or tables with the answers in added columns."""

from __future__ import annotations

import csv
import gzip
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from io import TextIOBase, TextIOWrapper
from typing import Any, Protocol

from seqtrain.commands.inputs import Inputs
from seqtrain.commands.tags import Columns, Tokens
from seqtrain.config import UserError, expanded
from seqtrain.config.quoting import typed
from seqtrain.reading.files import ending
from seqtrain.reading.lines import one_line
from seqtrain.reading.rows import DELIMITERS
from seqtrain.reading.sentences import CONLL, FORMS
from seqtrain.reading.sheets import SHEETS, need_package
from seqtrain.reading.tables import make_unique
from seqtrain.storage.disk import Folder
from seqtrain.terminal import streams

Row = dict[str, Any]
Files = Mapping[str, Callable[[str], bytes]]
HELD = (str, int, float, datetime)  # by a workbook
ESCAPES = str.maketrans({"\n": "\\n", "\r": "\\r", "\t": "\\t"})  # in TSV, which has no quotes


class Writer(Protocol):
    def write(self, rows: Sequence[Row], answers: Sequence[Row]) -> None:
        """Writes answers, each beside what stood in its row of the input."""


def check_output(cfg: dict[str, Any]) -> None:
    """Raises `UserError` where the output cannot be, or would replace the input, or a file without being asked to."""
    name, source = cfg["output"], cfg["input"]
    if name in (None, "-"):
        return
    file = expanded(name)
    try:
        os.lstat(file.parent)
        os.lstat(file)
    except FileNotFoundError as error:
        if error.filename != str(file):
            raise cannot_write(name, error) from None
    except OSError as error:
        raise cannot_write(name, error) from None
    if source not in (None, "-") and os.path.exists(file) and file.samefile(expanded(source)):
        raise UserError(f"output={name}: this is the input too; choose another file")
    if os.path.isfile(file) and not cfg["overwrite"]:
        raise UserError(f"output={name}: the file is there already; overwrite=true replaces it")


def check_streams(cfg: dict[str, Any]) -> None:
    """Raises `UserError` where a standard stream that is to be read or written is closed, or the output cannot be."""
    if cfg["input"] == "-" and 0 in streams.closed:
        raise UserError("input=-: standard input is closed; input=FILE reads a file")
    if cfg["input"] is not None and cfg["output"] in (None, "-") and 1 in streams.closed:
        raise UserError("standard output is closed; output=FILE writes the predictions into a file")
    check_output(cfg)


def output_form(cfg: dict[str, Any], given: str) -> str:
    """The form of the output: as the settings say, as its name ends, or as that of the input."""
    name = cfg["output"]
    form = {".txt": "text"}.get(ending(name or ""), FORMS.get(ending(name or ""), given))
    form = cfg["format"] or (given if form == "csv" and given in DELIMITERS else form)
    if form == "arrow":
        raise UserError(f"output={name}: Arrow files are read, but not written: {typed('output', 'FILE.parquet')}")
    if form in SHEETS and name not in (None, "-") and packed(name):
        raise UserError(f"output={name}: a {SHEETS[form]} is packed in itself; leave out .gz")
    if form in SHEETS and name in (None, "-"):
        raise UserError(f"a {SHEETS[form]} is no text to print: {typed('output', f'FILE.{form}')} writes one, "
                        "format=csv or format=jsonl prints it")  # fmt: skip
    return form


def packed(name: str) -> bool:
    return name.lower().endswith(".gz")


@contextmanager
def open_text_output(cfg: dict[str, Any]) -> Iterator[Any]:
    """The output file, gzipped where its name ends in .gz, or standard output, in UTF-8, as the input is. Half of a
    surrogate pair is written as JSON writes it."""
    if cfg["output"] in (None, "-"):
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
        yield sys.stdout
        return
    how: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}
    try:
        file = (gzip.open if packed(cfg["output"]) else open)(expanded(cfg["output"]), "wt", **how)
    except OSError as error:
        raise cannot_write(cfg["output"], error) from None
    with file:
        yield file


def cannot_write(name: str, error: OSError) -> UserError:
    return UserError(f"output={name}: the file cannot be written ({error.strerror or error})")


@contextmanager
def open_writer(
    cfg: dict[str, Any], inputs: Inputs, columns: Sequence[str], header: str | None, files: Files
) -> Iterator[Writer]:
    """What writes answers in the form that the settings ask for. columns: of an answer, those that a table gets.
    header: the first line where answers are lines. files: what makes a file of an output, by its ending."""
    if cfg["format"] is None and (make := files.get(ending(cfg["output"] or ""))):
        yield Whole(cfg["output"], make, cfg["overwrite"])
        return
    form = output_form(cfg, inputs.form)
    if form in SHEETS:
        need_package(form, f"output={cfg['output']}")
        writer = Sheet(cfg["output"], form, columns, inputs.table)
        yield Tokens(writer) if inputs.a_token_a_row else writer
        writer.close()
        return
    with open_text_output(cfg) as out:
        if form == "text":
            yield Lines(out, header)
        elif form == "jsonl":
            yield Objects(out)
        elif form in CONLL:
            yield Columns(out, form, inputs.form, cfg["data"])
        else:
            writer = Cells(out, form, columns, inputs.titled)
            yield Tokens(writer) if inputs.a_token_a_row else writer


def write_table(cfg: dict[str, Any], columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Writes a table that answers no input, in the form that the settings ask for, CSV unless they do."""
    refuse_text(output_form(cfg, "csv"))
    with open_writer(cfg, Inputs("csv", [], iter(())), columns, None, {}) as writer:
        writer.write([{}] * len(rows), [{name: row.get(name) for name in columns} for row in rows])


def refuse_text(form: str) -> None:
    """Raises `UserError` for a form that holds no table."""
    if form in ("text", *CONLL):
        raise UserError(f"the output is a table, and {form} holds none; expected csv, tsv, jsonl, parquet or xlsx")


class Whole:
    """A file for each answer: NAME.wav, then NAME-2.wav, NAME-3.wav, …"""

    def __init__(self, name: str, make: Callable[[str], bytes], overwrite: bool):
        self.file, self.make, self.overwrite, self.number = expanded(name), make, overwrite, 0

    def write(self, rows: Sequence[Row], answers: Sequence[Row]) -> None:
        for answer in answers:
            self.number += 1
            file = self.file if self.number == 1 else self.file.with_stem(f"{self.file.stem}-{self.number}")
            if file.exists() and not self.overwrite:
                raise UserError(f"output={file}: the file is there already; overwrite=true replaces it")
            try:
                Folder(file.parent).replace(file.name, self.make(answer["output"]))
            except OSError as error:
                raise cannot_write(str(file), error) from None


class Lines:
    """One line for each answer, without the rest of its row."""

    def __init__(self, out: TextIOBase, header: str | None):
        self.out, self.header = out, header

    def write(self, rows: Sequence[Row], answers: Sequence[Row]) -> None:
        lines = [one_line(answer["output"]) for answer in answers]
        if self.header is not None:
            lines, self.header = [self.header, *lines], None
        print(*lines, sep="\n", file=self.out, flush=True)


class Objects:
    """JSON Lines: one object for each answer, with all that is known of it."""

    def __init__(self, out: TextIOBase):
        self.out = out

    def write(self, rows: Sequence[Row], answers: Sequence[Row]) -> None:
        for row, answer in zip(rows, answers, strict=True):
            print(json.dumps(joined(row, answer), ensure_ascii=False), file=self.out)
        self.out.flush()


class Cells:
    """CSV or TSV. The names of the first rows are the header."""

    def __init__(self, out: TextIOBase, form: str, columns: Sequence[str], titled: bool):
        self.out, self.columns, self.titled = out, columns, titled
        self.names: list[str] = []
        self.quoted = form != "tsv"
        self.csv = csv.writer(out, delimiter=DELIMITERS.get(form, "\t"), lineterminator="\n")

    def write(self, rows: Sequence[Row], answers: Sequence[Row]) -> None:
        if not self.names:
            self.names = list(dict.fromkeys(name for row in rows for name in row))
            if self.titled:
                self.put(make_unique([*self.names, *self.columns]))
        for row, answer in zip(rows, answers, strict=True):
            if more := row.keys() - dict.fromkeys(self.names):
                raise UserError(f"input: the key {min(more)!r} is not in the first rows, which the header is made of; "
                                "format=jsonl writes any")  # fmt: skip
            cells = [*(row.get(name) for name in self.names), *(answer.get(name) for name in self.columns)]
            self.put([as_cell(cell) for cell in cells])
        self.out.flush()

    def put(self, cells: list[str]) -> None:
        if self.quoted:
            self.csv.writerow(cells)
        else:
            self.out.write("\t".join(cell.translate(ESCAPES) for cell in cells) + "\n")


class Sheet:
    """A Parquet file or a workbook, written when all answers are there. table: the input where it is one, whose columns
    keep their types."""

    def __init__(self, name: str, form: str, columns: Sequence[str], table: Any):
        self.name, self.form, self.columns, self.table = name, form, columns, table
        self.rows: list[Row] = []
        self.answers: list[Row] = []

    def write(self, rows: Sequence[Row], answers: Sequence[Row]) -> None:
        self.rows += rows
        self.answers += [{name: answer.get(name) for name in self.columns} for answer in answers]

    def close(self) -> None:
        import pandas as pd

        rows = pd.DataFrame(self.rows) if self.table is None else self.table
        table = beside(rows.reset_index(drop=True), pd.DataFrame(self.answers))
        try:
            with expanded(self.name).open("wb") as file:
                if self.form == "parquet":
                    table.to_parquet(file, index=False)
                else:
                    write_workbook(table, file)
        except OSError as error:
            raise cannot_write(self.name, error) from None
        except Exception as error:  # of the libraries: what the form cannot hold
            raise UserError(f"output={self.name}: a {SHEETS[self.form]} cannot hold this ({error})") from None


def write_workbook(table: Any, file: Any) -> None:
    """Texts stay texts: what begins with = is no formula."""
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell

    book = Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in [list(table.columns), *table.astype(object).where(table.notna(), None).itertuples(index=False)]:
        cells = [WriteOnlyCell(sheet, value if isinstance(value, HELD) else as_cell(value)) for value in row]
        for cell in cells:
            cell.data_type = "s" if cell.data_type == "f" else cell.data_type
        sheet.append(cells)
    book.save(file)


def beside(table: Any, answers: Any) -> Any:
    """Two DataFrames of the same rows as one. A name that both have gets a number."""
    import pandas as pd

    both = pd.concat([table, answers], axis=1)
    return both.set_axis(make_unique(map(str, both.columns)), axis=1)


def joined(row: Row, answer: Row) -> Row:
    """A row and its answer. A name of the answer that the row has, too, gets a number."""
    new = {name: value for name, value in answer.items() if name != "input"}
    return dict(zip(make_unique([*row, *new]), [*row.values(), *new.values()], strict=True))


def as_cell(value: Any) -> str:
    """A value as text in a table: nothing for a missing one, lists and objects as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=str)
