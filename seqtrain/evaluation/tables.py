"""Results as tables that people read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


def markdown(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a Markdown table."""

    def cell(value: Any) -> str:
        text = f"{value:.3f}" if isinstance(value, float) else str(value)
        return text.replace("|", "\\|").replace("\n", " ")

    def line(cells: Iterable[Any]) -> str:
        return "| " + " | ".join(map(cell, cells)) + " |"

    return "\n".join([line(header), line("---" for _ in header), *map(line, rows)])


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a table whose columns stand below each other."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def alignment(sources: Sequence[str], outputs: Sequence[str], weights: np.ndarray) -> list[dict[str, Any]]:
    """Returns, for each output item, the source item with the highest attention weight, its place and the weight.
    weights: (T, S)."""
    return [
        {"output": item, "source": sources[place], "place": place, "weight": round(float(row[place]), 4)}
        for item, place, row in zip(outputs, weights.argmax(1).tolist(), weights, strict=True)
    ]
