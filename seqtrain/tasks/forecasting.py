"""Forecasting: the next values of time series."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seqtrain import baselines, metrics, plots
from seqtrain.batch import Batch, Fixed, Reals, Source, Spec, real_positions
from seqtrain.config import LineError, UserError
from seqtrain.data import Series
from seqtrain.metrics import Totals
from seqtrain.tasks.base import Task, by_length

FORECASTS: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "repeat last": lambda context, horizon, period: baselines.repeat_last(context, horizon),
    "seasonal naive": baselines.seasonal_naive,
    "seasonal naive with drift": baselines.seasonal_naive_drift,
}


class Forecasting(Task):
    """Learns the next `horizon` values of each channel from the last `context` ones. Every window of a split counts.

    period: steps of a season, for the naive forecasts and MASE. normalize: "window" takes the last known value of a
    window off its values, for series with a trend; "series" takes off the training mean. Both divide by a scale learned
    in training. loss: "mae", "mse" or "huber", of normalized values. Missing values are filled with the last known one,
    flagged to the model, and left out of loss and metrics. monitor: a metric of `score`.
    """

    kinds = ("series",)

    def __init__(self, context: int, horizon: int, period: int, normalize: str, loss: str, monitor: str):
        self.context = context
        self.horizon = horizon
        self.period = period
        self.normalize = normalize
        self.criterion = loss
        self.monitor = monitor

    @staticmethod
    def outline(kind: str) -> Spec:
        return Spec(Reals((0,)), Source.MANY, Reals((0,)), 0, Fixed(1))

    def fit(self, records: Sequence[Series]) -> None:
        values = [series.values for series in records]
        self.channels = list(records[0].channels)
        self.mean = np.nanmean(np.concatenate(values), 0)
        lag = self.horizon if self.normalize == "window" else 0
        spread = np.concatenate([v[lag:] - (v[:-lag] if lag else self.mean) for v in values])
        self.scale = np.maximum(np.nanstd(spread, 0), 1e-8)
        seasonal = [np.nanmean(np.abs(v[self.period :] - v[: -self.period]), 0) for v in values]
        self.naive_error = {s.name: np.maximum(e, 1e-8).tolist() for s, e in zip(records, seasonal, strict=True)}
        self.describe()

    def describe(self) -> None:
        size = len(self.channels)
        self.spec = Spec(Reals((2 * size,)), Source.MANY, Reals((size,)), size, Fixed(self.horizon))

    def state(self) -> dict[str, Any]:
        return {
            "channels": self.channels,
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
            "naive_error": self.naive_error,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.channels, self.naive_error = state["channels"], state["naive_error"]
        self.mean, self.scale = np.array(state["mean"]), np.array(state["scale"])
        self.describe()

    def examples(self, records: Sequence[Series]) -> Windows:
        return Windows(self, records)

    def loss(self, scores: Float[Tensor, "N C"], batch: Batch) -> tuple[Tensor, Tensor]:
        target = batch.real(batch.target)
        known = ~target.isnan()
        error = torch.where(known, scores.float() - target, 0.0)
        if self.criterion == "mse":
            error = error**2
        elif self.criterion == "huber":
            error = torch.where(error.abs() < 1, 0.5 * error**2, error.abs() - 0.5)
        return error.abs().sum(), known.sum().float()

    def measure(
        self, model: Any, batch: Batch, scores: Float[Tensor, "N C"], examples: Windows, decoder: Any
    ) -> Totals:
        loss, _ = self.loss(scores, batch)
        predicted = examples.restore(scores, batch.rows)
        _, true, scale = examples.cut(batch.rows)
        return {"loss": float(loss), **metrics.forecast_sums(predicted, true, scale)}

    def score(self, totals: Totals) -> dict[str, float]:
        return {"loss": totals["loss"] / totals["known"], **metrics.forecast(totals)}

    def baselines(self, train: Sequence[Series], records: Sequence[Series]) -> dict[str, dict[str, float]]:
        context, true, scale = (windows := Windows(self, records)).cut(np.arange(len(windows.ends)))
        return {
            name: metrics.forecast(metrics.forecast_sums(forecast(context, self.horizon, self.period), true, scale))
            for name, forecast in FORECASTS.items()
        }

    def predict(self, model: Any, lines: list[str], decoder: Any) -> list[dict[str, Any]]:
        """A line holds the history of a series: numbers separated by commas or spaces, "nan" (between commas also
        nothing) where one is missing, or a JSON list: of numbers, or of lists where there are several channels."""
        device = next(model.parameters()).device
        histories = [self.parse(line, number) for number, line in enumerate(lines, 1)]
        answers: list[dict[str, Any]] = []
        for rows in by_length(np.full(len(lines), self.context)):
            windows = Windows(self, [self.window(histories[row]) for row in rows])
            with torch.inference_mode():
                scores = model(windows.batch(np.arange(len(rows))).to(device)).scores
            for row, forecast in zip(rows, windows.restore(scores, np.arange(len(rows))), strict=True):
                values = np.round(forecast[:, 0] if len(self.channels) == 1 else forecast, 6)
                answers.append({"input": lines[row], "output": values.tolist()})
        return answers

    def window(self, history: np.ndarray) -> Series:
        """A history as a series whose last rows, unknown, are to be forecast."""
        values = np.concatenate([history, np.full((self.horizon, len(self.channels)), np.nan)])
        times = np.arange(len(values)).astype("datetime64[D]")
        return Series(next(iter(self.naive_error)), times, values, len(history), tuple(self.channels))

    def parse(self, line: str, number: int) -> np.ndarray:
        try:
            if line.lstrip().startswith("["):
                parts = json.loads(line)
            else:
                parts = [part.strip() or np.nan for part in line.split(",")] if "," in line else line.split()
            values = np.array([[np.nan] if part is None else np.atleast_1d(part) for part in parts], float)
        except (ValueError, TypeError):
            raise LineError(number, f"expected numbers, found {line[:60]!r}") from None
        if len(values) < self.context:
            raise LineError(number, f"{len(values)} values; the model reads the last {self.context}")
        if values.ndim != 2 or values.shape[1] != len(self.channels):
            raise LineError(number, f"expected {len(self.channels)} value(s) a step: {', '.join(self.channels)}")
        values = values[-self.context :]
        if np.isinf(values).any():
            raise LineError(number, "expected finite numbers")
        unknown = [name for i, name in enumerate(self.channels) if np.isnan(values[:, i]).all()]
        if unknown:
            raise LineError(number, f"none of the last {self.context} values of {unknown[0]} is known")
        return values

    def show(self, model: Any, examples: Windows, totals: Totals, decoder: Any) -> dict[str, Any]:
        rows = np.linspace(0, len(examples.ends) - 1, 2).astype(int)
        device = next(model.parameters()).device
        with torch.inference_mode():
            predicted = examples.restore(model(examples.batch(rows).to(device)).scores, rows)
        context, true, _ = examples.cut(rows)
        naive = baselines.seasonal_naive(context, self.horizon, self.period)
        return {
            f"forecast {i + 1}": plots.forecast(
                context[i, :, 0],
                true[i, :, 0],
                {"model": predicted[i, :, 0], "seasonal naive": naive[i, :, 0]},
                self.channels[0],
            )
            for i in range(len(rows))
        }


class Windows:
    """Every window whose targets lie in the split, of one or more series laid end to end."""

    def __init__(self, task: Forecasting, records: Sequence[Series]):
        self.task = task
        self.values = np.concatenate([series.values for series in records])  # (T, C)
        self.filled = np.concatenate([carry_forward(series.values) for series in records])
        ends, naive_error, start = [], [], 0
        for series in records:
            first, last = max(series.begin, task.context), len(series.values) - task.horizon
            ends.append(start + np.arange(first, last + 1))
            error = task.naive_error.get(series.name, [np.nan] * len(task.channels))
            naive_error.append(np.tile(error, (len(ends[-1]), 1)))
            start += len(series.values)
        self.ends = np.concatenate(ends)  # (N,) the first target row of each window
        self.naive_error = np.concatenate(naive_error)  # (N, C)
        if not len(self.ends):
            longest = max(len(series.values) for series in records)
            raise UserError(
                f"task.context={task.context} and task.horizon={task.horizon} need {task.context + task.horizon} "
                f"steps; the longest series of a split has {longest}"
            )

    @property
    def lengths(self) -> np.ndarray:
        return np.full(len(self.ends), self.task.horizon)

    def cut(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Contexts (N, S, C), targets (N, T, C), both with NaN where missing, and the MASE scales (N, C)."""
        ends = self.ends[rows, None]
        context = self.values[ends + np.arange(-self.task.context, 0)]
        return context, self.values[ends + np.arange(self.task.horizon)], self.naive_error[rows]

    def offset(self, rows: np.ndarray) -> np.ndarray:
        """(N, 1, C): what normalization takes off."""
        if self.task.normalize == "window":
            return self.filled[self.ends[rows] - 1][:, None]
        return np.broadcast_to(self.task.mean, (len(rows), 1, len(self.task.mean)))

    def restore(self, scores: Float[Tensor, "N C"], rows: np.ndarray) -> np.ndarray:
        """Normalized scores as (N, T, C) forecasts in the units of the data."""
        shape = len(rows), self.task.horizon, len(self.task.channels)
        return scores.float().cpu().numpy().reshape(shape) * self.task.scale + self.offset(rows)

    def batch(self, rows: np.ndarray) -> Batch:
        context, target, _ = self.cut(rows)
        places = self.ends[rows, None] + np.arange(-self.task.context, self.task.horizon)
        filled = (self.filled[places] - self.offset(rows)) / self.task.scale
        size = self.task.context
        source = np.concatenate([filled[:, :size], np.isnan(context)], -1)
        lengths = np.full(len(rows), self.task.horizon)
        return Batch(
            torch.from_numpy(source.astype(np.float32)),
            torch.full((len(rows),), size),
            torch.from_numpy(filled[:, size - 1 : -1].astype(np.float32)),
            torch.from_numpy(((target - self.offset(rows)) / self.task.scale).astype(np.float32)),
            torch.from_numpy(lengths),
            real_positions(lengths),
            rows,
        )


def carry_forward(values: np.ndarray) -> np.ndarray:
    """(T, C) with every missing value replaced by the last known one before it, at the head by the first known one."""
    known = ~np.isnan(values)
    steps = np.arange(len(values))[:, None]
    last = np.maximum.accumulate(np.where(known, steps, -1), 0)
    last = np.where(last < 0, known.argmax(0), last)
    return np.take_along_axis(values, last, 0)
