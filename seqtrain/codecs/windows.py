"""Windows over time series: each has a context that the model reads and a horizon that it forecasts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqtrain.codecs.calendar import calendar_features, check_calendar
from seqtrain.codecs.seasons import find_period
from seqtrain.codecs.static import static_features
from seqtrain.config import UserError
from seqtrain.config.json_values import make
from seqtrain.contract import Batch, Examples
from seqtrain.data.kinds import FORWARD, ROUNDING, Layout, Reading, Series
from seqtrain.reading.timestamps import local

NEGLIGIBLE = 1e-6  # standard deviations; smaller changes are rounding errors


@dataclass(frozen=True)
class Frame:
    """The settings of a window.

    context, horizon: steps that are read, and that are forecast. segment: steps in one position of the model.
    apart: whether each channel becomes a series of its own.
    calendar: names of calendar features.
    normalize: what is subtracted from the values: "window", the last known value of the context; "series", the mean in
        training; "none", nothing, and values are not scaled either.
    standardize: whether errors are measured in standard deviations of each channel.
    """

    context: int
    horizon: int
    segment: int
    apart: bool
    calendar: Sequence[str]
    normalize: str
    standardize: bool

    def __post_init__(self) -> None:
        check_calendar(self.calendar)
        segment = self.segment
        for name, steps in {"context": self.context, "horizon": self.horizon}.items():
            if steps % segment:
                below = steps // segment * segment
                fits = f"{below} or {below + segment}" if below else str(segment)
                raise UserError(f"task.{name}={steps} is no multiple of task.segment={segment}: {fits} would be")

    def sizes(self, fitted: Fitted) -> tuple[int, int, int]:
        """Returns how many numbers a position of the source, the decoder's inputs and the outputs has."""
        layout = fitted.layout
        channels = 1 if self.apart else len(layout.targets)
        inputs = channels + len(layout.known) + 2 * len(self.calendar) + len(next(iter(fitted.static.values())))
        source = inputs + len(layout.past) + channels * fitted.missing
        return source * self.segment, inputs * self.segment, channels * self.segment


@dataclass
class Fitted:
    """What is learned from the training series.

    series: {series: {channel: `Channel` as a list}}. covariates: {name: [mean, standard deviation]}. missing: whether
    values are missing; then the source has flags for them. period: steps of a season. static: {series: the numbers that
    stand at each of its steps}.
    """

    layout: Layout
    series: dict[str, dict[str, list[float]]]
    covariates: dict[str, list[float]]
    missing: bool
    period: int
    static: dict[str, list[float]]

    @classmethod
    def learn(cls, records: Sequence[Series], horizon: int, period: int | None) -> Fitted:
        """Learns from the training series. Leaves out those with a channel without any value; raises `UserError` where
        all are left out. period: None: it is found."""
        layout = records[0].layout
        empty = [np.all(np.isnan(series.values), 0) for series in records]  # of each series, by channel
        if all(channels.any() for channels in empty):
            names = [name for name, is_empty in zip(layout.targets, empty[0].tolist(), strict=True) if is_empty]
            raise UserError(f"train: there is no value of {', '.join(names)}; nothing can be learned from it")
        records = [series for series, channels in zip(records, empty, strict=True) if not channels.any()]
        period = period or find_period(records, horizon)
        learned = {
            series.name: {
                name: list(Channel.learn(series.values[:, i], bool(constant), horizon, period))
                for i, (name, constant) in enumerate(zip(layout.targets, series.constant(), strict=True))
            }
            for series in records
        }
        columns = np.concatenate([covariates_of(series) for series in records]).T
        covariates = {
            name: [float(np.nanmean(column)), float(np.nanstd(column)) or 1.0]  # 1: a constant is not scaled
            for name, column in zip((*layout.past, *layout.known), columns, strict=True)
        }
        missing = any(bool(np.isnan(series.values).any()) for series in records)
        return cls(layout, learned, covariates, missing, period, static_features(records))

    def with_scales_of(self, other: Fitted) -> Fitted:
        """The same data for a model of other data: what both know by name, a channel of a series or a covariate, keeps
        the scale that it has there; there are flags for missing values if there are such there."""

        def scaled(name: str, channel: str, own: list[float]) -> list[float]:
            known = other.series.get(name, {}).get(channel, own)
            return [*known[:-1], own[-1]]  # the naive error is not a scale: the metrics are of these data

        series = {
            name: {channel: scaled(name, channel, own) for channel, own in channels.items()}
            for name, channels in self.series.items()
        }
        covariates = {name: other.covariates.get(name, own) for name, own in self.covariates.items()}
        return replace(self, series=series, covariates=covariates, missing=other.missing)

    def state(self) -> dict[str, Any]:
        return asdict(self) | {"layout": self.layout._asdict() | {"reading": asdict(self.layout.reading)}}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Fitted:
        """Makes the object again from `state`; raises ValueError for a state that `learn` would never produce."""
        lists = {key: tuple(value) for key, value in state["layout"].items() if isinstance(value, list)}
        reading = make(Reading, state["layout"].get("reading", {}))
        static = state.get("static", {name: [] for name in state["series"]})  # a state of before there were such
        layout = make(Layout, {**state["layout"], **lists, "reading": reading})
        fitted = make(cls, {**state, "layout": layout, "static": static})
        layout, names = fitted.layout, fitted.layout.columns()
        valid_frequency = layout.frequency is None or FORWARD.match(layout.frequency)
        if len(set(names)) < len(names) or not (layout.targets and fitted.series and fitted.period and valid_frequency):
            raise ValueError("layout: expected different columns, and series")
        channels = [Channel(*series[name]) for series in fitted.series.values() for name in layout.targets]
        scales = [(channel.mean, scale) for channel in channels for scale in (channel.deviation, channel.change)]
        scales += [tuple(fitted.covariates[name]) for name in (*layout.past, *layout.known)]
        if not all(math.isfinite(mean) and 0 < scale < math.inf for mean, scale in scales):
            raise ValueError("series: expected finite means and deviations")
        sizes = {len(static[name]) for name in fitted.series}
        if len(sizes) > 1 or not all(math.isfinite(value) for values in static.values() for value in values):
            raise ValueError("static: expected as many finite numbers of each series")
        return fitted

    def scaled(self, names: Iterable[str]) -> bool:
        """Whether one of these series has a naive error that MASE can be measured by."""
        return any(Channel(*found).naive_error > 0 for name in names for found in self.series[name].values())

    def channels(self, series: Series) -> Channel:
        """Returns what was learned from the channels of a series, as arrays (C,)."""
        channels = [self.series[series.name][name] for name in series.layout.targets]
        return Channel(*np.array(channels).T)


class Channel(NamedTuple):
    """Statistics of the training values of one channel, or, as arrays (C,), of several."""

    mean: Any
    deviation: Any  # the standard deviation; 1 for a constant
    change: Any  # the standard deviation of the changes over some steps, at most the horizon: the largest of these
    naive_error: Any  # the mean absolute error of the seasonal naive forecast; NaN where that is zero

    @classmethod
    def learn(cls, values: Float[np.ndarray, " T"], constant: bool, horizon: int, period: int) -> Channel:
        """Computes the statistics. A change or an error as small as rounding errors is not used as a scale."""
        known = values[~np.isnan(values)]
        deviation = 1.0 if constant else float(known.std())
        negligible = max(NEGLIGIBLE * deviation, ROUNDING * float(np.abs(known).max()))
        lags = np.unique(np.linspace(1, horizon, min(horizon, 32)).round().astype(int)).tolist()
        changes = [differences(values, lag) for lag in lags]  # of many lags: over a whole season values change little
        change = max(float(of_lag.std()) if len(of_lag) > 1 else 0.0 for of_lag in changes)
        seasonal = differences(values, period)
        error = float(np.abs(seasonal).mean()) if len(seasonal) else 0.0
        return cls(
            float(known.mean()),
            deviation,
            change if change > negligible else deviation,
            error if error > negligible else np.nan,
        )


def differences(values: Float[np.ndarray, " T"], lag: int) -> Float[np.ndarray, " N"]:
    """Returns the changes over `lag` steps, where both values are known."""
    changes = values[lag:] - values[:-lag]
    return changes[~np.isnan(changes)]


class Windows(Examples):
    """All windows of one or more series whose targets lie in the split. The series are concatenated: a window is stored
    as the row of its first target, so that values are not copied."""

    def __init__(self, records: Sequence[Series], frame: Frame, fitted: Fitted):
        self.frame = frame
        self.flagged = fitted.missing
        self.targets = fitted.layout.targets
        records = [part for series in records for part in (series.apart() if frame.apart else [series])]
        found = [places(series, frame) for series in records]
        if not sum(map(len, found)):
            raise UserError(too_short(records, frame))
        self.records = records
        channels = [fitted.channels(series) for series in records]
        mean, deviation, change, naive_error = (np.stack(each) for each in zip(*channels, strict=True))
        self.mean, self.naive_error = mean, naive_error  # (series, C)
        self.scale = change if frame.normalize == "window" and not frame.standardize else deviation
        self.unit = deviation if frame.standardize else np.ones_like(deviation)
        self.values = np.concatenate([series.values for series in records])  # (T, C)
        self.filled = np.concatenate([carry_forward(s.values, m) for s, m in zip(records, mean, strict=True)])
        center, spread = np.array([*fitted.covariates.values()]).reshape(-1, 2).T
        extra = (np.concatenate([carry_forward(covariates_of(series), center) for series in records]) - center) / spread
        calendar = np.concatenate(
            [calendar_features(local(series.times, series.layout), frame.calendar) for series in records]
        )
        self.past, known = np.split(extra, [len(fitted.layout.past)], 1)  # (T, P)
        static = np.repeat(
            [fitted.static[series.name] for series in records], [len(series.values) for series in records], 0
        )
        self.known = np.concatenate([known, calendar, static], 1)  # (T, K)
        starts = np.cumsum([0, *(len(series.values) for series in records)])
        self.ends = np.concatenate([start + ends for start, ends in zip(starts[:-1], found, strict=True)])  # (N,)
        self.begins = starts[:-1]  # (series,)
        self.owner = np.repeat(np.arange(len(records)), [len(ends) for ends in found])  # (N,) the series of a window

    @property
    def sizes(self) -> Int[np.ndarray, "N 2"]:
        steps = np.array([self.frame.context, self.frame.horizon])
        return np.tile(steps // self.frame.segment, (len(self.ends), 1))

    def cut(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns contexts (N, S, C) and targets (N, T, C) in the units of the data, NaN where missing."""
        steps = self.ends[rows, None] + np.arange(-self.frame.context, self.frame.horizon)
        values = self.values[steps]
        return values[:, : self.frame.context], values[:, self.frame.context :]

    def channels(self, rows: np.ndarray) -> Int[np.ndarray, "N C"]:
        """Returns the numbers of the channels of windows, among all of a series."""
        if self.frame.apart:
            return self.owner[rows, None] % len(self.targets)
        return np.tile(np.arange(len(self.targets)), (len(rows), 1))

    def recency(self, rows: np.ndarray) -> Float[np.ndarray, " N"]:
        """Returns how late windows are among those of their series, above 0; 1 is the last one."""
        owner, counts = self.owner[rows], np.bincount(self.owner, minlength=len(self.records))
        return (rows - np.searchsorted(self.owner, owner) + 1) / counts[owner]

    def times(self, row: int) -> np.ndarray:
        """Returns the dates of a window: (S + T,), of its context and its targets."""
        end = self.ends[row] - self.begins[self.owner[row]]
        return self.series(row).times[end - self.frame.context : end + self.frame.horizon]

    def series(self, row: int) -> Series:
        return self.records[self.owner[row]]

    def apart_in_time(self) -> np.ndarray:
        """The rows of windows that forecast each date of a series once, from its first window on."""
        first = np.searchsorted(self.owner, self.owner)
        return np.flatnonzero((np.arange(len(self.owner)) - first) % self.frame.horizon == 0)

    def history(self, rows: np.ndarray, size: int) -> np.ndarray:
        """Returns the `size` rows before the targets: (N, size, C), NaN where missing or before the beginning."""
        steps = self.ends[rows, None] + np.arange(-size, 0)
        there = steps >= self.begins[self.owner[rows], None]
        return np.where(there[..., None], self.values[np.maximum(steps, 0)], np.nan)

    def normalization(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns what is subtracted from the values and what they are divided by, (N, 1, C) each."""
        scale = self.scale[self.owner[rows]][:, None]
        if self.frame.normalize == "none":
            return np.zeros_like(scale), np.ones_like(scale)
        if self.frame.normalize == "window":
            return self.filled[self.ends[rows] - 1][:, None], scale
        return self.mean[self.owner[rows]][:, None], scale

    def restore(self, scores: Float[Tensor, "N O"], rows: np.ndarray) -> np.ndarray:
        """Normalized scores as (N, T, C) forecasts in the units of the data."""
        shape = len(rows), self.frame.horizon, self.values.shape[1]
        offset, scale = self.normalization(rows)
        return scores.float().cpu().numpy().reshape(shape) * scale + offset

    def corrected(self, forecasts: np.ndarray, corrections: Float[np.ndarray, "T K"], rows: np.ndarray) -> np.ndarray:
        """Forecasts (N, T, C) in the units of the data with corrections in the scale of a window."""
        return forecasts + corrections.T[self.channels(rows)].swapaxes(1, 2) * self.normalization(rows)[1]

    def decimals(self, rows: np.ndarray) -> np.ndarray:
        """Returns how many decimals of a forecast are significant in float32: (N, C)."""
        scale = self.normalization(rows)[1][:, 0]
        return np.maximum(0, 6 - np.floor(np.log10(scale)).astype(int))

    def measured(self, forecasts: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns forecasts and true values (N, T, C) and naive errors (N, C), as `in_units`."""
        true, naive = self.in_units(self.cut(rows)[1], rows), self.naive_error[self.owner[rows]]
        return self.in_units(forecasts, rows), true, naive / self.unit[self.owner[rows]]

    def in_units(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Returns values (N, T, C) in the units in which errors are measured: those of the data, or standard
        deviations."""
        owner = self.owner[rows]
        return (values - self.mean[owner][:, None] * self.frame.standardize) / self.unit[owner][:, None]

    def batch(self, rows: np.ndarray, random: np.random.Generator | None = None) -> Batch:
        frame, size = self.frame, self.frame.context
        steps = self.ends[rows, None] + np.arange(-size, frame.horizon)
        offset, scale = self.normalization(rows)
        filled, known = (self.filled[steps] - offset) / scale, self.known[steps]
        source = [filled[:, :size], self.past[steps[:, :size]], known[:, :size]]
        if self.flagged:
            source.append(np.isnan(self.values[steps[:, :size]]))
        inputs = [filled[:, size - frame.segment : -frame.segment], known[:, size:]]
        return Batch(
            self.segments(*source),
            torch.full((len(rows),), size // frame.segment),
            self.segments(*inputs),
            self.segments((self.values[steps[:, size:]] - offset) / scale),
            torch.full((len(rows),), frame.horizon // frame.segment),
        )

    def segments(self, *parts: np.ndarray) -> Float[Tensor, "B T F"]:
        """Concatenates arrays (B, steps, F) along their features, and joins `segment` steps into each position."""
        w = self.frame.segment
        folded = [part.reshape(len(part), part.shape[1] // w, w * part.shape[2]) for part in parts]
        return torch.from_numpy(np.concatenate(folded, -1).astype(np.float32))

    def name(self, row: int) -> str:
        """What the first channel of a window is called, and the series, where there are several."""
        series = self.series(row)
        return f"{series.layout.targets[0]} of {series.name}" if series.layout.id else series.layout.targets[0]

    def blocks(self, rows: np.ndarray | None = None, size: int = 1024) -> Iterator[np.ndarray]:
        """The given rows, or all, some at a time."""
        rows = np.arange(len(self.ends)) if rows is None else rows
        return (rows[start : start + size] for start in range(0, len(rows), size))


def exported(frame: Frame, fitted: Fitted) -> dict[str, Any] | None:
    """As `Codec.exported`: of a single series without covariates or calendar, whose history is a line of numbers."""
    if len(fitted.series) > 1 or fitted.covariates or frame.calendar or frame.apart:
        return None
    (channels,) = fitted.series.values()
    mean, deviation, change, _ = map(list, zip(*channels.values(), strict=True))
    scale = change if frame.normalize == "window" and not frame.standardize else deviation
    none = frame.normalize == "none"
    return {
        "targets": list(fitted.layout.targets),
        "context": frame.context,
        "segment": frame.segment,
        "flagged": fitted.missing,
        "window": frame.normalize == "window",
        "mean": mean,
        "offset": [0.0] * len(mean) if none else mean,
        "deviation": [1.0] * len(mean) if none else scale,
    }


def covariates_of(series: Series) -> np.ndarray:
    """Returns the covariates of a series, those of the past first: (T, P + K)."""
    parts = [part for part in (series.past, series.known) if part is not None]
    return np.concatenate([np.zeros((len(series.values), 0)), *parts], 1)


def places(series: Series, frame: Frame) -> np.ndarray:
    """The first target rows of the windows of a series."""
    return np.arange(max(series.begin, frame.context), len(series.values) - frame.horizon + 1)


def check_windows(split: str, records: Sequence[Series], frame: Frame, fitted: Fitted) -> list[str]:
    """The names of those series of a split that training has learned from. Raises `UserError` where no window of them
    could be scored."""
    known = [series for series in records if series.name in fitted.series]
    if not known:
        raise UserError(f"{split}: no series of it has values in the training split")
    if not any(len(places(series, frame)) for series in known):
        raise UserError(f"{split}: {too_short(known, frame)}")
    if all(np.isnan(series.values[max(series.begin, frame.context) :]).all() for series in known):
        raise UserError(f"{split}: all values of {', '.join(fitted.layout.targets)} are missing")
    return [series.name for series in known]


def too_short(records: Sequence[Series], frame: Frame) -> str:
    """Returns a message for series that are too short for any window, with settings that would fit."""
    longest = max(records, key=lambda series: len(series.values))
    rows, targets = len(longest.values), len(longest.values) - longest.begin
    told = f"task.context={frame.context} and task.horizon={frame.horizon} need {frame.context + frame.horizon} steps"
    if targets < frame.horizon:
        return (
            f"{told}, the last {frame.horizon} of them in one split, of which the longest series has {targets}; "
            "a smaller task.horizon fits, or a larger split (data.valid_share, data.test_share)"
        )
    context = (rows - frame.horizon) // frame.segment * frame.segment
    cure = f"; task.context={context} fits" if context > 0 else f"; task.horizon has to be below {rows}"
    return f"{told}; the longest series of a split has {rows}{cure}"


def carry_forward(values: Float[np.ndarray, "T C"], head: Float[np.ndarray, " C"]) -> Float[np.ndarray, "T C"]:
    """Replaces each missing value by the last known one before it or, where there is none, by `head`."""
    last = np.maximum.accumulate(np.where(np.isnan(values), -1, np.arange(len(values))[:, None]), 0)
    return np.where(last < 0, head, np.take_along_axis(values, last, 0))
