"""The user's own time series, from tables in files."""

from __future__ import annotations

from collections.abc import Sequence

from seqtrain.config import UserError
from seqtrain.data.kinds import Layout, Reading
from seqtrain.reading.files import check_encoding
from seqtrain.reading.frequency import check_frequency
from seqtrain.reading.splits import TimeSplits, borders_by_share
from seqtrain.reading.tables import open_table
from seqtrain.reading.time_tables import first_dates, to_series, with_static
from seqtrain.reading.timestamps import check_zone


class OwnSeries(TimeSplits):
    """A `Series` for each id of a table, or a single one, on a regular grid of dates. Splits are cut at the same dates
    for all series: after shares of the dates, or where the tables `valid` and `test` begin."""

    def __init__(
        self,
        train: str,
        valid: str | None,
        test: str | None,
        date: str,
        targets: Sequence[str],
        past: Sequence[str],
        known: Sequence[str],
        static: Sequence[str],
        id: str | None,
        frequency: str | None,
        date_format: str | None,
        valid_share: float,
        test_share: float,
        encoding: str,
        timezone: str | None,
        decimal: str,
        thousands: str | None,
        every: str | None,
        aggregate: str,
    ):
        if (valid is None) != (test is None):
            raise UserError("data.valid and data.test: give both, or neither for a split by shares")
        check_encoding(encoding)
        check_reading(frequency, timezone, decimal, thousands, every)
        reading = Reading(timezone, decimal, thousands, every, aggregate)
        if static and id is None:
            raise UserError("data.static: what stays the same tells series apart; data.id=COLUMN names their column")
        layout = Layout(
            tuple(targets), tuple(past), tuple(known), date, id, frequency, date_format, reading, tuple(static)
        )
        names = {"train": train} if valid is None or test is None else {"train": train, "valid": valid, "test": test}
        parts = [open_table(name, f"data.{split}", {}, None, encoding).frame() for split, name in names.items()]
        others = [*layout.columns(), *static]
        layout = layout._replace(targets=layout.targets or tuple(n for n in parts[0].columns if n not in others))
        series = with_static(to_series(parts, layout, train), parts, train)
        borders = first_dates(parts, [*names.values()], series[0].layout) if valid else None
        super().__init__(series, borders or borders_by_share(series, valid_share, test_share))


def check_reading(
    frequency: str | None, timezone: str | None, decimal: str, thousands: str | None, every: str | None
) -> None:
    """Raises `UserError` for settings that contradict each other, or name an unknown step or zone."""
    if decimal == thousands:
        raise UserError(f"data.decimal={decimal} and data.thousands={thousands}: these marks have to differ")
    if every and frequency:
        raise UserError(f"data.every={every} gives the step already; leave data.frequency={frequency} out")
    for name, step in {"frequency": frequency, "every": every}.items():
        if step:
            check_frequency(step, f"data.{name}")
    if timezone:
        check_zone(timezone)
