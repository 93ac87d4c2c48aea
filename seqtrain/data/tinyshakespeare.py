"""Tiny Shakespeare: a million characters of Shakespeare's plays (Karpathy 2015)."""

from __future__ import annotations

from seqtrain.data import check_split
from seqtrain.data.cache import fetch

TRAIN_SHARE = 0.9


class Tinyshakespeare:
    """One document (`str`): the first 90% for training, the rest for validation. There is no test split: the
    validation split is read in its place, as everybody does who scores this set."""

    kind = "text"

    def read(self, split: str) -> list[str]:
        check_split(split)
        text = fetch("tinyshakespeare/input.txt").read_text(encoding="utf-8")
        end = int(TRAIN_SHARE * len(text))
        return [text[:end] if split == "train" else text[end:]]
