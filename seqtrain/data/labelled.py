"""The user's own texts with a label each."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from seqtrain.config import UserError
from seqtrain.config.spelling import did_you_mean, near
from seqtrain.data import Labelled
from seqtrain.data.files import check_encoding
from seqtrain.data.splits import Records, Splits, scan
from seqtrain.data.tables import open_table


def record(text: str, label: str) -> Labelled:
    return Labelled(text, label.strip())


class LabelledTexts(Splits[Labelled]):
    """`Labelled` texts of a table (CSV, TSV, JSON Lines), of any number of classes.

    train, valid, test: files; None: a part of the training file, `valid_share` and `test_share` of its different texts,
    label by label, chosen by `seed`; a text is in one split only. text, label: columns, see `open_table`. Labels are
    text without the space around it. Rows whose text or label is empty are left out.
    """

    kind = "labelled"

    def __init__(
        self,
        train: str,
        valid: str | None,
        test: str | None,
        text: str | int,
        label: str | int,
        format: str | None,
        encoding: str,
        valid_share: float,
        test_share: float,
        seed: int,
    ):
        check_encoding(encoding)
        columns = {"data.text": text, "data.label": label}
        how = ("labelled", text, label, format)

        def opened(name: str, setting: str) -> Records[Labelled]:
            return scan(open_table(name, setting, columns, format, encoding), record, "text or label", how)

        names = {"train": train, "valid": valid, "test": test}
        given = {split: opened(name, f"data.{split}") for split, name in names.items() if name is not None}
        ids: dict[str, int] = {}
        labels = np.fromiter((ids.setdefault(found.label, len(ids)) for found in given["train"]), np.int64)
        if len(ids) > max(20, len(labels) / 2):
            raise UserError(
                f"data.label={label}: {len(ids):,} different labels in {len(labels):,} rows of {train}; "
                "is it the column of the labels?"
            )
        for split in given.keys() - {"train"}:
            check_labels(given[split], ids)
        super().__init__(given, how, valid_share, test_share, seed, labels)


def check_labels(records: Records[Labelled], known: Collection[str]) -> None:
    """Raises `UserError` for a label that the training records lack: nothing could ever answer it."""
    for i, found in enumerate(records):
        if found.label not in known:
            hint = did_you_mean(near(found.label, known))
            place = records.rows.place(int(records.places[i]))
            raise UserError(f"{place}: the label {found.label!r} is not in the training file{hint}")
