"""One's own time series, from CSV or Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seqtrain.config import UserError
from seqtrain.data import Layout, Series, tables


class OwnSeries:
    """A `Series` for each id of a table, or a single one, on a regular grid of dates.

    file: .csv or .parquet, also .gz. date, id: columns. targets: the columns to forecast, by default all that are not
    named otherwise. past, known: covariates known up to now, and ahead. frequency, date_format: see `Layout`. Splits
    are cut at the same dates for all series: after shares of the dates, or where `valid_file` and `test_file` begin.
    """

    kind = "series"

    def __init__(
        self,
        file: str | None,
        valid_file: str | None,
        test_file: str | None,
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
        if file is None:
            raise UserError("data.file: name the table of your series, CSV or Parquet: data.file=FILE")
        if (valid_file is None) != (test_file is None):
            raise UserError("data.valid_file and data.test_file: give both, or neither for a split by shares")
        names = [name for name in (file, valid_file, test_file) if name is not None]
        parts = [tables.read_file(Path(name).expanduser()) for name in names]
        others = {date, id, *past, *known}
        targets = targets or [name for name in parts[0].columns if name not in others]
        layout = Layout(tuple(targets), tuple(past), tuple(known), date, id, frequency, date_format)
        self.series = tables.to_series(parts, layout, file)
        begins = tables.begins(parts, names, layout) if valid_file else None
        self.borders = begins or tables.shares(self.series, valid_share, test_share)

    def read(self, split: str) -> list[Series]:
        return tables.split(self.series, self.borders, split)
