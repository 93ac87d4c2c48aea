"""Greedy search and sampling: at each step the best item is chosen, or one is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqtrain.contract import Batch
from seqtrain.decoding.hypothesis import Hypothesis, Step, select
from seqtrain.decoding.rules import Rules
from seqtrain.models.base import Generator


@dataclass(frozen=True)
class Sampling:
    """Chooses the items of outputs one by one. temperature, top_k, top_p: see `Decoder`; a temperature of zero takes
    the best item (greedy search)."""

    temperature: float
    top_k: int
    top_p: float
    generator: torch.Generator

    def search(
        self, model: Generator, step: Step, batch: Batch, rules: Rules, max_lengths: Int[Tensor, " B"]
    ) -> list[Hypothesis]:
        """Returns one hypothesis for each sentence of the batch. rules: what outputs may go on with, and the id of the
        end mark. max_lengths: of each output."""
        assert batch.inputs is not None
        memory, state = model.start(batch.source, batch.source_lengths)
        inputs = batch.inputs
        longest = max_lengths.tolist()
        active = list(range(len(longest)))  # the sentences that are not done, by their row of the batch
        ids: list[list[int]] = [[] for _ in active]
        totals = [0.0 for _ in active]  # log-probabilities
        ended = [False for _ in active]
        for length in range(1, max(longest) + 1):
            scores, state = step(inputs, state, memory)
            log_probs = scores.float().log_softmax(-1)
            allowed = log_probs
            if rules.active:
                items = torch.tensor([ids[sentence] for sentence in active], dtype=torch.long, device=inputs.device)
                allowed = rules(log_probs, items)
            chosen = self.choose(allowed)
            chosen_log_probs = log_probs.gather(1, chosen[:, None])[:, 0]
            unfinished = []
            steps = zip(active, chosen.tolist(), chosen_log_probs.tolist(), strict=True)
            for row, (sentence, item, log_prob) in enumerate(steps):
                totals[sentence] += log_prob
                if item == rules.end:
                    ended[sentence] = True
                    continue
                ids[sentence].append(item)
                if length < longest[sentence]:
                    unfinished.append(row)
            if not unfinished:
                break
            inputs = chosen[:, None]
            if len(unfinished) < len(active):
                rows = torch.tensor(unfinished, device=inputs.device)
                active = [active[row] for row in unfinished]
                inputs = inputs[rows]
                state, memory = select(state, rows), select(memory, rows)
        found = zip(ids, totals, ended, strict=True)
        return [Hypothesis(items, total, unfinished=not at_end) for items, total, at_end in found]

    def choose(self, log_probs: Float[Tensor, "B V"]) -> Int[Tensor, " B"]:
        """Returns the best id of each row, or draws one: see `Decoder`."""
        if self.temperature == 0:
            return log_probs.argmax(-1)
        scores = log_probs / self.temperature
        if self.top_k:
            best, ids = scores.topk(min(self.top_k, scores.size(-1)))
            scores = torch.full_like(scores, -torch.inf).scatter(1, ids, best)
        if self.top_p < 1:
            ordered, ids = scores.softmax(-1).sort(-1, descending=True)
            excluded = ordered.cumsum(-1) - ordered >= self.top_p  # the better ids have top_p; the best is never out
            scores = scores.masked_fill(torch.zeros_like(excluded).scatter(1, ids, excluded), -torch.inf)
        # The Gumbel-max trick: argmax(scores - log(exponential)) is a sample. The noise is drawn on the CPU, so that it
        # is the same for all devices. torch.multinomial does the same, after checks that take longer.
        noise = torch.empty(scores.shape).exponential_(generator=self.generator)
        return (scores - noise.log().to(scores.device)).argmax(-1)
