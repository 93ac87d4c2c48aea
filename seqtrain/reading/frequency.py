"""The frequency of a time series: the step from each date to the next, in the notation of pandas (h, 15min, D, MS).

Two frequencies are not in pandas, and may have a count as well: "step" is for dates that are whole numbers, which are
read as seconds since 1970; "month" goes to the same day of the next month, or to its last day where it is shorter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from seqtrain.config import UserError
from seqtrain.data.kinds import FORWARD
from seqtrain.reading.timestamps import Column, DatetimeIndex, plain_form

BY_MONTHS = ("MS", "ME", "BMS", "BME")  # the first or last (business) day of each month
UNITS = {
    **dict.fromkeys(("YS", "YE"), "year"),
    **dict.fromkeys(("QS", "QE"), "quarter"),
    **dict.fromkeys((*BY_MONTHS, "month"), "month"),
    **{"SMS": "half month", "SME": "half month", "W": "week", "D": "day", "B": "business day", "step": "step"},
    **{"h": "hour", "min": "minute", "s": "second", "ms": "millisecond", "us": "microsecond", "ns": "nanosecond"},
}
USUAL_STEPS = ("s", "10s", "min", "5min", "15min", "30min", "h", "6h", "D", "7D", "30D", "365D")


def date_range(start: Any, frequency: str, end: Any = None, periods: int | None = None) -> DatetimeIndex:
    """Returns the dates from `start` to `end`, or the first `periods` of them."""
    import pandas as pd

    match = re.fullmatch(r"(\d*)(step|month)", frequency)
    if match is None:
        return pd.date_range(start, end, periods, freq=frequency)
    count = int(match[1] or 1)
    start = pd.Timestamp(start)
    if match[2] == "step":
        return pd.date_range(start, end, periods, freq=pd.Timedelta(seconds=count))
    if periods is None:
        periods = int(months_since(pd.Series([pd.Timestamp(end)]), start)[0]) // count + 1
    return pd.DatetimeIndex([start + pd.DateOffset(months=count * i) for i in range(periods)])


def check_frequency(frequency: str, setting: str) -> None:
    """Raises `UserError` for an unknown frequency, or one that does not go forward. setting: its key."""
    import pandas as pd

    try:
        step_or_month = setting == "data.frequency" and re.fullmatch(r"\d*(step|month)", frequency)
        known = step_or_month or pd.tseries.frequencies.to_offset(frequency)
    except ValueError:
        known = False
    if not known or not FORWARD.match(frequency):
        raise UserError(f"{setting}={frequency}: there is no such step; for example h, 15min, D, B, W-SUN, MS, YE")


def find_frequency(groups: Sequence[Column], form: str | None, where: str) -> str:
    """Finds the frequency that fits the most common step between dates.

    groups: the dates of each series. form: see `Layout.date_format`. where: the file, for messages.
    """
    import pandas as pd

    groups = [group.reset_index(drop=True) for group in groups]
    changes: Column = pd.concat([group.diff().dropna() for group in groups])
    if not len(changes):
        raise UserError(f"{where}: a single row of each series does not show the step from date to date")
    usual = changes.mode()[0]
    day = pd.Timedelta(days=1)
    if form == "integer":
        return with_count(usual // pd.Timedelta(seconds=1), "step")
    if usual >= 28 * day and (monthly := find_months(groups)):
        return monthly
    if usual > 12 * day:
        for twice_a_month in ("SMS", "SME"):
            if fits(groups, twice_a_month):
                return twice_a_month
    if usual == day and changes.max() >= 3 * day and all((group.dt.day_of_week < 5).all() for group in groups):
        return "B"  # Monday to Friday
    unit = next(unit for unit in ("D", "h", "min", "s", "ms", "us", "ns") if usual % pd.Timedelta(1, unit) == 0 * day)
    return with_count(usual // pd.Timedelta(1, unit), unit)


def find_months(groups: Sequence[Column]) -> str | None:
    """Finds the frequency of dates that are a month or more apart; None where none fits."""
    month = groups[0][0].month_name()[:3].upper()
    for name in (f"YS-{month}", f"YE-{month}", f"QS-{month}", f"QE-{month}", *BY_MONTHS):
        if fits(groups, name):
            return name
    months = np.concatenate([months_since(group, group[0]) for group in groups])
    count = math.gcd(*months.tolist())
    name = with_count(count, "month")
    return name if count and fits(groups, name) else None


def months_since(times: Column, start: Any) -> np.ndarray:
    """Returns how many months lie between `start` and each time, ignoring the days."""
    return (12 * (times.dt.year - start.year) + times.dt.month - start.month).to_numpy()


def in_words(frequency: str) -> str:
    """A frequency for messages: month (MS), 15 minutes (15min)."""
    match = re.match(r"(\d*)(\w+)", frequency)
    unit = UNITS.get(match[2]) if match else None
    if match is None or unit is None:
        return frequency
    return f"{unit} ({frequency})" if match[1] in ("", "1") else f"{match[1]} {unit}s ({frequency})"


def with_count(count: int, unit: str) -> str:
    """Returns a frequency such as 15min; h for one hour."""
    return unit if count == 1 else f"{count}{unit}"


def fits(groups: Sequence[Column], frequency: str) -> bool:
    """Whether all dates of each series are on the grid that begins at its first date."""
    return all(group.isin(date_range(group.iloc[0], frequency, group.iloc[-1])).all() for group in groups)


def grid(times: Column, frequency: str, written: Column) -> DatetimeIndex:
    """Returns every date of a frequency from the first to the last of the times.

    Raises `UserError` where one of the times is not among these dates. written: the times as the table has them, for
    messages.
    """
    import pandas as pd

    usual = times.diff().median()
    steps = (step for step in USUAL_STEPS if pd.Timedelta(pd.tseries.frequencies.to_offset(step)) >= usual)
    cure = f"; data.every={next(steps, USUAL_STEPS[-1])} resamples dates that are irregular"
    check_size(times, frequency, "data.frequency", cure)
    dates = date_range(times.iloc[0], frequency, times.iloc[-1])
    off = ~times.isin(dates).to_numpy()
    if off.any():
        row = int(off.argmax())
        raise UserError(
            f"{times.index[row]}: {written.iloc[row]} lies between the steps, one row every {in_words(frequency)} from "
            f"{written.iloc[0]} on, as do {off.sum():,} of {len(times):,} dates; round the dates",
            f", or name their step: data.frequency=STEP{cure}",
        )
    return dates


def check_size(times: Column, frequency: str, setting: str, cure: str = "") -> None:
    """Raises `UserError` where a grid would have far more steps than there are rows, as after a mistyped year.

    Only frequencies of a day or less are checked. setting: the key that sets the frequency. cure: ends the message.
    """
    import pandas as pd

    match = re.fullmatch(r"(\d*)(D|h|min|s|ms|us|ns)", frequency)
    step = pd.Timedelta(int(match[1] or 1), match[2]) if match else None
    size = (times.iloc[-1] - times.iloc[0]) // step if step else 0
    if size > 20 * len(times) + 1000:
        first, last = (f"{time:{plain_form(times)}}" for time in times.iloc[[0, -1]])
        raise UserError(
            f"{times.index[0]}: one row every {in_words(frequency)} makes {size + 1:,} from {first} to {last}, and "
            f"there are {len(times):,}; check these two dates",
            f", or name the step: {setting}=STEP{cure}",
        )
