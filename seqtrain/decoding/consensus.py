"""Minimum Bayes risk decoding: of several samples, the one that is most like all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

ORDER = 4  # items of the longest n-grams
BETA = 2  # recall counts so many times as much as precision, as in chrF


def agreement(outputs: Sequence[Sequence[int]]) -> Float[np.ndarray, " N"]:
    """How like the others each of several samples is, from 0 to 1: the F-score of its n-grams of 1 to 4 items, a mean
    over all samples as references (Kumar & Byrne 2004; Eikema & Aziz 2020, arXiv:2005.10283)."""
    return np.mean([mean_f_score(ngrams(outputs, order)) for order in range(1, ORDER + 1)], 0)


def ngrams(outputs: Sequence[Sequence[int]], order: int) -> Float[np.ndarray, "N G"]:
    """How often each output has each of the n-grams that there are."""
    counts = [Counter(zip(*(ids[start:] for start in range(order)), strict=False)) for ids in outputs]
    columns = {gram: column for column, gram in enumerate(dict.fromkeys(gram for some in counts for gram in some))}
    found = np.zeros((len(outputs), len(columns)))
    for row, some in zip(found, counts, strict=True):
        row[[columns[gram] for gram in some]] = [*some.values()]
    return found


def mean_f_score(counts: Float[np.ndarray, "N G"]) -> Float[np.ndarray, " N"]:
    """Of each row against every row. Two rows without any n-gram are alike."""
    sizes = counts.sum(1)
    common = np.stack([np.minimum(row, counts).sum(1) for row in counts])
    total = sizes[:, None] + BETA**2 * sizes  # of the row itself, and of the reference
    return np.divide((1 + BETA**2) * common, total, out=np.ones_like(common), where=total > 0).mean(1)
