"""Sentences in columns: CoNLL (a token a line, an empty line between sentences) and CoNLL-U."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

FORMS = ("conll", "conllu")
UNIVERSAL = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")  # columns of CoNLL-U
DOCUMENT = "-DOCSTART-"  # a line of CoNLL-2003 that is no sentence


class Block(NamedTuple):
    """The lines of a sentence. number: of the first of them, from 1. rows: the cells of each token by its place among
    the lines."""

    lines: list[str]
    number: int
    rows: dict[int, list[str]]


def blocks(lines: Iterable[str], form: str, comments: bool = True) -> Iterator[Block]:
    """The sentences in lines without their ends. Raises ValueError with what is wrong; its first argument is the line.

    Cells stand between tabs, or where a line has none between blanks. With `comments`, lines before the first token
    that begin with # are such. In CoNLL-U lines of words that are several tokens (1-2), or none (1.1), hold no token.
    """
    held: list[str] = []
    rows: dict[int, list[str]] = {}
    width, first = 0, 1
    for number, line in enumerate((*lines, ""), 1):
        if not line.strip():
            if rows and next(iter(rows.values()))[0] != DOCUMENT:
                yield Block(held, number - len(held), rows)
            held, rows = [], {}
            continue
        held.append(line)
        if comments and line.startswith("#") and not rows:
            continue
        cells = line.split("\t") if "\t" in line else line.split()
        if form == "conllu" and not cells[0].isdecimal():
            continue
        if form == "conllu" and len(cells) != len(UNIVERSAL):
            raise ValueError(number, f"expected {len(UNIVERSAL)} columns between tabs, found {len(cells)}")
        if width and len(cells) != width:
            raise ValueError(number, f"expected {width} columns, as in line {first}, found {len(cells)}")
        width, first = (width, first) if width else (len(cells), number)
        rows[len(held) - 1] = cells
