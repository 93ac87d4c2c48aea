"""Translation: a text becomes another text."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from seqtrain.codecs.prepared import Text
from seqtrain.codecs.text import BEGIN
from seqtrain.data.kinds import Pair
from seqtrain.evaluation import bleu, metrics, report
from seqtrain.evaluation.metrics import Weighted
from seqtrain.tasks.base import Task

MONITORS = ("bleu", "bleu_tok_lc", "chrf", "exact_match", "loss")


class Translation(Task):
    """Learns p(target text | source text). The loss is the cross-entropy of each target item, the end mark included.

    Validation losses go without label smoothing. By default the monitor is BLEU, or chrF where BLEU cannot tell outputs
    apart.
    """

    kinds = ("pairs",)
    columns = ("output", "log_prob")

    def __init__(
        self,
        tokenizer: dict[str, Any],
        joint_vocab: bool,
        max_length: int,
        label_smoothing: float,
        monitor: str,
        moses: str | None,
        bleu_tokenizer: str,
    ):
        self.source, self.target = Text(tokenizer, None, max_length), Text(tokenizer, BEGIN, max_length)
        self.one_vocab = joint_vocab
        self.label_smoothing = label_smoothing
        self.monitor = monitor
        self.bleu_tokenizer = bleu_tokenizer
        self.moses = moses
        self.notes: list[str] = []

    def fit(self, records: Sequence[Pair], start: dict[str, Any] | None = None) -> None:
        super().fit(records, start)
        references = [pair.target for pair in report.evenly(records, 10_000)]
        self.bleu_tokenizer, self.monitor, self.notes = bleu.settle(
            references, self.bleu_tokenizer, self.monitor, self.target.tokenizer.lowercase
        )

    def state(self) -> dict[str, Any]:
        return super().state() | {"bleu_tokenizer": self.bleu_tokenizer, "monitor": self.monitor}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        judged = state.get("bleu_tokenizer", "13a"), state.get("monitor", "bleu")  # runs from before have neither
        if judged[0] not in bleu.TOKENIZERS or judged[1] not in MONITORS:
            raise ValueError("no such tokenizer of BLEU, or no such monitor")
        self.bleu_tokenizer = judged[0] if self.bleu_tokenizer == "auto" else self.bleu_tokenizer
        self.monitor = judged[1] if self.monitor == "auto" else self.monitor

    def report(self, records: dict[str, Sequence[Pair]]) -> report.Report:
        found = super().report(records)
        return found._replace(lines=[*found.lines, *self.notes])

    def compare_weighted(self, outputs: Sequence[str], targets: Sequence[str]) -> Weighted:
        if self.target.tokenizer.nfc:  # accents composed or apart: the same text
            outputs, targets = ([unicodedata.normalize("NFC", text) for text in some] for some in (outputs, targets))
        return metrics.translation(list(outputs), list(targets), self.bleu_tokenizer, self.moses)

    def signatures(self) -> dict[str, str]:
        return {"bleu": bleu.signature(self.bleu_tokenizer)}

    def guesses(self, train: Sequence[Pair], records: Sequence[Pair]) -> dict[str, Sequence[str]]:
        return {"copy of the source": [record.source for record in records]}
