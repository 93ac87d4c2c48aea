"""Finds the seasonal period of time series: the frequency suggests candidates, and the data choose among them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from seqtrain.data.kinds import Series

MINUTE, HOUR, DAY, WEEK, YEAR = 60, 3_600, 86_400, 604_800, 31_557_600  # seconds
UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1, "min": MINUTE, "h": HOUR, "D": DAY}
YEARLY = {"W": 52, "month": 12}  # steps a year
YEARLY |= {f"{kind}{end}": steps for kind, steps in (("SM", 24), ("M", 12), ("Q", 4), ("Y", 1)) for end in "SE"}


def candidates(frequency: str | None) -> list[int]:
    """Returns the periods, in steps, that series of a frequency (in pandas' notation) may have, the shortest first: of
    minute, hour, day and week the two that are next longer than a step, or else the year."""
    match = re.fullmatch(r"(\d*)([A-Za-z]+)(-\w+)?", frequency or "")
    if match is None:
        return []
    count, unit = int(match[1] or 1), match[2]
    if unit in ("B", "C"):  # business days: a week has five
        return [5] if count == 1 else []
    if steps := YEARLY.get(unit, YEARLY.get(unit.removeprefix("B"))):
        return [steps // count] if steps % count == 0 else []
    if unit not in UNITS:
        return []
    step = count * UNITS[unit]
    cycles = [MINUTE, HOUR, DAY, WEEK]
    shortest = next((i for i, limit in enumerate((MINUTE, 15 * MINUTE, DAY, WEEK)) if step < limit), None)
    if shortest is None:
        return [round(YEAR / step)]
    steps = [cycle / step for cycle in cycles[shortest : shortest + 2]]
    whole = [round(size) for size in steps if abs(size - round(size)) < 1e-6]
    return whole or ([round(YEAR / step)] if step >= DAY else [])


def find_period(records: Sequence[Series], horizon: int) -> int:
    """Returns the candidate whose seasonal naive forecast of a horizon has the smallest mean absolute error on the
    records; of equally good ones, the shortest.

    A candidate has to fit twice into the longest series. If none does, the shortest is taken if it fits once; otherwise
    the period is 1, which makes the seasonal naive forecast repeat the last value.
    """
    longest = max(len(series.values) for series in records)
    periods = candidates(records[0].layout.frequency)
    fitting = [period for period in periods if 2 * period <= longest]
    if not fitting:
        return periods[0] if periods and periods[0] < longest else 1
    if len(fitting) == 1:
        return fitting[0]
    steps = np.arange(1, min(horizon, longest - fitting[-1]) + 1)
    lags = {period: -(-steps // period) * period for period in fitting}  # of each step: whole periods, at least one
    first = max(int(period_lags[-1]) for period_lags in lags.values())  # all are compared on the same values
    errors = [mean_change(records, lags[period], first) for period in fitting]
    return fitting[int(np.argmax(np.array(errors) <= min(errors) + 1e-6))]


def mean_change(records: Sequence[Series], lags: np.ndarray, first: int) -> float:
    """Returns the mean absolute difference between each value from row `first` on and those `lags` steps before it.

    The unit is the standard deviation of each channel. Infinite where there is no value to compare.
    """
    total = 0.0
    count = 0.0
    for series in records:
        values = series.values[:, ~series.constant()]
        if len(values) > first and values.size:
            values = values / np.nanstd(values, axis=0)
            for lag, weight in zip(*np.unique(lags, return_counts=True), strict=True):
                change = np.abs(values[first:] - values[first - lag : len(values) - lag])
                total += weight * np.nansum(change)
                count += weight * np.sum(~np.isnan(change))
    return total / count if count else np.inf
