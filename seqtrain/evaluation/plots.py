"""Figures for TensorBoard and the run folder. matplotlib is imported only when a figure is drawn."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from itertools import chain, islice, zip_longest
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from seqtrain.evaluation.fonts import legible
from seqtrain.evaluation.metrics import METRICS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ITEMS = 100  # of a source or an output in an attention map
MOST_CLASSES = 60  # of a confusion matrix
MOST_WORDS = 30  # of a sentence
MOST_COUNTS = 1000  # that are written into small cells of a confusion matrix; more are no more to be read than colors
FEW_CLASSES = 20  # of a confusion matrix whose cells are large


def new(width: float, height: float, panels: int = 1, rows: int = 1, **stacked: Any) -> tuple[Figure, Any]:
    """A figure and its axes: one, or where there are several panels, an array of them, in rows. stacked: how panels
    above each other share it."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    return figure, figure.subplots(*(panels, 1) if stacked else (rows, panels // rows), **stacked)


def attention(sources: Sequence[str], outputs: Sequence[str], weights: np.ndarray) -> Figure:
    """Draws the attention weights (T, S) of each output item (row) for each source item (column). Of long texts only
    the first `MOST_ITEMS` are drawn."""
    sources, outputs = sources[:MOST_ITEMS], outputs[:MOST_ITEMS]
    labels, style = legible([*sources, *outputs])
    columns, rows = labels[: len(sources)], labels[len(sources) :]
    longest = max(map(len, columns))
    upright = longest > 2  # horizontal words would overlap
    width = 1.2 + 0.28 * len(columns) + 0.08 * max(map(len, rows))
    height = 1 + 0.28 * len(rows) + 0.08 * (longest if upright else 1)
    figure, axes = new(width, height)
    axes.imshow(weights[: len(rows), : len(columns)], cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=90 if upright else 0, **style)
    axes.set_yticks(range(len(rows)), rows, **style)
    axes.vlines(np.arange(1, len(columns)) - 0.5, -0.5, len(rows) - 0.5, color="0.9", linewidth=0.5)
    axes.hlines(np.arange(1, len(rows)) - 0.5, -0.5, len(columns) - 0.5, color="0.9", linewidth=0.5)
    axes.tick_params(length=0, top=True, bottom=False, labeltop=True, labelbottom=False)
    axes.xaxis.set_label_position("top")
    axes.set(xlabel="source", ylabel="output")
    return figure


def forecast(
    times: np.ndarray,
    context: np.ndarray,
    truth: np.ndarray,
    forecasts: Mapping[str, np.ndarray],
    name: str,
    coverage: float,
    band: Sequence[np.ndarray] = (),
) -> Figure:
    """Draws the context (S,), the true values after it (T,) and the forecasts (T,) over the dates (S + T,). name: the
    label of the axis. band: the ends (T,) of the intervals of the first forecast. coverage: the share of values that
    these are to hold."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    figure, axes = new(8.0, 3.0)
    last = len(context) - 1
    future = times[len(context) :]
    axes.plot(times[: len(context)], context, color="0.6", label="context")
    axes.plot(times[last:], [context[last], *truth], color="black", label="truth")
    for i, (label, values) in enumerate(forecasts.items()):
        marker = "." if len(future) == 1 else ""  # a line of one point cannot be seen
        axes.plot(future, values, color=f"C{i}", linestyle="-" if i == 0 else ":", marker=marker, label=label)
    if band:
        axes.fill_between(future, *band, color="C0", alpha=0.2, linewidth=0, label=f"{100 * coverage:g}% interval")
    axes.axvline(times[last], color="0.8", linewidth=1)
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    (label,), style = legible([name])
    axes.set_ylabel(label, **style)
    figure.legend(loc="outside upper center", ncols=6, frameon=False)
    return figure


def backtest(origins: Sequence[Any], errors: Mapping[str, Sequence[float]]) -> Figure:
    """The mean absolute error of forecasts from each origin, of several methods, with its mean and deviation."""
    figure, axes = new(8.0, 3.0)
    for i, (name, values) in enumerate(errors.items()):
        label = f"{name}: {np.mean(values):.4g} ± {np.std(values, ddof=1):.2g}"
        axes.plot(origins, values, color=f"C{i}", linestyle="-" if i == 0 else ":", marker=".", label=label)
    axes.set(xlabel="first date of a forecast", ylabel="MAE")
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return figure


def roll(frames: np.ndarray, steps: int) -> Figure:
    """Which keys (T, 88) of a piano sound in each frame, of which `steps` make a quarter note; a note is a bar."""
    figure, axes = new(8.0, 3.5)
    axes.imshow(frames.T > 0, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest", origin="lower",
                extent=(0, len(frames) / steps, -0.5, frames.shape[1] - 0.5))  # fmt: skip
    used = np.flatnonzero(frames.any(0))
    low, high = (used[0], used[-1]) if len(used) else (27, 51)
    octaves = range(3, frames.shape[1], 12)
    axes.set_yticks(octaves, [f"C{number}" for number in range(1, 1 + len(octaves))])
    axes.set(xlabel="quarter notes", ylabel="key", ylim=(low - 2, high + 2))
    return figure


def transcript(
    frames: np.ndarray, items: Sequence[str], weights: np.ndarray, caption: str, step: float | None
) -> Figure:
    """A signal (T, C) as a picture, and below it how much each item of what was read belongs to each position (N, R);
    R positions stand for all T. step: seconds from position to position; None: they are pixels."""
    width = max(4.0, 1.5 + 0.025 * len(frames))
    figure, (above, below) = new(width, 3.6, 2, sharex=True, height_ratios=(3, 2))
    length = len(frames) * (step or 1)
    above.imshow(frames.T, origin="lower" if step else "upper", aspect="auto", cmap="magma" if step else "gray",
                 extent=(0, length, 0, frames.shape[1]))  # fmt: skip
    labels, style = legible([caption, *items])
    places = (np.arange(weights.shape[1]) + 0.5) * length / weights.shape[1]
    for number, (label, shares) in enumerate(zip(labels[1:], weights, strict=True)):
        below.fill_between(places, shares, color=f"C{number % 10}", alpha=0.6, linewidth=0)
        below.text(places[shares.argmax()], 1.02, label, ha="center", fontsize=8, **style)
    above.set_title(labels[0], fontsize=9, **style)
    above.set_ylabel("mel band" if step else "pixel")
    below.set(xlabel="seconds" if step else "pixel", ylabel="read here", ylim=(0, 1.2), xlim=(0, length))
    return figure


def written(points: np.ndarray, ends: np.ndarray, items: Sequence[str], weights: np.ndarray, caption: str) -> Figure:
    """Strokes, their points (T, 2) with y downwards and 1 in (T,) where a stroke ends, and on them where each item of
    what was read belongs (N, R); R positions stand for all T."""
    width, height = np.ptp(points, axis=0).tolist()
    figure, axes = new(min(12.0, max(3.0, 2.0 * width / max(height, 1e-9))), 2.6)
    for stroke in np.split(points, np.flatnonzero(ends)[:-1] + 1):
        axes.plot(*stroke.T, color="0.6", linewidth=1.5, marker="." if len(stroke) == 1 else "")
    labels, style = legible([caption, *items])
    places = np.arange(len(points)) * weights.shape[1] // len(points)
    for number, (label, shares) in enumerate(zip(labels[1:], weights[:, places], strict=True)):
        color, here = f"C{number % 10}", points[shares >= 0.1 * shares.max()]
        axes.scatter(*here.T, 25 * shares.max(), color=color, zorder=2)
        axes.text(here[len(here) // 2, 0], points[:, 1].min() - 0.15 * height, label, ha="center", color=color, **style)
    axes.set_title(labels[0], fontsize=9, pad=16, **style)
    axes.set_aspect("equal", "datalim")
    axes.margins(y=0.25)
    axes.invert_yaxis()
    axes.set_axis_off()
    return figure


def confusion(counts: np.ndarray, labels: Sequence[str]) -> Figure:
    """Draws a confusion matrix: counts by true class (row) and output (column), colored by the share of the row, by its
    root, so that rare confusions can be seen. Of more than `MOST_CLASSES` classes, those with few errors are drawn as
    one."""
    from matplotlib.colors import PowerNorm

    counts, labels = merge_clear(counts, labels)
    labels, style = legible(labels)  # as the fonts here can draw them, and the font to draw them with
    few = len(labels) <= FEW_CLASSES
    cell_size, rotation = (0.5, {"rotation": 45, "ha": "right"}) if few else (0.22, {"rotation": 90})
    style["fontsize"] = 10 if few else 8
    side = 1.2 + 0.08 * max(map(len, labels)) + cell_size * len(labels)  # inches: margins, letters, cells
    figure, axes = new(side + 0.8, side)  # 0.8 for the bar of the colors
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
    cells = np.argwhere(counts)
    for row, column in cells if few or len(cells) <= MOST_COUNTS else ():
        color = "white" if shares[row, column] > 0.3 else "black"
        count = brief(int(counts[row, column]))
        axes.text(column, row, count, ha="center", va="center", color=color, fontsize=9 if few else 5.5)
    axes.set_xticks(range(len(labels)), labels, **rotation, **style)
    axes.set_yticks(range(len(labels)), labels, **style)
    for line in np.arange(4.5, len(labels) - 1, 5) if not few else ():  # which lead the eye to the labels
        axes.axhline(line, color="0.8", linewidth=0.5)
        axes.axvline(line, color="0.8", linewidth=0.5)
    axes.set(xlabel="output", ylabel="label")
    figure.colorbar(image, ax=axes, label="share of the row", shrink=0.8, aspect=30, ticks=[0, 0.1, 0.5, 1])
    return figure


def reliability(panels: Mapping[str, Any]) -> Figure:
    """Draws reliability diagrams (Guo et al. 2017) side by side: for each bin of probabilities, the share of right
    answers over their mean probability, and how many there are. panels: of `calibration.reliability`, by title."""
    figure, axes = new(3.4 * len(panels), 3.6, len(panels), 1)
    for place, (title, (counts, confidence, accuracy)) in zip(np.ravel(axes), panels.items(), strict=True):
        edges = np.linspace(0, 1, len(counts) + 1)
        shares = counts / counts.sum()
        place.bar(edges[:-1], shares, 1 / len(counts), align="edge", color="0.9", label="share of answers")
        place.plot([0, 1], [0, 1], color="0.6", linewidth=1)
        place.plot(confidence, accuracy, marker="o", markersize=4, label="right")
        error = np.nansum(shares * np.abs(accuracy - confidence))
        place.set(xlabel="probability of the answer", xlim=(0, 1), ylim=(0, 1.02), title=f"{title}: ECE {error:.3f}")
    np.ravel(axes)[0].legend(frameon=False, loc="upper left")
    return figure


def precision_recall(curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Draws the precision over the recall of labels, at thresholds from low to high."""
    figure, axes = new(4.6, 3.6)
    names, style = legible(list(curves))
    for name, (precision, recall) in zip(names, curves.values(), strict=True):
        axes.plot(recall, precision, marker=".", label=name)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.grid(color="0.9")
    axes.legend(frameon=False, prop={"size": 8, "family": style["family"]})
    return figure


def merge_clear(counts: np.ndarray, labels: Sequence[str]) -> tuple[Any, list[str]]:
    """Returns a confusion matrix of at most `MOST_CLASSES` classes and their labels: those with the most errors, and of
    equal ones the most frequent; the last class stands for all others."""
    if len(labels) <= MOST_CLASSES:
        return counts, list(labels)
    errors = counts.sum(0) + counts.sum(1) - 2 * np.diag(counts)
    shown = np.sort(np.lexsort((-counts.sum(1), -errors))[: MOST_CLASSES - 1])
    new_class = np.full(len(labels), len(shown))
    new_class[shown] = np.arange(len(shown))
    names = [str(labels[i]) for i in shown]
    merged = np.zeros((MOST_CLASSES, MOST_CLASSES), counts.dtype)
    np.add.at(merged, (new_class[:, None], new_class), counts)
    return merged, [*names, f"{len(labels) - len(shown)} others"]


def brief(count: int) -> str:
    """Returns a count in at most four characters, up to a billion: 12k, 340M."""
    for size, unit in ((10**6, "M"), (10**3, "k")):
        if count >= 10 * size:
            return f"{count // size}{unit}"
    return str(count)


def tagged(sentences: Sequence[tuple[Sequence[str], Sequence[str], Sequence[str]]]) -> Figure:
    """Draws sentences, each as (tokens, outputs, tags): an output stands below its token, a wrong one in red with the
    right tag below it. Of a long sentence the first `MOST_WORDS` tokens are drawn."""
    words = [word for sentence in sentences for word in list(zip(*sentence, strict=True))[:MOST_WORDS]]
    labels, style = legible([label for word in words for label in word])
    legible_words = iter(zip(*[iter(labels)] * 3, strict=True))  # in triples again
    rows = [list(islice(legible_words, min(len(tokens), MOST_WORDS))) for tokens, *_ in sentences]
    widths = [[0.09 * max(map(len, word)) + 0.15 for word in row] for row in rows]
    figure, axes = new(max(map(sum, widths)), 0.75 * len(rows))
    for i, (row, row_widths) in enumerate(zip(rows, widths, strict=True)):
        for (token, output, tag), x in zip(row, np.cumsum(row_widths) - row_widths, strict=True):
            axes.text(x, 4 * i, token, fontsize=10, **style)
            axes.text(x, 4 * i + 1, output, color="tab:blue" if output == tag else "tab:red", fontsize=8, **style)
            if output != tag:
                axes.text(x, 4 * i + 2, tag, color="0.5", fontsize=8, **style)
    axes.set(xlim=(0, max(map(sum, widths))), ylim=(4 * len(rows) - 0.5, -1))
    axes.axis("off")
    return figure


def curves(points: Sequence[Mapping[str, float]], monitor: str, unit: str) -> Figure:
    """Draws the loss and the monitor of training and validation over the steps. points: metrics of each evaluation.
    unit: of the loss of an item."""
    names = list(dict.fromkeys(("loss", monitor)))
    figure, panels = new(4.5 * len(names), 3.0, len(names))
    for axes, name in zip(np.atleast_1d(panels), names, strict=True):
        for label, key in (("validation", name), ("training", f"train_{name}")):
            with_key = [point for point in points if key in point]
            if with_key:
                axes.plot([p["step"] for p in with_key], [p[key] for p in with_key], marker=".", label=label)
        measure = METRICS[name].unit if name in METRICS else ""
        measure = f"{unit} {measure}" if name == "loss" else measure
        axes.set(xlabel="step", ylabel=name.replace("_", " ") + (measure and f" ({measure})"))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(color="0.9")
        axes.legend(frameon=False)
    return figure


def captioned(pictures: Sequence[np.ndarray], captions: Sequence[str]) -> Figure:
    """Pictures (H, W, 3) with what is said of each below it, four in a row."""
    return panels(pictures, [wrap(text, 34) for text in captions], 4, 2.4)


def looks(picture: np.ndarray, words: Sequence[str], weights: np.ndarray) -> Figure:
    """Where each word of a caption looked: a picture for each, bright where its weights (T, R) are high. The R places
    are a grid over the picture, row by row."""
    side = round(weights.shape[1] ** 0.5)
    grids = weights[:, : side * side].reshape(-1, side, side)
    scale = -(-max(picture.shape) // side)
    shades = np.kron(grids / grids.max((1, 2), keepdims=True), np.ones((scale, scale)))
    shades = shades[:, : picture.shape[0], : picture.shape[1], None]
    return panels(
        [(picture * (0.25 + 0.75 * shade)).astype(np.uint8) for shade in shades], [[word] for word in words], 8, 1.2
    )


def panels(pictures: Sequence[np.ndarray], titles: Sequence[Sequence[str]], across: int, side: float) -> Figure:
    """Pictures in rows, each with the lines of its title below. side: of a picture, in inches."""
    texts, style = legible([*chain.from_iterable(titles)])
    lines, rows = iter(texts), -(-len(pictures) // across)
    height = side + 0.3 + 0.14 * max(map(len, titles))
    figure, axes = new(side * across, height * rows, rows * across, rows)
    for place, picture, title in zip_longest(np.ravel(axes), pictures, titles):
        place.set_axis_off()
        if picture is not None:
            place.imshow(picture)
            place.set_title("\n".join(islice(lines, len(title))), y=-0.05, va="top", fontsize=8, **style)
    return figure


def png(figure: Figure) -> bytes:
    """Returns a figure as the bytes of a PNG file. Faster than `savefig`, which draws a figure twice."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    canvas.draw()
    Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).save(buffer, "png")
    return buffer.getvalue()
