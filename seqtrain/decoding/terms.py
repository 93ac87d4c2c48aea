"""Beam search for outputs that hold given terms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from seqtrain.decoding.beam import Beam

Term = Sequence[int]


class TermBeam(Beam):
    """Beam search whose outputs hold terms, runs of items, at whatever place (Post & Vilar 2018, arXiv:1804.06609).

    Beside the best continuations of a hypothesis, those by the next item of each term that it lacks are tried, and it
    ends only when it lacks none. The places in the beam are shared out evenly by how many items of terms hypotheses
    have: else those that have none, the most probable ones at first, would take all.

    terms: of each sentence. The other arguments are those of `Beam`.
    """

    def __init__(self, *arguments: Any, terms: Sequence[Sequence[Term]]):
        super().__init__(*arguments)
        self.terms = terms

    def best(self, sums: Tensor, items: Tensor, sentences: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """As `Beam.best`, in the order of `shared_out`."""
        _, *places = super().best(sums, items, sentences)
        usual = torch.stack(places, -1).tolist()  # (B, 2k, 2)
        found = [
            self.shared_out(sums[row], items[row].tolist(), self.terms[sentence], usual[row])
            for row, sentence in enumerate(sentences)
        ]
        scores, parents, ids = (torch.tensor(column, device=sums.device) for column in zip(*found, strict=True))
        return scores, parents, ids

    def shared_out(
        self, sums: Tensor, items: list[list[int]], terms: Sequence[Term], usual: list[list[int]]
    ) -> tuple[list[float], list[int], list[int]]:
        """The 2k continuations of a sentence that may go on: the best of those with most items of terms, the best of
        those with one less, and so on; then the second best of each. usual: parent and id of the most probable ones."""
        end, width = self.rules.end, 2 * self.size
        places = {(parent, item) for parent, item in usual}
        places |= {(parent, item) for parent, so_far in enumerate(items) for item in next_items(so_far, terms)}
        ordered = sorted(places)
        scores = sums[tuple(zip(*ordered, strict=True))].tolist()
        by_count: dict[int, list[tuple[float, int, int]]] = {}
        for score, (parent, item) in sorted(zip(scores, ordered, strict=True), reverse=True):
            held = [*items[parent], *([] if item == end else [item])]
            if score > -torch.inf and (item != end or not any(lacking(held, terms))):
                by_count.setdefault(progress(held, terms), []).append((score, parent, item))
        ranked = [(rank, -count, one) for count, some in by_count.items() for rank, one in enumerate(some)]
        chosen = [one for *_, one in sorted(ranked)][:width]
        chosen += [(-torch.inf, 0, end)] * (width - len(chosen))
        scored, parents, ids = (list(column) for column in zip(*chosen, strict=True))
        return scored, parents, ids

    def add_finished(self, sentence: int, ids: list[int], log_prob: float, length: int) -> None:
        """As `Beam.add_finished`. At the bound on the length, one that lacks a term is kept if there is no other."""
        whole = not any(lacking(ids, self.terms[sentence]))
        if whole or self.finished[sentence][0][0] == -torch.inf:
            super().add_finished(sentence, ids, log_prob, length)


def lacking(items: list[int], terms: Sequence[Term]) -> Iterator[Term]:
    """The terms that the items do not hold."""
    for term in terms:
        if not any(items[start : start + len(term)] == [*term] for start in range(len(items) - len(term) + 1)):
            yield term


def begun(items: list[int], term: Term) -> int:
    """How many of a term's items, from its first, stand at the end of the items."""
    return next(
        size for size in range(min(len(items), len(term) - 1), -1, -1) if items[len(items) - size :] == [*term[:size]]
    )


def next_items(items: list[int], terms: Sequence[Term]) -> Iterator[int]:
    """By what each term that the items lack goes on, or begins."""
    return (term[begun(items, term)] for term in lacking(items, terms))


def progress(items: list[int], terms: Sequence[Term]) -> int:
    """How many items of the terms there are, those of the term that is being written included."""
    lacks = [*lacking(items, terms)]
    held = sum(map(len, terms)) - sum(map(len, lacks))
    return held + max((begun(items, term) for term in lacks), default=0)
