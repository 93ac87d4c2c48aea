"""Tables that name a file for each record: recordings, pictures of lines, strokes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

from seqtrain.config import UserError, expanded, near_path
from seqtrain.config.spelling import did_you_mean
from seqtrain.data.kinds import SPLITS, Keyed
from seqtrain.reading.splits import Files, Records, Splits, digest, scan
from seqtrain.reading.tables import open_table

T = TypeVar("T")
SHOWN_PROBLEMS = 10


class Manifests(Splits[T]):
    """Records of tables, of which the first field is the path of a file, looked for beside the table.

    files: the tables. columns: the column of each field of a record.
    """

    record: ClassVar[Any]

    def __init__(self, files: Files, columns: dict[str, str | int]):
        settings = (self.kind, *columns.values(), files.format)
        by_setting = {f"data.{field}": column for field, column in columns.items()}
        given: dict[str, Records[T]] = {}
        for split in SPLITS:
            if (name := getattr(files, split)) is not None:
                rows = open_table(name, f"data.{split}", by_setting, files.format, files.encoding)
                folder = expanded(name).parent

                def make(path: str, text: str, folder: Path = folder) -> T:  # the folder of this split
                    return self.record(self.located(folder, path), text.strip())

                given[split] = scan(rows, make, cells=" or ".join(columns), settings=settings)
        super().__init__(given, settings, files.shares, files.seed)
        # To read sounds or pictures costs much, however few there are: what is made of them is kept in the cache, under
        # the content of the files.
        self.splits = {
            split: Keyed(records, digest(settings, fingerprints(cast(Records[T], records))))
            for split, records in self.splits.items()
        }

    def located(self, folder: Path, path: str) -> str:
        """Where a file that a table names is; some kinds of record also hold values in place of paths."""
        return str(folder / expanded(path))


def fingerprints(records: Records[Any]) -> list[str]:
    """SHA-256 of the file, and behind it the other fields, of each record. Raises `UserError` with a line for each of
    the first files that cannot be read."""
    sums, problems = [], []
    for i, record in enumerate(records):
        path, *fields = record
        try:
            with open(path, "rb") as file:
                sums.append(hashlib.file_digest(file, "sha256").hexdigest() + repr(fields))
        except OSError as error:
            where, hint = records.rows.place(int(records.indices[i])), did_you_mean(near_path(Path(path)))
            problems.append(f"{where}: {path}: {error.strerror}{hint if isinstance(error, FileNotFoundError) else ''}")
            if len(problems) == SHOWN_PROBLEMS:
                break
    if problems:
        raise UserError("\n".join(problems))
    return sums
