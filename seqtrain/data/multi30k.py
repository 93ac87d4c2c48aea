"""Multi30k: descriptions of pictures in English, German and French (Elliott et al. 2016, arXiv:1605.00459)."""

from __future__ import annotations

import gzip

from seqtrain.config import UserError
from seqtrain.data import Pair, check_split
from seqtrain.data.cache import fetch


class Multi30k:
    """29,000 training `Pair`s and 1,014 for validation; `test` names the file of the test split.

    source, target: two of en, de and fr, in either direction.
    """

    kind = "pairs"

    def __init__(self, source: str, target: str, test: str):
        if source == target:
            raise UserError(f"data.source={source} and data.target={target}: a translation needs two languages")
        self.languages = source, target
        self.files = {"train": "train", "valid": "val", "test": test}

    def read(self, split: str) -> list[Pair]:
        check_split(split)
        sources, targets = (
            gzip.decompress(fetch(f"multi30k/{self.files[split]}.{language}.gz").read_bytes())
            .decode()
            .removesuffix("\n")
            .split("\n")
            for language in self.languages
        )
        return list(map(Pair, sources, targets))
