"""Search for the best output of a model that writes step by step. Beside run.py; needs numpy alone."""

import math

import numpy as np
from texts import END

LOOKAHEAD = 2  # items that an unfinished output gets for free before it is given up


def search(step, scores, state, memory, bounds, k, settings, random):
    """The ids of the best output of each source, by beam search, or by greedy search where k is 1; with a temperature
    samples.

    step: items (N, 1), state, memory -> scores (N, items) and the next state. scores, state, memory: of the first item,
    a row for each source. bounds: the most items of each output. k: outputs that are kept at each step. settings:
    length_penalty and temperature."""

    def score(total, length):
        return total / ((5 + length) / 6) ** settings["length_penalty"]

    scores, *state = (np.repeat(array, k, 0) for array in (scores, *state))
    memory = [np.repeat(array, k, 0) for array in memory]
    totals = np.tile(np.where(np.arange(k), -np.inf, 0), (len(bounds), 1))
    alive, outputs = list(range(len(bounds))), [[[]] * k for _ in bounds]
    best = [(-math.inf, [])] * len(bounds)
    for length in range(1, max(bounds) + 1):
        sums = log_softmax(scores).reshape(len(alive), k, -1)
        if settings["temperature"]:  # the best of scores with Gumbel noise is a sample
            sums = sums / settings["temperature"] - np.log(random.exponential(size=sums.shape))
        size, sums = sums.shape[2], (sums + totals[..., None]).reshape(len(alive), -1)
        places, rows, items, kept = [], [], [], []
        for n, (source, tops) in enumerate(zip(alive, highest(sums, 2 * k if k > 1 else 1), strict=True)):
            going = [(sums[n, i], *divmod(int(i), size)) for i in tops]
            for total, parent, item in going[:k]:
                if item == END:
                    best[source] = max(best[source], (score(total, length), outputs[source][parent]))
            going = [one for one in going if one[2] != END][:k]
            top = going[0][0] if going else -math.inf
            if score(top, min(length + LOOKAHEAD, bounds[source])) <= best[source][0]:
                continue
            outputs[source] = [[*outputs[source][parent], item] for _, parent, item in going]
            if length == bounds[source]:
                best[source] = score(top, length), outputs[source][0]
                continue
            kept.append((source, [total for total, _, _ in going]))
            places.append(n)
            rows += [n * k + parent for _, parent, _ in going]
            items += [item for _, _, item in going]
        if not kept:
            break
        if len(kept) < len(alive):  # outputs of a source share its memory
            still = (np.array(places)[:, None] * k + np.arange(k)).ravel()
            memory = [part[still] for part in memory]
        alive, totals = [source for source, _ in kept], np.array([some for _, some in kept])
        scores, *state = step(np.array(items)[:, None], *(part[rows] for part in state), *memory)
    return [output for _, output in best]


def log_softmax(scores):
    shifted = scores - scores.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def highest(sums, count):
    """The places of the `count` highest numbers of each row, the highest first."""
    places = np.argpartition(-sums, count - 1, -1)[:, :count]
    return np.take_along_axis(places, np.argsort(-np.take_along_axis(sums, places, 1), 1, kind="stable"), 1)
