"""E2E: attributes of restaurants, and what people said of them (Novikova et al. 2017, aclanthology.org/W17-5525)."""

from __future__ import annotations

import csv
import io

from seqtrain.data.kinds import Described, check_split
from seqtrain.storage.downloads import fetch_text

FILES = {"train": "trainset", "valid": "devset", "test": "testset_w_refs"}


class E2eNlg:
    """4,862 different lists of attributes for training (42,061 sentences), 547 for validation, 630 for the test."""

    kind = "attributes"

    def read(self, split: str) -> list[Described]:
        check_split(split)
        found: dict[str, list[str]] = {}
        for row in csv.DictReader(io.StringIO(fetch_text(f"e2e_nlg/{FILES[split]}.csv"))):
            found.setdefault(row["mr"], []).append(row["ref"])
        return [Described(attributes, tuple(sentences)) for attributes, sentences in found.items()]
