"""The uncertainty of forecasts: quantiles that are corrected by the errors made before, and how good they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import Float, Int

from seqtrain.evaluation.metrics import Totals

STEPS = 20  # of the levels between 0 and 1 at which a distribution is described
CALIBRATED = 2**20  # values whose errors a correction is learned from, at most, but for windows enough:
WINDOWS = 300
HALVED = 0.5  # of the time from the first to the last of these windows, in which the weight of an error halves


def levels_of(interval: float) -> list[float]:
    """The levels 0.05, 0.10, … 0.95, and the two between which that share of a distribution lies."""
    tail = round((1 - interval) / 2, 9)
    return sorted({*(step / STEPS for step in range(1, STEPS)), tail, round(1 - tail, 9)})


def ends(interval: float) -> tuple[int, int]:
    """Where the two ends of an interval are among its levels."""
    levels, tail = levels_of(interval), round((1 - interval) / 2, 9)
    return levels.index(tail), levels.index(round(1 - tail, 9))


def thinned(count: int, values: int) -> Int[np.ndarray, " N"]:
    """Windows, evenly spaced among so many, whose errors are enough: neighbours tell little that is new. values: in the
    horizon of a window."""
    return np.linspace(0, count - 1, min(count, max(WINDOWS, CALIBRATED // values))).astype(int)


def weights(recency: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """How much the errors of windows count; of the last one once. recency: see `Windows.recency`."""
    return 0.5 ** ((1 - recency) / HALVED)


def corrections(
    levels: Sequence[float],
    errors: Callable[[int], Float[np.ndarray, "N T C"]],
    weights: Float[np.ndarray, " N"],
    channels: Int[np.ndarray, "N C"],
    mirrored: bool,
) -> Float[np.ndarray, "L T K"]:
    """What is to be added to each quantile of a forecast, so that as many values lie below it as it says: by level,
    step of the horizon and channel, in the scale of a window.

    It is the quantile of the errors which that quantile made in windows that the model was not trained on. Around a
    best guess this is split conformal prediction (Lei et al. 2018, arXiv:1604.04173), around quantiles it is
    conformalized quantile regression (Romano et al. 2019, arXiv:1905.03222). The share is guaranteed where errors are
    exchangeable, and errors in time are so only as far as nothing drifts: so the later ones count more (Barber et al.
    2023, arXiv:2202.13415).

    errors: of the quantile of that number, in the scale of each window, NaN where missing. weights: of the windows.
    channels: the numbers of the channels of each window. mirrored: whether errors are as likely up as down, so that
    both ends move alike: what was too low in one part of a series is as a rule not too low in the next.
    """
    found = []
    for number, level in enumerate(levels):
        made = errors(number)
        made = np.concatenate([made, -errors(len(levels) - 1 - number)]) if mirrored else made
        of_window = np.concatenate([channels, channels]) if mirrored else channels
        of_error = np.broadcast_to(
            np.concatenate([weights, weights] if mirrored else [weights])[:, None], of_window.shape
        )
        pooled = correction(made.reshape(-1, 1), of_error.repeat(made.shape[1], 0).ravel(), level)[0]
        by_channel = [
            correction(made.swapaxes(1, 2)[of_window == channel], of_error[of_window == channel], level, pooled)
            for channel in range(channels.max() + 1)
        ]
        found.append(np.stack(by_channel, 1))
    return np.array(found)


def correction(
    errors: Float[np.ndarray, "N T"], weights: Float[np.ndarray, " N"], level: float, pooled: float | None = None
) -> Float[np.ndarray, " T"]:
    """The error at each step below which that share of the weights lies, rounded away from the median; an error to come
    has the weight 1. pooled: stands where the errors weigh too little to tell."""
    if level < 0.5:
        return -correction(-errors, weights, 1 - level, None if pooled is None else -pooled)
    order = np.argsort(errors, 0)  # NaN comes last
    known = ~np.isnan(errors)
    weight = np.take_along_axis(known * weights[:, None], order, 0).cumsum(0)
    whole = known.T @ weights + 1
    last = np.maximum(known.sum(0) - 1, 0)
    place = np.minimum((weight < whole * level - 1e-9).sum(0), last)
    found = np.take_along_axis(np.take_along_axis(errors, order, 0), place[None], 0)[0] if len(errors) else whole * 0
    few = whole * (1 - level) < 1 - 1e-9
    return found if pooled is None else np.where(few, pooled, found)


def sums(quantiles: Iterable[Float[np.ndarray, "N T C"]], true: Float[np.ndarray, "N T C"], interval: float) -> Totals:
    """What each of N forecasts adds to `scores`, over its known values. quantiles: for one of `levels_of` after the
    other, in the units of the true values."""
    levels, known = levels_of(interval), ~np.isnan(true)
    borders = np.array([0, *levels, 1])
    weights = (borders[2:] - borders[:-2]) / 2  # of trapezoids
    crps, bounds = np.zeros_like(true), []
    for number, (level, weight, quantile) in enumerate(zip(levels, weights, quantiles, strict=False)):
        loss = np.maximum(level * (true - quantile), (level - 1) * (true - quantile))
        crps += 2 * weight * loss
        if number == 0:  # the loss at 0 and 1, where the outermost quantiles stand
            crps += level * np.maximum(quantile - true, 0)
        if number == len(levels) - 1:
            crps += (1 - level) * np.maximum(true - quantile, 0)
        if number in ends(interval):
            bounds.append((quantile, loss))
    (lower, below), (upper, above) = bounds
    values = {
        "crps": crps,
        "pinball": (below + above) / 2,
        "covered": (np.minimum(lower, upper) <= true) & (true <= np.maximum(lower, upper)),
        "width": np.abs(upper - lower),
    }
    return {name: np.where(known, value, 0.0).sum((1, 2)) for name, value in values.items()}


def scores(totals: Totals) -> dict[str, float]:
    """The CRPS (Gneiting & Raftery 2007), twice the integral of the pinball loss over all levels, here by trapezoids
    between those of `levels_of`, right to 0.2% for a bell curve; the pinball loss of the ends of the interval; coverage
    and width. In the units of the data, but for the coverage. Nothing where forecasts had no intervals."""
    if "width" not in totals:
        return {}
    names = {"crps": "crps", "pinball": "pinball", "coverage": "covered", "width": "width"}
    return {name: totals[key] / totals["known"] for name, key in names.items()}
