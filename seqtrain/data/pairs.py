"""The user's own parallel text."""

from __future__ import annotations

import os

from seqtrain.config import UserError, expanded
from seqtrain.config.quoting import typed
from seqtrain.data.kinds import Pair
from seqtrain.reading.files import ending, open_text
from seqtrain.reading.shards import Sharding, is_sharded
from seqtrain.reading.splits import Files, Splits
from seqtrain.reading.tables import Columns, Folders, Parallel, Rows, form_of, open_table


class Pairs(Splits[Pair]):
    """`Pair`s of a table (CSV, TSV, JSON Lines, Parquet, Excel), of two plain text files, line by line, or of two
    folders whose files of the same name belong together; or for training of shards, see `reading.shards`.

    Of two files or folders the first is the source. Without files of their own, validation and test are `valid_share`
    and `test_share` of the different sources of the training file, chosen by `seed`; a source is in one split only.
    Columns are found by `open_table`. Rows whose source or target is empty are left out.
    """

    kind = "pairs"

    def __init__(self, files: Files, source: str | int, target: str | int, sharding: Sharding):
        columns, settings = {"data.source": source, "data.target": target}, ("pairs", source, target, files.format)

        def rows(names: str | list[str], setting: str) -> Rows:
            if setting == "data.train" and names_shards(names):
                return sharding.open(files, columns)
            return open_pairs(names, setting, columns, files.format, files.encoding)

        given = files.scan(rows, Pair, "source or target", settings)
        super().__init__(given, settings, files.shares, files.seed)


def names_shards(names: str | list[str]) -> bool:
    """Whether these are shards; two folders of texts are not."""
    folders = isinstance(names, list) and len(names) == 2 and all(os.path.isdir(expanded(name)) for name in names)
    return is_sharded(names) and not folders


def open_pairs(names: str | list[str], setting: str, columns: Columns, form: str | None, encoding: str) -> Rows:
    if isinstance(names, list) and len(names) == 2:
        if all(os.path.isdir(expanded(name)) for name in names):
            return Folders(names, setting, encoding)
        return Parallel([open_text(name, setting, encoding) for name in names])
    name = names if isinstance(names, str) else names[0] if len(names) == 1 else None
    if name is None:
        raise UserError(
            f"{setting}: expected one table, or two plain text files or folders, and found {len(names)} files"
        )
    if form_of(name, form) is None and os.path.isfile(expanded(name)):
        raise UserError(
            f"{setting}={name}: {ending(name)!r} names no form of table: data.format=csv, tsv or jsonl does; "
            f"for two plain text files, line by line: {typed(setting, [name, 'OTHER'])}"
        )
    return open_table(name, setting, columns, form, encoding)
