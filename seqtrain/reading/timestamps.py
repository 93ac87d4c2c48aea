"""Dates of time series: reads them in the form that a table has, converts them to a clock without jumps, and writes
them in the same form. pandas is imported only when a date is read."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from seqtrain.config import UserError
from seqtrain.config.quoting import typed
from seqtrain.config.spelling import did_you_mean, near
from seqtrain.data.kinds import Layout

Column = Any  # a pandas.Series
DatetimeIndex = Any  # a pandas.DatetimeIndex

log = logging.getLogger(__name__)
MISSING = ("", "na", "n/a", "nan", "null", "none", "<na>", "nat")
SINCE_1970 = {"seconds": "s", "milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}
FORMS = {  # {cells that have only one meaning: their form, see `Layout.date_format`}
    r"\d{4}(-| |)Q[1-4]": r"%Y\1Q%q",
    r"Q[1-4](-| |)\d{4}": r"Q%q\1%Y",
    r"\d{4}(-|)W\d\d": r"%G\1W%V",
    r"\d{4}-W\d\d-[1-7]": "%G-W%V-%u",
    r"\d{4}-\d\d": "%Y-%m",
    r"(?:1[5-9]|2[0-2])\d\d": "%Y",
    r"(?:1[5-9]|2[0-2])\d\d(?:0[1-9]|1[0-2])": "%Y%m",
    r"\d{9,11}(?:\.\d+)?": "seconds",
    r"\d{12,14}": "milliseconds",
    r"\d{15,17}": "microseconds",
    r"\d{18,19}": "nanoseconds",
    r"-?\d{1,7}": "integer",
}
AMBIGUOUS = [  # forms in which day and month could be confused, or months have names; they are proposed, never guessed
    *["%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d", "%d/%m/%y", "%m/%d/%y"],
    *("%d %B %Y", "%d %b %Y", "%B %d, %Y", "%b %d, %Y", "%b %Y", "%B %Y"),
    *["%d-%b-%Y", "%d-%b-%y", "%b-%y", "%m/%Y", "%YM%m"],
]
OFFSET = r"(Z|UTC|[+-]\d\d(?::?\d\d)?)"
ZONED = rf"^(.*[T ]\d\d[\d:.,]*) ?{OFFSET}$"


# ------------------------------------------------------------------------------------------------ reading


class Times(NamedTuple):
    """The dates of a table. clock: local times, without a zone. offset: how far each is ahead of UTC; None where the
    table does not say it. zone: the name of the time zone, if known. form: see `Layout.date_format`; None: ISO 8601."""

    clock: Column
    offset: Column | None = None
    zone: str | None = None
    form: str | None = None


def read(column: Column, form: str | None) -> Times:
    """Reads a column of dates. Raises `UserError` with the first cell that is not a date.

    form: see `Layout.date_format`; None: recognizes those in `FORMS` and ISO 8601. Which number is the day and which
    the month is never guessed.
    """
    import pandas as pd

    text = column.astype(str)
    if isinstance(column.dtype, pd.PeriodDtype):
        return Times(column.dt.to_timestamp())
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        clock, utc = column.dt.tz_localize(None), column.dt.tz_convert("UTC").dt.tz_localize(None)
        times = Times(clock, clock - utc, str(column.dt.tz))
    elif pd.api.types.is_datetime64_dtype(column):
        times = Times(column)
    else:
        whole_numbers = pd.api.types.is_float_dtype(column) and (column % 1 == 0).all()
        text = (column.astype("int64") if whole_numbers else column).astype(str).str.strip()
        form = form or find_form(text)
        try:
            times = parse(text, form)
        except (ValueError, KeyError) as error:
            raise UserError(f"data.date_format={form}: {error}") from None
    if times.clock.isna().any():
        place = times.clock.isna().idxmax()
        if text[place].lower() in MISSING:
            raise UserError(f"{place}: {column.name} is empty; write the date, or leave the row out")
        expected = f"of the form {form}" if form else "such as 2024-01-31 or 2024-01-31 17:00"
        cure = "" if form else find_cure(text)
        raise UserError(f"{place}: {column.name} is {str(column[place])[:40]!r}, which is not a date {expected}", cure)
    return times


def find_form(text: Column) -> str | None:
    """Returns the form in `FORMS` that all cells have; None where there is none."""
    cells = text[~text.str.lower().isin(MISSING)]
    for pattern, form in FORMS.items():
        if len(cells) and (match := re.fullmatch(pattern, cells.iloc[0])) and cells.str.fullmatch(pattern).all():
            return match.expand(form)
    return None


def find_cure(text: Column) -> str:
    """Returns the end of a message: the settings that read all cells of a column whose form is ambiguous."""
    import pandas as pd

    forms = [f"{day}{clock}" for day in AMBIGUOUS for clock in ("", " %H:%M", " %H:%M:%S")]
    fitting = [form for form in forms if pd.to_datetime(text, errors="coerce", format=form).notna().all()]
    settings = " or ".join(typed("data.date_format", form) for form in fitting)
    if len(fitting) == 1:
        return f"; {settings} reads it"
    if fitting:
        return f"; {settings} reads it, depending on its meaning"
    return "; other forms need data.date_format, such as %d/%m/%Y"


def parse(text: Column, form: str | None) -> Times:
    """Parses texts of a form (see `Layout.date_format`; None: ISO 8601), NaT where a text does not have it."""
    import pandas as pd

    def times(cells: Column, form: str, **options: Any) -> Column:
        return pd.to_datetime(cells, errors="coerce", format=form, **options)

    if form == "integer":
        numbers: Column = pd.to_numeric(text, errors="coerce")
        return Times(pd.Timestamp(0) + pd.to_timedelta(numbers, unit="s"), form=form)
    if form in SINCE_1970:
        numbers: Column = pd.to_numeric(text, errors="coerce")
        clock = pd.to_datetime(numbers, errors="coerce", unit=SINCE_1970[form])
        return Times(clock, clock - clock, "UTC", form)
    if form is None:
        parts = text.str.extract(ZONED)
        if parts[1].isna().all():
            return Times(times(text, "ISO8601"))
        return Times(times(parts[0].fillna(text), "ISO8601"), parts[1].map(to_timedelta, na_action="ignore"))
    if "%z" in form:
        offset = text.str.extract(rf"(?:.*[^-+\d])?{OFFSET}")[0].map(to_timedelta, na_action="ignore")
        return Times(times(text, form, utc=True).dt.tz_localize(None) + offset, offset, form=form)
    if "%q" in form:
        pattern = re.escape(form).replace("%Y", r"(?P<Y>\d{4})").replace("%q", "(?P<q>[1-4])")
        parts = text.str.extract(f"^{pattern}$")
        month = parts["q"].map({"1": "-01", "2": "-04", "3": "-07", "4": "-10"})
        return Times(times(parts["Y"] + month, "%Y-%m"), form=form)
    if "%V" in form and not re.search("%[uaAw]", form):  # a week begins on its Monday
        return Times(times(text + " 1", f"{form} %u"), form=form)
    return Times(times(text, form), form=form)


def to_timedelta(offset: str) -> Any:
    """Returns an offset from UTC, such as +05:30 or Z, as a pandas Timedelta."""
    import pandas as pd

    if offset in ("Z", "UTC"):
        return pd.Timedelta(0)
    hours, minutes = int(offset[1:3]), int(offset[3:].removeprefix(":") or 0)
    return pd.Timedelta(minutes=60 * hours + minutes) * (-1 if offset[0] == "-" else 1)


# ------------------------------------------------------------------------------------------------ zones


def is_intraday(frequency: str) -> bool:
    """Whether a frequency is given in hours or less: such a step has the same length at any time of the year."""
    return bool(re.fullmatch(r"[\d.]*(h|min|s|ms|us|ns)", frequency))


def to_regular_clock(times: Times, ids: Column, layout: Layout, where: str) -> tuple[Column, Layout]:
    """Converts times to the clock on which they keep their step: UTC for steps below a day, otherwise local time, where
    a day may have 23 or 25 hours.

    ids: the series of each row. Returns the times, and the layout with the time zone and the form that were found.
    """
    clock, offset = times.clock, times.offset
    zone = layout.reading.timezone or times.zone  # what the user says goes before what the table says
    utc: Column = None if offset is None else clock - offset
    if offset is not None:
        if offset.isna().any():
            place = offset.isna().idxmax()
            raise UserError(f"{place}: {clock[place]} has no offset from UTC, and others have")
        if zone is None and offset.nunique() == 1:
            zone = offset_name(offset.iloc[0])
        if layout.reading.timezone:
            clock = utc.dt.tz_localize("UTC").dt.tz_convert(zone).dt.tz_localize(None)
    step = layout.reading.every or layout.frequency
    intraday = is_intraday(step) if step else (clock - clock.dt.normalize()).groupby(ids).nunique().max() > 1
    if offset is not None and zone is None:
        zone = "UTC" if intraday else None
        log.warning(
            "%s: the dates have several offsets from UTC, as with summer time: %s; data.timezone=NAME, such as "
            "Europe/Berlin, keeps local time",
            where,
            "UTC is used" if intraday else "their days are kept, without a zone",
        )
    if intraday and zone:
        clock = to_utc(clock, ids, zone) if utc is None else utc
    return clock, layout._replace(date_format=times.form, reading=replace(layout.reading, timezone=zone))


def offset_name(offset: Any) -> str:
    """Returns the name of the time zone with an offset from UTC: +05:30, or UTC."""
    minutes = round(offset.total_seconds() / 60)
    if minutes == 0:
        return "UTC"
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def to_utc(clock: Column, ids: Column, zone: str) -> Column:
    """Converts local times to UTC. Where the clocks go back and a series has that hour twice, in the order of its rows,
    the first is taken as the earlier one. Raises `UserError` for a time that is ambiguous or does not exist."""
    import pandas as pd

    def localized(group: Column) -> Column:
        try:
            return group.dt.tz_localize(zone, ambiguous="infer", nonexistent="NaT")
        except ValueError:  # a series has an ambiguous hour only once
            return group.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")

    groups = [localized(clock.iloc[rows]) for rows in ids.groupby(ids, sort=False).indices.values()]
    utc: Column = pd.concat(groups).reindex(clock.index).dt.tz_convert("UTC").dt.tz_localize(None)
    if utc.isna().any():
        place = utc.isna().idxmax()
        earlier = pd.Series(clock[place]).dt.tz_localize(zone, ambiguous=np.array([True]), nonexistent="NaT")[0]
        problem = "may be before or after the clocks go back"
        if pd.isna(earlier):
            problem = "does not exist: the clocks go forward over it"
        raise UserError(
            f"{place}: {clock[place]} {problem} in data.timezone={zone}; write the offset after it, such as "
            f"{clock[place]}+01:00, or times in UTC"
        )
    return utc


def check_zone(zone: str) -> None:
    """Raises `UserError` for an unknown time zone."""
    import zoneinfo

    import pandas as pd

    try:
        pd.Timestamp(0, tz=zone)
    except Exception:  # pandas and its libraries of time zones raise different ones
        hint = did_you_mean(near(zone, zoneinfo.available_timezones())) or "; for example Europe/Berlin, UTC, +01:00"
        raise UserError(f"data.timezone={zone}: there is no such time zone{hint}") from None


# ------------------------------------------------------------------------------------------------ writing


def zoned(times: np.ndarray, layout: Layout) -> DatetimeIndex:
    """Returns the times of a series (T,) in the time zone of its layout, if that has one."""
    import pandas as pd

    dates = pd.DatetimeIndex(times)
    zone = layout.reading.timezone
    if zone is None:
        return dates
    if is_intraday(layout.frequency or ""):
        return dates.tz_localize("UTC").tz_convert(zone)
    return dates.tz_localize(zone, ambiguous=np.ones(len(dates), bool), nonexistent="shift_forward")


def local(times: np.ndarray, layout: Layout) -> np.ndarray:
    """Returns the times of a series (T,) as local clocks show them, without a zone."""
    if layout.reading.timezone is None or not is_intraday(layout.frequency or ""):
        return times
    return zoned(times, layout).tz_localize(None).to_numpy().astype(times.dtype)


def write(times: np.ndarray, layout: Layout) -> list[Any]:
    """Returns the times of a series (T,) in the form of its table: texts, or whole numbers."""
    form, dates = layout.date_format, zoned(times, layout)
    if form == "integer" or form in SINCE_1970:
        utc = dates.tz_convert("UTC").tz_localize(None) if dates.tz else dates
        return utc.to_numpy().astype(f"datetime64[{SINCE_1970.get(form, 's')}]").astype(int).tolist()
    if form is None and dates.tz:
        return [date.isoformat() for date in dates]
    form = form or plain_form(dates)
    return [date.strftime(form.replace("%q", str(date.quarter))) for date in dates]


def plain_form(times: Any) -> str:
    """Returns the form to write times in: only the date where each is midnight."""
    import pandas as pd

    times = pd.DatetimeIndex(times)
    return "%Y-%m-%d" if (times.normalize() == times).all() else "%Y-%m-%d %H:%M:%S"
