"""Windows over time series: a context that is read and a horizon that is forecast, at every place of a split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seqtrain.batch import Batch, real_positions
from seqtrain.config import UserError
from seqtrain.data import Layout, Series
from seqtrain.data.calendar import calendar_features


class Frame(NamedTuple):
    """The form of a window. context, horizon: its steps. segment: steps that make one position. apart: each channel is
    a window of its own. calendar: features of the date. normalize: what is taken off the values, "window", the last
    known one of each window, or "series", the mean in training. standardize: values count in standard deviations."""

    context: int
    horizon: int
    segment: int
    apart: bool
    calendar: tuple[str, ...]
    normalize: str
    standardize: bool

    def sizes(self, fitted: Fitted) -> tuple[int, int, int]:
        """How many numbers a position holds: of the source, of a decoder's inputs, of the outputs."""
        layout = fitted.layout
        channels = 1 if self.apart else len(layout.targets)
        inputs = channels + len(layout.known) + 2 * len(self.calendar)
        source = inputs + len(layout.past) + channels * fitted.missing
        return source * self.segment, inputs * self.segment, channels * self.segment


@dataclass
class Fitted:
    """What the training series say. series: by name and channel, the `Channel` as a list. covariates: mean and standard
    deviation by name. missing: whether values are missing, so that it is worth a flag."""

    layout: Layout
    series: dict[str, dict[str, list[float]]]
    covariates: dict[str, list[float]]
    missing: bool

    @classmethod
    def learn(cls, records: Sequence[Series], horizon: int, period: int) -> Fitted:
        layout = records[0].layout
        series = {
            one.name: {
                name: list(Channel.learn(one.values[:, i], horizon, period, f"{name} of {one.name}"))
                for i, name in enumerate(layout.targets)
            }
            for one in records
        }
        extra = np.concatenate([extras(one) for one in records])
        covariates = {
            name: [float(np.nanmean(column)), float(np.nanstd(column)) or 1.0]
            for name, column in zip((*layout.past, *layout.known), extra.T, strict=True)
        }
        return cls(layout, series, covariates, any(bool(np.isnan(one.values).any()) for one in records))

    def state(self) -> dict[str, Any]:
        return asdict(self) | {"layout": self.layout._asdict()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Fitted:
        lists = {key: tuple(value) for key, value in state["layout"].items() if isinstance(value, list)}
        return cls(**{**state, "layout": Layout(**{**state["layout"], **lists})})

    def channels(self, series: Series) -> Channel:
        """The measures of a series' channels as (C,) arrays."""
        if series.name not in self.series:
            raise UserError(
                f"{series.name}: this series has no rows in the training split, so its scale is unknown; leave it out"
            )
        found = [self.series[series.name][name] for name in series.layout.targets]
        return Channel(*np.array(found).T)


class Channel(NamedTuple):
    """Of the training values of one channel (or, as arrays, of several): mean, standard deviation, that of the changes
    over a horizon, and the mean absolute error of the seasonal naive forecast, NaN where that has none."""

    mean: Any
    deviation: Any
    change: Any
    naive_error: Any

    @classmethod
    def learn(cls, values: Float[np.ndarray, " T"], horizon: int, period: int, name: str) -> Channel:
        known = values[~np.isnan(values)]
        if len(known) == 0 or known.min() == known.max():
            what = f"the same, {known[0]:g}" if len(known) else "missing"
            raise UserError(
                f"{name}: all {len(values):,} training values are {what}: nothing can be learned from it; leave it out"
            )
        deviation = known.std()
        changes, seasonal = (d[~np.isnan(d)] for d in (values[lag:] - values[:-lag] for lag in (horizon, period)))
        change = changes.std() if len(changes) > 1 else 0.0
        error = np.abs(seasonal).mean() if len(seasonal) else 0.0
        return cls(float(known.mean()), float(deviation), float(change or deviation), float(error or np.nan))


class Windows:
    """Every window whose targets lie in the split, of one or more series laid end to end."""

    def __init__(self, records: Sequence[Series], frame: Frame, fitted: Fitted):
        self.frame = frame
        self.flagged = fitted.missing
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
        extra = (np.concatenate([carry_forward(extras(series), center) for series in records]) - center) / spread
        calendar = np.concatenate([calendar_features(series.times, frame.calendar) for series in records])
        self.past, known = np.split(extra, [len(fitted.layout.past)], 1)  # (T, P)
        self.known = np.concatenate([known, calendar], 1)  # (T, K)
        starts = np.cumsum([0, *(len(series.values) for series in records)])
        self.ends = np.concatenate([start + ends for start, ends in zip(starts[:-1], found, strict=True)])  # (N,)
        self.begins = starts[:-1]  # (series,)
        self.owner = np.repeat(np.arange(len(records)), [len(ends) for ends in found])  # (N,) the series of a window

    @property
    def lengths(self) -> np.ndarray:
        return np.full(len(self.ends), self.frame.horizon // self.frame.segment)

    def cut(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Contexts (N, S, C) and targets (N, T, C) in the units of the data, NaN where missing."""
        steps = self.ends[rows, None] + np.arange(-self.frame.context, self.frame.horizon)
        values = self.values[steps]
        return values[:, : self.frame.context], values[:, self.frame.context :]

    def history(self, rows: np.ndarray, size: int) -> np.ndarray:
        """(N, size, C): the rows before the targets, however far back; NaN where missing or before the beginning."""
        steps = self.ends[rows, None] + np.arange(-size, 0)
        there = steps >= self.begins[self.owner[rows], None]
        return np.where(there[..., None], self.values[np.maximum(steps, 0)], np.nan)

    def normalization(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is taken off and what is divided by, (N, 1, C) each."""
        scale = self.scale[self.owner[rows]][:, None]
        if self.frame.normalize == "window":
            return self.filled[self.ends[rows] - 1][:, None], scale
        return self.mean[self.owner[rows]][:, None], scale

    def restore(self, scores: Float[Tensor, "N O"], rows: np.ndarray) -> np.ndarray:
        """Normalized scores as (N, T, C) forecasts in the units of the data."""
        shape = len(rows), self.frame.horizon, self.values.shape[1]
        offset, scale = self.normalization(rows)
        return scores.float().cpu().numpy().reshape(shape) * scale + offset

    def measured(self, forecasts: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Forecasts and true values (N, T, C), and the naive errors (N, C), in the units that errors are told in."""
        owner = self.owner[rows]
        mean, unit = self.mean[owner][:, None] * self.frame.standardize, self.unit[owner][:, None]
        return (forecasts - mean) / unit, (self.cut(rows)[1] - mean) / unit, self.naive_error[owner] / unit[:, 0]

    def batch(self, rows: np.ndarray) -> Batch:
        frame, size = self.frame, self.frame.context
        steps = self.ends[rows, None] + np.arange(-size, frame.horizon)
        offset, scale = self.normalization(rows)
        filled, known = (self.filled[steps] - offset) / scale, self.known[steps]
        source = [filled[:, :size], self.past[steps[:, :size]], known[:, :size]]
        if self.flagged:
            source.append(np.isnan(self.values[steps[:, :size]]))
        inputs = [filled[:, size - frame.segment : -frame.segment], known[:, size:]]
        lengths = self.lengths[rows]
        return Batch(
            self.segments(*source),
            torch.full((len(rows),), size // frame.segment),
            self.segments(*inputs),
            self.segments((self.values[steps[:, size:]] - offset) / scale),
            torch.from_numpy(lengths),
            real_positions(lengths),
            rows,
        )

    def segments(self, *parts: np.ndarray) -> Float[Tensor, "B T F"]:
        """(B, steps, F) arrays side by side, as positions of several steps each."""
        w = self.frame.segment
        folded = [part.reshape(len(part), part.shape[1] // w, w * part.shape[2]) for part in parts]
        return torch.from_numpy(np.concatenate(folded, -1).astype(np.float32))

    def name(self, row: int) -> str:
        """What the first channel of a window is called."""
        return self.records[self.owner[row]].layout.targets[0]

    def blocks(self, size: int = 1024) -> Iterator[np.ndarray]:
        """All rows, some at a time."""
        return (np.arange(start, min(start + size, len(self.ends))) for start in range(0, len(self.ends), size))


def extras(series: Series) -> np.ndarray:
    """(T, P + K): the covariates of the layout, first those of the past."""
    parts = [part for part in (series.past, series.known) if part is not None]
    return np.concatenate([np.zeros((len(series.values), 0)), *parts], 1)


def places(series: Series, frame: Frame) -> np.ndarray:
    """The first target rows of the windows of a series."""
    return np.arange(max(series.begin, frame.context), len(series.values) - frame.horizon + 1)


def too_short(records: Sequence[Series], frame: Frame) -> str:
    """What is wrong where no window fits, and what would."""
    longest = max(records, key=lambda series: len(series.values))
    rows, targets = len(longest.values), len(longest.values) - longest.begin
    told = f"task.context={frame.context} and task.horizon={frame.horizon} need {frame.context + frame.horizon} steps"
    if targets < frame.horizon:
        return f"{told}, the last {frame.horizon} of them in one split, of which the longest series has {targets}"
    context = (rows - frame.horizon) // frame.segment * frame.segment
    cure = f"; task.context={context} fits" if context > 0 else f"; task.horizon has to be below {rows}"
    return f"{told}; the longest series of a split has {rows}{cure}"


def carry_forward(values: Float[np.ndarray, "T C"], head: Float[np.ndarray, " C"]) -> Float[np.ndarray, "T C"]:
    """Every missing value replaced by the last known one before it, where there is none by `head`."""
    last = np.maximum.accumulate(np.where(np.isnan(values), -1, np.arange(len(values))[:, None]), 0)
    return np.where(last < 0, head, np.take_along_axis(values, last, 0))
