"""Input and output of a forecast: reads a history as a series whose last rows, those to be forecast, are missing, and
writes the rows of a forecast."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from seqtrain.config import LineError, UserError
from seqtrain.config.spelling import did_you_mean, near
from seqtrain.data.kinds import Layout, Series
from seqtrain.reading.frequency import date_range
from seqtrain.reading.rows import header
from seqtrain.reading.steps import empty_channel, history
from seqtrain.reading.tables import make_unique, read_lines
from seqtrain.reading.time_tables import seconds, to_series
from seqtrain.reading.timestamps import write

ENDS = ["lower", "upper"]  # of an interval


def output_header(first_line: str, layout: Layout, intervals: bool) -> str | None:
    """The header of the forecasts as CSV, where the first line of the input is the header of a table of series; None
    where that line is a history itself. intervals: whether forecasts have such."""
    return ",".join(output_columns(layout, intervals)) if layout.date in header(first_line) else None


def output_columns(layout: Layout, intervals: bool) -> list[str]:
    """The columns of the forecasts: series, date, targets, and the ends of the interval of each target."""
    ends = [f"{target}_{end}" for target in layout.targets for end in ENDS] if len(layout.targets) > 1 else ENDS
    return make_unique(
        [*([layout.id] if layout.id else []), layout.date, *layout.targets, *(ends if intervals else ())]
    )


def read(lines: Sequence[str], context: int, horizon: int, names: Sequence[str], layout: Layout) -> list[Series]:
    """The series of a CSV table with the columns of the training data; or each line is the history of one: numbers
    separated by commas or spaces, "nan" (between commas also nothing) where one is missing, or a JSON list: of numbers,
    or of lists where there are several channels. names: the series that can be forecast. Raises `UserError`."""
    if lines and layout.date in header(lines[0]):
        return from_table(lines, context, horizon, names, layout)
    return [from_line(line, number, context, horizon, names[0], layout) for number, line in enumerate(lines, 1)]


def answers(
    lines: Sequence[str], futures: Sequence[Series], forecasts: Sequence[dict[str, np.ndarray]]
) -> list[dict[str, Any]]:
    """What is said of the lines that `read` made series of: rows of dates and forecasts, or a forecast a line.
    forecasts: "prediction" and, if there are intervals, their ends "lower" and "upper", (T, C) each."""
    if lines and futures[0].layout.date in header(lines[0]):
        return [row for series, made in zip(futures, forecasts, strict=True) for row in rows(series, made)]
    return [
        {"input": line, "output": as_list(made["prediction"])}
        | {end: as_list(made[end]) for end in ENDS if end in made}
        for line, made in zip(lines, forecasts, strict=True)
    ]


def as_list(values: np.ndarray) -> list[Any]:
    return values[:, 0].tolist() if values.shape[1] == 1 else values.tolist()


def from_line(line: str, number: int, context: int, horizon: int, name: str, layout: Layout) -> Series:
    """Reads a history from one line: numbers, or a JSON list. Raises `LineError` with the line's `number`.

    context, horizon: how many steps the model reads and forecasts. name: that of the series.
    """
    try:
        hint = f"; a table begins with {','.join(layout.columns())}"
        values = history(line, context, layout.targets, hint)
    except ValueError as error:
        raise LineError(number, str(error)) from None
    times = np.arange(context + horizon).astype("datetime64[D]")  # a line has no dates; nothing reads these
    return Series(name, times, np.pad(values, ((0, horizon), (0, 0)), constant_values=np.nan), context, layout)


def from_table(lines: Sequence[str], context: int, horizon: int, names: Sequence[str], layout: Layout) -> list[Series]:
    """Reads a history of each series from the lines of a table. Raises `UserError`.

    The history ends at the last row with a value; rows after it hold the covariates that are known ahead. names: the
    series that the model was trained on.
    """
    try:
        histories = to_series([read_lines(lines)], layout, "input")
    except UserError as error:
        if not error.cure:
            raise
        raise UserError(f"{error.problem}; a table to forecast is written as that of the training was") from None
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
    if problem := empty_channel(series.values[begin:origin], layout.targets):
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


def rows(series: Series, made: dict[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    """Yields the rows of a forecast, see `answers`, each a dict by column; "output" holds the row as a line of CSV."""
    layout, size = series.layout, len(made["prediction"])
    columns = output_columns(layout, "lower" in made)
    ends = [made[end] for end in ENDS if end in made]
    values = np.concatenate([made["prediction"], *([np.stack(ends, -1).reshape(size, -1)] if ends else [])], 1)
    for date, numbers in zip(write(series.times[-size:], layout), values.tolist(), strict=True):
        cells = [*([series.name] if layout.id else []), date, *numbers]
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(cells)
        yield dict(zip(columns, cells, strict=True)) | {"output": line.getvalue()}


def compared(series: Series, times: np.ndarray, values: dict[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    """Yields a row for each value of a forecast. values: "target", the true values, "prediction" and the ends of its
    interval, if it has such, (T, C) each. times: (S + T,) of context and targets. The cell "origin" is the last date of
    the context."""
    origin, *dates = write(times[-len(values["target"]) - 1 :], series.layout)
    cells = {"series": series.name} if series.layout.id else {}
    for i, column in enumerate(series.layout.targets):
        for step, date in enumerate(dates):
            numbers = {name: several[step, i].item() for name, several in values.items()}
            true = None if np.isnan(numbers["target"]) else numbers["target"]
            yield cells | {"column": column, "origin": origin, "date": date} | numbers | {"target": true}
