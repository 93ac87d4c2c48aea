"""Input and output of a forecast: reads a history as a series whose last rows, those to be forecast, are missing, and
writes the rows of a forecast."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from seqtrain.config import LineError, UserError
from seqtrain.config.spelling import did_you_mean, near
from seqtrain.data.kinds import Layout, Series
from seqtrain.reading.frequency import date_range
from seqtrain.reading.rows import header
from seqtrain.reading.tables import read_lines
from seqtrain.reading.time_tables import seconds, to_series
from seqtrain.reading.timestamps import write


def output_header(first_line: str, layout: Layout) -> str | None:
    """The header of the forecasts as CSV, where the first line of the input is the header of a table of series; None
    where that line is a history itself."""
    if layout.date not in header(first_line):
        return None
    return ",".join([*([layout.id] if layout.id else []), layout.date, *layout.targets])


def read(lines: Sequence[str], context: int, horizon: int, names: Sequence[str], layout: Layout) -> list[Series]:
    """The series of a CSV table with the columns of the training data; or each line is the history of one: numbers
    separated by commas or spaces, "nan" (between commas also nothing) where one is missing, or a JSON list: of numbers,
    or of lists where there are several channels. names: the series that can be forecast. Raises `UserError`."""
    if lines and output_header(lines[0], layout) is not None:
        return from_table(lines, context, horizon, names, layout)
    return [from_line(line, number, context, horizon, names[0], layout) for number, line in enumerate(lines, 1)]


def answers(lines: Sequence[str], futures: Sequence[Series], forecasts: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """What is said of the lines that `read` made series of: rows of dates and forecasts, or a forecast a line."""
    if lines and output_header(lines[0], futures[0].layout) is not None:
        return [row for series, values in zip(futures, forecasts, strict=True) for row in rows(series, values)]
    return [
        {"input": line, "output": values[:, 0].tolist() if values.shape[1] == 1 else values.tolist()}
        for line, values in zip(lines, forecasts, strict=True)
    ]


def from_line(line: str, number: int, context: int, horizon: int, name: str, layout: Layout) -> Series:
    """Reads a history from one line: numbers, or a JSON list. Raises `LineError` with the line's `number`.

    context, horizon: how many steps the model reads and forecasts. name: that of the series.
    """
    try:
        if line.lstrip().startswith("["):
            parts = json.loads(line)
        else:
            # Between commas a value may be missing.
            parts = [part.strip() or np.nan for part in line.split(",")] if "," in line else line.split()
        values = np.array([[np.nan] if part is None else np.atleast_1d(part) for part in parts], float)
    except (ValueError, TypeError, OverflowError, RecursionError):
        columns = ",".join(layout.columns())
        raise LineError(number, f"expected numbers, found {line[:60]!r}; a table begins with {columns}") from None
    if len(values) < context:
        raise LineError(number, f"{len(values)} values; the model reads the last {context}")
    if values.ndim != 2 or values.shape[1] != len(layout.targets):
        raise LineError(number, f"expected {len(layout.targets)} value(s) a step: {', '.join(layout.targets)}")
    if np.isinf(values).any():
        raise LineError(number, "expected finite numbers")
    values = values[-context:]
    if problem := empty_channel(values, layout):
        raise LineError(number, problem)
    times = np.arange(context + horizon).astype("datetime64[D]")  # a line has no dates; nothing reads these
    return Series(name, times, np.pad(values, ((0, horizon), (0, 0)), constant_values=np.nan), context, layout)


def from_table(lines: Sequence[str], context: int, horizon: int, names: Sequence[str], layout: Layout) -> list[Series]:
    """Reads a history of each series from the lines of a table. Raises `UserError`.

    The history ends at the last row with a value; rows after it hold the covariates that are known ahead. names: the
    series that the model was trained on.
    """
    histories = to_series([read_lines(lines)], layout, "input")
    if layout.id is None:
        histories = [series._replace(name=names[0]) for series in histories]
    return [cut_to_window(series, context, horizon, names) for series in histories]


def cut_to_window(series: Series, context: int, horizon: int, names: Sequence[str]) -> Series:
    """Returns `context` rows up to the last known value, and `horizon` rows after it; NaN where there is no value."""
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
    origin = int(known[-1]) + 1
    begin, end = origin - context, origin + horizon
    if begin < 0:
        raise UserError(f"{where} has {origin} steps up to its last known value; the model reads the last {context}")
    if problem := empty_channel(series.values[begin:origin], layout):
        raise UserError(f"{where}: {problem}")

    def window(values: np.ndarray) -> np.ndarray:
        rows = values[begin:end]
        return np.pad(rows, ((0, end - begin - len(rows)), (0, 0)), constant_values=np.nan)

    times = seconds(date_range(series.times[0], layout.frequency or "D", periods=end)[begin:])
    past = None if series.past is None else window(series.past)
    known_ahead = None if series.known is None else window(series.known)
    if known_ahead is not None and np.isnan(known_ahead[context:]).any():
        step, column = np.argwhere(np.isnan(known_ahead[context:]))[0]
        date = write(times[context:], layout)[step]
        raise UserError(
            f"{where}: {layout.known[column]} is not given for {date}; add rows with it for the {horizon} steps after "
            f"the last known value, and leave their {layout.targets[0]} empty"
        )
    return Series(series.name, times, window(series.values), context, layout, past, known_ahead)


def empty_channel(values: np.ndarray, layout: Layout) -> str | None:
    """Returns a message where a channel of a context (S, C) has no value at all, else None."""
    names = [name for i, name in enumerate(layout.targets) if np.isnan(values[:, i]).all()]
    return f"none of the last {len(values)} values of {names[0]} is known" if names else None


def rows(series: Series, forecast: np.ndarray) -> Iterator[dict[str, Any]]:
    """Yields the rows of a forecast (T, C), each a dict by column; "output" holds the row as a line of CSV."""
    layout = series.layout
    for date, values in zip(write(series.times[-len(forecast) :], layout), forecast.tolist(), strict=True):
        cells = {layout.id: series.name} if layout.id else {}
        cells |= {layout.date: date} | dict(zip(layout.targets, values, strict=True))
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(cells.values())
        yield cells | {"output": line.getvalue()}


def compared(series: Series, times: np.ndarray, target: np.ndarray, forecast: np.ndarray) -> Iterator[dict[str, Any]]:
    """Yields a row for each value of a forecast (T, C) beside its true value. times: (S + T,) of context and targets.
    The cell "origin" is the last date of the context."""
    origin, *dates = write(times[-len(target) - 1 :], series.layout)
    cells = {"series": series.name} if series.layout.id else {}
    for i, column in enumerate(series.layout.targets):
        for date, true, value in zip(dates, target[:, i].tolist(), forecast[:, i].tolist(), strict=True):
            true_or_none = None if np.isnan(true) else true
            yield cells | {
                "column": column,
                "origin": origin,
                "date": date,
                "target": true_or_none,
                "prediction": value,
            }
