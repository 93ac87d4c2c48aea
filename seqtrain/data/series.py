"""One's own time series, from CSV or Parquet files."""

from __future__ import annotations

from collections.abc import Sequence

from seqtrain.config import UserError
from seqtrain.data import Layout, Series, frames
from seqtrain.data.files import check_encoding


class OwnSeries:
    """A `Series` for each id of a table, or a single one, on a regular grid of dates.

    train: a CSV or .parquet file, also gzipped. date, id: columns. targets: the columns to forecast, by default all
    that are not named otherwise. past, known: covariates known up to now, and ahead. frequency, date_format: see
    `Layout`. Splits are cut at the same dates for all series: after shares of the dates, or where `valid` and `test`
    begin. encoding: of a CSV file.
    """

    kind = "series"

    def __init__(
        self,
        train: str,
        valid: str | None,
        test: str | None,
        date: str,
        targets: Sequence[str],
        past: Sequence[str],
        known: Sequence[str],
        id: str | None,
        frequency: str | None,
        date_format: str | None,
        valid_share: float,
        test_share: float,
        encoding: str,
    ):
        if (valid is None) != (test is None):
            raise UserError("data.valid and data.test: give both, or neither for a split by shares")
        check_encoding(encoding)
        given = {"train": train, "valid": valid, "test": test}
        names = {f"data.{split}": name for split, name in given.items() if name is not None}
        parts = [frames.read_file(name, key, encoding) for key, name in names.items()]
        others = {date, id, *past, *known}
        targets = targets or [name for name in parts[0].columns if name not in others]
        layout = Layout(tuple(targets), tuple(past), tuple(known), date, id, frequency, date_format)
        self.series = frames.to_series(parts, layout, train)
        begins = frames.begins(parts, list(names.values()), layout) if valid else None
        self.borders = begins or frames.shares(self.series, valid_share, test_share)

    def read(self, split: str) -> list[Series]:
        return frames.split(self.series, self.borders, split)
