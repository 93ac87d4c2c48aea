"""Cross-validation: the records of all splits, dealt into folds."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from seqtrain.config import UserError
from seqtrain.data.kinds import SPLITS, Source, check_split
from seqtrain.reading.splits import by_ratio, group_hash, scramble

log = logging.getLogger(__name__)
VALID = 0.1  # share of validation in what is not the test


def check_kind(folds: int, kind: str) -> None:
    """Raises `UserError` for data that cannot be dealt out."""
    if kind == "series":
        raise UserError(f"data.folds={folds} mixes records, and time series have an order to be kept; leave it out")


class Folds:
    """A source for one fold of a cross-validation (Stone 1974): it is the test, a tenth of the other records is for
    validation, the rest for training. The records of all splits of `source` are dealt by `seed` into `folds` of like
    sizes: equal inputs into the same one, and each label into all. A label of a single input is always trained on.

    fold: from 1 on.
    """

    def __init__(self, source: Source[Any], folds: int, fold: int, seed: int):
        records = [record for split in SPLITS for record in source.read(split)]
        labels, groups = labels_of(records), groups_of(records)
        dealt = deal(groups, folds, seed, labels)
        if not all((dealt == number).any() for number in range(folds)):
            raise UserError(
                f"data.folds={folds}: {len(np.unique(groups)):,} different inputs are too few for so many folds"
            )
        test = dealt == fold - 1
        rest = np.flatnonzero(~test)
        drawn = by_ratio(groups[rest], VALID, 0.0, seed, None if labels is None else labels[rest])
        rows = {"train": rest[drawn["train"]], "valid": rest[drawn["valid"]], "test": np.flatnonzero(test)}
        self.splits = {split: [records[row] for row in some] for split, some in rows.items()}

    def read(self, split: str) -> list[Any]:
        check_split(split)
        return self.splits[split]


def labels_of(records: Sequence[Any]) -> np.ndarray | None:
    """(N,) a number for the label of each record; None where its last field is no label: a text that occurs again."""
    ids: dict[Any, int] = {}
    if not all(isinstance(record[-1], str) for record in records):
        return None
    labels = np.array([ids.setdefault(record[-1], len(ids)) for record in records])
    return labels if len(ids) <= max(20, len(records) / 10) else None


def groups_of(records: Sequence[Any]) -> np.ndarray:
    """(N,) uint64, equal for texts that count as one; of other inputs each is by itself."""
    hashes = [
        group_hash(record[0]) if isinstance(record[0], str) else row.to_bytes(8, "big")
        for row, record in enumerate(records)
    ]
    return np.frombuffer(b"".join(hashes), np.uint64)


def deal(groups: np.ndarray, folds: int, seed: int, labels: np.ndarray | None) -> np.ndarray:
    """(N,) the fold of each record, from 0 on; -1: always in training."""
    names, first, group_of_row = np.unique(groups, return_index=True, return_inverse=True)
    rank = scramble(names ^ np.random.default_rng(seed).integers(1 << 63, dtype=np.uint64))
    order, fold = np.argsort(rank), np.empty(len(names), np.int64)
    if labels is not None:
        order = np.lexsort((rank, labels[first]))
    fold[order] = np.arange(len(names)) % folds
    if labels is not None:
        alone = np.bincount(labels[first])[labels[first]] == 1
        fold[alone] = -1
        if alone.any():
            log.warning("%d label(s) have one input only, which is in the training of every fold", alone.sum())
    return fold[group_of_row]
