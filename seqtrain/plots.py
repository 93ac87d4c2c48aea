"""Figures for TensorBoard and the run folder. matplotlib is imported when the first one is drawn."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# matplotlib's own font has no Chinese, Japanese, Korean or Indian letters; these have, on Linux, macOS and Windows.
FONTS = ("DejaVu Sans", "Noto Sans CJK JP", "Noto Sans Devanagari", "Arial Unicode MS", "Malgun Gothic", "Nirmala UI")


def new(width: float, height: float) -> tuple[Figure, Axes]:
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def attention(sources: Sequence[str], outputs: Sequence[str], weights: np.ndarray) -> Figure:
    """What each output item (rows) looked at in the source (columns); weights (T, S) sum to one along a row."""
    columns, rows = [shown(item) for item in sources], [shown(item) for item in outputs]
    longest = max(map(len, columns))
    upright = longest > 2  # the words of a source would run into each other
    width = 1.2 + 0.28 * len(columns) + 0.08 * max(map(len, rows))
    height = 1 + 0.28 * len(rows) + 0.08 * (longest if upright else 1)
    figure, axes = new(min(width, 40.0), min(height, 40.0))
    axes.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=90 if upright else 0, family=fonts())
    axes.set_yticks(range(len(rows)), rows, family=fonts())
    axes.set_xticks(np.arange(1, len(columns)) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, len(rows)) - 0.5, minor=True)
    axes.grid(which="minor", color="0.9", linewidth=0.5)
    axes.tick_params(which="both", length=0, top=True, bottom=False, labeltop=True, labelbottom=False)
    axes.xaxis.set_label_position("top")
    axes.set(xlabel="source", ylabel="output")
    return figure


def forecast(context: np.ndarray, truth: np.ndarray, forecasts: Mapping[str, np.ndarray], name: str) -> Figure:
    """The context (S,), what came after it (T,) and what was forecast."""
    figure, axes = new(8.0, 3.0)
    steps = np.arange(1, len(truth) + 1)
    axes.plot(np.arange(1 - len(context), 1), context, color="0.6", label="context")
    axes.plot(steps, truth, color="black", label="truth")
    for i, (label, values) in enumerate(forecasts.items()):
        axes.plot(steps, values, color=f"C{i}", linestyle="-" if i == 0 else ":", label=label)
    axes.axvline(0.5, color="0.8", linewidth=1)
    axes.set(xlabel="step", ylabel=name)
    figure.legend(loc="outside upper center", ncols=2 + len(forecasts), frameon=False)
    return figure


def confusion(counts: np.ndarray, labels: Sequence[str]) -> Figure:
    """How often each true class (rows) was taken for each class (columns)."""
    size = 2 + 0.5 * len(labels)
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


@cache
def fonts() -> list[str]:
    """Families that are installed, the later ones for the letters that the earlier ones lack."""
    from matplotlib.font_manager import fontManager

    there = {font.name for font in fontManager.ttflist}
    return [name for name in FONTS if name in there]


def shown(item: str) -> str:
    return {" ": "␣", "\n": "⏎", "\t": "⇥"}.get(item, item)
