"""Figures for TensorBoard and the run folder. matplotlib is imported when the first one is drawn."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new(width: float, height: float) -> tuple[Figure, Axes]:
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def attention(sources: Sequence[str], outputs: Sequence[str], weights: np.ndarray) -> Figure:
    """What each output item (rows) looked at in the source (columns); weights (T, S) sum to one along a row."""
    figure, axes = new(2 + 0.28 * len(sources), 1.2 + 0.28 * len(outputs))
    axes.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(sources)), [shown(item) for item in sources])
    axes.set_yticks(range(len(outputs)), [shown(item) for item in outputs])
    axes.set(xlabel="source", ylabel="output")
    return figure


def forecast(context: np.ndarray, truth: np.ndarray, forecasts: Mapping[str, np.ndarray], name: str) -> Figure:
    """The context (S,), what came after it (T,) and what was forecast."""
    figure, axes = new(8, 3)
    steps = np.arange(1, len(truth) + 1)
    axes.plot(np.arange(1 - len(context), 1), context, color="0.6", label="context")
    axes.plot(steps, truth, color="black", label="truth")
    for i, (label, values) in enumerate(forecasts.items()):
        axes.plot(steps, values, color=f"C{i}", linestyle="-" if i == 0 else ":", label=label)
    axes.axvline(0.5, color="0.8", linewidth=1)
    axes.set(xlabel="step", ylabel=name)
    axes.legend(loc="upper left", frameon=False)
    return figure


def confusion(counts: np.ndarray, labels: Sequence[str]) -> Figure:
    """How often each true class (rows) was taken for each class (columns)."""
    size = 2 + 0.8 * len(labels)
    figure, axes = new(size, size)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        axes.text(
            column, row, str(count), ha="center", va="center", color="white" if shares[row, column] > 0.5 else "black"
        )
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="output", ylabel="label")
    return figure


def shown(item: str) -> str:
    return {" ": "␣", "\n": "⏎", "\t": "⇥"}.get(item, item)
