"""CoNLL-2000: the phrases of newspaper sentences (Tjong Kim Sang & Buchholz 2000, aclanthology.org/W00-0726)."""

from __future__ import annotations

from seqtrain.data.kinds import Tagged, check_split
from seqtrain.reading.conll import blocks
from seqtrain.storage.downloads import fetch_text

TOKEN, TAG = 1, 3  # columns


class Conll2000:
    """8,936 `Tagged` sentences for training, of which every tenth is for validation, and 2,012 for the test."""

    kind = "tagged"

    def __init__(self, features: list[int]):
        self.columns = (TOKEN, *features)

    def read(self, split: str) -> list[Tagged]:
        check_split(split)
        text = fetch_text(f"conll2000/{'test' if split == 'test' else 'train'}.txt")
        found = []
        for block in blocks(text.split("\n"), "conll", comments=False):
            cells = list(zip(*block.rows.values(), strict=True))
            found.append(Tagged(tuple(cells[column - 1] for column in self.columns), cells[TAG - 1]))
        tenth = {"train": False, "valid": True}.get(split)
        return [record for i, record in enumerate(found, 1) if tenth is None or (i % 10 == 0) == tenth]
