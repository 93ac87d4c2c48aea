"""The user's own text, one document a file."""

from __future__ import annotations

import glob
import logging
import os
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple

from seqtrain.config import UserError
from seqtrain.data import SPLITS, check_split
from seqtrain.data.files import check_encoding, open_text, read_utf8
from seqtrain.data.splits import check_shares, digest

log = logging.getLogger(__name__)
LARGE = 10_000_000  # bytes
LONGEST = 64_000_000  # bytes of a document: longer ones are cut, so that none has to fit into memory
ENOUGH = 0.5  # share of its share that a split must get from whole documents


class Part(NamedTuple):
    """A document, or the part [begin, end) of the UTF-8 bytes of one. digest: SHA-256 of the file."""

    name: str
    begin: int
    end: int
    digest: str


class Documents(Sequence[str]):
    """Documents, read from their files when they are asked for. A line end is \\n, whatever it is in the file.

    key: SHA-256 of all that they depend on. large: whether what is made of them is worth keeping in the cache.
    """

    def __init__(self, parts: list[Part], encoding: str):
        self.parts, self.encoding = parts, encoding
        self.key = digest("text", *((part.digest, part.begin, part.end) for part in parts))
        self.large = sum(part.end - part.begin for part in parts) >= LARGE

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: Any) -> Any:
        """One document, or those of a slice, as lazy as these."""
        if isinstance(index, slice):
            return Documents(self.parts[index], self.encoding)
        name, begin, end, _ = self.parts[index]
        return read_utf8(name, name, self.encoding)[begin:end].decode().replace("\r\n", "\n")


class Text:
    """Documents (`str`) of files, folders or patterns.

    train, valid, test: where to look; None: a part of the training text, `valid_share` and `test_share` of its bytes,
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
            split: [part for file in find(place, f"data.{split}") for part in opened(file, f"data.{split}", encoding)]
            for split, place in places.items()
            if place is not None
        }
        missing = {"valid": valid_share * (valid is None), "test": test_share * (test is None)}
        if any(missing.values()):
            check_shares(missing["valid"], missing["test"])
            found = by_document(parts["train"], missing, seed) or by_position(parts["train"], missing, encoding)
            parts |= {split: found[split] for split in SPLITS if split == "train" or missing[split]}
        self.splits = {split: Documents(parts[split], encoding) for split in SPLITS}

    def read(self, split: str) -> Documents:
        check_split(split)
        return self.splits[split]


def opened(name: str, setting: str, encoding: str) -> list[Part]:
    """The document of a file, in several parts, as if they were documents, where it is longer than `LONGEST`."""
    file = open_text(name, setting, encoding)
    begin, end = file.begin, len(file.data)
    count = -(-(end - begin) // LONGEST)
    inner = (cut(file.data, begin, end, i / count) for i in range(1, count))
    return [Part(name, a, b, file.digest) for a, b in pairwise([begin, *inner, end])]


def find(places: str | list[str], setting: str) -> list[str]:
    """The files of one or several places, in the order of their paths; of a folder, those that end in .txt."""
    names: list[str] = []
    for place in [places] if isinstance(places, str) else places:
        path = os.path.expanduser(place)
        if os.path.isdir(path):
            found = glob.glob(os.path.join(glob.escape(path), "**", "*"), recursive=True)
            found = [name for name in found if name.endswith((".txt", ".txt.gz"))]
        elif os.path.exists(path) or not glob.has_magic(path):
            names.append(place)
            continue
        else:
            found = glob.glob(path, recursive=True)
        found = sorted(name for name in found if os.path.isfile(name))
        if not found:
            raise UserError(f"{setting}={place}: {nothing(path)}")
        full = [name for name in found if os.path.getsize(name)]
        if len(full) < len(found):
            log.warning("%s=%s: %d of %d files are empty; left out", setting, place, len(found) - len(full), len(found))
        names += full
    if not names:
        raise UserError(f"{setting}={places}: all files are empty")
    return names


def nothing(path: str) -> str:
    """What to say of a folder without text files, or a pattern without matches."""
    if not os.path.isdir(path):
        return "no file matches this pattern"
    inside = glob.glob(os.path.join(glob.escape(path), "**", "*.*"), recursive=True)
    endings = Counter(Path(name).suffix for name in inside if os.path.isfile(name))
    if not endings:
        return "no .txt file is in this folder"
    ending, count = endings.most_common(1)[0]
    return f"no .txt file is in this folder, but {count} {ending}: '{path.rstrip('/')}/**/*{ending}' would read them"


def by_document(parts: list[Part], shares: dict[str, float], seed: int) -> dict[str, list[Part]] | None:
    """Whole documents for each split, or None where they are too few to fill them."""
    total = sum(part.end - part.begin for part in parts)
    copies = Counter(part.digest for part in parts)
    sizes = {part.digest: (part.end - part.begin) * copies[part.digest] for part in parts}
    order = sorted(sizes, key=lambda name: digest(seed, name))
    room = {split: share * total for split, share in shares.items()}
    left = dict(room)
    split_of: dict[str, str] = {}
    for name in order:
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
    found: dict[str, list[Part]] = {split: [] for split in SPLITS}
    for part in parts:
        data = read_utf8(part.name, part.name, encoding)
        cuts = [cut(data, part.begin, part.end, end) for end in ends[:-1]]
        for split, (begin, end) in zip(SPLITS, pairwise([part.begin, *cuts, part.end]), strict=True):
            if data[begin:end].strip():
                found[split].append(part._replace(begin=begin, end=end))
    told = f"{len(parts)} documents are too few to split: each" if len(parts) > 1 else "one document"
    log.info("%s is cut, and its last parts are for validation and test", told)
    return found


def cut(data: Any, begin: int, end: int, share: float) -> int:
    """A place near that share of [begin, end) where a paragraph ends, or else a line, a word, a character."""
    place = begin + round(share * (end - begin))
    if place >= end:
        return end
    reach = place + max(200, (end - begin) // 100)
    for mark in (b"\n\n", b"\r\n\r\n", b"\n", b" "):
        if (found := data.find(mark, place, min(reach, end))) >= 0:
            return found + len(mark)
    return next(i for i in range(place, end) if data[i] & 0xC0 != 0x80)
