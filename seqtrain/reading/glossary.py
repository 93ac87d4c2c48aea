"""Glossaries: what terms of the source have to become in the output."""

from __future__ import annotations

import re

from seqtrain.config import UserError
from seqtrain.reading.tables import open_table

KEY = "decode.glossary"
SPACED = 0x0E00  # characters below it are those of scripts that put spaces between words


class Glossary:
    """The terms of a table without a header: the first column is of the source, the second of the output."""

    def __init__(self, name: str):
        table = open_table(name, KEY, {f"{KEY}, source": 1, f"{KEY}, target": 2})
        self.terms: dict[str, str] = {}
        for index in range(len(table)):
            source, target = (term.strip() for term in table[index])
            if not source or not target:
                raise UserError(f"{table.place(index)}: a term is empty; expected two, of the source and of the output")
            if self.terms.setdefault(source.lower(), target) != target:
                raise UserError(f"{table.place(index)}: {source!r} is {self.terms[source.lower()]!r} above already")
        longest_first = sorted(self.terms, key=len, reverse=True)
        self.pattern = re.compile("|".join(map(whole, longest_first)), re.IGNORECASE)

    def targets(self, text: str) -> list[str]:
        """What the terms in a text have to become, each once. Terms are whole words, in capitals or not; of terms that
        overlap, the longest counts."""
        found = (self.terms.get(match[0].lower()) for match in self.pattern.finditer(text))
        return [*dict.fromkeys(target for target in found if target)]


def whole(term: str) -> str:
    """A pattern for a term, which is not part of a longer word."""
    before, after = (r"\b" if is_letter(term[place]) else "" for place in (0, -1))
    return f"{before}{re.escape(term)}{after}"


def is_letter(character: str) -> bool:
    return character.isalnum() and ord(character) < SPACED
