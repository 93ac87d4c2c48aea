"""Tables that name a file for each record: recordings, pictures of lines, strokes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from seqtrain.config import UserError, expanded, near_path
from seqtrain.config.spelling import did_you_mean
from seqtrain.data.kinds import SPLITS, Keyed
from seqtrain.reading.splits import Files, Records, Splits, digest, scan
from seqtrain.reading.tables import open_table

T = TypeVar("T")
SHOWN_PROBLEMS = 10


class Manifests(Splits[T]):
    """Records of tables, of which the first field is the path of a file, looked for beside the table.

    files: the tables. columns: of each field of a record.
    """

    record: ClassVar[Any]

    def __init__(self, files: Files, columns: dict[str, str | int]):
        settings = (self.kind, *columns.values(), files.format)
        given: dict[str, Records[T]] = {}
        for split in SPLITS:
            if (name := getattr(files, split)) is not None:
                chosen = {f"data.{field}": column for field, column in columns.items()}
                rows = open_table(name, f"data.{split}", chosen, files.format, files.encoding)
                folder = expanded(name).parent

                def make(path: str, text: str, folder: Path = folder) -> T:
                    return self.record(self.located(folder, path), text.strip())

                given[split] = scan(rows, make, " or ".join(columns), settings)
        super().__init__(given, settings, files.shares, files.seed)
        # What is made of files costs much, however few they are: all records have a key, by the content of their files.
        sums = {split: contents(records) for split, records in self.splits.items() if isinstance(records, Records)}
        self.splits = {split: Keyed(self.splits[split], digest(settings, sums[split])) for split in self.splits}

    def located(self, folder: Path, path: str) -> str:
        """Where a file that a table names is; some kinds of record also hold values in place of paths."""
        return str(folder / expanded(path))


def contents(records: Records[Any]) -> list[str]:
    """SHA-256 of the file and the fields of each record. All files that are missing are named, a line each."""
    sums, problems = [], []
    for i, record in enumerate(records):
        name, *fields = record
        try:
            with open(name, "rb") as file:
                sums.append(hashlib.file_digest(file, "sha256").hexdigest() + repr(fields))
        except OSError as error:
            where, hint = records.rows.place(int(records.indices[i])), did_you_mean(near_path(Path(name)))
            problems.append(f"{where}: {name}: {error.strerror}{hint if isinstance(error, FileNotFoundError) else ''}")
            if len(problems) == SHOWN_PROBLEMS:
                break
    if problems:
        raise UserError("\n".join(problems))
    return sums
