"""What a forecast goes out from: the history of a series, as a line of numbers or as a table, made into a series whose
last rows, the horizon, are not known yet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from seqtrain.config import LineError, UserError
from seqtrain.config.spelling import did_you_mean, near
from seqtrain.data import Layout, Series, frames


def from_line(line: str, number: int, context: int, horizon: int, name: str, layout: Layout) -> Series:
    """A line of numbers, or a JSON list. Raises `LineError`."""
    try:
        if line.lstrip().startswith("["):
            parts = json.loads(line)
        else:
            parts = [part.strip() or np.nan for part in line.split(",")] if "," in line else line.split()
        values = np.array([[np.nan] if part is None else np.atleast_1d(part) for part in parts], float)
    except (ValueError, TypeError):
        columns = ",".join(layout.columns())
        raise LineError(number, f"expected numbers, found {line[:60]!r}; a table begins with {columns}") from None
    if len(values) < context:
        raise LineError(number, f"{len(values)} values; the model reads the last {context}")
    if values.ndim != 2 or values.shape[1] != len(layout.targets):
        raise LineError(number, f"expected {len(layout.targets)} value(s) a step: {', '.join(layout.targets)}")
    if np.isinf(values).any():
        raise LineError(number, "expected finite numbers")
    values = values[-context:]
    if problem := unknown(values, layout):
        raise LineError(number, problem)
    times = np.arange(context + horizon).astype("datetime64[D]")  # nothing looks at them
    return Series(name, times, np.pad(values, ((0, horizon), (0, 0)), constant_values=np.nan), context, layout)


def from_table(lines: Sequence[str], context: int, horizon: int, names: Sequence[str], layout: Layout) -> list[Series]:
    """The rows of a table up to the last with a value are history; rows after it tell covariates that are known ahead.
    names: the series that can be forecast. Raises `UserError`."""
    found = frames.to_series([frames.read_csv("\n".join(lines), "input")], layout, "input")
    if layout.id is None:
        found = [series._replace(name=names[0]) for series in found]
    return [future(series, context, horizon, names) for series in found]


def future(series: Series, context: int, horizon: int, names: Sequence[str]) -> Series:
    import pandas as pd

    layout, where = series.layout, f"input: {series.name}"
    if series.name not in names:
        more = ", …" if len(names) > 5 else ""
        raise UserError(
            f"{where}: the model knows no such series{did_you_mean(near(series.name, names))}; "
            f"it was trained on {', '.join(names[:5])}{more}"
        )
    known = np.flatnonzero(~np.isnan(series.values).all(1))
    if not len(known):
        raise UserError(f"{where}: no value of {', '.join(layout.targets)} is known")
    origin = known[-1] + 1
    if origin < context:
        raise UserError(f"{where} has {origin} steps up to its last known value; the model reads the last {context}")
    if problem := unknown(series.values[origin - context : origin], layout):
        raise UserError(f"{where}: {problem}")
    ahead = pd.date_range(series.times[origin - 1], periods=horizon + 1, freq=layout.frequency)[1:]
    times = np.concatenate([series.times[origin - context : origin], ahead.to_numpy().astype("datetime64[s]")])
    rows = slice(origin - context, origin + horizon)
    values = np.full((context + horizon, len(layout.targets)), np.nan)
    values[:context] = series.values[origin - context : origin]
    past, covariates = (
        None if extra is None else spread(extra[rows], len(times)) for extra in (series.past, series.known)
    )
    if covariates is not None and np.isnan(covariates[context:]).any():
        step, column = np.argwhere(np.isnan(covariates[context:]))[0]
        raise UserError(
            f"{where}: {layout.known[column]} is not given for {ahead[step]:%Y-%m-%d %H:%M}; add rows with it for the "
            f"{horizon} steps after the last known value, their {layout.targets[0]} left empty"
        )
    return Series(series.name, times, values, context, layout, past, covariates)


def spread(rows: np.ndarray, size: int) -> np.ndarray:
    """Rows of NaN added at the end up to a size."""
    return np.pad(rows, ((0, size - len(rows)), (0, 0)), constant_values=np.nan)


def unknown(values: np.ndarray, layout: Layout) -> str | None:
    """What is wrong with a context in which a channel has no value at all."""
    names = [name for i, name in enumerate(layout.targets) if np.isnan(values[:, i]).all()]
    return f"none of the last {len(values)} values of {names[0]} is known" if names else None


def rows(series: Series, forecast: np.ndarray) -> Iterator[dict[str, Any]]:
    """The rows of a forecast (T, C): as a line of CSV under "output", and by column."""
    import pandas as pd

    layout = series.layout
    times = pd.Series(series.times[-len(forecast) :])
    dates = times.dt.strftime(layout.date_format or frames.form(times))
    for date, values in zip(dates, digits(forecast), strict=True):
        cells = {layout.id: series.name} if layout.id else {}
        cells |= {layout.date: date} | dict(zip(layout.targets, values, strict=True))
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(cells.values())
        yield cells | {"output": line.getvalue()}


def digits(values: np.ndarray) -> list[list[float]]:
    """Numbers with the seven digits that a float32 has."""
    return [[float(f"{value:.7g}") for value in row] for row in values]
