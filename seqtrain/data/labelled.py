"""The user's own texts with a label each."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from seqtrain.config import UserError, in_brief
from seqtrain.config.spelling import did_you_mean, near
from seqtrain.data.kinds import Labelled
from seqtrain.reading.shards import Sharding, are_shards
from seqtrain.reading.splits import Files, Records, Splits
from seqtrain.reading.tables import Rows, open_table


class LabelledTexts(Splits[Labelled]):
    """`Labelled` texts of a table (CSV, TSV, JSON Lines, Parquet, Excel), of any number of classes; for training also
    of shards, see `reading.shards`.

    Without files of their own, validation and test are `valid_share` and `test_share` of the different texts of the
    training file, label by label, chosen by `seed`; a text is in one split only. Columns are found by `open_table`.
    Labels are text without the space around it. Rows whose text or label is empty are left out.
    """

    kind = "labelled"

    def __init__(self, files: Files, text: str | int, label: str | int, sharding: Sharding):
        columns, settings = {"data.text": text, "data.label": label}, ("labelled", text, label, files.format)

        def rows(name: Any, setting: str) -> Rows:
            if setting == "data.train" and are_shards(name):
                return sharding.open(files, columns)
            return open_table(name, setting, columns, files.format, files.encoding)

        given = files.scan(rows, record, "text or label", settings)
        ids: dict[str, int] = {}
        labels = np.fromiter((ids.setdefault(text.label, len(ids)) for text in given["train"]), np.int64)
        if len(ids) > max(20, len(labels) / 2):
            raise UserError(
                f"data.label={label}: {len(ids):,} different labels in {len(labels):,} rows of {files.train}; "
                "is it the column of the labels?"
            )
        for split in given.keys() - {"train"}:
            check_labels(given[split], ids)
        super().__init__(given, settings, files.shares, files.seed, labels)


def record(text: str, label: str) -> Labelled:
    return Labelled(text, label.strip())


def check_labels(records: Records[Labelled], known: Collection[str]) -> None:
    """Raises `UserError` for a label that is not in the training records: no model could predict it."""
    for i, (_, label) in enumerate(records):
        if label not in known:
            hint, place = did_you_mean(near(label, known)), records.rows.place(int(records.indices[i]))
            raise UserError(f"{place}: the label {in_brief(label)!r} is not in the training file{hint}")
