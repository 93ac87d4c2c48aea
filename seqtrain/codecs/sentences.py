"""Sentences of given tokens as ids: of each token, of what else is known of it, and of its characters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
from jaxtyping import Int

from seqtrain.codecs.ragged import Ragged
from seqtrain.codecs.text import PAD, UNKNOWN
from seqtrain.config import UserError
from seqtrain.config.json_values import is_a
from seqtrain.contract import Codec, Tokens

Columns = Sequence[Sequence[str]]  # the tokens of a sentence, then the further columns, such as parts of speech
PREFIXES, SUFFIXES = (2, 3, 4), (1, 2, 3, 4)  # letters
MARKS = ("<pad>", "<unk>")  # what the first two ids stand for


class Sentences(Codec):
    """A position is the id of the token, those of its further columns, and those of its first characters.

    fold: tokens that differ in case or in digits alone have one id. min_count: tokens and affixes seen less often than
    this are unknown. characters: how many of a token are kept. spelling: the shape of a token, and its first and last
    letters, are further columns (after Huang et al. 2015, arXiv:1508.01991).
    """

    def __init__(self, fold: bool, min_count: int, characters: int, spelling: bool):
        self.fold, self.min_count, self.limit, self.spelling = fold, min_count, characters, spelling
        self.given = 1  # columns of a sentence; those behind them are made of its tokens
        self.items: list[list[str]] = [[] for _ in self.made("")]
        self.characters: list[str] = []
        self.longest = 1

    @property
    def positions(self) -> Tokens:
        signs = [*MARKS, *self.characters]
        words, *others = self.items
        items = [*MARKS, *words, *((i, item) for i, column in enumerate(others, 1) for item in column)]
        parts = Tokens(len(signs), PAD, UNKNOWN, self.longest, items=signs, unit="char")
        return Tokens(len(items), PAD, UNKNOWN, len(self.items), parts, items, "word")

    def fit(self, values: Iterable[Columns]) -> None:
        sentences = list(values)
        tokens = Counter(chain.from_iterable(sentence[0] for sentence in sentences))
        counts: list[Counter[str]] = [Counter() for _ in self.made("")]
        for token, n in tokens.items():
            for column, item in zip(counts, self.made(token), strict=True):
                column[item] += n
        first, *others = (sorted(item for item, n in column.items() if n >= self.min_count) for column in counts)
        self.given = len(sentences[0])
        features = (sorted({item for columns in sentences for item in columns[i]}) for i in range(1, self.given))
        self.items = [first, *features, *others]
        self.characters = sorted(set(chain.from_iterable(tokens)))
        self.longest = min(self.limit, max(map(len, tokens)))
        self.index()

    def state(self) -> dict[str, Any]:
        return {"given": self.given, "items": self.items, "characters": self.characters, "longest": self.longest}

    def load_state(self, state: dict[str, Any]) -> None:
        given, items, characters, longest = (state[name] for name in self.state())
        if not is_a(items, list[list[str]]) or not is_a(characters, list[str]) or not is_a([given, longest], list[int]):
            raise ValueError("sentences: expected lists of texts, and counts")
        if given < 1 or len(items) != given - 1 + len(self.made("")) or not 1 <= longest <= self.limit:
            raise ValueError("sentences: another number of columns or characters")
        if any(len(set(some)) < len(some) for some in (*items, characters)):
            raise ValueError("sentences: an item twice")
        self.given, self.items, self.characters, self.longest = given, items, characters, longest
        self.index()

    def index(self) -> None:
        """Numbers all items: those of the first column, of the next, and so on; characters by themselves."""
        begins = np.cumsum([2, *map(len, self.items)]).tolist()
        self.ids = [
            {item: i for i, item in enumerate(items, begin)} for begin, items in zip(begins, self.items, strict=False)
        ]
        self.signs = {sign: i for i, sign in enumerate(self.characters, 2)}

    def made(self, token: str) -> list[str]:
        """What is looked up of a token: itself, and its spelling."""
        folded = re.sub(r"\d", "0", token.lower()) if self.fold else token
        return [folded, *(spelling(token) if self.spelling else ())]

    def row(self, token: str) -> list[int]:
        """The ids of a token; those of its given columns are left open."""
        tables = self.ids[0], *self.ids[self.given :]
        first, *others = (ids.get(item, UNKNOWN) for ids, item in zip(tables, self.made(token), strict=True))
        signs = [self.signs.get(sign, UNKNOWN) for sign in token[: self.longest]]
        return [first, *[PAD] * (self.given - 1), *others, *signs, *[PAD] * (self.longest - len(signs))]

    def encode(self, value: Columns) -> Int[np.ndarray, "T W"]:
        return self.encode_all([value]).values

    def encode_all(self, values: Iterable[Columns]) -> Ragged:
        sentences = list(values)
        for columns in sentences:
            if len(columns) != self.given:
                raise UserError(f"data: a token has {len(columns)} columns, and training has {self.given}")
        places: dict[str, int] = {}
        which = [places.setdefault(token, len(places)) for columns in sentences for token in columns[0]]
        found = np.array([self.row(token) for token in places], np.int32)[which]
        for i in range(1, self.given):
            found[:, i] = [self.ids[i].get(item, UNKNOWN) for columns in sentences for item in columns[i]]
        return Ragged(found, np.array([len(columns[0]) for columns in sentences]))

    def decode(self, array: Int[np.ndarray, "T W"]) -> list[str]:
        items = ["", "", *self.items[0]]
        return [items[i] if i < len(items) else "" for i in array[:, 0]]


def spelling(token: str) -> list[str]:
    """The shape of a token, as Xx-9 of Top-20, and its first and last letters."""
    signs = ("X" if sign.isupper() else "x" if sign.isalpha() else "9" if sign.isdigit() else sign for sign in token)
    small = token.lower()
    shape = re.sub(r"(.)\1+", r"\1", "".join(signs))
    return [shape, *(small[:n] for n in PREFIXES), *(small[-n:] for n in SUFFIXES)]
