"""Figures of a sweep: which settings led to which result, and the course of a search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from seqtrain.evaluation.fonts import legible
from seqtrain.evaluation.plots import new

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_TICKS = 12  # values that are named at an axis
LOGARITHMIC = 10  # ratio of largest and smallest value from which a scale is logarithmic


class Scale:
    """Values of a setting as places on an axis: numbers by their size, other values at even distances."""

    def __init__(self, values: Sequence[str]):
        self.names = list(dict.fromkeys(values))
        try:
            numbers = np.array([float(name) for name in self.names])
        except ValueError:
            self.places = {name: float(place) for place, name in enumerate(self.names)}
            return
        logarithmic = numbers.min() > 0 and numbers.max() >= LOGARITHMIC * numbers.min()
        self.places = dict(zip(self.names, (np.log(numbers) if logarithmic else numbers).tolist(), strict=True))

    def __call__(self, values: Sequence[str]) -> np.ndarray:
        return np.array([self.places[value] for value in values])

    def ticks(self) -> tuple[list[float], list[str]]:
        """Places and names of some of the values."""
        names = sorted(self.names, key=self.places.__getitem__)
        names = names[:: -(-len(names) // MOST_TICKS)]
        return [self.places[name] for name in names], names


def unit(places: np.ndarray) -> np.ndarray:
    """Places between 0 and 1; 0.5 where all are the same."""
    low, high = places.min(), places.max()
    return (places - low) / (high - low) if high > low else np.full(len(places), 0.5)


def parallel_coordinates(settings: dict[str, list[str]], results: Sequence[float], metric: str) -> Figure:
    """A line for each run through its values of the settings to its result (Inselberg 1985). The runs come the best
    first: its line is the thick one, and the others are the darker the worse they are."""
    figure, axes = new(2.0 + 1.6 * len(settings), 4.0)
    scales = {key: Scale(values) for key, values in settings.items()}
    columns = [unit(scales[key](values)) for key, values in settings.items()] + [unit(np.array(results))]
    colours = colour_map()(np.linspace(1, 0, len(results)))
    for run in reversed(range(len(results))):
        style = {"linewidth": 3.0} if run == 0 else {"linewidth": 1.0, "alpha": 0.7}
        axes.plot(range(len(columns)), [column[run] for column in columns], color=colours[run], **style)
    for place, scale in enumerate(scales.values()):
        spots, names = scale.ticks()
        low, high = min(scale.places.values()), max(scale.places.values())
        heights = [(spot - low) / (high - low) if high > low else 0.5 for spot in spots]
        axes.vlines(place, 0, 1, color="0.3", linewidth=1)
        labels, font = legible(names)
        for height, label in zip(heights, labels, strict=True):
            axes.annotate(label, (place, height), (-4, 0), textcoords="offset points", ha="right", va="center",
                          fontsize=8, backgroundcolor="#ffffffb0", **font)  # fmt: skip
    axes.vlines(len(settings), 0, 1, color="0.3", linewidth=1)
    style = {"textcoords": "offset points", "va": "center", "fontsize": 8}
    for height, value in ((0, min(results)), (1, max(results))):
        axes.annotate(f"{value:.4g}", (len(settings), height), (4, 0), **style)
    axes.set_xticks(range(len(columns)), [*settings, metric], fontsize=9)
    axes.set_xlim(-0.6, len(settings) + 0.4)
    axes.set_yticks([])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def by_setting(settings: dict[str, list[str]], results: Sequence[float], metric: str) -> Figure:
    """The results of all runs over the values of each setting, and their means."""
    figure, panels = new(3.0 * len(settings) + 0.5, 3.2, len(settings), 1)
    found = np.array(results)
    for axes, (key, values) in zip(np.atleast_1d(panels).ravel(), settings.items(), strict=True):
        scale = Scale(values)
        places = scale(values)
        axes.plot(places, found, "o", color="C0", alpha=0.6, markersize=5)
        different = np.unique(places)
        axes.plot(different, [found[places == place].mean() for place in different], "_", color="black", markersize=16)
        spots, names = scale.ticks()
        labels, font = legible(names)
        axes.set_xticks(spots, labels, fontsize=8, rotation=30 if max(map(len, labels)) > 6 else 0, **font)
        axes.set(xlabel=key, ylabel=metric)
        axes.margins(x=0.2)
    return figure


def history(jobs: Sequence[tuple[int, float, bool]], direction: str, metric: str) -> Figure:
    """The course of a search: the result of each job, and the best one so far. jobs: number, from 1 on, result,
    and whether it was pruned, which is then its last result. direction: "min" or "max"."""
    figure, axes = new(6.0, 3.2)
    for pruned, style in ((True, {"marker": "x", "color": "0.6"}), (False, {"marker": "o", "color": "C0"})):
        shown = [(number, result) for number, result, was_pruned in jobs if was_pruned == pruned]
        if shown:
            axes.plot(*zip(*shown, strict=True), linestyle="", label="pruned" if pruned else "done", alpha=0.7, **style)
    done = sorted((number, result) for number, result, pruned in jobs if not pruned)
    best = (np.maximum if direction == "max" else np.minimum).accumulate([result for _, result in done])
    axes.step([number for number, _ in done], best, where="post", color="black", linewidth=1, label="best so far")
    axes.set(xlabel="job", ylabel=metric)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(fontsize=8)
    return figure


def importance(shares: dict[str, float]) -> Figure:
    """The share of each setting in how good the jobs of a search are, the most important one on top."""
    figure, axes = new(6.0, 1.0 + 0.35 * len(shares))
    keys = sorted(shares, key=shares.__getitem__)
    axes.barh(range(len(keys)), [shares[key] for key in keys], color="C0")
    axes.set_yticks(range(len(keys)), keys, fontsize=9)
    axes.set(xlabel="importance (PED-ANOVA)", xlim=(0, 1))
    return figure


def colour_map() -> Any:
    import matplotlib

    return matplotlib.colormaps["viridis"]
