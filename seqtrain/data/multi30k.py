"""Multi30k: descriptions of pictures in English, German and French (Elliott et al. 2016, arXiv:1605.00459)."""

from __future__ import annotations

import gzip
import hashlib

from seqtrain.config import UserError
from seqtrain.data.kinds import Keyed, Pair, check_split
from seqtrain.storage.downloads import fetch


class Multi30k:
    """29,000 training `Pair`s and 1,014 for validation; two of its three languages, in either direction."""

    kind = "pairs"

    def __init__(self, source: str, target: str, test: str):
        if source == target:
            raise UserError(f"data.source={source} and data.target={target}: a translation needs two languages")
        self.languages = source, target
        self.files = {"train": "train", "valid": "val", "test": test}

    def read(self, split: str) -> Keyed:
        check_split(split)
        files = [fetch(f"multi30k/{self.files[split]}.{language}.gz").read_bytes() for language in self.languages]
        sources, targets = (gzip.decompress(file).decode().removesuffix("\n").split("\n") for file in files)
        return Keyed(map(Pair, sources, targets), hashlib.sha256(b"".join(files)).hexdigest())
