"""Tables of time series: CSV and Parquet files become `Series` on a regular grid of dates, and nothing is changed
without a word. pandas is imported when the first table is read."""

from __future__ import annotations

import csv
import gzip
import io
import logging
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seqtrain.config import UserError, near_path
from seqtrain.config.spelling import did_you_mean, near
from seqtrain.data import Layout, Series

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
MISSING = ("", "na", "n/a", "nan", "null", "none")


def read_file(file: Path) -> pd.DataFrame:
    """The rows of a .csv or .parquet file, either also with .gz; cells of a CSV as text. The index names the lines."""
    if not file.is_file():
        raise UserError(f"{file}: there is no such file{did_you_mean(near_path(file))}")
    try:
        data = file.read_bytes()
        data = gzip.decompress(data) if file.suffix == ".gz" else data
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{file}: the file is damaged or was cut off ({error}); copy it anew") from None
    except OSError as error:
        raise UserError(f"{file}: the file cannot be read ({error.strerror or error})") from None
    if Path(file.name.removesuffix(".gz")).suffix == ".parquet":
        return read_parquet(data, str(file))
    return read_csv(data, str(file))


def read_parquet(data: bytes, where: str) -> pd.DataFrame:
    import pandas as pd

    try:
        import pyarrow
    except ImportError:
        raise UserError(f"{where}: Parquet needs pyarrow: pip install 'seqtrain[parquet]'") from None
    try:
        table = pd.read_parquet(io.BytesIO(data)).reset_index(drop=True)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{where}: this is no whole Parquet file ({str(error).splitlines()[0]})") from None
    return numbered(table, 1, where)


def read_csv(data: bytes, where: str) -> pd.DataFrame:
    """Cells are separated by what the first line has most of: commas, semicolons or tabs."""
    import pandas as pd

    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(f"{where}, line {line}: not UTF-8; save the table as UTF-8") from None
    try:
        table = pd.read_csv(
            io.StringIO(text),
            sep=separator(text.partition("\n")[0]),
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            skipinitialspace=True,
            index_col=False,
        )
    except pd.errors.EmptyDataError:
        raise UserError(
            f"{where}: the file is empty; expected a line with the names of the columns, then rows"
        ) from None
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise UserError(f"{where}: {str(error).strip().removeprefix('Error tokenizing data. C error: ')}") from None
    table = numbered(table, 2, where)
    return table[(table != "").any(axis=1)]  # a blank line is no row


def separator(line: str) -> str:
    return max(",;\t", key=line.count)


def header(line: str) -> list[str]:
    """The names in the first line of a CSV table."""
    return [name.strip() for name in next(csv.reader([line.removeprefix("\ufeff")], delimiter=separator(line)), [])]


def numbered(table: pd.DataFrame, first: int, where: str) -> pd.DataFrame:
    if not len(table):
        raise UserError(f"{where}: there are no rows below the names of the columns")
    table.columns = table.columns.map(lambda name: str(name).strip())
    table.index = [f"{where}, line {line}" for line in range(first, first + len(table))]
    return table


# ------------------------------------------------------------------------------------------------ rows into series


def to_series(parts: Sequence[pd.DataFrame], layout: Layout, where: str) -> list[Series]:
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
    layout = layout._replace(frequency=layout.frequency or find_frequency(list(groups.values()), where))
    grids = {name: grid(group, layout.frequency) for name, group in groups.items()}
    tell_gaps(groups, grids, where)
    log.info("%s: one row every %s", where, layout.frequency)
    made = []
    for name, group in groups.items():
        values = numbers.loc[group.index].set_axis(group).reindex(grids[name])
        parted = [values[list(columns)].to_numpy(float) for columns in (layout.targets, layout.past, layout.known)]
        stamps = grids[name].to_numpy().astype("datetime64[s]")
        made.append(Series(name or layout.targets[0], stamps, parted[0], 0, layout, *parted[1:]))
    return made


def check_columns(table: pd.DataFrame, names: Sequence[str], where: str) -> None:
    for name in names:
        if name not in table.columns:
            raise UserError(
                f"{where}: there is no column {name}{did_you_mean(near(name, table.columns))}; "
                f"it has {', '.join(table.columns)}"
            )
    for kind, again in (("in the file", list(table.columns)), ("in the settings", list(names))):
        twice = [name for name in names if again.count(name) > 1]
        if twice:
            raise UserError(f"{where}: the column {twice[0]} is named twice {kind}")


def to_numbers(column: pd.Series, where: str) -> pd.Series:
    """A column as floats, NaN where a cell is empty or says so."""
    import pandas as pd

    known = column.notna() & ~column.astype(str).str.strip().str.lower().isin(MISSING)
    numbers = pd.to_numeric(column.where(known), errors="coerce").astype(float)
    wrong = known & ~np.isfinite(numbers)
    if wrong.any():
        line = wrong.idxmax()
        more = f" ({wrong.sum():,} cells of this column are none)" if wrong.sum() > 1 else ""
        raise UserError(f"{line}: {column.name} is {str(column[line])[:40]!r}, which is no number{more}")
    if not known.any():
        raise UserError(f"{where}: the column {column.name} holds no number at all; leave it out")
    return numbers


def to_dates(column: pd.Series, date_format: str | None) -> pd.Series:
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


def check_twice(times: pd.Series, names: pd.Series) -> None:
    import pandas as pd

    rows = pd.DataFrame({"name": names, "time": times})
    twice = rows[rows.duplicated(keep="first")]
    if len(twice):
        told = ", ".join(
            f"{row.time:{form(times)}}{f' of {row.name_}' if row.name_ else ''} ({row.Index})"
            for row in twice.rename(columns={"name": "name_"}).head(3).itertuples()
        )
        raise UserError(
            f"{len(twice):,} date(s) come twice: {told}{', …' if len(twice) > 3 else ''}; keep one row a date"
            + ("" if names.any() else ", or name the column that tells several series apart: data.id=COLUMN")
        )


def form(times: Any) -> str:
    """How times are written: without the clock where they are all days."""
    return "%Y-%m-%d" if (times == times.dt.normalize()).all() else "%Y-%m-%d %H:%M:%S"


def find_frequency(groups: Iterable[pd.Series], where: str) -> str:
    """The step that most dates keep, as pandas writes it: a length of time, business days, months, quarters, years."""
    import pandas as pd

    groups = [group.reset_index(drop=True) for group in groups]
    steps = pd.concat([group.diff().dropna() for group in groups])
    if not len(steps):
        raise UserError(f"{where}: one row a series does not tell the step from date to date")
    usual, day = steps.mode()[0], pd.Timedelta(days=1)
    if usual >= 28 * day:
        month = f"{groups[0][0]:%b}".upper()
        for name in (f"YS-{month}", f"YE-{month}", f"QS-{month}", f"QE-{month}", "MS", "ME"):
            if all(group.isin(pd.date_range(group.iloc[0], group.iloc[-1], freq=name)).all() for group in groups):
                return name
    if usual == day and steps.max() >= 3 * day and all((group.dt.dayofweek < 5).all() for group in groups):
        return "B"
    return f"{usual // day}D" if usual % day == pd.Timedelta(0) else pd.tseries.frequencies.to_offset(usual).freqstr


def grid(times: pd.Series, frequency: str) -> pd.DatetimeIndex:
    """Every date from the first to the last one; all that are there must be among them."""
    import pandas as pd

    try:
        dates = pd.date_range(times.iloc[0], times.iloc[-1], freq=frequency)
    except ValueError:
        raise UserError(
            f"data.frequency={frequency}: pandas knows no such step; for example h, 15min, D, B, W-SUN, MS, YE"
        ) from None
    off = times[~times.isin(dates)]
    if len(off):
        raise UserError(
            f"{off.index[0]}: {off.iloc[0]:{form(times)}} lies between the steps of {frequency} that "
            f"begin at {times.iloc[0]:{form(times)}}, as do {len(off):,} of {len(times):,} dates; round the dates, or "
            "name their step: data.frequency=STEP"
        )
    return dates


def tell_gaps(groups: dict[str, pd.Series], grids: dict[str, pd.DatetimeIndex], where: str) -> None:
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
    if valid + test >= 1:
        raise UserError(f"data.valid_share={valid} and data.test_share={test} leave nothing to train on")
    times = np.unique(np.concatenate([one.times for one in series]))
    counts = [round(len(times) * share) for share in (valid + test, test)]
    return [times[-max(count, 1)] for count in counts]


def begins(parts: Sequence[pd.DataFrame], names: Sequence[str], layout: Layout) -> list[np.datetime64]:
    """The first dates of all tables but the first; each table has to begin after the one before has ended."""
    times = [to_dates(part[layout.date], layout.date_format) for part in parts]
    for i in range(1, len(times)):
        if times[i].min() <= times[i - 1].max():
            raise UserError(
                f"{names[i]} begins at {times[i].min()}, and {names[i - 1]} ends at {times[i - 1].max()}: training, "
                "validation and test files have to follow one another in time"
            )
    return [part.min().to_datetime64() for part in times[1:]]


SPLITS = ("train", "valid", "test")


def split(series: Sequence[Series], borders: Sequence[np.datetime64], name: str) -> list[Series]:
    """The part of each series whose targets belong to a split, with all rows before it as context. borders: the first
    dates of validation and of test."""
    if name not in SPLITS:
        raise ValueError(f"a split is one of {', '.join(SPLITS)}, not {name}")
    place = SPLITS.index(name)
    found = []
    for one in series:
        edges = [0, *np.searchsorted(one.times, np.array(borders, one.times.dtype)), len(one.times)]
        if edges[place] < edges[place + 1]:
            found.append(one.cut(int(edges[place]), int(edges[place + 1])))
    return found
