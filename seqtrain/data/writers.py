"""What sets of digits that people wrote have in common: splits by writer, and strings of one writer's digits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np

from seqtrain.data.kinds import SPLITS, Ink, Keyed, Written, check_split
from seqtrain.reading.splits import digest

VALID = (7, 14, 21, 28)  # of the 30 writers that are not those of the test
GAP = (0.1, 0.5)  # between two digits, as a share of the height of the writer's digits


class Digit(NamedTuple):
    """A digit that someone wrote. writer: 1 to 30, or those of the test. strokes: as in `Ink`."""

    digit: int
    writer: int
    strokes: tuple[np.ndarray, ...]


class Writers:
    """Records of single digits, or of strings of them: digits of one writer, side by side, drawn at random. No writer
    stands in two splits."""

    kind = "strokes"
    record: ClassVar[Any] = Written

    def __init__(self, shortest: int, longest: int, size: int | None, seed: int):
        self.shortest, self.longest, self.size, self.seed = shortest, longest, size, seed

    def digits(self, test: bool) -> Iterable[Digit]:
        """Those of the writers of the test, or of all others."""
        raise NotImplementedError

    def read(self, split: str) -> Keyed:
        check_split(split)
        parts = {"train": False, "valid": True}
        found = [one for one in self.digits(split == "test") if parts.get(split) in (None, one.writer in VALID)]
        if self.size is None:
            records = [self.record(Ink(f"{split} {row}", one.strokes), str(one.digit)) for row, one in enumerate(found)]
        else:
            records = list(self.strings(found, self.size if split == "train" else self.size // 10, split))
        content = b"".join(stroke.tobytes() for record in records for stroke in record[0].strokes)
        return Keyed(records, digest(self.kind, [record.text for record in records], content))

    def strings(self, digits: list[Digit], size: int, split: str) -> Iterator[Any]:
        random, by_writer = np.random.default_rng([self.seed, SPLITS.index(split)]), dict[int, list[Digit]]()
        for one in digits:
            by_writer.setdefault(one.writer, []).append(one)
        heights = {
            writer: float(np.median([np.ptp(np.concatenate(one.strokes)[:, 1]) for one in some]))
            for writer, some in by_writer.items()
        }
        writers = list(by_writer)
        for row in range(size):
            writer = writers[row % len(writers)]
            count = random.integers(self.shortest, self.longest + 1)
            chosen = [by_writer[writer][place] for place in random.integers(len(by_writer[writer]), size=count)]
            right, strokes = 0.0, list[np.ndarray]()
            for one in chosen:
                points = np.concatenate(one.strokes)
                left = right + heights[writer] * random.uniform(*GAP) - points[:, 0].min()
                strokes += [stroke + np.array([left, 0]) for stroke in one.strokes]
                right = left + points[:, 0].max()
            yield self.record(Ink(f"{split} {row}", tuple(strokes)), "".join(str(one.digit) for one in chosen))
