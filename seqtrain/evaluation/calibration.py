"""How true probabilities are, and what makes them so: one temperature for all scores (Guo et al. 2017,
arXiv:1706.04599)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from seqtrain.evaluation.metrics import Weighted, of_sums

BINS = 15  # of equal width, as Guo et al. have them
COLDEST, HOTTEST = 1e-2, 1e2  # temperatures


def softmax(scores: Float[np.ndarray, "N C"]) -> Float[np.ndarray, "N C"]:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def fit_temperature(scores: Float[np.ndarray, "N C"], true: Int[np.ndarray, " N"]) -> float:
    """The temperature by which scores have to be divided so that the true classes are most probable.

    As Platt (1999) does, each target gives 1 of N + 1 parts to all classes alike: where every answer is right,
    probabilities stay below 1. The loss is convex in 1 / temperature, so its slope has one zero, which is bisected.
    """
    scores, share = scores.astype(np.float64), 1 / (len(scores) + 1)
    wanted = (1 - share) * scores[np.arange(len(scores)), true] + share * scores.mean(1)
    low, high = np.log(1 / HOTTEST), np.log(1 / COLDEST)
    for _ in range(50):
        middle = (low + high) / 2
        slope = ((softmax(scores * np.exp(middle)) * scores).sum(1) - wanted).sum()
        low, high = (low, middle) if slope > 0 else (middle, high)
    return float(np.exp(-(low + high) / 2))


def bins(probabilities: Float[np.ndarray, "N C"]) -> Int[np.ndarray, " N"]:
    """The bin that the probability of each answer, the most probable class, lies in."""
    return np.clip(np.ceil(probabilities.max(1) * BINS).astype(int) - 1, 0, BINS - 1)


def calibration_error(probabilities: Float[np.ndarray, "N C"], true: Int[np.ndarray, " N"]) -> Weighted:
    """`ece`, the expected calibration error (Naeini et al. 2015): in bins by the probability of the answer, how far the
    share of right answers is from their mean probability; the mean over all examples."""
    gaps = np.zeros((len(true), BINS))
    gaps[np.arange(len(true)), bins(probabilities)] = (probabilities.argmax(1) == true) - probabilities.max(1)
    rows = {"gaps": gaps, "count": np.ones(len(true))}
    return of_sums(rows, lambda sums: {"ece": float(np.abs(sums["gaps"]).sum()) / sums["count"]})


def reliability(
    probabilities: Float[np.ndarray, "N C"], true: Int[np.ndarray, " N"]
) -> tuple[Int[np.ndarray, " K"], Float[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    """Of each bin: how many answers it has, their mean probability, and the share of right ones; NaN where there are
    none."""
    places, answers = bins(probabilities), probabilities.argmax(1)
    counts = np.bincount(places, minlength=BINS)
    sums = [np.bincount(places, values, BINS) for values in (probabilities.max(1), answers == true)]
    confidence, accuracy = (np.divide(some, counts, np.full(BINS, np.nan), where=counts > 0) for some in sums)
    return counts, confidence, accuracy
