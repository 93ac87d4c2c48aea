"""Naive forecasts: the last value, the last season, and the last season with drift."""

from __future__ import annotations

import numpy as np


def forecasts(past: np.ndarray, horizon: int, period: int) -> dict[str, np.ndarray]:
    """The naive forecasts by name, (N, horizon, C) each, of the values before (N, S, C), NaN = missing."""
    return {
        "repeat last": repeat_last(past, horizon),
        f"seasonal naive, period {period}": seasonal_naive(past, horizon, period),
        f"seasonal naive with drift, period {period}": seasonal_naive_drift(past, horizon, period),
    }


def last_known(context: np.ndarray) -> np.ndarray:
    """Returns the last value of each channel that is not missing; NaN where all are. (N, S, C) -> (N, C)."""
    known = ~np.isnan(context)
    last = context.shape[1] - 1 - known[:, ::-1].argmax(1)  # (N, C); the last step where nothing is known
    return np.take_along_axis(context, last[:, None], axis=1)[:, 0]


def repeat_last(context: np.ndarray, horizon: int) -> np.ndarray:
    """Forecasts the last known value of each channel for every step. (N, S, C), NaN = missing -> (N, horizon, C)."""
    return np.repeat(last_known(context)[:, None], horizon, axis=1)


def seasonal_naive(context: np.ndarray, horizon: int, period: int) -> np.ndarray:
    """Forecasts the value one period earlier, at the same phase. (N, S, C), NaN = missing -> (N, horizon, C).

    Where that value is missing, the one of the period before is taken, and so on; for a phase that was never seen, the
    last known value.
    """
    return phases(context, horizon, period)[0]


def seasonal_naive_drift(context: np.ndarray, horizon: int, period: int) -> np.ndarray:
    """Forecasts the value at the same phase plus the drift, the mean change of the context from period to period, for
    each period between the two. (N, S, C), NaN = missing -> (N, horizon, C).

    The drift is zero where no two values a period apart are known.
    """
    values, elapsed = phases(context, horizon, period)
    change = context[:, period:] - context[:, :-period]
    known = ~np.isnan(change)
    drift = np.where(known, change, 0).sum(1) / np.maximum(known.sum(1), 1)  # (N, C)
    return values + elapsed * drift[:, None]


def phases(context: np.ndarray, horizon: int, period: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns, for each future step, the newest known value of its phase and how many periods ago that was: (N,
    horizon, C) both. For a phase that was never seen: the last known value, and zero periods.
    """
    n, steps, channels = context.shape
    lead = -steps % period  # missing steps before the context make it a whole number of periods
    folded = np.concatenate([np.full((n, lead, channels), np.nan), context], axis=1)
    folded = folded.reshape(n, -1, period, channels)[:, ::-1]  # (N, periods, period, C), newest first
    known = ~np.isnan(folded)
    age = known.argmax(1)  # (N, period, C)
    values = np.take_along_axis(folded, age[:, None], axis=1)[:, 0]
    seen = np.any(known, axis=1)
    values = np.where(seen, values, last_known(context)[:, None])
    step = np.arange(horizon)
    elapsed = age[:, step % period] + 1 + (step // period)[:, None]
    return values[:, step % period], np.where(seen[:, step % period], elapsed, 0)
