"""Decoding over a model's start/decode/output: greedy, sampling and beam search, for outputs that are ids.

Every search ends: an output is never longer than its bound. Finished sentences leave the batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqtrain.batch import Batch, Source, map_tensors
from seqtrain.graphs import graphed
from seqtrain.models.base import Generator

UNBOUNDED = 500  # items of an output that has no source to bound it and no `max_length`
GROUPS = 16  # the sizes of vocabularies are multiples of it
# With length penalties up to 1 it finds what no end to it finds, for 994 and more of 1,000 sentences of Multi30k, in
# half of the time.
LOOKAHEAD = 2


class Hypothesis(NamedTuple):
    """An output without its end mark, and the logarithm of its probability (end mark included)."""

    ids: list[int]
    log_prob: float


@dataclass(frozen=True)
class Decoder:
    """How outputs are searched for, from `configs/config.yaml`.

    temperature above zero samples, from the `top_k` best items and from the smallest set of items that together have
    probability `top_p` (Holtzman et al. 2020, arXiv:1904.09751). At zero the best output is searched for with a beam of
    `beam_size`; 1 is greedy. length_penalty: the exponent a in log p / ((5 + length) / 6)^a (Wu et al. 2016,
    arXiv:1609.08144). max_length: bound on the items of an output; None is twice the source and 50 more. Two decoders
    of the same seed draw the same samples. precision: "bfloat16" takes the products of steps in it, 1.4 to 1.5 times
    faster for whole batches where the processor has such; scores are added up in float32. graphs: see `graphs.graphed`.
    """

    beam_size: int
    length_penalty: float
    temperature: float
    top_k: int
    top_p: float
    max_length: int | None
    precision: str
    graphs: bool
    seed: int
    generator: torch.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "generator", torch.Generator().manual_seed(self.seed))

    @torch.inference_mode()
    def __call__(self, model: Generator, batch: Batch, end: int) -> list[Hypothesis]:
        """Continues each row of `batch.inputs` (begin marks and prompts, all of one length) until `end`."""
        assert batch.inputs is not None
        if self.max_length is not None:
            bounds = torch.full((len(batch.inputs),), self.max_length)
        elif model.spec.source_form is Source.MANY:
            assert batch.source_lengths is not None
            bounds = 2 * batch.source_lengths.cpu() + 50
        else:
            bounds = torch.full((len(batch.inputs),), UNBOUNDED)
        with torch.autocast(batch.inputs.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            if self.temperature > 0 or self.beam_size == 1:
                return self.walk(model, batch, end, bounds)
            return Beam(model, batch, end, bounds, self.beam_size, self.length_penalty, self.graphs).search()

    def walk(self, model: Generator, batch: Batch, end: int, bounds: Int[Tensor, " B"]) -> list[Hypothesis]:
        """One hypothesis a sentence, one item at a time, the best one or a sample."""
        assert batch.inputs is not None
        step = graphed(model.step, batch.inputs.device, self.graphs)
        memory, state = model.start(batch)
        inputs, longest = batch.inputs, bounds.tolist()
        alive = list(range(len(longest)))  # the sentence of each row
        ids: list[list[int]] = [[] for _ in alive]
        totals = [0.0 for _ in alive]
        for length in range(1, max(longest) + 1):
            scores, state = step(inputs, state, memory)
            log_probs = scores.float().log_softmax(-1)
            chosen = self.choose(log_probs)
            keep = []
            found = chosen.tolist(), log_probs.gather(1, chosen[:, None])[:, 0].tolist()
            for row, (sentence, item, log_prob) in enumerate(zip(alive, *found, strict=True)):
                totals[sentence] += log_prob
                if item == end:
                    continue
                ids[sentence].append(item)
                if length < longest[sentence]:
                    keep.append(row)
            if not keep:
                break
            inputs = chosen[:, None]
            if len(keep) < len(alive):
                rows = torch.tensor(keep, device=inputs.device)
                alive, inputs = [alive[row] for row in keep], inputs[rows]
                state, memory = select(state, rows), select(memory, rows)
        return [Hypothesis(*pair) for pair in zip(ids, totals, strict=True)]

    def choose(self, log_probs: Float[Tensor, "B V"]) -> Int[Tensor, " B"]:
        if self.temperature == 0:
            return log_probs.argmax(-1)
        scores = log_probs / self.temperature
        if self.top_k:
            best, places = scores.topk(min(self.top_k, scores.size(-1)))
            scores = torch.full_like(scores, -torch.inf).scatter(1, places, best)
        if self.top_p < 1:
            ordered, places = scores.softmax(-1).sort(-1, descending=True)
            beyond = ordered.cumsum(-1) - ordered >= self.top_p  # what came before has enough: the best one stays
            scores = scores.masked_fill(torch.zeros_like(beyond).scatter(1, places, beyond), -torch.inf)
        # The first of exponential clocks to ring, each at the rate of its item's probability, is a sample; they are
        # drawn on the CPU, alike for all devices. torch.multinomial does the same, after checks that take longer.
        clocks = torch.empty(scores.shape).exponential_(generator=self.generator)
        return (scores - clocks.log().to(scores.device)).argmax(-1)


class Beam:
    """Beam search for B sentences at once, k hypotheses each, side by side in B*k rows. The memory keeps its B rows.

    A sentence is done when none of its living hypotheses would beat the best finished one, even if it were LOOKAHEAD
    items longer at no cost.
    """

    def __init__(
        self,
        model: Generator,
        batch: Batch,
        end: int,
        bounds: Int[Tensor, " B"],
        size: int,
        length_penalty: float,
        graphs: bool = False,
    ):
        self.model, self.batch, self.end, self.graphs = model, batch, end, graphs
        self.size, self.length_penalty = size, length_penalty
        self.bounds: list[int] = bounds.tolist()
        self.best = [(-math.inf, Hypothesis([], -math.inf)) for _ in self.bounds]  # with its score, of the finished

    def search(self) -> list[Hypothesis]:
        assert self.batch.inputs is not None
        step = graphed(self.model.step, self.batch.inputs.device, self.graphs)
        memory, state = self.model.start(self.batch)
        hidden, state = self.model.decode(self.batch.inputs, state, memory)
        sentences = list(range(len(self.bounds)))  # which sentence each group of rows belongs to
        state = map_tensors(lambda t: t.repeat_interleave(self.size, 0), state)
        outputs = self.model.output(hidden[:, -1]).repeat_interleave(self.size, 0)
        totals = torch.full((len(sentences), self.size), -torch.inf, device=hidden.device)
        totals[:, 0] = 0  # all hypotheses are the same at first: only one of them may be extended
        items = torch.empty(len(sentences), self.size, 0, dtype=torch.long, device=hidden.device)

        for length in range(1, max(self.bounds) + 1):
            scores, parents, chosen = self.extend(outputs, totals)
            self.finish(sentences, scores, items, parents, chosen, length)
            scores, order = scores.masked_fill(chosen == self.end, -torch.inf).topk(self.size)
            parents, chosen = parents.gather(1, order), chosen.gather(1, order)
            items = torch.cat([items.gather(1, parents[..., None].expand(-1, -1, items.size(2))), chosen[..., None]], 2)
            totals = scores
            rows = torch.arange(len(sentences), device=parents.device)[:, None] * self.size + parents
            going = self.going(sentences, totals, items, length)
            if len(going) < len(sentences):
                if not going:
                    break
                keep = torch.tensor(going, device=items.device)
                sentences = [sentences[row] for row in going]
                totals, items, rows, memory = totals[keep], items[keep], rows[keep], select(memory, keep)
            state = select(state, rows.flatten())
            outputs, state = step(items[..., -1].reshape(-1, 1), state, memory)
        return [hypothesis for _, hypothesis in self.best]

    def extend(self, outputs: Float[Tensor, "Bk V"], totals: Float[Tensor, "B k"]) -> tuple[Tensor, Tensor, Tensor]:
        """The 2k best continuations of each sentence: total log-probability, parent and item, (B, 2k) each. Twice the
        size, so that k of them go on even if the other k end here.

        They are in the 2k columns with the highest maxima, where the items of a hypothesis are laid in GROUPS rows: to
        look for those first takes half the time.
        """
        groups = math.gcd(outputs.size(1), GROUPS)
        sums = outputs.float().log_softmax(1).view(*totals.shape, groups, -1).add_(totals[..., None, None])
        width = sums.size(3)
        maxima = sums.amax(2).flatten(1)
        columns = maxima.topk(min(2 * self.size, maxima.size(1)), sorted=False).indices
        firsts = columns // width * outputs.size(1) + columns % width
        places = (firsts[..., None] + torch.arange(0, outputs.size(1), width, device=firsts.device)).flatten(1)
        best, order = sums.flatten(1).gather(1, places).topk(min(2 * self.size, places.size(1)))
        places = places.gather(1, order)
        return best, places // outputs.size(1), places % outputs.size(1)

    def finish(
        self, sentences: list[int], scores: Tensor, items: Tensor, parents: Tensor, chosen: Tensor, length: int
    ) -> None:
        """Keeps the hypotheses that end here, if they are among the k best."""
        ends = (chosen[:, : self.size] == self.end) & scores[:, : self.size].isfinite()
        rows, places = ends.nonzero(as_tuple=True)
        found = rows.tolist(), items[rows, parents[rows, places]].tolist(), scores[rows, places].tolist()
        for row, ids, log_prob in zip(*found, strict=True):
            self.keep(sentences[row], ids, log_prob, length)

    def keep(self, sentence: int, ids: list[int], log_prob: float, length: int) -> None:
        score = log_prob / self.penalty(length)
        if score > self.best[sentence][0]:
            self.best[sentence] = score, Hypothesis(ids, log_prob)

    def going(self, sentences: list[int], totals: Tensor, items: Tensor, length: int) -> list[int]:
        """The rows of the sentences that go on; what has reached its bound is finished as it stands."""
        going = []
        for row, (sentence, best) in enumerate(zip(sentences, totals[:, 0].tolist(), strict=True)):
            bound = self.bounds[sentence]
            ahead = best / self.penalty(min(length + LOOKAHEAD, bound)) > self.best[sentence][0]
            if ahead and length < bound:
                going.append(row)
            elif ahead:
                self.keep(sentence, items[row, 0].tolist(), best, length)
        return going

    def penalty(self, length: int) -> float:
        return ((5 + length) / 6) ** self.length_penalty


def select(tree: Any, rows: Int[Tensor, " N"]) -> Any:
    """Keeps the named rows of every tensor, in the named order."""
    return map_tensors(lambda t: t.index_select(0, rows), tree)
