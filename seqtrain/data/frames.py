"""Tables of time series: CSV and Parquet files become `Series` on a regular grid of dates, and nothing is changed
without a word. pandas is imported when the first table is read."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqtrain.config import UserError
from seqtrain.config.spelling import did_you_mean, near
from seqtrain.data import SPLITS, Layout, Series, check_split
from seqtrain.data.files import content, find, open_text
from seqtrain.data.splits import check_shares

Table = Any  # a pandas.DataFrame; pandas is imported where it is needed, and its types tell too little apart
Column = Any  # a pandas.Series
Dates = Any  # a pandas.DatetimeIndex

log = logging.getLogger(__name__)
MISSING = ("", "na", "n/a", "nan", "null", "none")


def read_file(name: str, setting: str = "data", encoding: str = "utf-8") -> Table:
    """The rows of a .parquet file or of a CSV file, gzipped or not; cells of a CSV as text. The index names the lines.
    setting: the key that names the file, such as data.train."""
    if Path(name.removesuffix(".gz")).suffix == ".parquet":
        return read_parquet(bytes(content(find(name, setting), f"{setting}={name}")), name)
    return read_csv(bytes(open_text(name, setting, encoding).data).decode("utf-8-sig"), name)


def read_parquet(data: bytes, where: str) -> Table:
    import pandas as pd

    try:
        import pyarrow
    except ImportError:
        raise UserError(f"{where}: Parquet needs pyarrow: pip install 'seqtrain[parquet]'") from None
    try:
        table = pd.read_parquet(io.BytesIO(data)).reset_index(drop=True)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{where}: this is no whole Parquet file ({str(error).splitlines()[0]})") from None
    return labelled(table, range(1, len(table) + 1), where)


def read_csv(text: str, where: str) -> Table:
    """Cells are separated by what the first line has most of: commas, semicolons or tabs."""
    import pandas as pd

    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator(text.partition("\n")[0]))
    names = [name.strip() for name in next(reader, [])]
    if not names:
        raise UserError(f"{where}: the file is empty; expected the names of the columns, then rows")
    rows, lines = [], []
    for row in reader:
        if any(row):  # a blank line is no row
            if len(row) != len(names):
                raise UserError(f"{where}, line {reader.line_num}: {len(row)} cells; the head has {len(names)} columns")
            rows.append(row)
            lines.append(reader.line_num)
    return labelled(pd.DataFrame(rows, columns=names, dtype=str), lines, where)


def separator(line: str) -> str:
    return max(",;\t", key=line.count)


def header(line: str) -> list[str]:
    """The names in the first line of a CSV table."""
    return [name.strip() for name in next(csv.reader([line.removeprefix("\ufeff")], delimiter=separator(line)), [])]


def labelled(table: Table, lines: Sequence[int], where: str) -> Table:
    if not len(table):
        raise UserError(f"{where}: there are no rows below the names of the columns")
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise UserError(f"{where}: there are two columns of the name {twice[0]}")
    table.index = [f"{where}, line {line}" for line in lines]
    return table


# ------------------------------------------------------------------------------------------------ rows into series


def to_series(parts: Sequence[Table], layout: Layout, where: str) -> list[Series]:
    """One series for each id of one or more tables, each on a grid of its own from its first to its last date, all with
    the same step: that of the layout, or what the dates tell. Rows out of order are sorted and dates without a row
    become rows of NaN; both are told. Raises `UserError` for missing columns, cells that are no numbers, dates that
    come twice or lie between the steps."""
    import pandas as pd

    for part in parts:
        check_columns(part, layout.columns(), where)
    table = pd.concat(parts)
    numbers = pd.DataFrame({name: to_numbers(table[name], where) for name in layout.numbers()})
    times = to_dates(table[layout.date], layout.date_format)
    names = table[layout.id].astype(str).str.strip() if layout.id else pd.Series("", table.index)
    check_twice(times, names)
    groups = {str(name): times[rows] for name, rows in names.groupby(names, sort=False).groups.items()}
    if not all(group.is_monotonic_increasing for group in groups.values()):
        log.warning("%s: the rows were not in the order of their dates; they were sorted", where)
        groups = {name: group.sort_values() for name, group in groups.items()}
    frequency = layout.frequency
    if frequency is None:
        frequency = find_frequency(list(groups.values()), where)
        log.info("%s: the dates are %s apart", where, frequency)
        layout = layout._replace(frequency=frequency)
    grids = {name: grid(group, frequency) for name, group in groups.items()}
    tell_gaps(groups, grids, where)
    made = []
    for name, group in groups.items():
        values = numbers.loc[group.index].set_axis(group).reindex(grids[name])
        parted = [values[list(columns)].to_numpy(float) for columns in (layout.targets, layout.past, layout.known)]
        stamps = grids[name].to_numpy().astype("datetime64[s]")
        made.append(Series(name or layout.targets[0], stamps, parted[0], 0, layout, *parted[1:]))
    return made


def check_columns(table: Table, names: list[str], where: str) -> None:
    for name in names:
        if name not in table.columns:
            raise UserError(
                f"{where}: there is no column {name}{did_you_mean(near(name, table.columns))}; "
                f"it has {', '.join(table.columns)}"
            )
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"{where}: the column {twice[0]} is named twice in the settings")


def to_numbers(column: Column, where: str) -> Column:
    """A column as floats, NaN where a cell is empty or says so."""
    import pandas as pd

    known = column.notna() & ~column.astype(str).str.strip().str.lower().isin(MISSING)
    numbers: Column = pd.to_numeric(column.where(known), errors="coerce")
    numbers = numbers.astype(float)
    wrong = known & ~np.isfinite(numbers)
    if wrong.any():
        line = wrong.idxmax()
        more = f" ({wrong.sum():,} cells of this column are none)" if wrong.sum() > 1 else ""
        raise UserError(f"{line}: {column.name} is {str(column[line])[:40]!r}, which is no number{more}")
    if not known.any():
        raise UserError(f"{where}: the column {column.name} holds no number at all; leave it out")
    return numbers


def to_dates(column: Column, date_format: str | None) -> Column:
    """A column as times without a zone; those with one are taken to UTC. Without a format only ISO 8601 is read: what
    is day and what is month is never guessed."""
    import pandas as pd

    try:
        times = pd.to_datetime(column, errors="coerce", utc=True, format=date_format or "ISO8601").dt.tz_localize(None)
    except ValueError as error:
        raise UserError(f"data.date_format={date_format}: {error}") from None
    if times.isna().any():
        line = times.isna().idxmax()
        expected = f"of the form {date_format}" if date_format else "such as 2024-01-31 or 2024-01-31 17:00"
        cure = "" if date_format else "; other forms need data.date_format, such as %d/%m/%Y"
        raise UserError(f"{line}: {column.name} is {str(column[line])[:40]!r}, which is no date {expected}{cure}")
    return times


def check_twice(times: Column, names: Column) -> None:
    import pandas as pd

    rows = pd.DataFrame({"name": names, "time": times})
    lines = list(rows[rows.duplicated()].index)
    if lines:
        more = ", …" if len(lines) > 3 else ""
        told = [f"{times[line]:{form(times)}}{names[line] and f' of {names[line]}'} ({line})" for line in lines[:3]]
        raise UserError(
            f"{len(lines):,} date(s) come twice: {', '.join(told)}{more}; keep one row a date"
            + ("" if names.any() else ", or name the column that tells several series apart: data.id=COLUMN")
        )


def form(times: Any) -> str:
    """How times are written: without the clock where they are all days."""
    return "%Y-%m-%d" if (times == times.dt.normalize()).all() else "%Y-%m-%d %H:%M:%S"


def find_frequency(groups: Iterable[Column], where: str) -> str:
    """The step that most dates keep, as pandas writes it: a length of time, business days, months, quarters, years."""
    import pandas as pd

    groups = [group.reset_index(drop=True) for group in groups]
    steps: Column = pd.concat([group.diff().dropna() for group in groups])
    if not len(steps):
        raise UserError(f"{where}: one row a series does not tell the step from date to date")
    usual, day = steps.mode()[0], pd.Timedelta(days=1)
    if usual >= 28 * day:
        month = groups[0][0].month_name()[:3].upper()
        for name in (f"YS-{month}", f"YE-{month}", f"QS-{month}", f"QE-{month}", "MS", "ME"):
            if all(group.isin(pd.date_range(group.iloc[0], group.iloc[-1], freq=name)).all() for group in groups):
                return name
    if usual == day and steps.max() >= 3 * day and all((group.dt.day_of_week < 5).all() for group in groups):
        return "B"
    unit = next(unit for unit in ("D", "h", "min", "s", "ns") if usual % pd.Timedelta(1, unit) == 0 * day)
    count = usual // pd.Timedelta(1, unit)
    return unit if count == 1 else f"{count}{unit}"


def grid(times: Column, frequency: str) -> Dates:
    """Every date from the first to the last one; all that are there must be among them."""
    import pandas as pd

    try:
        dates = pd.date_range(times.iloc[0], times.iloc[-1], freq=frequency)
    except ValueError:
        raise UserError(
            f"data.frequency={frequency}: pandas knows no such step; for example h, 15min, D, B, W-SUN, MS, YE"
        ) from None
    if len(dates) > 20 * len(times) + 1000:
        raise UserError(
            f"{times.index[0]}: from {times.iloc[0]} to {times.iloc[-1]} there are {len(dates):,} steps of "
            f"{frequency}, and only {len(times):,} rows; check these two dates, or name the step: data.frequency=STEP"
        )
    off = times[~times.isin(dates)]
    if len(off):
        raise UserError(
            f"{off.index[0]}: {off.iloc[0]:{form(times)}} lies between the steps of {frequency} that "
            f"begin at {times.iloc[0]:{form(times)}}, as do {len(off):,} of {len(times):,} dates; round the dates, or "
            "name their step: data.frequency=STEP"
        )
    return dates


def tell_gaps(groups: dict[str, Column], grids: dict[str, Dates], where: str) -> None:
    gaps = {name: grids[name].difference(group) for name, group in groups.items() if len(grids[name]) > len(group)}
    for name, missing in list(gaps.items())[:5]:
        of, first = f" of {name}" if name else "", f"{missing[0]:{form(groups[name])}}"
        log.warning(
            "%s: %d dates%s have no row, the first is %s; they count as missing", where, len(missing), of, first
        )
    if len(gaps) > 5:
        log.warning("%s: %d more series have dates without a row", where, len(gaps) - 5)


# ------------------------------------------------------------------------------------------------ splits by time


def shares(series: Sequence[Series], valid: float, test: float) -> list[np.datetime64]:
    """The first dates of validation and of test, which have these shares of all dates."""
    check_shares(valid, test)
    times = np.unique(np.concatenate([one.times for one in series]))
    counts = [round(len(times) * share) for share in (valid + test, test)]
    return [times[-max(count, 1)] for count in counts]


def begins(parts: Sequence[Table], names: Sequence[str], layout: Layout) -> list[np.datetime64]:
    """The first dates of all tables but the first; each table has to begin after the one before has ended."""
    times = [to_dates(part[layout.date], layout.date_format) for part in parts]
    for i in range(1, len(times)):
        if times[i].min() <= times[i - 1].max():
            raise UserError(
                f"{names[i]} begins at {times[i].min()}, and {names[i - 1]} ends at {times[i - 1].max()}: training, "
                "validation and test files have to follow one another in time"
            )
    return [part.min().to_datetime64() for part in times[1:]]


def split(series: Sequence[Series], borders: Sequence[np.datetime64], name: str) -> list[Series]:
    """The part of each series whose targets belong to a split, with all rows before it as context. borders: the first
    dates of validation and of test."""
    check_split(name)
    place = SPLITS.index(name)
    found = []
    for one in series:
        edges = [0, *np.searchsorted(one.times, np.array(borders, one.times.dtype)), len(one.times)]
        if edges[place] < edges[place + 1]:
            found.append(one.cut(int(edges[place]), int(edges[place + 1])))
    return found
