"""Sentences in the user's files: CoNLL, CoNLL-U, JSON Lines, or tables with a token a row."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from seqtrain.config import UserError, in_brief
from seqtrain.config.quoting import typed
from seqtrain.config.spelling import did_you_mean, near
from seqtrain.data.kinds import Tagged
from seqtrain.reading.conll import UNIVERSAL, blocks
from seqtrain.reading.files import File, ending, open_text
from seqtrain.reading.rows import decoded_lines
from seqtrain.reading.splits import Records, digest, group_hash
from seqtrain.reading.tables import ENDINGS, Rows, Table, check_surrogates, open_table, value_of

log = logging.getLogger(__name__)
CONLL = ("conll", "conllu")
FORMS = {**ENDINGS, ".conll": "conll", ".conllu": "conllu"}
Column = str | int
USUAL: dict[str, tuple[Column, Column]] = {  # the columns of tokens and tags, by form
    "conll": (1, -1),
    "conllu": ("form", "upos"),
    "jsonl": ("tokens", "tags"),
}
TABLE = ("token", "tag")


@dataclass(frozen=True)
class Choice:
    """Which columns are read, as configs/data/tagged.yaml says; None: as is usual in files of a form."""

    tokens: Column | None
    tags: Column | None
    features: Sequence[Column]
    sentence: Column

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Choice:
        """That of a run, whose data may be of another source."""
        return cls(
            settings.get("tokens"), settings.get("tags"), settings.get("features", ()), settings.get("sentence", "")
        )

    def settled(self, form: str) -> tuple[Column, Column]:
        """The columns of tokens and tags in files of a form. Numbers count from 1; -1 is the last."""
        tokens, tags = USUAL.get(form, TABLE)
        return self.tokens or tokens, self.tags or tags


class Sentence(NamedTuple):
    """columns: the tokens, and each feature of them. tags: empty where they were not asked for. row: the place of its
    first line or row in the file, from 0. rows: the places of its tokens in a table."""

    columns: tuple[tuple[str, ...], ...]
    tags: tuple[str, ...]
    row: int
    rows: Sequence[int] = ()


class Sentences(Rows):
    """The sentences of a file in memory."""

    def __init__(self, name: str, checksum: str, sentences: Sequence[Sentence], unit: str = "line"):
        self.names, self.digests, self.sentences, self.unit = [name], [checksum], sentences, unit
        self.first = np.array([sentence.row for sentence in sentences], np.int64)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        sentence = self.sentences[index]
        return sentence.columns, sentence.tags


def form_of(name: str, form: str | None) -> str:
    """The form of a file; what no ending says is CoNLL."""
    return form or FORMS.get(ending(name), "conll")


def open_sentences(name: str, setting: str, choice: Choice, form: str | None, encoding: str) -> Records[Tagged]:
    """The tagged sentences of a file. form: see `form_of`. Raises `UserError` with file and line where a row is
    broken, or there are none."""
    form = form_of(name, form)
    if form in CONLL:
        file = open_text(name, setting, encoding)
        checksum, unit, found = file.digest, "line", list(of_columns(file, form, choice))
    elif form == "jsonl":
        table = open_table(name, setting, {"data.tokens": choice.settled(form)[0]}, form, encoding)
        checksum, unit, found = table.digests[0], table.unit, [of_lists(table, i, choice) for i in range(len(table))]
    else:
        table = open_table(name, setting, keys(choice, form), form, encoding)
        checksum, unit, found = table.digests[0], table.unit, list(of_rows(table, True))
    full = [sentence for sentence in found if sentence.tags]
    if not full:
        raise UserError(f"{setting}={name}: there is no sentence with a token in it")
    if len(full) < len(found):
        log.warning("left out: %s of %s sentences without a token (%s)", len(found) - len(full), len(found), name)
    rows = Sentences(name, digest(checksum, form, choice), full, unit)
    groups = np.frombuffer(b"".join(group_hash(" ".join(sentence.columns[0])) for sentence in full), np.uint64)
    return Records(rows, Tagged, np.arange(len(full)), groups)


# ------------------------------------------------------------------------------------------------ columns


def of_columns(file: File, form: str, choice: Choice) -> Iterator[Sentence]:
    """The sentences of a CoNLL file."""
    lines = (line.removesuffix("\n").removesuffix("\r") for line in decoded_lines(file, file.line_starts()))
    try:
        for block in blocks(lines, form):
            cells = list(block.rows.values())
            wanted = zip(("data.tokens", "data.tags"), choice.settled(form), strict=True)
            places = [place(column, key, form, len(cells[0])) for key, column in wanted]
            more = [place(column, "data.features", form, len(cells[0])) for column in choice.features]
            if places[0] == places[1]:
                raise ValueError(block.number, f"tokens and tags are both column {places[0] + 1}; expected two columns")
            tokens, tags, *features = (tuple(row[i] for row in cells) for i in (*places, *more))
            yield Sentence((tokens, *features), tags, block.number - 1)
    except ValueError as error:
        line, problem = error.args
        raise UserError(f"{file.name}, line {line:,}: {problem}") from None


def place(column: Column, key: str, form: str, width: int) -> int:
    """Which cell of a line a column is. Raises `UserError` where there is no such."""
    if form == "conllu" and column in UNIVERSAL:
        return UNIVERSAL.index(str(column))
    if not isinstance(column, int) or not -1 <= column <= width or column == 0:
        known = f"; {', '.join(UNIVERSAL)}" if form == "conllu" else ""
        hint = did_you_mean([typed(key, name) for name in near(str(column), UNIVERSAL)]) if known else ""
        raise UserError(f"{key}={column}: there are the columns 1 to {width}{hint or known}")
    return column - 1 if column > 0 else width - 1


# ------------------------------------------------------------------------------------------------ lists


def of_lists(table: Table, index: int, choice: Choice) -> Sentence:
    """A row of JSON Lines: lists of tokens, tags and features."""

    def make() -> Sentence:
        row = table.parse(index)
        tokens, tags, *features = (
            texts(row, column, key)
            for column, key in (
                *zip(choice.settled("jsonl"), ("data.tokens", "data.tags"), strict=True),
                *((column, "data.features") for column in choice.features),
            )
        )
        check_lengths(tokens, {"tags": tags, **dict(zip(map(str, choice.features), features, strict=True))})
        return Sentence((tokens, *features), tags, int(table.first[index]))

    return table.with_place(index, make)


def texts(row: dict[str, Any], column: Column, key: str) -> tuple[str, ...]:
    """A list of texts in an object. Raises ValueError for anything else."""
    value = value_of(row, str(column), key)
    if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
        raise ValueError(f"{column!r} is {in_brief(value, 60)!r}; expected a list of texts, none of them empty")
    for item in value:
        check_surrogates(item)
    return tuple(value)


def check_lengths(tokens: Sequence[str], others: Mapping[str, Sequence[str]]) -> None:
    for name, other in others.items():
        if len(other) != len(tokens):
            raise ValueError(f"{len(tokens)} tokens and {len(other)} {name}; expected as many of both")


# ------------------------------------------------------------------------------------------------ a token a row


def keys(choice: Choice, form: str, tagged: bool = True) -> dict[str, Column]:
    """The columns of a table by the settings that choose them."""
    column, tag = choice.settled(form)
    tags = {"data.tags": tag} if tagged else {}
    features = {f"data.features.{i}": column for i, column in enumerate(choice.features)}
    return {"data.sentence": choice.sentence, "data.tokens": column, **tags, **features}


def of_rows(table: Table, tagged: bool) -> Iterator[Sentence]:
    """The rows of a table by sentence, in the order in which they begin. Where the cell of the sentence is empty, the
    one above goes on."""
    found: dict[str, list[int]] = {}
    cells = [*table]
    name = ""
    for i, (sentence, *others) in enumerate(cells):
        name = sentence.strip() or name
        if not all(map(str.strip, others)):
            raise UserError(f"{table.place(i)}: the cell of a token, its tag or a feature is empty; fill it, or leave "
                            "out the row")  # fmt: skip
        found.setdefault(name, []).append(i)
    for rows in found.values():
        _, tokens, *others = zip(*(cells[i] for i in rows), strict=True)
        tags = others.pop(0) if tagged else ()
        yield Sentence((tokens, *others), tags, int(table.first[rows[0]]), rows)
