"""Turns tables of time series into `Series` on a regular grid of dates, and logs whatever it changes."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from numbers import Number

import numpy as np

from seqtrain.config import UserError
from seqtrain.config.spelling import did_you_mean, near
from seqtrain.data.kinds import MARKS, Layout, Reading, Series
from seqtrain.reading.frequency import check_size, find_frequency, grid, in_words
from seqtrain.reading.sheets import DataFrame
from seqtrain.reading.timestamps import MISSING, Column, DatetimeIndex, plain_form, read, to_regular_clock, write

log = logging.getLogger(__name__)
CURES = {  # {how a number is written in some languages: the settings that read it}
    r"[+-]?\d{1,3}(\.\d{3})+,\d*": "data.decimal=comma data.thousands=point",
    r"[+-]?\d{1,3}(\s\d{3})+,\d*": "data.decimal=comma data.thousands=space",
    r"[+-]?\d{1,3}(\s\d{3})+(\.\d*)?": "data.thousands=space",
    r"[+-]?\d{1,3}(['’]\d{3})+(\.\d*)?": "data.thousands=apostrophe",
    r"[+-]?\d{1,3}(,\d{3})+\.\d*|[+-]?\d{1,3}(,\d{3}){2,}": "data.thousands=comma",
    r"[+-]?\d{1,3},\d{3}": "data.decimal=comma, or data.thousands=comma,",
    r"[+-]?\d+,\d*": "data.decimal=comma",
}
MAX_LOGGED = 5  # series whose gaps are logged one by one


def to_series(parts: Sequence[DataFrame], layout: Layout, where: str) -> list[Series]:
    """Returns one series for each id in one or more tables.

    Each series has every date from its first to its last one, at the frequency to which the rows are resampled
    (`reading.every`), that of the layout or, without both, that of the dates. Rows out of order are sorted, rows
    without an id are left out, and dates without a row become rows of NaN; all this is logged. Raises `UserError` for
    missing columns, cells that are not numbers, repeated dates unless they are resampled, and dates between the steps.
    where: the file, for messages.
    """
    import pandas as pd

    table, ids = with_ids(parts, layout, where)
    reading = layout.reading
    numbers = pd.DataFrame({name: to_numbers(table[name], reading, where) for name in layout.numbers()})
    as_written: Column = table[layout.date].astype(str).str.strip()
    times, layout = to_regular_clock(read(table[layout.date], layout.date_format), ids, layout, where)
    if not reading.every:
        check_repeated(times, as_written, ids)
    rows = {str(name): index for name, index in ids.groupby(ids, sort=False).indices.items()}
    if not all(times.iloc[index].is_monotonic_increasing for index in rows.values()):
        log.warning("%s: the rows were not in the order of their dates; they were sorted", where)
        rows = {name: index[np.argsort(times.to_numpy()[index], kind="stable")] for name, index in rows.items()}
    dates = {name: times.iloc[index] for name, index in rows.items()}
    values = {name: numbers.iloc[index].set_axis(dates[name]) for name, index in rows.items()}
    if reading.every:
        values = {name: resampled(group, reading) for name, group in values.items()}
        dates = {name: group.index.to_series() for name, group in values.items()}
    frequency = reading.every or layout.frequency
    if frequency is None:
        frequency = find_frequency(list(dates.values()), layout.date_format, where)
        log.info("%s: one row every %s", where, in_words(frequency))
    layout = layout._replace(frequency=frequency)
    grids = {name: grid(group, frequency, as_written.iloc[rows[name]]) for name, group in dates.items()}
    warn_of_gaps(dates, grids, layout, where)
    series = []
    for name, group in values.items():
        group = group.reindex(grids[name])
        targets, past, known = (
            group[[*names]].to_numpy(float) for names in (layout.targets, layout.past, layout.known)
        )
        shown = name or layout.targets[0]  # without a column of ids
        series.append(Series(shown, seconds(grids[name]), targets, begin=0, layout=layout, past=past, known=known))
    return series


def with_ids(parts: Sequence[DataFrame], layout: Layout, where: str) -> tuple[DataFrame, Column]:
    """Joins the tables; returns the rows that have an id, and the id of each. Without a column of ids all are ""."""
    import pandas as pd

    for part in parts:
        check_columns(part, layout.columns(), where)
    table = pd.concat(parts)
    if layout.id is None:
        return table, pd.Series("", table.index)
    ids: Column = table[layout.id]
    if pd.api.types.is_float_dtype(ids) and (ids.dropna() % 1 == 0).all():  # whole numbers, some of them missing
        ids = ids.astype("Int64")
    names = ids.astype(str).str.strip().where(ids.notna(), "")
    if not names.any():
        raise UserError(f"{where}: in every row {layout.id} is empty, which tells the series apart")
    if not names.all():
        count, first = (names == "").sum(), (names == "").idxmax()
        log.warning("left out: %s of %s rows with an empty %s (%s)", f"{count:,}", f"{len(table):,}", layout.id, first)
    return table[names != ""], names[names != ""]


def with_static(series: Sequence[Series], parts: Sequence[DataFrame], where: str) -> list[Series]:
    """The series with their static values: numbers where all cells of a column are. Raises `UserError` for a column
    that is not there, an empty cell, and a series with several values."""
    import pandas as pd

    names = [*series[0].layout.static]
    if not names:
        return [*series]
    for part in parts:
        check_columns(part, names, where)
    table, ids = with_ids(parts, series[0].layout, where)
    columns = []
    for name in names:
        texts: Column = table[name].astype(str).str.strip()
        numbers: Column = pd.to_numeric(table[name], errors="coerce")
        cells: Column = texts if numbers.isna().any() else numbers.astype(float)
        empty: Column = table[name].isna() | texts.str.lower().isin(MISSING)
        if empty.any():
            raise UserError(f"{empty.idxmax()}: {name} is empty; each series needs its {name} in every row")
        for of_series, found in cells.groupby(ids):
            if len(values := found.unique()) > 1:
                raise UserError(
                    f"{where}: {name} of {of_series} is {values[0]} and {values[1]}; data.static names what stays the "
                    "same in each series, data.known and data.past what changes"
                )
        columns.append(cells.groupby(ids).first())
    return [each._replace(static=tuple(column[each.name] for column in columns)) for each in series]


def first_dates(parts: Sequence[DataFrame], names: Sequence[str], layout: Layout) -> list[np.datetime64]:
    """Returns the first date of each table but the first: where validation and test begin, if they have files.

    Raises `UserError` where a table does not begin after the end of the one before. names: the files.
    """
    times = []
    for part, name in zip(parts, names, strict=True):
        table, ids = with_ids([part], layout, name)
        times.append(to_regular_clock(read(table[layout.date], layout.date_format), ids, layout, name)[0])
    for i in range(1, len(times)):
        if times[i].min() <= times[i - 1].max():
            raise UserError(
                f"{names[i]} begins at {times[i].min()}, and {names[i - 1]} ends at {times[i - 1].max()}: training, "
                "validation and test files have to follow one another in time"
            )
    return [part.min().to_datetime64() for part in times[1:]]


def resampled(rows: DataFrame, reading: Reading) -> DataFrame:
    """Aggregates the rows of each step of `data.every`; returns the steps with a value, and at least one step."""
    check_size(rows.index.to_series(), reading.every or "", "data.every")
    steps = rows.resample(reading.every)
    values = steps.sum(min_count=1) if reading.aggregate == "sum" else steps.agg(reading.aggregate)
    known = values.dropna(how="all")
    return known if len(known) else values[:1]


def seconds(dates: DatetimeIndex) -> np.ndarray:
    """Returns dates as a NumPy array of datetime64, in seconds unless fractions would be lost."""
    times = dates.to_numpy()
    whole = times.astype("datetime64[s]")
    return whole if (whole == times).all() else times


def check_columns(table: DataFrame, names: list[str], where: str) -> None:
    """Raises `UserError` where a table lacks a column, or a setting names one twice."""
    for name in names:
        if name not in table.columns:
            raise UserError(
                f"{where}: there is no column {name}{did_you_mean(near(name, table.columns))}; "
                f"it has {', '.join(table.columns)}"
            )
        if names.count(name) > 1:
            raise UserError(f"{where}: the column {name} is named twice in the settings")


def to_numbers(column: Column, reading: Reading, where: str) -> Column:
    """Returns a column as floats, with NaN for a missing value. Raises `UserError` for a cell that is not a number, or
    where all are missing."""
    import pandas as pd

    text = column.astype(str).str.strip()
    known = column.notna() & ~text.str.lower().isin(MISSING)
    written = column
    if not pd.api.types.is_numeric_dtype(column):  # the marks are those of texts: a cell of Excel may be a number
        is_number = column.map(lambda cell: isinstance(cell, Number) and not isinstance(cell, bool))
        written = column.where(is_number, without_marks(text, reading))
    numbers: Column = pd.to_numeric(written.where(known), errors="coerce")
    numbers = numbers.astype(float)
    wrong = known & ~np.isfinite(numbers)
    if wrong.any():
        place = wrong.idxmax()
        more = f" ({wrong.sum():,} cells of this column are not)" if wrong.sum() > 1 else ""
        settings = next((value for pattern, value in CURES.items() if re.fullmatch(pattern, text[place])), None)
        cure = f"; {settings} reads it" if settings else ""
        raise UserError(f"{place}: {column.name} is {text[place][:40]!r}, which is not a number{more}", cure)
    if not known.any():
        raise UserError(f"{where}: the column {column.name} holds no number at all; leave it out")
    return numbers


def without_marks(text: Column, reading: Reading) -> Column:
    """Returns numbers as Python writes them: 1.234,5 becomes 1234.5 with a decimal comma and points for thousands."""
    point = re.escape(MARKS[reading.decimal])
    if reading.thousands:
        mark = MARKS[reading.thousands]
        grouped = text.str.fullmatch(rf"[+-]?\d{{1,3}}(?:[{mark}]\d{{3}})+(?:{point}\d*)?")
        text = text.where(~grouped, text.str.replace(rf"[{mark}]", "", regex=True))
    if reading.decimal == "comma":  # a point that is left over makes the cell invalid: "x" is not a number
        text = text.where(~text.str.contains(".", regex=False), "x").str.replace(",", ".", regex=False)
    return text


def check_repeated(times: Column, written: Column, ids: Column) -> None:
    """Raises `UserError` where a series has a date twice. written: the dates as the table has them."""
    import pandas as pd

    rows = pd.DataFrame({"id": ids, "time": times, "written": written})
    repeated: DataFrame = rows[rows.duplicated(["id", "time"])]
    if len(repeated):
        dates = [
            f"{date} of {name} ({place})" if name else f"{date} ({place})"
            for place, name, _, date in repeated[:3].itertuples()
        ]
        cures = ["" if ids.any() else ", or name the column that tells several series apart: data.id=COLUMN"]
        at_night = (repeated.time.dt.hour < 4).all()  # when daylight saving time ends
        if plain_form(times) != "%Y-%m-%d" and at_night:
            cures.append(", or, where the clocks went back, the zone: data.timezone=NAME, such as Europe/Berlin")
        more = ", …" if len(repeated) > 3 else ""
        raise UserError(
            f"{len(repeated):,} date(s) come twice: {', '.join(dates)}{more}; keep one row a date", "".join(cures)
        )


def warn_of_gaps(dates: dict[str, Column], grids: dict[str, DatetimeIndex], layout: Layout, where: str) -> None:
    """Logs the series whose grid has dates without a row. dates, grids: of each series, by name."""
    gaps = {name: grids[name].difference(group) for name, group in dates.items() if len(grids[name]) > len(group)}
    for name, missing in list(gaps.items())[:MAX_LOGGED]:
        of_series = f" of {name}" if name else ""
        first = write(missing[:1].to_numpy(), layout)[0]
        log.warning(
            "%s: %d dates%s have no row, the first is %s; they count as missing", where, len(missing), of_series, first
        )
    if len(gaps) > MAX_LOGGED:
        log.warning("%s: %d more series have dates without a row", where, len(gaps) - MAX_LOGGED)
