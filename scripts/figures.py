"""Draws the pictures of docs/sequence-models.md.

python scripts/figures.py shapes FILE.png                        the four shapes, unrolled in time
python scripts/figures.py curves METRIC FILE.png RUN=NAME ...    a validation metric of several runs, step by step
python scripts/figures.py attention RUN TEXT FILE.png            where a translation of TEXT looks
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from seqtrain import load
from seqtrain.evaluation import plots
from seqtrain.tasks.translation import Translation

INPUT, STATE, OUTPUT = "#dfe7f1", "#9dbfe0", "#f6d8a8"
STRAIGHT = {"arrowstyle": "->", "color": "0.3", "shrinkA": 0, "shrinkB": 0}
CURVED = {"arrowstyle": "->", "color": "#c0392b", "connectionstyle": "arc3,rad=-0.35"}


def main() -> None:
    match sys.argv[1:]:
        case ["shapes", file]:
            save(shapes(), file)
        case ["curves", metric, file, *runs] if runs:
            save(curves(metric, runs), file)
        case ["attention", run, text, file]:
            save(attention(run, text), file)
        case _:
            sys.exit(__doc__)


def save(figure: Figure, file: str) -> None:
    figure.savefig(file, dpi=120)


def curves(metric: str, runs: list[str]) -> Figure:
    figure, axes = plots.new(6.5, 3.0)
    for run in runs:
        folder, _, name = run.partition("=")
        curve = json.loads(Path(folder, "metrics.json").read_text(encoding="utf-8"))["curve"]
        axes.plot([0, *(point["step"] for point in curve)], [0, *(point[metric] for point in curve)], label=name)
    axes.set(xlabel="updates of the weights", ylabel=f"{metric.replace('_', ' ')} (validation)", ylim=(0, 1.02))
    axes.set_xlim(left=0)
    axes.grid(color="0.9")
    axes.legend(frameon=False)
    return figure


def attention(run: str, text: str) -> Figure:
    loaded = load(run)
    assert isinstance(loaded.task, Translation)
    record = loaded.task.parse(text, 1)._replace(target=loaded.predict([text])[0])
    shown = loaded.task.align(loaded.model, record)
    assert shown is not None, "a model without attention"
    return plots.attention(*shown)


def shapes() -> Figure:
    """Inputs below, states in the middle, outputs above; time goes from left to right."""
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    grid = figure.subplots(2, 2).flatten()
    axes = panel(grid[0], "many-to-one")
    row(axes, 1, ["not", "a", "good", "film"])
    box(axes, 4, 2, "negative", OUTPUT)
    arrow(axes, (4, 1), (4, 2))
    axes = panel(grid[1], "one-to-many")
    box(axes, 0.7, 1, "French", INPUT)
    arrow(axes, (0.85, 1), (1.8, 1))
    row(axes, 1.8, ["begin", "B", "r", "é"], ["B", "r", "é", "s"])
    for axes, title in (grid[2], "many-to-many, through one vector"), (grid[3], "many-to-many, with attention"):
        panel(axes, title)
        row(axes, 0, ["3", "mai", "1999", "begin", "1999", "05"], ["", "", "", "1999", "05", "03"])
    for place, weight in enumerate((0.1, 0.1, 1)):
        axes.annotate("", (2.95, 1.28), (place, 1.28), arrowprops=CURVED | {"linewidth": 0.7 + 2 * weight})
    return figure


def panel(axes: Axes, title: str) -> Axes:
    axes.set(xlim=(-0.6, 5.6), ylim=(-0.3, 2.3), title=title)
    axes.axis("off")
    return axes


def row(axes: Axes, start: float, inputs: list[str], outputs: list[str] | None = None) -> None:
    for i, word in enumerate(inputs):
        box(axes, start + i, 1, "h", STATE)
        box(axes, start + i, 0, word, INPUT)
        arrow(axes, (start + i, 0), (start + i, 1))
        if i:
            arrow(axes, (start + i - 1, 1), (start + i, 1))
        if outputs and outputs[i]:
            box(axes, start + i, 2, outputs[i], OUTPUT)
            arrow(axes, (start + i, 1), (start + i, 2))


def box(axes: Axes, x: float, y: float, text: str, color: str) -> None:
    axes.text(x, y, text, ha="center", va="center", fontsize=9, bbox={"boxstyle": "round,pad=0.4", "color": color})


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """From one box to the next, with a gap at both ends."""
    gap = (0.25, 0) if start[1] == end[1] else (0, 0.25)
    tail, head = (start[0] + gap[0], start[1] + gap[1]), (end[0] - gap[0], end[1] - gap[1])
    axes.annotate("", head, tail, arrowprops=STRAIGHT)


if __name__ == "__main__":
    main()
