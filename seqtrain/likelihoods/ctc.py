"""A sequence shorter than the scores: connectionist temporal classification (Graves et al. 2006)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int, Num
from torch import Tensor
from torch.nn import functional as F

from seqtrain.contract import Batch, Likelihood, Output, length_mask
from seqtrain.likelihoods.categorical import mixture

IMPOSSIBLE = -math.inf


@dataclass
class Ctc(Likelihood):
    """The scores are logits of `outputs` ids, of which `blank` writes nothing. An output is written by every path
    through the positions that leaves it when repeated ids are taken once and blanks are left out; its probability is
    the sum over all of them.

    A target that needs more positions than there are (one for each id, and one between equal neighbours) cannot be
    written: its loss is infinite, and so counts as zero.
    """

    values: ClassVar[str] = "ids"
    aligns: ClassVar[bool] = True
    outputs: int
    blank: int = 0

    def nll(self, output: Output, batch: Batch) -> Float[Tensor, " B"]:
        lengths, sizes = output.lengths, batch.target_lengths
        assert batch.target is not None
        assert sizes is not None
        padded = output.scores.new_zeros(len(lengths), int(lengths.max()), output.scores.size(-1)).float()
        mask = length_mask(lengths, padded.size(1))
        log_probs = padded.masked_scatter(mask[..., None], output.scores.float().log_softmax(-1)).transpose(0, 1)
        return F.ctc_loss(log_probs, batch.target, lengths, sizes, self.blank, reduction="none", zero_infinity=True)

    def needed(self, target: Int[Tensor, "B T"], lengths: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
        same = (target[:, 1:] == target[:, :-1]) & length_mask(lengths - 1, target.size(1) - 1)
        return lengths + same.sum(1)

    def align(self, output: Output, batch: Batch) -> Float[Tensor, "B T R"]:
        """The probability of each target id at the positions that write it on the likeliest path, zero elsewhere."""
        assert batch.target is not None
        assert batch.target_lengths is not None
        aligned = output.scores.new_zeros(*batch.target.shape, int(output.lengths.max()))
        rows = output.scores.float().log_softmax(-1).split(output.lengths.tolist())
        for row, (log_probs, size) in enumerate(zip(rows, batch.target_lengths.tolist(), strict=True)):
            path = best_path(log_probs.cpu(), batch.target[row, :size].tolist(), self.blank)
            for place, item in enumerate(path):
                if item is not None:
                    aligned[row, item, place] = log_probs[place, batch.target[row, item]].exp()
        return aligned

    def mixed(self, scores: Float[Tensor, "M *N O"]) -> Float[Tensor, "*N O"]:
        """The logarithms of the mean probabilities at each position."""
        return mixture(scores)

    def items(self, batch: Batch) -> Int[Tensor, " B"]:
        assert batch.target_lengths is not None
        return batch.target_lengths

    def pick(self, scores: Float[Tensor, "*N O"]) -> Int[Tensor, "*N"]:
        """The best id of each position, blanks and repetitions among them."""
        return scores.argmax(-1)

    def feed(self, value: Num[Tensor, "B T *H"], inputs: Num[Tensor, "B T *F"]) -> Num[Tensor, "B T *F"]:
        raise NotImplementedError("what aligns itself reads no outputs")


def best_path(log_probs: Float[Tensor, "R O"], target: list[int], blank: int) -> list[int | None]:
    """Which item of the target each position writes on the likeliest path (Viterbi), None for a blank. Where there are
    too few positions for the target, all are blank."""
    states = [blank, *(state for item in target for state in (item, blank))]  # a blank around each item
    scores = [IMPOSSIBLE] * len(states)
    steps: list[list[int]] = []
    for place, row in enumerate(log_probs[:, states].tolist()):
        chosen, new = [], []
        for state, value in enumerate(row):
            froms = [state, state - 1] if state else [state]
            if state > 1 and states[state] not in (blank, states[state - 2]):
                froms.append(state - 2)
            best = max(froms, key=scores.__getitem__)
            begins = place == 0 and state < 2
            chosen.append(best)
            new.append(value if begins else scores[best] + value)
        scores = new
        steps.append(chosen)
    state = max((len(states) - 1, max(0, len(states) - 2)), key=scores.__getitem__)
    if scores[state] == IMPOSSIBLE:
        return [None] * len(steps)
    path: list[int | None] = []
    for chosen in reversed(steps):
        path.append(state // 2 if state % 2 else None)
        state = chosen[state]
    return path[::-1]
