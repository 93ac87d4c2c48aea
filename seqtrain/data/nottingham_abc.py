"""The Nottingham collection of folk tunes in ABC notation (Foxley; cleaned by Jukedeck)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

from seqtrain.data.kinds import Document, check_split
from seqtrain.reading.abc import read_abc, tunes
from seqtrain.reading.scores import bare
from seqtrain.storage.downloads import fetch_folder

LENGTH = 10  # intervals in a row by which a tune is known
ALIKE = 0.3  # share of these, of the tune that has fewer, from which on two tunes are variants of one
SHARE = 0.1  # of the tunes, for validation, and for the test


class NottinghamAbc:
    """1,034 tunes, a `Document` each, of which 10% are for validation and 10% for the test. Variants of a tune, also in
    other keys, are in one split."""

    kind = "abc"

    def __init__(self, seed: int):
        self.seed = seed

    def read(self, split: str) -> Sequence[Document]:
        check_split(split)
        return self.splits[split]

    @cached_property
    def splits(self) -> dict[str, list[Document]]:
        files = fetch_folder("nottingham_abc/ABC_cleaned.tar.gz", "ABC_cleaned")
        texts = [tune for content in files.values() for tune in tunes(content.decode())]
        groups = variants([known_by(text) for text in texts])
        names = sorted(set(groups))
        random.Random(self.seed).shuffle(names)
        found: dict[str, list[Document]] = {"test": [], "valid": [], "train": []}
        members: dict[int, list[Document]] = {name: [] for name in names}
        for name, text in zip(groups, texts, strict=True):
            members[name].append(Document(bare(text)))
        room = {"test": SHARE * len(texts), "valid": SHARE * len(texts), "train": float(len(texts))}
        for name in names:
            place = next(place for place, size in room.items() if len(found[place]) < size)
            found[place] += members[name]
        return found


def known_by(text: str) -> set[tuple[int, ...]]:
    """The runs of intervals in a tune; none where it cannot be read."""
    try:
        pitches = [note.pitch for note in read_abc(text).notes]
    except ValueError:
        return set()
    steps = [after - before for before, after in pairwise(pitches)]
    return {tuple(steps[i : i + LENGTH]) for i in range(len(steps) - LENGTH + 1)}


def variants(known: Sequence[set[tuple[int, ...]]]) -> list[int]:
    """A number for each tune, equal for variants of one, and for variants of these."""
    where: dict[tuple[int, ...], list[int]] = {}
    group = list(range(len(known)))
    for number, runs in enumerate(known):
        shared: dict[int, int] = {}
        for run in runs:
            for other in where.setdefault(run, []):
                shared[other] = shared.get(other, 0) + 1
            where[run].append(number)
        for other, count in shared.items():
            if count > ALIKE * min(len(runs), len(known[other])):
                group = [group[number] if name == group[other] else name for name in group]
    return group
