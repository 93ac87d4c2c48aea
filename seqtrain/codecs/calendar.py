"""Calendar features of dates, which are known ahead: the sine and cosine of the hour of the day and the like."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from seqtrain.config import UserError
from seqtrain.config.spelling import did_you_mean, near


def since(times: np.ndarray, start: str, step: str) -> np.ndarray:
    """Returns how many whole steps (minutes, hours, days) have passed since the start of each time's hour, day, …"""
    return (times - times.astype(f"datetime64[{start}]")) // np.timedelta64(1, step)


PHASES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "minute_of_hour": lambda times: since(times, "h", "m") / 60,
    "hour_of_day": lambda times: since(times, "D", "h") / 24,
    "day_of_week": lambda times: (times.astype("datetime64[D]").astype(int) + 3) % 7 / 7,  # 1970 began on a Thursday
    "day_of_month": lambda times: since(times, "M", "D") / 31,
    "day_of_year": lambda times: since(times, "Y", "D") / 365.25,
    "month_of_year": lambda times: times.astype("datetime64[M]").astype(int) % 12 / 12,
}


def check_calendar(names: Sequence[str]) -> None:
    """Raises `UserError` for an unknown feature."""
    for name in names:
        if name not in PHASES:
            raise UserError(
                f"task.calendar: there is no {name}{did_you_mean(near(name, PHASES))}; there are {', '.join(PHASES)}"
            )


def calendar_features(times: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Returns sine and cosine of each feature: times (T,) -> (T, 2 * names)."""
    times = times.astype("datetime64[s]")
    columns = [np.zeros((len(times), 0))]  # without names, there are no columns
    for name in names:
        angle = 2 * np.pi * PHASES[name](times)
        columns += [np.sin(angle)[:, None], np.cos(angle)[:, None]]
    return np.concatenate(columns, -1)
