"""Time series in a few lines: what is there, what is missing, and how many windows it makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from seqtrain.data import Series


def figures(records: Mapping[str, Sequence[Series]], context: int, horizon: int) -> dict[str, dict[str, float]]:
    """Series, steps and windows of each split, and the share of its values that is missing."""
    found = {}
    for split, every in records.items():
        own = np.concatenate([series.values[series.begin :] for series in every])
        windows = sum(count_windows(series, context, horizon) for series in every)
        missing = float(np.isnan(own).mean())
        found[split] = {"series": len(every), "steps": len(own), "windows": windows, "missing": missing}
    return found


def describe_series(records: Mapping[str, Sequence[Series]], context: int, horizon: int) -> list[str]:
    """A line on all, one for each split, and one for each split in which series are too short for a window."""
    every = [series for found in records.values() for series in found]
    layout = every[0].layout
    names = {"known ahead": layout.known, "known up to now": layout.past}
    covariates = "".join(f"; {what}: {', '.join(columns)}" for what, columns in names.items() if columns)
    count = len({series.name for series in every})
    lines = [f"{count:,} series of {', '.join(layout.targets)}, one row every {layout.frequency}{covariates}"]
    for split, found in records.items():
        lines.append(f"{split}: {describe_split(found, context, horizon)}")
        short = [series for series in found if not count_windows(series, context, horizon)]
        if short and len(short) < len(found):
            lines.append(f"{split}: {describe_short(short, context, horizon)}")
    return lines


def describe_split(found: Sequence[Series], context: int, horizon: int) -> str:
    begins, ends = min(s.times[s.begin] for s in found), max(s.times[-1] for s in found)
    own = [series.values[series.begin :] for series in found]
    missing = np.isnan(np.concatenate(own))
    windows = sum(count_windows(series, context, horizon) for series in found)
    told = f"{day(begins)} to {day(ends)}, {len(missing):,} steps, {windows:,} windows"
    if not missing.any():
        return f"{told}, nothing missing"
    gap = max(longest_run(np.asarray(np.isnan(values).all(1))) for values in own)
    return f"{told}, {missing.mean():.2%} missing, the longest gap {gap} steps"


def describe_short(short: Sequence[Series], context: int, horizon: int) -> str:
    names = ", ".join(series.name for series in short[:3]) + (", …" if len(short) > 3 else "")
    told = f"{len(short)} series too short for a window of {context} + {horizon} steps: {names}"
    fits = min(len(series.values) for series in short) - horizon
    if fits > 0 and all(len(series.values) - series.begin >= horizon for series in short):
        return f"{told}; task.context={fits} would take all"
    shortest = min(len(series.values) - series.begin for series in short)
    return f"{told}; the shortest part has {shortest} steps, which task.horizon may not exceed"


def count_windows(series: Series, context: int, horizon: int) -> int:
    return max(0, len(series.values) - horizon - max(series.begin, context) + 1)


def longest_run(gaps: np.ndarray) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], gaps, [False]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def day(time: np.datetime64) -> str:
    return str(time.astype("datetime64[D]"))
