"""The language reference that ships inside CPython, as `help()` shows it."""

from __future__ import annotations

import random
from pydoc_data.topics import topics

from seqtrain.data.kinds import Document, Source

MOSTLY = 0.5  # share of a topic's text


def lines(text: str) -> list[str]:
    """The lines of a text without indentation: a section that is quoted inside another one is indented more."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def distinct_topics() -> list[str]:
    """The topics, longest first, without those whose text is mostly part of longer ones, as a section of its chapter.

    A section in one split and its chapter in another would make a test of memory out of a test of language.
    """
    seen: set[str] = set()
    distinct = []
    for text in sorted(topics.values(), key=lambda text: (-len(text), text)):
        known = sum(len(line) for line in lines(text) if line in seen)
        if known < MOSTLY * sum(map(len, lines(text))):
            distinct.append(text)
            seen.update(lines(text))
    return distinct


class Pydocs(Source[Document]):
    """A `Document` for each topic of `pydoc_data.topics`, which differs between Python versions.

    Splits by topic: topics in the random order of `seed` go to the test split while they fit into `test_share` of all
    characters, then to the validation split, and the rest to the training split.
    """

    kind = "text"

    def __init__(self, valid_share: float, test_share: float, seed: int):
        documents = distinct_topics()
        random.Random(seed).shuffle(documents)
        total = sum(map(len, documents))
        room = {"test": test_share * total, "valid": valid_share * total, "train": float(total)}
        splits: dict[str, list[Document]] = {split: [] for split in ("train", "valid", "test")}
        for document in documents:
            split = next(name for name, left in room.items() if len(document) <= left)
            room[split] -= len(document)
            splits[split].append(Document(document))
        self.splits = splits
