"""One's own time series, from CSV or Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seqtrain.config import UserError
from seqtrain.data import Layout, Series, frames


class OwnSeries:
    """A `Series` for each id of a table, or a single one, on a regular grid of dates.

    train: .csv or .parquet, also .gz. date, id: columns. targets: the columns to forecast, by default all that are not
    named otherwise. past, known: covariates known up to now, and ahead. frequency, date_format: see `Layout`. Splits
    are cut at the same dates for all series: after shares of the dates, or where `valid` and `test` begin.
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
    ):
        if (valid is None) != (test is None):
            raise UserError("data.valid and data.test: give both, or neither for a split by shares")
        names = [name for name in (train, valid, test) if name is not None]
        parts = [frames.read_file(Path(name).expanduser()) for name in names]
        others = {date, id, *past, *known}
        targets = targets or [name for name in parts[0].columns if name not in others]
        layout = Layout(tuple(targets), tuple(past), tuple(known), date, id, frequency, date_format)
        self.series = frames.to_series(parts, layout, train)
        begins = frames.begins(parts, names, layout) if valid else None
        self.borders = begins or frames.shares(self.series, valid_share, test_share)

    def read(self, split: str) -> list[Series]:
        return frames.split(self.series, self.borders, split)
