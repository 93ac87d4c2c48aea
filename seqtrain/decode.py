"""Decoding over a model's start/decode/output: greedy, sampling and beam search, for outputs that are ids.

Every search ends: an output is never longer than its bound. Finished sentences leave the batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqtrain.batch import Batch, Source, map_tensors
from seqtrain.graphs import graphed
from seqtrain.models.base import Generator

UNBOUNDED = 500  # items of an output that has no source to bound it and no `max_length`


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
        step = graphed(model.step, batch.inputs.device) if self.graphs else model.step
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

    A sentence is done when it has k finished hypotheses and no living one, if it ended now, would beat the worst of
    them: to wait until none ever can took twice as long, and no output of Multi30k was another.
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
        self.bounds = bounds
        self.finished: list[list[tuple[float, Hypothesis]]] = [[] for _ in bounds]

    def search(self) -> list[Hypothesis]:
        assert self.batch.inputs is not None
        step = graphed(self.model.step, self.batch.inputs.device) if self.graphs else self.model.step
        memory, state = self.model.start(self.batch)
        hidden, state = self.model.decode(self.batch.inputs, state, memory)
        sentences = torch.arange(len(self.bounds))  # which sentence each group of rows belongs to
        state = map_tensors(lambda t: t.repeat_interleave(self.size, 0), state)
        outputs = self.model.output(hidden[:, -1].repeat_interleave(self.size, 0))
        totals = torch.full((len(sentences), self.size), -torch.inf, device=hidden.device)
        totals[:, 0] = 0  # all hypotheses are the same at first: only one of them may be extended
        items = torch.empty(len(sentences), self.size, 0, dtype=torch.long, device=hidden.device)

        for length in range(1, int(self.bounds.max()) + 1):
            scores, parents, chosen = self.extend(outputs, totals)
            self.finish(sentences, scores, items, parents, chosen, length)
            scores, order = scores.masked_fill(chosen == self.end, -torch.inf).topk(self.size)
            parents, chosen = parents.gather(1, order), chosen.gather(1, order)
            items = torch.cat([items.gather(1, parents[..., None].expand(-1, -1, items.size(2))), chosen[..., None]], 2)
            totals = scores
            rows = torch.arange(len(sentences), device=parents.device)[:, None] * self.size + parents
            going = self.going(sentences, totals, items, length)
            if not going.all():
                if not going.any():
                    break
                keep = going.nonzero()[:, 0].to(items.device)
                sentences, totals, items, rows = sentences[going], totals[keep], items[keep], rows[keep]
                memory = select(memory, keep)
            state = select(state, rows.flatten())
            outputs, state = step(items[..., -1].reshape(-1, 1), state, memory)
        return [max(found, key=lambda pair: pair[0])[1] for found in self.finished]

    def extend(self, outputs: Float[Tensor, "Bk V"], totals: Float[Tensor, "B k"]) -> tuple[Tensor, Tensor, Tensor]:
        """The 2k best continuations of each sentence: total log-probability, parent and item, (B, 2k) each. Twice the
        size, so that k of them go on even if the other k end here."""
        log_probs = outputs.float().log_softmax(1)
        best, items = log_probs.topk(min(2 * self.size, log_probs.size(1)))
        sums = best.view(*totals.shape, -1) + totals[..., None]
        width = sums.size(2)
        best, places = sums.flatten(1).topk(min(2 * self.size, sums[0].numel()))
        return best, places // width, items.view(len(totals), -1).gather(1, places)

    def finish(
        self, sentences: Tensor, scores: Tensor, items: Tensor, parents: Tensor, chosen: Tensor, length: int
    ) -> None:
        """Keeps the hypotheses that end here, if they are among the k best."""
        ends = (chosen[:, : self.size] == self.end) & scores[:, : self.size].isfinite()
        for row, place in ends.nonzero().tolist():
            self.keep(int(sentences[row]), items[row, parents[row, place]].tolist(), float(scores[row, place]), length)

    def keep(self, sentence: int, ids: list[int], log_prob: float, length: int) -> None:
        found = self.finished[sentence]
        found.append((log_prob / self.penalty(length), Hypothesis(ids, log_prob)))
        found.sort(key=lambda pair: -pair[0])
        del found[self.size :]

    def going(self, sentences: Tensor, totals: Tensor, items: Tensor, length: int) -> Tensor:
        """Which sentences go on; what has reached its bound is finished as it stands."""
        going = []
        for row, (sentence, best) in enumerate(zip(sentences.tolist(), totals[:, 0].tolist(), strict=True)):
            found, bound = self.finished[sentence], int(self.bounds[sentence])
            full = len(found) == self.size and best / self.penalty(length) <= found[-1][0]
            if not full and length == bound:
                for ids, total in zip(items[row].tolist(), totals[row].tolist(), strict=True):
                    if total > -torch.inf:
                        self.keep(sentence, ids, total, length)
            going.append(not full and length < bound and best > -torch.inf)
        return torch.tensor(going)

    def penalty(self, length: int) -> float:
        return ((5 + length) / 6) ** self.length_penalty


def select(tree: Any, rows: Int[Tensor, " N"]) -> Any:
    """Keeps the named rows of every tensor, in the named order."""
    return map_tensors(lambda t: t.index_select(0, rows), tree)
