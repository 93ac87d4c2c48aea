"""The user's own recordings."""

from __future__ import annotations

from seqtrain.data.kinds import Recording
from seqtrain.reading.manifests import Manifests


class Recordings(Manifests[Recording]):
    """`Recording`s of a table (CSV, TSV, JSON Lines, Parquet, Excel) that names a file of each, and its text.

    Paths are looked for beside the table. Without tables of their own, validation and test are `valid_share` and
    `test_share` of the different files in the training table, chosen by `seed`.
    """

    kind = "recordings"
    record = Recording

    def __init__(
        self,
        train: str,
        valid: str | None,
        test: str | None,
        sound: str | int,
        text: str | int,
        format: str | None,
        encoding: str,
        valid_share: float,
        test_share: float,
        seed: int,
    ):
        tables, columns = {"train": train, "valid": valid, "test": test}, {"sound": sound, "text": text}
        super().__init__(tables, columns, format, encoding, {"valid": valid_share, "test": test_share}, seed)
