"""AESLC: e-mails and their subjects, of the Enron corpus (Zhang & Tetreault 2019, aclanthology.org/P19-1043)."""

from __future__ import annotations

import hashlib
from functools import cached_property

from seqtrain.data.kinds import Keyed, Pair, check_split
from seqtrain.storage.downloads import fetch_folder, listing

MARK = "@subject"


class Aeslc:
    """14,436 training `Pair`s of the body of an e-mail and its subject, 1,960 for validation, 1,906 for the test."""

    kind = "pairs"

    @cached_property
    def files(self) -> dict[str, bytes]:
        return fetch_folder("aeslc/aeslc.tar.gz", "enron_subject_line")

    def read(self, split: str) -> Keyed:
        check_split(split)
        folder = "dev/" if split == "valid" else f"{split}/"
        mails = {name: data for name, data in self.files.items() if name.startswith(folder)}
        return Keyed(map(parsed, mails.values()), hashlib.sha256(listing(mails)).hexdigest())


def parsed(data: bytes) -> Pair:
    """Behind the body and the subject, mails of validation and test have other subjects, which are left out."""
    body, _, rest = data.decode().partition(MARK)
    return Pair(body.strip(), rest.partition("@ann0")[0].strip())
