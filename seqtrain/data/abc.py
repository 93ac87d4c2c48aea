"""The user's own tunes in ABC notation, as texts."""

from __future__ import annotations

from seqtrain.data.kinds import Document, Source
from seqtrain.reading.folders import find_files
from seqtrain.reading.scores import ABC, bare, read_tunes, split


class Abc(Source[Document]):
    """A `Document` for each tune of ABC files: its metre, unit length, key and notes."""

    kind = "abc"

    def __init__(
        self,
        train: str | list[str],
        valid: str | list[str] | None,
        test: str | list[str] | None,
        valid_share: float,
        test_share: float,
        seed: int,
    ):
        places = {"train": train, "valid": valid, "test": test}
        files = {name: place and find_files(place, f"data.{name}", ABC) for name, place in places.items()}
        self.splits = split(read, content, files, {"valid": valid_share, "test": test_share}, seed)


def read(name: str, setting: str) -> list[Document]:
    return [Document(bare(tune)) for tune in read_tunes(name, setting)]


def content(tune: Document) -> bytes:
    return tune.text.encode()
