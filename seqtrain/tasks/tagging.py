"""Tagging: each token of a sentence gets a tag."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from seqtrain.codecs.labels import Tags
from seqtrain.codecs.sentences import Sentences
from seqtrain.config import LineError
from seqtrain.contract import Aligned
from seqtrain.data.kinds import Tagged
from seqtrain.evaluation import plots, report
from seqtrain.evaluation.baselines.lookup import Lookup
from seqtrain.evaluation.metrics import Totals, Weighted
from seqtrain.evaluation.tags import TagSet, under
from seqtrain.tasks.base import Task

WINDOWS = {"most frequent tag of the token": 0, "lookup of three tokens": 1, "lookup of five tokens": 2}


class Tagging(Task):
    """Learns p(tags | tokens). The loss is in nats a token.

    Where there is a tag O, for what is of no kind, F1 counts spans of the others: exact ones, as conlleval does, where
    tags mark their begin and inside, else each token by itself. By default it is the monitor; else it is accuracy.
    """

    kinds = ("tagged",)
    fields = ("columns", "tags")
    keys = ("sentences", "tags")
    form = Aligned()

    def __init__(self, fold: bool, min_count: int, characters: int, spelling: bool, monitor: str):
        self.source = self.sentences = Sentences(fold, min_count, characters, spelling)
        self.target = self.tags = Tags()
        self.wanted = monitor

    @property
    def monitor(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.wanted if self.wanted != "auto" else "f1" if self.tag_set.outside else "accuracy"

    @property
    def tag_set(self) -> TagSet:
        return TagSet(self.tags.names)

    def report(self, records: dict[str, Sequence[Tagged]]) -> report.Report:
        return report.tagged(records, self.sentences.encode_all)

    def compare_weighted(self, outputs: Sequence[Sequence[str]], targets: Sequence[Sequence[str]]) -> Weighted:
        return self.tag_set.score(outputs, targets)

    def guesses(self, train: Sequence[Tagged], records: Sequence[Tagged]) -> dict[str, Sequence[Sequence[str]]]:
        known, found = [(record.tokens, record.tags) for record in report.evenly(train, 50_000)], {}
        for name, radius in WINDOWS.items():
            lookup = Lookup(radius).fit(known)
            found[name] = [lookup(record.tokens) for record in records]
        return found

    def tables(self, examples: Any, totals: Totals, split: str) -> dict[str, list[dict[str, Any]]]:
        return self.tag_set.tables(totals["outputs"], totals["targets"]) if split == "test" else {}

    @property
    def field(self) -> str:
        return "tokens"

    def blank(self, line: str) -> bool:
        return line.strip() in ("", "[]")

    def parse(self, line: str, number: int) -> Tagged:
        given = self.sentences.given
        try:
            record = Tagged.parse(line)
        except ValueError:
            raise LineError(number, "its tokens have unequal numbers of columns") from None
        if len(record.columns) != given:
            raise LineError(
                number,
                f"a token has {len(record.columns)} columns, and training had {given}; a CoNLL file has several, or a "
                'list such as [["token", "feature"]]',
            )
        return record

    def given(self, source: str, target: str, number: int) -> Tagged:
        record = self.parse(source, number)._replace(tags=tuple(target.split()))
        if len(record.tags) != len(record.tokens):
            raise LineError(
                number, f"{len(record.tokens)} tokens and {len(record.tags)} tags; expected as many of both"
            )
        return record

    def log_probs(self, model: Any, records: Sequence[Tagged]) -> list[dict[str, Any]]:
        """Tags that training does not have are impossible."""
        known, found = {*self.tags.names}, super().log_probs(model, records)
        for record, scores in zip(records, found, strict=True):
            if not known.issuperset(record.tags):
                scores |= {"log_prob": -math.inf, "log_prob_per_item": -math.inf}
        return found

    def title(self, record: Tagged, row: int) -> str:
        return " ".join(record.tokens)

    def show(self, model: Any, examples: Any, totals: Totals, decoder: Any) -> dict[str, Any]:
        outputs = dict(zip(totals["rows"], totals["outputs"], strict=True))
        shown = [(record.tokens, outputs[row], record.tags) for row, record in enumerate(examples.records[:8])]
        confusion = self.tag_set.confusion(totals["outputs"], totals["targets"])
        return {
            "samples": "\n\n".join(under(*sentence) for sentence in shown),
            "tags": plots.tagged(shown[:6]),
            "confusion matrix": plots.confusion(confusion, self.tags.names),
        }
