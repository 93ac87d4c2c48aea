"""Tokenizers: text to ids and back. Fitted on the training split, kept as JSON in every checkpoint."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

PAD, UNKNOWN, BEGIN, END = range(4)
SPECIALS = ("<pad>", "<unk>", "<s>", "</s>")

_WORDS = re.compile(r"\w+(?:['’]\w+)?|[^\w\s]")


class Tokenizer:
    """Characters or words as ids. The first four ids are padding, unknown, begin and end.

    unit: "char", or "word" (runs of letters and digits, every other sign by itself; `lowercase` folds case).
    items: what the ids stand for, specials included.
    """

    def __init__(self, unit: str, lowercase: bool, items: Sequence[str]):
        self.unit = unit
        self.lowercase = lowercase
        self.items = list(items)
        self.ids = {item: i for i, item in enumerate(self.items)}

    @classmethod
    def fit(cls, texts: Iterable[str], unit: str, lowercase: bool = False, min_count: int = 1) -> Tokenizer:
        """Learns the vocabulary: every item seen `min_count` times or more, the most frequent first."""
        tokenizer = cls(unit, lowercase, ())
        counts = Counter(item for text in texts for item in tokenizer.split(text))
        seen = sorted((item for item in counts if counts[item] >= min_count), key=lambda item: (-counts[item], item))
        return cls(unit, lowercase, [*SPECIALS, *seen])

    def __len__(self) -> int:
        return len(self.items)

    def split(self, text: str) -> list[str]:
        text = text.lower() if self.lowercase else text
        return list(text) if self.unit == "char" else _WORDS.findall(text)

    def encode(self, text: str) -> list[int]:
        return [self.ids.get(item, UNKNOWN) for item in self.split(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; padding, begin and end are left out."""
        items = [self.items[i] for i in ids if i not in (PAD, BEGIN, END)]
        return self.joint.join(items)

    @property
    def joint(self) -> str:
        """What stands between two items of a text."""
        return "" if self.unit == "char" else " "

    def state(self) -> dict[str, Any]:
        return {"unit": self.unit, "lowercase": self.lowercase, "items": self.items}
