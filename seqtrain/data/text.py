"""The user's own text, one document a file."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from seqtrain.data.kinds import SPLITS, Document, Source
from seqtrain.reading.files import Bytes, check_encoding, open_text, read_utf8
from seqtrain.reading.folders import find_files
from seqtrain.reading.splits import check_shares, digest

log = logging.getLogger(__name__)
LARGE = 10_000_000  # bytes
LONGEST = 64_000_000  # bytes of a document: longer ones are cut, so that none has to fit into memory
ENOUGH = 0.5  # share of its share that a split must get from whole documents


class Part(NamedTuple):
    """The bytes [begin, end) of the UTF-8 text of a file, a document or a part of one. digest: SHA-256 of the file."""

    name: str
    begin: int
    end: int
    digest: str

    @property
    def size(self) -> int:
        return self.end - self.begin


class Documents(Sequence[Document]):
    """Documents, read from their files when they are asked for. A line end is \\n, whatever it is in the file.

    key: SHA-256 of all that they depend on. large: whether what is made of them is worth keeping in the cache.
    """

    def __init__(self, parts: list[Part], encoding: str):
        self.parts, self.encoding = parts, encoding
        self.key = digest("text", *((part.digest, part.begin, part.end) for part in parts))
        self.large = sum(part.size for part in parts) >= LARGE

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: Any) -> Any:
        """One document, or those of a slice, read when they are asked for."""
        if isinstance(index, slice):
            return Documents(self.parts[index], self.encoding)
        name, begin, end, _ = self.parts[index]
        text = read_utf8(name, name, self.encoding)[begin:end].decode()
        return Document(text.replace("\r\n", "\n").replace("\r", "\n"))


class Text(Source[Document]):
    """`Document`s of files, folders or patterns.

    Without files of their own, validation and test are `valid_share` and `test_share` of the training text's bytes,
    in whole documents chosen by `seed`, copies of one in one split. Where that leaves a split with less than half of
    its share, because documents are few, each document is cut, first part for training, last for the test, at ends of
    paragraphs or lines.
    """

    kind = "text"

    def __init__(
        self,
        train: str | list[str],
        valid: str | list[str] | None,
        test: str | list[str] | None,
        encoding: str,
        valid_share: float,
        test_share: float,
        seed: int,
    ):
        check_encoding(encoding)
        places = {"train": train, "valid": valid, "test": test}
        parts = {
            split: open_parts(place, f"data.{split}", encoding) for split, place in places.items() if place is not None
        }
        shares = {"valid": valid_share * (valid is None), "test": test_share * (test is None)}
        if any(shares.values()):
            check_shares(**shares)
            made = by_document(parts["train"], shares, seed) or by_position(parts["train"], shares, encoding)
            parts |= {split: made[split] for split in SPLITS if split == "train" or shares[split]}
        self.splits = {split: Documents(parts[split], encoding) for split in SPLITS}


def open_parts(places: str | list[str], setting: str, encoding: str) -> list[Part]:
    """The documents of the files of one or several places, in parts where they are longer than `LONGEST`."""
    parts = []
    for name in find_files(places, setting):
        file = open_text(name, setting, encoding)
        begin, end = file.begin, len(file.data)
        count = -(-(end - begin) // LONGEST)
        inner = (cut(file.data, begin, end, i / count) for i in range(1, count))
        parts += [Part(name, a, b, file.digest) for a, b in pairwise([begin, *inner, end])]
    return parts


def by_document(parts: list[Part], shares: dict[str, float], seed: int) -> dict[str, list[Part]] | None:
    """Whole documents for each split, or None where they are too few to fill them."""
    copies = Counter(part.digest for part in parts)
    sizes = {part.digest: part.size * copies[part.digest] for part in parts}
    room = {split: share * sum(part.size for part in parts) for split, share in shares.items()}
    left, split_of = dict(room), dict[str, str]()
    for name in sorted(sizes, key=lambda name: digest(seed, name)):
        split = next((split for split in ("test", "valid") if sizes[name] <= left[split]), "train")
        split_of[name] = split
        if split != "train":
            left[split] -= sizes[name]
    if any(left[split] > (1 - ENOUGH) * room[split] for split in room if room[split]):
        return None
    return {split: [part for part in parts if split_of[part.digest] == split] for split in SPLITS}


def by_position(parts: list[Part], shares: dict[str, float], encoding: str) -> dict[str, list[Part]]:
    """A part of each document for each split: training, validation, test, one after the other."""
    ends = list(accumulate([1 - sum(shares.values()), shares["valid"], shares["test"]]))
    splits: dict[str, list[Part]] = {split: [] for split in SPLITS}
    for part in parts:
        data = read_utf8(part.name, part.name, encoding)
        cuts = [cut(data, part.begin, part.end, end) for end in ends[:-1]]
        for split, (begin, end) in zip(SPLITS, pairwise([part.begin, *cuts, part.end]), strict=True):
            if data[begin:end].strip():
                splits[split].append(part._replace(begin=begin, end=end))
    documents = f"{len(parts)} documents are too few to split: each" if len(parts) > 1 else "one document"
    log.info("%s is cut, and its last parts are for validation and test", documents)
    return splits


def cut(data: Bytes, begin: int, end: int, share: float) -> int:
    """A place near that share of [begin, end) where a paragraph ends, or else a line, a word, a character."""
    place = begin + round(share * (end - begin))
    if place >= end:
        return end
    limit = min(end, place + max(200, (end - begin) // 100))
    for mark in (b"\n\n", b"\r\n\r\n", b"\n", b"\r\r", b"\r", b" "):
        if (match := data.find(mark, place, limit)) >= 0:
            return match + len(mark)
    return next(i for i in range(place, end) if data[i] & 0xC0 != 0x80)
