"""The user's own texts, one a line, or one a row of a table."""

from __future__ import annotations

from seqtrain.data.kinds import Document
from seqtrain.reading.files import ending, open_text
from seqtrain.reading.shards import TABLES, Sharding, is_sharded
from seqtrain.reading.splits import Files, Splits
from seqtrain.reading.tables import Parallel, Rows, form_of, open_table

PLAIN = ".txt"


class Lines(Splits[Document]):
    """`Document`s, each a line of a plain text file, or a row of a table (CSV, TSV, JSON Lines, Parquet, Excel), or for
    training of shards, see `reading.shards`.

    Without files of their own, validation and test are `valid_share` and `test_share` of the different texts of the
    training file, chosen by `seed`; a text is in one split only. Empty lines are left out.
    """

    kind = "text"

    def __init__(self, files: Files, text: str | int, sharding: Sharding):
        columns, settings = {"data.text": text}, ("lines", text, files.format)

        def rows(name: str | list[str], setting: str) -> Rows:
            if setting == "data.train" and is_sharded(name, (PLAIN, *TABLES)):
                return sharding.open(files, columns, (PLAIN, *TABLES))
            name = name if isinstance(name, str) else name[0]
            if form_of(name, files.format) is None and ending(name) == PLAIN:
                return Parallel([open_text(name, setting, files.encoding)])
            return open_table(name, setting, columns, files.format, files.encoding)

        super().__init__(files.scan(rows, Document, "text", settings), settings, files.shares, files.seed)
