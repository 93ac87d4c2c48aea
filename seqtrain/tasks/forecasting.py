"""Forecasting: the next values of time series."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from seqtrain.codecs.windows import Fitted, Frame, Windows, check_windows, exported, places
from seqtrain.config import UserError
from seqtrain.contract import Batch, Fixed, Output, Reals, Spec
from seqtrain.data.kinds import Series
from seqtrain.evaluation import intervals, metrics, plots, report
from seqtrain.evaluation.baselines import naive
from seqtrain.evaluation.metrics import Totals, Weighted, of_sums
from seqtrain.likelihoods.point import Point
from seqtrain.reading import histories
from seqtrain.reading.timestamps import write
from seqtrain.tasks.base import Task, by_example

NO_MASE = "the seasonal naive forecast makes no error in training, so there is no MASE, which is measured by it"


class Forecasting(Task):
    """Learns the next `horizon` values of each channel from the last `context` ones. Every window of a split counts.

    Segments are the patches of Nie et al. 2023 (arXiv:2211.14730), channels apart their "channel independence". The
    window's last known value is taken off for series with a trend; a scale learned in training divides in both ways of
    normalizing. Missing values are filled with the last known one, flagged to the model where the training part misses
    some, and left out of loss and metrics. The season is found by `find_period`.
    """

    kinds = ("series",)
    units = ("horizon", "standardize", "interval")
    corrections: np.ndarray | None = None  # of the quantiles of a forecast, see `intervals.corrections`

    def __init__(self, frame: Frame, period: int | None, interval: float, loss: str, monitor: str):
        self.frame = frame
        self.period = period
        self.interval = interval
        self.levels = intervals.levels_of(interval)
        self.criterion = loss
        self.monitor = monitor

    def outline(self, kind: str) -> Spec:
        return Spec(Reals((0,)), True, Reals((0,)), Point(0), Fixed(1))

    def fit(self, records: Sequence[Series], start: dict[str, Any] | None = None) -> None:
        """start: see `Task.fit`; a series keeps the scales that it had there, by its name."""
        if self.frame.calendar and records[0].layout.date_format == "integer":
            raise UserError(f"task.calendar: {records[0].layout.date} holds plain numbers, which have no calendar")
        fitted = Fitted.learn(records, self.frame.horizon, self.period)
        if start is not None:
            self.load_state(start)
            fitted = fitted.with_scales_of(self.fitted)
        self.describe(fitted)

    def describe(self, fitted: Fitted) -> None:
        self.fitted = fitted
        source, inputs, outputs = self.frame.sizes(fitted)
        form, likelihood = Fixed(self.frame.horizon // self.frame.segment), Point(outputs, self.criterion)
        self.spec = Spec(Reals((source,)), True, Reals((inputs,)), likelihood, form, known=inputs - outputs)

    def state(self) -> dict[str, Any]:
        return self.fitted.state()

    def load_state(self, state: dict[str, Any]) -> None:
        self.describe(Fitted.from_state({"period": self.period or 1} | state))

    def check(self, records: dict[str, Sequence[Series]]) -> None:
        for split, found in records.items():
            known = check_windows(split, found, self.frame, self.fitted)
            if self.monitor == "mase" and not self.fitted.scaled(known):
                raise UserError(f"task.monitor=mase: {split}: {NO_MASE}; task.monitor=mae will do")

    def report(self, records: dict[str, Sequence[Series]]) -> report.Report:
        fitted, frame = self.fitted, self.frame
        found = report.time_series(records, frame.context, frame.horizon, fitted.period, fitted.series)
        return found if fitted.scaled(fitted.series) else found._replace(lines=[*found.lines, f"train: {NO_MASE}"])

    def examples(self, records: Sequence[Series]) -> Windows:
        """Of the series that have been trained on."""
        return Windows([series for series in records if series.name in self.fitted.series], self.frame, self.fitted)

    # ------------------------------------------------------------------------------------------------ intervals

    def calibrate(self, model: Any, examples: Windows, totals: Totals) -> dict[str, Any]:
        """The corrections of the quantiles, by the errors of the validation split."""
        self.corrections = None  # the errors are those of the quantiles as the model says them
        rows = intervals.thinned(len(examples.ends), self.frame.horizon * examples.values.shape[1])
        scores = torch.cat([self.scores(model, examples, block).cpu() for block in examples.blocks(rows)])
        true, scale = examples.cut(rows)[1], examples.normalization(rows)[1]

        def errors(number: int) -> np.ndarray:
            return (true - self.quantile(number, scores, examples, rows)) / scale

        weights = intervals.weights(examples.recency(rows))
        found = intervals.corrections(self.levels, errors, weights, examples.channels(rows), mirrored=True)
        return {"corrections": np.vectorize(lambda value: float(f"{value:.6g}"))(found).tolist()}

    def load_calibration(self, learned: dict[str, Any]) -> None:
        if not learned:
            self.corrections = None
            return
        found = np.array(learned["corrections"], float)
        shape = len(self.levels), self.frame.horizon, len(self.fitted.layout.targets)
        if found.shape != shape or not np.isfinite(found).all():
            raise ValueError(f"corrections: expected {shape} finite numbers")
        self.corrections = found

    def quantiles(self, scores: torch.Tensor, windows: Windows, rows: np.ndarray) -> Iterator[np.ndarray]:
        """`quantile` of one level after the other."""
        return (self.quantile(number, scores, windows, rows) for number in range(len(self.levels)))

    def quantile(self, number: int, scores: torch.Tensor, windows: Windows, rows: np.ndarray) -> np.ndarray:
        """The quantile (N, T, C) of forecasts at a level, in the units of the data; corrected, as soon as there are
        corrections."""
        values = self.spec.likelihood.quantiles(scores, [self.levels[number]])[..., 0]
        restored = windows.restore(values, rows)
        return restored if self.corrections is None else windows.corrected(restored, self.corrections[number], rows)

    # ------------------------------------------------------------------------------------------------ metrics

    def measure(self, model: Any, rows: Any, batch: Batch, output: Output, examples: Any, decoder: Any) -> Totals:
        loss = by_example(self.spec.likelihood.loss(output, batch))
        forecast = examples.restore(self.spec.likelihood.pick(output.scores), rows)
        quantiles = None if self.corrections is None else self.quantiles(output.scores, examples, rows)
        return {"rows": rows.tolist(), "loss": loss, **self.sums(examples, rows, forecast, quantiles)}

    def sums(
        self, windows: Any, rows: np.ndarray, forecast: np.ndarray, quantiles: Iterator[np.ndarray] | None
    ) -> Totals:
        """What forecasts and their quantiles, (N, T, C) in the units of the data, add to the metrics."""
        made, true, naive = windows.measured(forecast, rows)
        found = metrics.forecast_sums(made, true, naive)
        if quantiles is not None:
            found |= intervals.sums((windows.in_units(values, rows) for values in quantiles), true, self.interval)
        return found

    def score_weighted(self, totals: Totals) -> Weighted:
        rows = {name: values for name, values in totals.items() if name != "rows"}
        return of_sums(rows, lambda sums: {"loss": sums["loss"] / sums["known"], **self.scored(sums)})

    @staticmethod
    def scored(sums: Totals) -> dict[str, float]:
        return metrics.forecast(sums) | intervals.scores(sums)

    def baselines(self, train: Sequence[Series], records: Sequence[Series]) -> dict[str, dict[str, float]]:
        """Their intervals follow from their errors in as many steps as the split has, just before it."""
        windows, parts, corrections = self.examples(records), {}, self.naive_corrections(records)
        for rows in windows.blocks():
            for name, made in self.naive(windows, rows).items():
                quantiles = map(partial(windows.corrected, made, rows=rows), corrections[name]) if corrections else None
                parts.setdefault(name, []).append(self.sums(windows, rows, made, quantiles))
        return {name: of_sums(metrics.joined(several), self.scored)() for name, several in parts.items()}

    def naive_corrections(self, records: Sequence[Series]) -> dict[str, np.ndarray]:
        """The corrections of the naive forecasts, by name; none where a split has nothing before it."""
        before = [series.cut(max(0, 2 * series.begin - len(series.values)), series.begin) for series in records]
        if not sum(len(places(series, self.frame)) for series in before):
            return {}
        windows = self.examples(before)
        rows = intervals.thinned(len(windows.ends), self.frame.horizon * windows.values.shape[1])
        true, scale, channels = windows.cut(rows)[1], windows.normalization(rows)[1], windows.channels(rows)
        weights = intervals.weights(windows.recency(rows))
        errors = {name: (true - made) / scale for name, made in self.naive(windows, rows).items()}
        return {
            name: intervals.corrections(self.levels, lambda _, made=made: made, weights, channels, mirrored=False)
            for name, made in errors.items()
        }

    def naive(self, windows: Windows, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The (N, T, C) naive forecasts of windows, by name; they look back two seasons, whatever the model reads."""
        period = self.fitted.period
        return naive.forecasts(windows.history(rows, max(self.frame.context, 2 * period)), self.frame.horizon, period)

    # ------------------------------------------------------------------------------------------------ answers

    def asked(self, records: Sequence[Series]) -> Windows:
        return self.examples(records)

    def lines(self, records: Sequence[Series], count: int) -> list[str]:
        """Histories of windows that have a value of each channel, as JSON."""
        windows = self.examples(records)
        rows = np.linspace(0, len(windows.ends) - 1, min(count, len(windows.ends))).astype(int)
        histories = windows.cut(rows)[0]
        known = [history for history in histories if not np.isnan(history).all(0).any()]
        return [json.dumps(history.tolist()) for history in known]

    def exported(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        source = exported(self.frame, self.fitted)
        return None if source is None else (source, {"horizon": self.frame.horizon})

    @property
    def field(self) -> None:
        return None

    def about(self) -> dict[str, Any]:
        """columns: those of a table of series. date, id and targets: their names among them, id where it is one."""
        layout = self.fitted.layout
        names = {"columns": layout.columns(), "date": layout.date, "id": layout.id, "targets": list(layout.targets)}
        return super().about() | names | {"context": self.frame.context, "horizon": self.frame.horizon}

    def header(self, line: str) -> str | None:
        return histories.output_header(line, self.fitted.layout, self.corrections is not None)

    def predict(self, model: Any, lines: list[str], decoder: Any) -> list[dict[str, Any]]:
        """The lines are a CSV table, whose every series is answered by rows, or series without dates, see
        `histories.read`."""
        layout, names, frame = self.fitted.layout, list(self.fitted.series), self.frame
        dated = len(names) > 1 or self.fitted.covariates or frame.calendar
        if lines and dated and self.header(lines[0]) is None:
            raise UserError(
                "input: this model needs dates, covariates or the name of a series, which a line of numbers has not; "
                f"expected a CSV table with the columns {','.join(layout.columns())}"
            )
        futures = histories.read(lines, frame.context, frame.horizon, names, layout)
        return histories.answers(lines, futures, self.forecast(model, futures))

    def given_series(self, lines: list[str]) -> tuple[list[dict[str, Any]], list[Series]]:
        """The series of a table, or of a line each, whose last `horizon` steps are the output that is to be scored; and
        what a table of the scores calls them."""
        frame, layout = self.frame, self.fitted.layout
        read = histories.read(lines, frame.context + frame.horizon, 0, list(self.fitted.series), layout)
        records = [series._replace(begin=frame.context) for series in read]
        if self.header(lines[0]) is None:
            return [{"input": line} for line in lines], records
        dates = [write(series.times[frame.context :], layout) for series in records]
        return [
            {layout.id or "series": series.name, "from": some[0], "to": some[-1]}
            for series, some in zip(records, dates, strict=True)
        ], records

    @torch.inference_mode()
    def log_probs(self, model: Any, records: Sequence[Series]) -> list[dict[str, Any]]:
        """The log-density of the last `horizon` steps of each series, in the units of the data."""
        windows, parts = self.examples(records), []
        for rows in windows.blocks():
            batch = windows.batch(rows).to(next(model.parameters()).device)
            known = ~np.isnan(windows.cut(rows)[1])
            scale = (np.log(windows.normalization(rows)[1]) * known).sum((1, 2))
            nats = by_example(self.spec.likelihood.nll(model(batch), batch)) + scale
            parts.append(np.stack([nats, known.sum((1, 2))], 1))
        found = np.concatenate(parts).reshape(len(records), -1, 2).sum(1)  # the channels of a series may be apart
        return [
            {"log_prob": -nats, "items": int(items), "log_prob_per_item": -nats / max(1, items)}
            for nats, items in found.tolist()
        ]

    def forecast(self, model: Any, records: Sequence[Series]) -> list[dict[str, np.ndarray]]:
        """What `run` makes of each series, whose rows end with the horizon: (T, C)."""
        windows, parts = self.examples(records), []
        for rows in windows.blocks():
            decimals = windows.decimals(rows)[:, None]
            exact = self.run(model, windows, rows).items()
            parts.append({name: np.vectorize(round, otypes=[float])(values, decimals) for name, values in exact})
        found = metrics.joined(parts)
        if self.frame.apart:  # one window a channel
            shape = len(records), -1, self.frame.horizon
            found = {name: values.reshape(shape).swapaxes(1, 2) for name, values in found.items()}
        return [dict(zip(found, several, strict=True)) for several in zip(*found.values(), strict=True)]

    @torch.inference_mode()
    def scores(self, model: Any, windows: Windows, rows: np.ndarray) -> torch.Tensor:
        return model(windows.batch(rows).to(next(model.parameters()).device)).scores

    def run(self, model: Any, windows: Windows, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The forecasts of windows, and as soon as there are corrections the ends of their intervals: (N, T, C) each,
        in the units of the data."""
        scores = self.scores(model, windows, rows)
        found = {"prediction": windows.restore(self.spec.likelihood.pick(scores), rows)}
        if self.corrections is not None:
            ends = [self.quantile(number, scores, windows, rows) for number in intervals.ends(self.interval)]
            found |= {"lower": np.minimum(*ends), "upper": np.maximum(*ends)}
        return found

    def predictions(self, model: Any, examples: Windows, totals: Totals, decoder: Any) -> list[dict[str, Any]]:
        """Each date of a series once, forecast from the last known value `origin`, at most a horizon before."""
        found: list[dict[str, Any]] = []
        for rows in examples.blocks(examples.apart_in_time()):
            true, made = examples.cut(rows)[1], self.run(model, examples, rows)
            for place, row in enumerate(rows.tolist()):
                values = {name: values[place] for name, values in {"target": true, **made}.items()}
                found += histories.compared(examples.series(row), examples.times(row), values)
        return found

    def tables(self, examples: Windows, totals: Totals, split: str) -> dict[str, list[dict[str, Any]]]:
        if split != "test":
            return {}
        layout, rows = self.fitted.layout, self.backtest(examples, totals)
        return {"backtest": [row | {"origin": write(np.array([row["origin"]]), layout)[0]} for row in rows]}

    def backtest(self, examples: Windows, totals: Totals) -> list[dict[str, Any]]:
        """How good forecasts from one origin after the other are, a horizon apart (Tashman 2000), over all series and
        channels that begin there; beside the MAE of the seasonal naive forecast."""
        measured, rows = np.array(totals["rows"]), examples.apart_in_time()
        rows = rows[np.isin(rows, measured)]
        origins = np.array([examples.times(row)[self.frame.context] for row in rows.tolist()])
        found = []
        for origin in np.unique(origins):
            some = rows[origins == origin]
            counted = np.isin(measured, some)
            sums = {name: values[counted].sum() for name, values in totals.items() if name != "rows"}
            if sums["known"]:
                naive = self.sums(examples, some, list(self.naive(examples, some).values())[1], None)
                error = naive["absolute"].sum() / naive["known"].sum()
                found.append({"origin": origin, **self.scored(sums), "mae_seasonal_naive": error})
        common = [name for name in found[0] if all(name in row for row in found)] if found else []
        return [{name: row[name] for name in common} for row in found]

    def example(self, examples: Windows, row: int) -> str:
        """The series, and the first date that is forecast."""
        series = examples.series(row)
        return f"{examples.name(row)}, {write(examples.times(row)[self.frame.context :], series.layout)[0]}"

    def show(self, model: Any, examples: Windows, totals: Totals, decoder: Any) -> dict[str, Any]:
        rows = np.linspace(0, len(examples.ends) - 1, 2).astype(int)
        made = self.run(model, examples, rows)
        context, true = examples.cut(rows)
        label, naive = list(self.naive(examples, rows).items())[1]
        return {
            f"forecast {i + 1}": plots.forecast(
                examples.times(row),
                context[i, :, 0],
                true[i, :, 0],
                {"model": made["prediction"][i, :, 0], label: naive[i, :, 0]},
                examples.name(row),
                self.interval,
                [made[end][i, :, 0] for end in histories.ENDS if end in made],
            )
            for i, row in enumerate(rows.tolist())
        }

    def overview(self, examples: Windows, totals: Totals) -> dict[str, Any]:
        errors = self.backtest(examples, totals)
        if len(errors) < 2:
            return {}
        of = {"model": "mae", f"seasonal naive, period {self.fitted.period}": "mae_seasonal_naive"}
        lines = {label: [row[name] for row in errors] for label, name in of.items()}
        return {"backtest": plots.backtest([row["origin"] for row in errors], lines)}
