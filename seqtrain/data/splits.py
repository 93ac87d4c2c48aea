"""Splits of the user's own data: given as files, or made by ratio so that no input is in two of them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

import numpy as np

from seqtrain.config import UserError
from seqtrain.data import SPLITS, check_split
from seqtrain.data.cache import remembered
from seqtrain.data.tables import Rows

log = logging.getLogger(__name__)
LARGE = 50_000  # rows
T = TypeVar("T")


def group(text: str) -> bytes:
    """Eight bytes that two inputs share if they differ at most in case and in the space around them."""
    return hashlib.blake2b(text.strip().casefold().encode(), digest_size=8).digest()


class Records(Sequence[T], Generic[T]):
    """Records made from rows when they are asked for. places: (N,) the rows; groups: (N,) uint64, see `group`.

    key: SHA-256 of all that they depend on, so that equal keys mean equal records. large: whether what is made of them
    is worth keeping in the cache.
    """

    key: str

    def __init__(self, rows: Rows, make: Callable[..., T], places: np.ndarray, groups: np.ndarray):
        self.rows, self.make, self.places, self.groups = rows, make, places, groups

    def __len__(self) -> int:
        return len(self.places)

    @property
    def large(self) -> bool:
        return len(self.places) >= LARGE

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice | np.ndarray) -> Records[T]: ...
    def __getitem__(self, index: Any) -> Any:
        """One record, or those of a slice, a mask or an array of indices, as lazy as these."""
        if isinstance(index, slice | np.ndarray):
            return Records(self.rows, self.make, self.places[index], self.groups[index])
        return self.make(*self.rows[int(self.places[index])])

    def __iter__(self) -> Iterator[T]:
        return (self.make(*self.rows[int(place)]) for place in self.places)


def scan(rows: Rows, make: Callable[..., T], what: str, how: tuple[object, ...]) -> Records[T]:
    """Reads every row once: the records of those without an empty cell. How many are left out is said in the log.

    what: the cells in words, "source or target". how: the settings, beside the content of the files, that a row depends
    on. Raises `UserError` where a row is broken, or all are left out.
    """

    def read() -> dict[str, np.ndarray]:
        full, groups = np.ones(len(rows), bool), bytearray()
        for i, cells in enumerate(rows):
            if all(cell and not cell.isspace() for cell in cells):
                groups += group(cells[0])
            else:
                full[i] = False
        return {"full": full, "groups": np.frombuffer(bytes(groups), np.uint64)}

    found = read() if len(rows) < LARGE else remembered(digest("scan", *rows.digests, *how), read)
    full, places = found["full"], np.flatnonzero(found["full"])
    if len(places) == 0:
        raise UserError(f"{rows.names[0]}: in every row the {what} is empty")
    if len(places) < len(rows):
        count, where = len(rows) - len(places), rows.place(int(full.argmin()))
        log.warning("left out: %s of %s rows with an empty %s (%s)", f"{count:,}", f"{len(rows):,}", what, where)
    return Records(rows, make, places, found["groups"])


def by_ratio(
    groups: np.ndarray, valid_share: float, test_share: float, seed: int, labels: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Rows (N,) of each split, in their order; all rows of a group go to one split.

    The shares are of the groups. A hash of the group and the seed decides, not the place in the file: a shuffled file
    has the same splits. With `labels` (N,), numbers, each label has its share in each split, and one group of each is
    always in training. So are groups that would make up more than a tenth of a split: scores should not hang on one.
    """
    names, first, which, counts = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    rank = mixed(names ^ np.random.default_rng(seed).integers(1 << 63, dtype=np.uint64))
    smallest = min(share for share in (valid_share, test_share, 1.0) if share)
    kept = counts > max(1.0, 0.1 * smallest * len(groups))
    order = np.argsort(rank)
    if labels is not None:
        ranked = np.lexsort((rank[which], labels))
        kept[which[ranked[np.flatnonzero(np.diff(labels[ranked], prepend=-1))]]] = True
        order = np.lexsort((rank, labels[first]))
    free, split = order[~kept[order]], np.zeros(len(names), np.int64)
    for number, share in ((2, test_share), (1, valid_share)):
        wanted = min(len(free), max(1, round(share * len(names)))) if share else 0
        chosen = evenly(wanted, len(free))
        split[free[chosen]] = number
        free = free[~chosen]
    return {name: np.flatnonzero(split[which] == number) for number, name in enumerate(SPLITS)}


def evenly(wanted: int, size: int) -> np.ndarray:
    """(size,) bool: that many places, evenly spaced."""
    return np.diff(np.arange(size + 1) * wanted // max(1, size)) > 0


def mixed(values: np.ndarray) -> np.ndarray:
    """(N,) uint64 scrambled, one to one (the finalizer of MurmurHash3, Appleby 2011)."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        values = (values ^ (values >> np.uint64(33))) * np.uint64(factor)
    return values ^ (values >> np.uint64(33))


class Splits(Generic[T]):
    """A source of the user's own files.

    given: the splits that have files; the others are parts of the training records, to which labels (N,) belong, see
    `by_ratio`. how: the settings, beside the content of the files, that a record depends on.
    """

    def __init__(
        self,
        given: dict[str, Records[T]],
        how: tuple[object, ...],
        valid_share: float,
        test_share: float,
        seed: int,
        labels: np.ndarray | None = None,
    ):
        missing = [split for split in SPLITS if split not in given]
        shares = {"valid": valid_share, "test": test_share}
        wanted = [shares[split] if split in missing else 0.0 for split in shares]
        self.splits = dict(given)
        if missing:
            check_shares(*wanted)
            train = given["train"]
            found = by_ratio(train.groups, wanted[0], wanted[1], seed, labels)
            if not all(len(found[split]) for split in ("train", *missing)):
                count, files = len(np.unique(train.groups)), " ".join(f"data.{split}=FILE" for split in missing)
                raise UserError(
                    f"{train.rows.names[0]}: {count:,} different inputs are too few to make splits of; "
                    f"give more, or {files}"
                )
            self.splits |= {split: train[found[split]] for split in ("train", *missing)}
        for split, records in self.splits.items():
            rows = given.get(split, given["train"]).rows
            made = (split, *wanted, seed) if missing and (split == "train" or split in missing) else ()
            records.key = digest(*rows.digests, *how, *made)

    def read(self, split: str) -> Records[T]:
        check_split(split)
        return self.splits[split]


def check_shares(valid_share: float, test_share: float) -> None:
    if valid_share + test_share >= 1:
        raise UserError(
            f"data.valid_share={valid_share} and data.test_share={test_share} leave nothing to train on: "
            "together they must stay below 1"
        )


def digest(*parts: object) -> str:
    """SHA-256 of settings and digests."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()
