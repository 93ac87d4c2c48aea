"""Tiny Shakespeare: a million characters of Shakespeare's plays (Karpathy 2015)."""

from __future__ import annotations

from seqtrain.data.kinds import Document, check_split
from seqtrain.storage.downloads import fetch

TRAIN_SHARE = 0.9


class Tinyshakespeare:
    """One `Document`: the first 90% for training, the rest for validation. There is no test split: the
    validation split is used in its place, as others do."""

    kind = "text"

    def read(self, split: str) -> list[Document]:
        check_split(split)
        text = fetch("tinyshakespeare/input.txt").read_text(encoding="utf-8")
        end = int(TRAIN_SHARE * len(text))
        return [Document(text[:end] if split == "train" else text[end:])]
