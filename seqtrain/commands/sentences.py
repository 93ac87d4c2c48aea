"""Sentences of given tokens, to be predicted: CoNLL, CoNLL-U, JSON Lines, or tables with a token a row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

from seqtrain.commands.inputs import BLOCK, Block, Inputs, line_blocks, open_inputs, table_path
from seqtrain.config import LineError
from seqtrain.contract import Codec
from seqtrain.reading.conll import blocks
from seqtrain.reading.files import check_encoding, ending
from seqtrain.reading.rows import json_object
from seqtrain.reading.sentences import CONLL, FORMS, Choice, form_of, keys, of_rows, place, texts
from seqtrain.reading.tables import open_table

Row = dict[str, Any]
TOGETHER = 256  # sentences that are answered together


def open_sentences(cfg: dict[str, Any], codec: Codec) -> Inputs:
    """The sentences of an input; those that stand in a line or a cell each are read as any text is. codec: of them."""
    name, data, chosen = cfg["input"], cfg["data"], {} if cfg["column"] is None else {"tokens": cfg["column"]}
    form = cfg["input_format"] or form_by_name(name, data)
    if form not in (*CONLL, "jsonl") and (form == "text" or "sentence" not in data):
        return open_inputs(cfg, "tokens", codec)
    encoding = cfg["encoding"] or ("utf-8" if name == "-" else data.get("encoding", "utf-8"))
    check_encoding(encoding, "encoding")
    choice = Choice.of(data | chosen)
    if form in CONLL:
        return Inputs(form, None, of_columns(name, form, encoding, choice))
    if form == "jsonl":
        return Inputs(form, None, of_lists(name, encoding, choice))
    table = open_table(table_path(name), "input", keys(choice, form, tagged=False), form, encoding)
    sentences = of_rows(table, tagged=False)

    def found() -> Iterator[Block]:
        while some := list(islice(sentences, BLOCK)):
            rows = [{"rows": [table.row(i) for i in sentence.rows]} for sentence in some]
            yield Block([line(sentence.columns) for sentence in some], [s.row + 1 for s in some], rows)

    return Inputs(form, table.header or [*table.row(0)], found(), table.header is not None, a_token_a_row=True)


def form_by_name(name: str, data: dict[str, Any]) -> str:
    """The form of an input: what ends as the training file did is read as that was."""
    train = data.get("train")
    if train is not None and ending(train) == ending(name):
        return form_of(train, data["format"])
    return FORMS.get(ending(name), "text")


def line(columns: Sequence[Sequence[str]]) -> str:
    """A sentence as `Tagged.parse` reads it."""
    return json.dumps(list(columns[0]) if len(columns) == 1 else list(zip(*columns, strict=True)), ensure_ascii=False)


def asked_columns(choice: Choice, form: str) -> list[tuple[str | int, str]]:
    """The columns of tokens and features, and the settings that choose them."""
    return [(choice.settled(form)[0], "column"), *((column, "data.features") for column in choice.features)]


def of_columns(name: str, form: str, encoding: str, choice: Choice) -> Iterator[Block]:
    """Sentences as soon as they are there to be read."""
    found, wanted = blocks(chain.from_iterable(line_blocks(name, encoding)), form), asked_columns(choice, form)
    try:
        while some := list(islice(found, TOGETHER)):
            lines = []
            for block in some:
                cells = list(block.rows.values())
                places = [place(column, key, form, len(cells[0])) for column, key in wanted]
                lines.append(line([[row[i] for row in cells] for i in places]))
            yield Block(lines, [block.number for block in some], [{"lines": block.lines} for block in some])
    except ValueError as error:
        raise LineError(*error.args) from None


def of_lists(name: str, encoding: str, choice: Choice) -> Iterator[Block]:
    """Objects with a list of tokens, or with a text whose tokens stand between blanks."""
    before, wanted = 0, asked_columns(choice, "jsonl")
    for lines in line_blocks(name, encoding):
        found: list[tuple[str, int, Row]] = []
        for number, text in enumerate(lines, before + 1):
            if text.strip():
                try:
                    row = json_object(text)
                    plain = row.get(str(wanted[0][0]))
                    asked = plain if isinstance(plain, str) else line([texts(row, *column) for column in wanted])
                except ValueError as error:
                    raise LineError(number, str(error)) from None
                found.append((asked, number, row))
        before += len(lines)
        if found:
            yield Block(*zip(*found, strict=True))
