"""Whether a difference between two systems is more than chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from seqtrain.evaluation.metrics import Weighted

TRIALS = 1000
ROUNDING = 1e-9  # of a score: differences that are equal but for it are equal


class Paired(NamedTuple):
    """a, b: the scores of two systems. low, high: the 95% interval of b - a. bootstrap, randomisation: how probable a
    difference as large as theirs is where there is none, by two tests."""

    a: float
    b: float
    low: float
    high: float
    bootstrap: float
    randomisation: float


def paired(metrics: Weighted, count: int, seed: int, trials: int = TRIALS) -> dict[str, Paired]:
    """Compares two systems by their answers to the same examples. metrics: of 2 * count examples, which are those of
    the first system, then the same of the second.

    The paired bootstrap (Koehn 2004, aclanthology.org/W04-3250) draws examples with replacement; the interval is that
    of the differences on what was drawn. Approximate randomisation exchanges the answers of both systems at random. The
    p-values are those of Riezler & Maxwell 2005 (aclanthology.org/W05-0908); those of sacreBLEU are the same.
    """
    random, none = np.random.default_rng(seed), np.zeros(count)

    def score(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """The metrics where the examples of either system count so many times."""
        return np.array([*metrics(np.concatenate([first, second])).values()])

    names = list(metrics())
    a, b = score(none + 1, none), score(none, none + 1)
    drawn, exchanged = np.empty((trials, len(names))), np.empty((trials, len(names)))
    for trial in range(trials):
        weights = np.bincount(random.integers(count, size=count), minlength=count).astype(float)
        drawn[trial] = score(none, weights) - score(weights, none)
        swapped = random.integers(2, size=count).astype(float)
        exchanged[trial] = score(swapped, 1 - swapped) - score(1 - swapped, swapped)
    size = np.abs(b - a) - ROUNDING * np.maximum(np.abs(a), np.abs(b))
    shifted = np.abs(drawn) - np.abs(drawn).mean(0)
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    columns = a, b, low, high, share(shifted >= size), share(np.abs(exchanged) >= size)
    return {name: Paired(*row) for name, row in zip(names, np.stack(columns, 1).tolist(), strict=True)}


def share(happened: np.ndarray) -> np.ndarray:
    """How often something happened in the trials of each column; the actual difference is one trial more."""
    return (happened.sum(0) + 1) / (len(happened) + 1)


class Welch(NamedTuple):
    """t: the difference of two means in standard errors. freedom: the degrees of freedom. p: how probable that or more
    is, in either direction, where the means are the same."""

    t: float
    freedom: float
    p: float


def welch(a: Sequence[float], b: Sequence[float]) -> Welch:
    """Compares the means of two samples of at least two values, whose variances may differ (Welch 1947)."""
    errors = [float(np.var(values, ddof=1)) / len(values) for values in (a, b)]
    difference = float(np.mean(b) - np.mean(a))
    if sum(errors) == 0:
        return Welch(math.copysign(math.inf, difference) if difference else 0.0, math.inf, float(difference == 0))
    t = difference / math.sqrt(sum(errors))
    parts = (error**2 / (len(values) - 1) for error, values in zip(errors, (a, b), strict=True))
    freedom = sum(errors) ** 2 / sum(parts)
    return Welch(t, freedom, t_tails(t, freedom))


def t_tails(t: float, freedom: float) -> float:
    """The probability of Student's t beyond -|t| and |t|: with t = sqrt(freedom) tan(x) its density is in proportion to
    cos(x) ** (freedom - 1), which is integrated numerically."""
    begin, end = math.atan(abs(t) / math.sqrt(freedom)), math.pi / 2
    nodes, weights = np.polynomial.legendre.leggauss(200)
    values = np.cos(begin + (end - begin) * (nodes + 1) / 2) ** (freedom - 1)
    whole = math.sqrt(math.pi) / 2 * math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom + 1) / 2))
    return min(1.0, float(weights @ values) * (end - begin) / 2 / whole)
