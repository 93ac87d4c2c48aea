"""One-nearest-neighbour, the usual baseline of time series classification, and of pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float

from seqtrain.terminal.progress import bar


def nearest_neighbour(
    train: Iterable[np.ndarray], labels: Sequence[str], queries: Iterable[np.ndarray], steps: int = 64
) -> list[str]:
    """Returns, for each query, the label of the nearest training series by Euclidean distance (Dau et al. 2019,
    arXiv:1810.07758). Series are (T, C); before they are compared, all are resampled to the same number of `steps`."""
    known = np.stack([resampled(series, steps) for series in train])
    return [labels[int(((known - resampled(series, steps)) ** 2).sum((1, 2)).argmin())] for series in queries]


def nearest_by_warping(
    train: Iterable[np.ndarray], labels: Sequence[str], queries: Sequence[np.ndarray], steps: int = 32
) -> list[str]:
    """The same by dynamic time warping (Sakoe & Chiba 1978): the least sum of squared distances along a path that walks
    through both series, resampled, from end to end."""
    known, found = np.stack([resampled(series, steps) for series in train]), []
    squares = (known**2).sum(2)
    with bar(len(queries), "series", "baseline, time warping") as shown:
        for series in queries:
            other = resampled(series, steps)
            distances = squares[:, :, None] + (other**2).sum(1) - 2 * known @ other.T
            found.append(labels[int(warped(distances).argmin())])
            shown.update()
    return found


def warped(distances: Float[np.ndarray, "N T S"]) -> Float[np.ndarray, " N"]:
    """The sum along the best path of each, by diagonals: what ends in a cell comes from the left, from below, or from
    both."""
    count, height, width = distances.shape
    sums = np.full((count, height + 1, width + 1), np.inf, distances.dtype)
    sums[:, 0, 0] = 0
    for diagonal in range(2, height + width + 1):
        i = np.arange(max(1, diagonal - width), min(height, diagonal - 1) + 1)
        j = diagonal - i
        before = np.minimum(np.minimum(sums[:, i - 1, j], sums[:, i, j - 1]), sums[:, i - 1, j - 1])
        sums[:, i, j] = distances[:, i - 1, j - 1] + before
    return sums[:, height, width]


def resampled(series: Float[np.ndarray, "T C"], steps: int) -> Float[np.ndarray, "{steps} C"]:
    places = np.linspace(0, len(series) - 1, steps)
    return np.stack([np.interp(places, np.arange(len(series)), channel) for channel in series.T], 1)


def nearest(train: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Returns, for each row of (M, F), the place of the nearest row of (N, F), by Euclidean distance."""
    squares, parts = (train**2).sum(1), np.array_split(queries, -(-len(queries) // 256))
    return np.concatenate([(squares - 2 * part @ train.T).argmin(1) for part in parts])
