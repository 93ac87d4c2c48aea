"""The user's own recordings."""

from __future__ import annotations

from seqtrain.data.kinds import Recording
from seqtrain.reading.manifests import Manifests
from seqtrain.reading.shards import Sharding
from seqtrain.reading.splits import Files


class Recordings(Manifests[Recording]):
    """`Recording`s of a table (CSV, TSV, JSON Lines, Parquet, Excel) that names a file of each, and its text.

    Paths are looked for beside the table. Without tables of their own, validation and test are `valid_share` and
    `test_share` of the different files in the training table, chosen by `seed`.
    """

    kind = "recordings"
    record = Recording

    def __init__(self, files: Files, sound: str | int, text: str | int, sharding: Sharding):
        super().__init__(files, {"sound": sound, "text": text}, sharding)
