"""Decoding for connectionist temporal classification (CTC): the best path, sampled paths, or prefix beam search.

A path has one id for each position of the model's output; without repetitions and blanks it is the output.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from seqtrain.contract import Batch
from seqtrain.decoding.hypothesis import Hypothesis
from seqtrain.decoding.sampling import Sampling
from seqtrain.likelihoods.ctc import Ctc
from seqtrain.models.base import Model

Prefix = tuple[int, ...]
IMPOSSIBLE = -math.inf  # the logarithm of the probability 0


def search(
    model: Model, batch: Batch, end: int, beam_size: int, n_best: int, max_length: int | None
) -> list[list[Hypothesis]]:
    """Returns the `n_best` outputs of each row, the best first: prefix beam search, or the best path for a beam of 1.

    end: the id of the end mark. max_length: ids of an output that are kept; None: all.
    """
    rows = []
    for log_probs, blank in rows_of(model, batch):
        if beam_size == 1:
            outputs = [collapse(log_probs.argmax(-1).tolist(), blank)]
        else:
            outputs = prefix_search(log_probs, blank, beam_size)
        rows.append(hypotheses(log_probs, blank, outputs, end, n_best, max_length))
    return rows


def sample(model: Model, batch: Batch, end: int, sampling: Sampling, max_length: int | None) -> list[Hypothesis]:
    """Returns one output for each row, from a path whose ids are drawn independently of each other."""
    samples = []
    for log_probs, blank in rows_of(model, batch):
        output = collapse(sampling.choose(log_probs).tolist(), blank)
        samples += hypotheses(log_probs, blank, [output], end, n_best=1, max_length=max_length)
    return samples


def rows_of(model: Model, batch: Batch) -> Iterator[tuple[Float[Tensor, "T O"], int]]:
    """Yields the log-probabilities at the positions of each row, and the id of the blank."""
    assert isinstance(model.spec.likelihood, Ctc)
    output = model(batch)
    for row in output.scores.float().log_softmax(-1).split(output.lengths.tolist()):
        yield row, model.spec.likelihood.blank


def log_sum(a: float, b: float) -> float:
    """Returns log(exp(a) + exp(b))."""
    high, low = max(a, b), min(a, b)
    return high if low == IMPOSSIBLE else high + math.log1p(math.exp(low - high))


def collapse(path: Iterable[int], blank: int) -> Prefix:
    """Returns the output of a path: repeated ids once, without blanks."""
    return tuple(item for item, _ in itertools.groupby(path) if item != blank)


def prefix_search(log_probs: Float[Tensor, "T O"], blank: int, beam_size: int) -> list[Prefix]:
    """Returns the most probable outputs, the best first, by prefix beam search (Hannun et al. 2014, arXiv:1408.2873).

    The probability of an output is the sum over all paths that give it. At each position `beam_size` outputs are kept,
    and each is extended by the `beam_size` best ids.
    """
    best = log_probs.topk(min(beam_size, log_probs.size(1)))
    positions = zip(log_probs[:, blank].tolist(), best.indices.tolist(), best.values.tolist(), strict=True)
    # {output: log-probabilities of its paths that end with a blank, and of those that end with its last id}
    beam: dict[Prefix, tuple[float, float]] = {(): (0.0, IMPOSSIBLE)}
    for log_prob_of_blank, ids, id_log_probs in positions:
        extended: defaultdict[Prefix, list[float]] = defaultdict(lambda: [IMPOSSIBLE, IMPOSSIBLE])
        for prefix, (after_blank, after_id) in beam.items():
            either = log_sum(after_blank, after_id)
            extended[prefix][0] = log_sum(extended[prefix][0], either + log_prob_of_blank)
            for item, log_prob in zip(ids, id_log_probs, strict=True):
                if item == blank:
                    continue
                longer = (*prefix, item)
                if prefix and prefix[-1] == item:  # a repeated id is a new one only after a blank
                    extended[prefix][1] = log_sum(extended[prefix][1], after_id + log_prob)
                    extended[longer][1] = log_sum(extended[longer][1], after_blank + log_prob)
                else:
                    extended[longer][1] = log_sum(extended[longer][1], either + log_prob)
        ranked = sorted(extended.items(), key=lambda pair: -log_sum(*pair[1]))
        beam = {prefix: (pair[0], pair[1]) for prefix, pair in ranked[:beam_size]}
    return list(beam)


def hypotheses(
    log_probs: Float[Tensor, "T O"], blank: int, outputs: list[Prefix], end: int, n_best: int, max_length: int | None
) -> list[Hypothesis]:
    """Cuts outputs behind their end mark and at `max_length`; returns the `n_best` different ones that are the most
    probable then, by the sum over all their paths."""
    cut = [output[: output.index(end) + 1] if end in output else output for output in outputs]
    unique = list(dict.fromkeys(output[:max_length] for output in cut))
    sizes = torch.tensor([len(output) for output in unique])
    target = torch.tensor([item for output in unique for item in output], dtype=torch.long)
    repeated = log_probs.cpu()[:, None].repeat(1, len(unique), 1)
    losses = F.ctc_loss(repeated, target, torch.full_like(sizes, len(log_probs)), sizes, blank, reduction="none")
    scored = [
        Hypothesis([item for item in output if item != end], -loss)
        for output, loss in zip(unique, losses.tolist(), strict=True)
    ]
    return sorted(scored, key=lambda hypothesis: -hypothesis.log_prob)[:n_best]
