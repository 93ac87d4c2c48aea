"""Forecasting: the next values of time series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seqtrain import baselines, metrics, plots
from seqtrain.batch import Batch, Fixed, Reals, Source, Spec
from seqtrain.config import UserError
from seqtrain.data import Series, frames, histories, report
from seqtrain.data.calendar import check_calendar
from seqtrain.data.description import describe_series, figures
from seqtrain.metrics import Totals
from seqtrain.tasks.base import Task
from seqtrain.windows import Fitted, Frame, Windows

FORECASTS: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "repeat last": lambda context, horizon, period: baselines.repeat_last(context, horizon),
    "seasonal naive": baselines.seasonal_naive,
    "seasonal naive with drift": baselines.seasonal_naive_drift,
}


class Forecasting(Task):
    """Learns the next `horizon` values of each channel from the last `context` ones. Every window of a split counts.

    segment: steps that make one position (Nie et al. 2023, arXiv:2211.14730). apart: each channel is a window of its
    own, all with the same weights (ibid., "channel independence"). calendar: features of the date, known ahead.
    period: steps of a season, for the naive forecasts and MASE. normalize: "window" takes the last known value of a
    window off its values, for series with a trend; "series" takes off the training mean. Both divide by a scale learned
    in training. standardize: values count, in the loss and in the metrics, in standard deviations of the training part.
    loss: "mae", "mse" or "huber", of normalized values. Missing values are filled with the last known one, flagged to
    the model where the training part misses some, and left out of loss and metrics. monitor: a metric of `score`.
    """

    kinds = ("series",)

    def __init__(
        self,
        context: int,
        horizon: int,
        segment: int,
        apart: bool,
        calendar: Sequence[str],
        period: int,
        normalize: str,
        standardize: bool,
        loss: str,
        monitor: str,
    ):
        check_calendar(calendar)
        for name, steps in {"context": context, "horizon": horizon}.items():
            if steps % segment:
                less = steps // segment * segment
                fits = f"{less} or {less + segment}" if less else str(segment)
                raise UserError(f"task.{name}={steps} is no multiple of task.segment={segment}: {fits} would be")
        self.frame = Frame(context, horizon, segment, apart, tuple(calendar), normalize, standardize)
        self.period = period
        self.criterion = loss
        self.monitor = monitor

    @staticmethod
    def outline(kind: str) -> Spec:
        return Spec(Reals((0,)), Source.MANY, Reals((0,)), 0, Fixed(1))

    def fit(self, records: Sequence[Series]) -> None:
        self.describe(Fitted.learn(records, self.frame.horizon, self.period))

    def describe(self, fitted: Fitted) -> None:
        self.fitted = fitted
        source, inputs, outputs = self.frame.sizes(fitted)
        length = self.frame.horizon // self.frame.segment
        self.spec = Spec(Reals((source,)), Source.MANY, Reals((inputs,)), outputs, Fixed(length))

    def state(self) -> dict[str, Any]:
        return self.fitted.state()

    def load_state(self, state: dict[str, Any]) -> None:
        self.describe(Fitted.from_state(state))

    def report(self, records: dict[str, Sequence[Series]]) -> report.Report:
        sizes = self.frame.context, self.frame.horizon
        return report.Report(figures(records, *sizes), describe_series(records, *sizes))

    def examples(self, records: Sequence[Series]) -> Windows:
        return Windows(records, self.frame, self.fitted)

    def loss(self, scores: Float[Tensor, "N O"], batch: Batch) -> tuple[Tensor, Tensor]:
        target = batch.real(batch.target)
        known = ~target.isnan()
        error = torch.where(known, scores.float() - target, 0.0)
        if self.criterion == "mse":
            error = error**2
        elif self.criterion == "huber":
            error = torch.where(error.abs() < 1, 0.5 * error**2, error.abs() - 0.5)
        return error.abs().sum(), known.sum().float()

    def measure(self, model: Any, batch: Batch, scores: Float[Tensor, "N O"], examples: Any, decoder: Any) -> Totals:
        loss, _ = self.loss(scores, batch)
        forecast = examples.restore(scores, batch.rows)
        return {"loss": float(loss), **metrics.forecast_sums(*examples.measured(forecast, batch.rows))}

    def score(self, totals: Totals) -> dict[str, float]:
        return {"loss": totals["loss"] / totals["known"], **metrics.forecast(totals)}

    def baselines(self, train: Sequence[Series], records: Sequence[Series]) -> dict[str, dict[str, float]]:
        windows, totals = self.examples(records), {name: {} for name in FORECASTS}
        for rows in windows.blocks():
            past = windows.history(rows, max(self.frame.context, 2 * self.period))  # two seasons, whatever is read
            for name, forecast in FORECASTS.items():
                made = forecast(past, self.frame.horizon, self.period)
                totals[name] = metrics.add(totals[name], metrics.forecast_sums(*windows.measured(made, rows)))
        return {name: metrics.forecast(sums) for name, sums in totals.items()}

    def header(self, line: str) -> str | None:
        layout = self.fitted.layout
        if layout.date not in frames.header(line):
            return None
        return ",".join([*([layout.id] if layout.id else []), layout.date, *layout.targets])

    def predict(self, model: Any, lines: list[str], decoder: Any) -> list[dict[str, Any]]:
        """The lines are a CSV table with the columns of the training data, whose every series is answered by rows of
        dates and forecasts; or each line is the history of a series without dates: numbers separated by commas or
        spaces, "nan" (between commas also nothing) where one is missing, or a JSON list: of numbers, or of lists where
        there are several channels."""
        layout, names, sizes = self.fitted.layout, list(self.fitted.series), (self.frame.context, self.frame.horizon)
        if lines and self.header(lines[0]) is not None:
            futures = histories.from_table(lines, *sizes, names, layout)
            return [
                row
                for series, values in zip(futures, self.forecast(model, futures), strict=True)
                for row in histories.rows(series, values)
            ]
        if len(names) > 1 or self.fitted.covariates or self.frame.calendar:
            raise UserError(
                "input: this model needs dates, covariates or the name of a series, which a line of numbers has not; "
                f"expected a CSV table with the columns {','.join(layout.columns())}"
            )
        futures = [histories.from_line(line, i, *sizes, names[0], layout) for i, line in enumerate(lines, 1)]
        answers = [histories.digits(values) for values in self.forecast(model, futures)]
        single = len(layout.targets) == 1
        return [
            {"input": line, "output": [value for (value,) in answer] if single else answer}
            for line, answer in zip(lines, answers, strict=True)
        ]

    def forecast(self, model: Any, records: Sequence[Series]) -> list[np.ndarray]:
        """The (T, C) forecast of each series, whose rows end with the horizon."""
        device, windows, made = next(model.parameters()).device, self.examples(records), []
        for rows in windows.blocks():
            with torch.inference_mode():
                made.append(windows.restore(model(windows.batch(rows).to(device)).scores, rows))
        forecasts = np.concatenate(made)
        if self.frame.apart:  # one window a channel
            forecasts = forecasts.reshape(len(records), -1, self.frame.horizon).swapaxes(1, 2)
        return list(forecasts)

    def show(self, model: Any, examples: Windows, totals: Totals, decoder: Any) -> dict[str, Any]:
        rows = np.linspace(0, len(examples.ends) - 1, 2).astype(int)
        device = next(model.parameters()).device
        with torch.inference_mode():
            predicted = examples.restore(model(examples.batch(rows).to(device)).scores, rows)
        context, true = examples.cut(rows)
        naive = baselines.seasonal_naive(context, self.frame.horizon, self.period)
        return {
            f"forecast {i + 1}": plots.forecast(
                context[i, :, 0],
                true[i, :, 0],
                {"model": predicted[i, :, 0], "seasonal naive": naive[i, :, 0]},
                examples.name(row),
            )
            for i, row in enumerate(rows.tolist())
        }
