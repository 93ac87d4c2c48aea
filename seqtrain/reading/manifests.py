"""Tables that name a file for each record: recordings, pictures of lines, strokes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

from seqtrain.config import UserError, expanded, near_path
from seqtrain.config.spelling import did_you_mean
from seqtrain.data.kinds import SPLITS, Keyed
from seqtrain.reading.archives import TAR
from seqtrain.reading.files import ending, hash_of
from seqtrain.reading.samples import Samples
from seqtrain.reading.shards import Head, Sharding, are_shards
from seqtrain.reading.splits import Files, Records, Splits, digest, scan
from seqtrain.reading.tables import Columns, Rows, open_table

T = TypeVar("T")
SHOWN_PROBLEMS = 10


class Manifests(Splits[T]):
    """Records of tables, of which the first field is the path of a file, looked for beside the table; or of tar
    archives of such files and their texts, see `reading.samples`, for training also of many: see `reading.shards`.

    columns: the column of each field of a record.
    """

    record: ClassVar[Any]

    def __init__(self, files: Files, columns: dict[str, str | int], sharding: Sharding):
        settings = (self.kind, *columns.values(), files.format)
        by_setting = {f"data.{field}": column for field, column in columns.items()}
        given: dict[str, Records[T]] = {}
        for split in SPLITS:
            if (name := getattr(files, split)) is None:
                continue
            rows, folder = open_manifest(name, f"data.{split}", by_setting, files, sharding)

            def make(path: str, text: str, folder: Path = folder) -> T:  # the folder of this split
                return self.record(self.located(folder, path), text.strip())

            given[split] = scan(rows, make, cells=" or ".join(columns), settings=settings)
        super().__init__(given, settings, files.shares, files.seed)
        self.splits = {split: kept(settings, cast(Records[T], some)) for split, some in self.splits.items()}

    def located(self, folder: Path, path: str) -> str:
        """Where a file that a table names is; some kinds of record also hold values in place of paths."""
        return str(folder / expanded(path))


def open_manifest(name: Any, setting: str, columns: Columns, files: Files, sharding: Sharding) -> tuple[Rows, Path]:
    """The rows of a split, and the folder of the files that they name."""
    if setting == "data.train" and are_shards(name, (TAR,)):
        return sharding.open(files, columns, (TAR,)), Path()
    if ending(name) == TAR:
        return Samples(name, setting, columns), Path()
    return open_table(name, setting, columns, files.format, files.encoding), expanded(name).parent


def names_archives(train: Any) -> bool:
    """Whether data.train names a tar archive, or shards."""
    return are_shards(train, (TAR,)) or ending(train) == TAR


def kept(settings: tuple[object, ...], records: Records[T]) -> Sequence[T]:
    """Records of which what is made is kept in the cache, under the content of the files: to read sounds or pictures
    costs much, however few there are. Those of shards are left as they are."""
    if isinstance(records.rows, Head):
        return records
    if isinstance(records.rows, Samples):
        return Keyed(records, records.key)
    return Keyed(records, digest(settings, fingerprints(records)))


def fingerprints(records: Records[Any]) -> list[str]:
    """SHA-256 of the file, and behind it the other fields, of each record. Raises `UserError` with a line for each of
    the first files that cannot be read."""
    sums, problems = [], []
    for i, record in enumerate(records):
        path, *fields = record
        try:
            sums.append(hash_of(Path(path)) + repr(fields))
        except OSError as error:
            where, hint = records.rows.place(int(records.indices[i])), did_you_mean(near_path(Path(path)))
            problems.append(f"{where}: {path}: {error.strerror}{hint if isinstance(error, FileNotFoundError) else ''}")
            if len(problems) == SHOWN_PROBLEMS:
                break
    if problems:
        raise UserError("\n".join(problems))
    return sums
