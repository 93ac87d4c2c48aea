"""Tags as they go out: in CoNLL and CoNLL-U files, or a token a row of a table."""

from __future__ import annotations

from collections.abc import Sequence
from io import TextIOBase
from itertools import chain
from typing import Any

from seqtrain.data.kinds import Tagged
from seqtrain.reading.conll import UNIVERSAL, blocks
from seqtrain.reading.sentences import Choice, place

Row = dict[str, Any]


class Columns:
    """CoNLL: the lines of the input, each with the tag of its token in a column behind; or CoNLL-U, where it is the
    column `tags`. Sentences that came in another form have a token and a tag a line."""

    def __init__(self, out: TextIOBase, form: str, given: str, settings: dict[str, Any]):
        self.out, self.form, self.kept = out, form, form == given
        _, tags = Choice.of(settings).settled(form)
        self.place = place(tags, "data.tags", form, len(UNIVERSAL)) if form == "conllu" else 0

    def write(self, rows: Sequence[Row], answers: Sequence[Row]) -> None:
        for row, answer in zip(rows, answers, strict=True):
            lines = row["lines"] if self.kept else self.new(answer)
            (block,) = blocks(lines, self.form)
            lines = list(lines)
            for (i, cells), tag in zip(block.rows.items(), answer["output"], strict=True):
                lines[i] = self.with_tag(lines[i], cells, tag)
            print(*lines, "", sep="\n", file=self.out)
        self.out.flush()

    def new(self, answer: Row) -> list[str]:
        """The lines of a sentence without tags."""
        tokens = Tagged.parse(answer["input"]).tokens
        if self.form == "conll":
            return list(tokens)
        return ["\t".join([str(i), token, *["_"] * (len(UNIVERSAL) - 2)]) for i, token in enumerate(tokens, 1)]

    def with_tag(self, line: str, cells: list[str], tag: str) -> str:
        if self.form == "conll":
            return line + (" " if " " in line and "\t" not in line else "\t") + tag
        return "\t".join([*cells[: self.place], tag, *cells[self.place + 1 :]])


class Tokens:
    """Rows of tokens in place of sentences, each with its own tag."""

    def __init__(self, writer: Any):
        self.writer = writer

    def write(self, rows: Sequence[Row], answers: Sequence[Row]) -> None:
        tags = chain.from_iterable(answer["output"] for answer in answers)
        self.writer.write([token for row in rows for token in row["rows"]], [{"output": tag} for tag in tags])
