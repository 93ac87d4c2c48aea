"""Attributes of a thing, each with a name and a value, as ids."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Int

from seqtrain.config import UserError
from seqtrain.config.json_values import is_a
from seqtrain.contract import Codec, Tokens

PAD, UNKNOWN = 0, 1
_ONE = re.compile(r"\s*([^\[\],]+?)\s*\[([^\]]*)\]\s*(?:,|$)")


class Attributes(Codec):
    """A text such as "name[The Mill], area[riverside]" as a position for each attribute, in the order of their names.
    named: names of attributes whose values do not matter, since a caption takes them over as they are."""

    def __init__(self, named: Iterable[str]):
        self.named = frozenset(named)
        self.items: list[str] = []

    @property
    def positions(self) -> Tokens:
        items = ["<pad>", "<unk>", *self.items] if self.items else []
        return Tokens(len(items), PAD, UNKNOWN, items=items, unit="attribute")

    def fit(self, values: Iterable[str]) -> None:
        self.items = sorted(Counter(item for value in values for item in self.shown(value)))

    def state(self) -> list[str]:
        return self.items

    def load_state(self, state: Any) -> None:
        if not is_a(state, list[str]) or len(set(state)) < len(state) or not state:
            raise ValueError("attributes: expected different texts")
        self.items = state

    def load(self, line: str) -> str:
        parsed(line)
        return line

    def encode(self, value: str) -> Int[np.ndarray, " T"]:
        ids = {item: i for i, item in enumerate(self.items, 2)}
        return np.array([ids.get(item, UNKNOWN) for item in self.shown(value)])

    def decode(self, array: Int[np.ndarray, " T"]) -> str:
        return ", ".join(self.items[i - 2] for i in array if i > UNKNOWN)

    def shown(self, value: str) -> list[str]:
        pairs = sorted(parsed(value).items())
        return [f"{name}[]" if name in self.named else f"{name}[{value}]" for name, value in pairs]


def parsed(text: str) -> dict[str, str]:
    """The values of attributes by their names."""
    found, end = {}, 0
    while one := _ONE.match(text, end):
        found[one[1]] = one[2]
        end = one.end()
    if not found or text[end:].strip():
        raise UserError(
            f"data: {text[:40]!r} is no list of attributes; expected such as name[The Mill], area[riverside]"
        )
    return found
