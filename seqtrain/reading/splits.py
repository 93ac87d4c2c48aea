"""Splits of the user's data: read from a file each, drawn by ratio so that no two share an input, or cut by time."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

import numpy as np

from seqtrain.config import UserError
from seqtrain.data.kinds import SPLITS, Series, Source, check_split
from seqtrain.reading.files import check_encoding
from seqtrain.reading.hub import fetched, is_hub
from seqtrain.reading.tables import Rows
from seqtrain.storage.cache import cached_arrays

log = logging.getLogger(__name__)
LARGE = 50_000  # rows from which on it is worth keeping in the cache what is made of them
T = TypeVar("T")


def group_hash(text: str) -> bytes:
    """Returns a hash of 8 bytes that ignores case and the space around a text: equal for inputs that count as one."""
    return hashlib.blake2b(text.strip().casefold().encode(), digest_size=8).digest()


def is_full(cells: Sequence[str]) -> bool:
    """Whether no cell of a row is empty."""
    return all(cell and not cell.isspace() for cell in cells)


class Records(Sequence[T], Generic[T]):
    """Records made from rows of a file each time they are read.

    make: makes a record from the cells of a row. indices: (N,) the rows. groups: (N,) uint64, see `group_hash`. key:
    the SHA-256 of the content and the settings, so that equal keys mean equal records. large: whether what is made of
    them is worth keeping in the cache.
    """

    key: str

    def __init__(self, rows: Rows, make: Callable[..., T], indices: np.ndarray, groups: np.ndarray):
        self.rows, self.make, self.indices, self.groups = rows, make, indices, groups

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def large(self) -> bool:
        return len(self.indices) >= LARGE

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice | np.ndarray) -> Records[T]: ...
    def __getitem__(self, index: Any) -> Any:
        """Returns one record, or `Records` for a slice, a mask or an array of indices."""
        if isinstance(index, slice | np.ndarray):
            return Records(self.rows, self.make, self.indices[index], self.groups[index])
        return self.make(*self.rows[int(self.indices[index])])

    def __iter__(self) -> Iterator[T]:
        return (self.make(*self.rows[int(i)]) for i in self.indices)


def scan(rows: Rows, make: Callable[..., T], cells: str, settings: tuple[object, ...]) -> Records[T]:
    """Reads every row once, and returns the records of the rows without an empty cell. Logs how many are left out.

    cells: what messages call the cells, such as "source or target". settings: what a record depends on beside the
    content of the files. Raises `UserError` where a row is broken or all rows are left out.
    """

    def read() -> dict[str, np.ndarray]:
        full = np.ones(len(rows), bool)
        groups = bytearray()  # of the full rows: 8 bytes each, which take less memory than Python objects
        for i, texts in enumerate(rows):
            if is_full(texts):
                groups += group_hash(texts[0])
            else:
                full[i] = False
        return {"full": full, "groups": np.frombuffer(bytes(groups), np.uint64)}

    scanned = read() if len(rows) < LARGE else cached_arrays(digest("scan", *rows.digests, *settings), read)
    full = scanned["full"]
    indices = np.flatnonzero(full)
    if len(indices) == 0:
        raise UserError(f"{rows.names[0]}: in every row the {cells} is empty")
    if len(indices) < len(rows):
        count, where = len(rows) - len(indices), rows.place(int(full.argmin()))
        log.warning("left out: %s of %s rows with an empty %s (%s)", f"{count:,}", f"{len(rows):,}", cells, where)
    return Records(rows, make, indices, scanned["groups"])


@dataclass(frozen=True)
class Files:
    """The user's own files. train, valid, test: their names, or lists of those that are read side by side; None: a part
    of train. format, encoding: see `open_table`. valid_share, test_share, seed: see `by_ratio`."""

    train: Any
    valid: Any
    test: Any
    format: str | None
    encoding: str
    valid_share: float
    test_share: float
    seed: int

    def __post_init__(self) -> None:
        check_encoding(self.encoding)
        if isinstance(self.train, list) and len(self.train) == 1:
            object.__setattr__(self, "train", self.train[0])

    @property
    def shares(self) -> dict[str, float]:
        return {"valid": self.valid_share, "test": self.test_share}

    def scan(
        self, rows: Callable[[Any, str], Rows], make: Callable[..., T], cells: str, settings: tuple[object, ...]
    ) -> dict[str, Records[T]]:
        """The records of the splits that have files. rows: of a file and the setting that names it. The others: see
        `scan`."""
        named = {split: name for split in SPLITS if (name := getattr(self, split)) is not None}
        return {
            split: scan(rows(local(name, split), f"data.{split}"), make, cells, settings)
            for split, name in named.items()
        }


def local(name: Any, split: str) -> Any:
    """The name of a split's file, fetched where it is one of the hub; that of training is streamed, in shards."""
    return fetched(name, f"data.{split}") if split != "train" and isinstance(name, str) and is_hub(name) else name


class Splits(Source[T]):
    """A source of files of the user.

    given: the splits that have a file; the others are taken out of the training records, see `by_ratio`. settings: what
    a record depends on beside the content of the files. shares: of validation and test, {"valid": 0.1, "test": 0.1}.
    labels: (N,) of the training records.
    """

    def __init__(
        self,
        given: dict[str, Records[T]],
        settings: tuple[object, ...],
        shares: dict[str, float],
        seed: int,
        labels: np.ndarray | None = None,
    ):
        missing = [split for split in SPLITS if split not in given]
        shares = {split: share if split in missing else 0.0 for split, share in shares.items()}
        splits = dict(given)
        train = given["train"]
        if missing:
            check_shares(**shares)
            rows = by_ratio(train.groups, **shares, seed=seed, labels=labels)
            if not all(len(rows[split]) for split in ("train", *missing)):
                count, files = len(np.unique(train.groups)), " ".join(f"data.{split}=FILE" for split in missing)
                raise UserError(
                    f"{train.rows.names[0]}: {count:,} different inputs are too few to make splits of; "
                    f"give more, or {files}"
                )
            splits |= {split: train[rows[split]] for split in ("train", *missing)}
        for split, records in splits.items():
            drawn = missing and split in ("train", *missing)
            draw = (split, *shares.values(), seed) if drawn else ()
            records.key = digest(*given.get(split, train).rows.digests, *settings, *draw)
        self.splits = splits


def by_ratio(
    groups: np.ndarray, valid: float, test: float, seed: int, labels: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Draws the rows of each split, each as an ordered array of indices. All rows of a group go to the same split.

    groups: (N,) uint64, see `group_hash`. valid, test: the shares of the groups. labels: (N,) numbers of classes.

    A hash of the group and the seed decides, not the position in the file: a shuffled file has the same splits. With
    labels the draw is stratified, and one group of each label is always in training. So is a group that would make up
    more than a tenth of a split: scores should not depend on a single input.
    """
    names, first_row, group_of_row, counts = np.unique(
        groups, return_index=True, return_inverse=True, return_counts=True
    )
    rank = scramble(names ^ np.random.default_rng(seed).integers(1 << 63, dtype=np.uint64))  # (groups,) random order
    smallest = min(share for share in (valid, test, 1.0) if share)
    in_training = counts > max(1.0, 0.1 * smallest * len(groups))
    order = np.argsort(rank)
    if labels is not None:
        rows = np.lexsort((rank[group_of_row], labels))
        first_of_label = rows[np.flatnonzero(np.diff(labels[rows], prepend=-1))]
        in_training[group_of_row[first_of_label]] = True
        order = np.lexsort((rank, labels[first_row]))
    candidates = order[~in_training[order]]
    split = np.zeros(len(names), np.int64)  # (groups,) the index of its split: 0 is training
    for number, share in ((2, test), (1, valid)):
        size = min(len(candidates), max(1, round(share * len(names)))) if share else 0
        # Evenly spaced, so that every label gets its share.
        chosen = np.diff(np.arange(len(candidates) + 1) * size // max(1, len(candidates))) > 0
        split[candidates[chosen]] = number
        candidates = candidates[~chosen]
    return {name: np.flatnonzero(split[group_of_row] == number) for number, name in enumerate(SPLITS)}


def scramble(values: np.ndarray) -> np.ndarray:
    """Maps each uint64 to another one that looks random, one to one (the finalizer of MurmurHash3, Appleby 2011)."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        values = (values ^ (values >> np.uint64(33))) * np.uint64(factor)
    return values ^ (values >> np.uint64(33))


class TimeSplits:
    """A source of time series that are all cut at the same dates. borders: the first dates of validation and test."""

    kind = "series"

    def __init__(self, series: Sequence[Series], borders: Sequence[np.datetime64]):
        self.series, self.borders = series, borders

    def read(self, split: str) -> list[Series]:
        """Returns the part of each series whose targets belong to a split, with all rows before it as context."""
        check_split(split)
        number = SPLITS.index(split)
        parts = []
        for series in self.series:
            rows = np.searchsorted(series.times, np.array(self.borders, series.times.dtype)).tolist()
            begin, end = [0, *rows, len(series.times)][number : number + 2]
            if begin < end:
                parts.append(series.cut(begin, end))
        return parts


def borders_by_share(series: Sequence[Series], valid: float, test: float) -> list[np.datetime64]:
    """Returns the first dates of validation and test. valid, test: their shares of all dates; a split has one date at
    least."""
    check_shares(valid, test)
    times = np.unique(np.concatenate([each.times for each in series]))
    return [times[-max(round(len(times) * share), 1)] for share in (valid + test, test)]


def check_shares(valid: float, test: float) -> None:
    """Raises `UserError` where validation and test would take all of the data."""
    if valid + test >= 1:
        raise UserError(
            f"data.valid_share={valid} and data.test_share={test} leave nothing to train on: "
            "together they must stay below 1"
        )


def digest(*parts: object) -> str:
    """Returns the SHA-256 of settings and of other digests."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()
