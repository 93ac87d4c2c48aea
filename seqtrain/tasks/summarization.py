"""Summarization: a long text becomes a short one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch

from seqtrain.codecs.prepared import Text
from seqtrain.codecs.text import BEGIN
from seqtrain.data.kinds import Pair
from seqtrain.evaluation import report, tables
from seqtrain.evaluation.baselines.summaries import Template, lead
from seqtrain.evaluation.metrics import METRICS, Metric, Weighted, matches, of_sums
from seqtrain.evaluation.rouge import SIGNATURE, rouge, words
from seqtrain.tasks.base import Task

COPIED = 0.5  # probability of having been copied above which an item is shown as copied
ROUGE = ("rouge_1", "rouge_2", "rouge_l")
METRICS |= {name: Metric("max", "0 to 100") for name in ROUGE}
METRICS["new_words"] = Metric("max", "share")


class Summarization(Task):
    """Learns p(summary | text). The loss is the cross-entropy of each item of the summary, the end mark included.

    Text and summary have one vocabulary, so that a model can copy from one to the other. Made of subwords, it has all
    words, and those that training has not seen are copied piece by piece.
    """

    kinds = ("pairs",)
    columns = ("output", "log_prob")
    one_vocab = True
    copies = True

    def __init__(self, tokenizer: dict[str, Any], max_length: int, label_smoothing: float, monitor: str):
        self.source, self.target = Text(tokenizer, None, max_length), Text(tokenizer, BEGIN, max_length)
        self.label_smoothing = label_smoothing
        self.monitor = monitor

    def compare_weighted(self, outputs: Sequence[str], targets: Sequence[str]) -> Weighted:
        found = [rouge(output, [target]) for output, target in zip(outputs, targets, strict=True)]
        rows = {name: np.array([scores[name] for scores in found]) for name in ROUGE}

        def score(sums: dict[str, float]) -> dict[str, float]:
            return {name: sums[name] / sums["texts"] for name in ROUGE} | {"exact_match": sums["exact"] / sums["texts"]}

        return of_sums(rows | matches(outputs, targets), score)

    def signatures(self) -> dict[str, str]:
        return {"rouge": SIGNATURE}

    def guesses(self, train: Sequence[Pair], records: Sequence[Pair]) -> dict[str, Sequence[str]]:
        template = Template().fit([*report.evenly(train, 10_000)])
        return {
            "first sentence": [lead(pair.source) for pair in records],
            "most frequent form": [template(pair.source) for pair in records],
        }

    def judge(self, train: Sequence[Any], predictions: list[dict[str, Any]]) -> dict[str, float]:
        """Of the words of the references that stand in the text and that no training text has, such as names: the share
        that the outputs have."""
        known = {word for pair in train for text in pair for word in words(text)}
        new = [set(words(row["target"])) & set(words(row["source"])) - known for row in predictions]
        found = sum(len(some & set(words(row["prediction"]))) for some, row in zip(new, predictions, strict=True))
        return {"new_words": found / total} if (total := sum(map(len, new))) else {}

    @torch.inference_mode()
    def marked(self, model: Any, pair: Pair) -> str:
        """The target in Markdown, what was copied from the source in bold, where the model can copy."""
        batch = self.examples([pair]).batch(np.arange(1)).to(next(model.parameters()).device)
        if (copied := model.copied(batch)) is None:
            return pair.target
        items, parts = zip(self.target.shown(pair.target)[:-1], (copied[0] > COPIED).tolist(), strict=False), []
        for bold, pieces in groupby(items, lambda item: item[1]):
            text = "".join(piece for piece, _ in pieces)
            parts.append(text.replace(text.strip(), f"**{text.strip()}**") if bold and text.strip() else text)
        return "".join(parts).strip()

    def show_more(self, model: Any, records: Sequence[Pair], outputs: Sequence[str]) -> dict[str, Any]:
        marked = [self.marked(model, Pair(pair.source, text)) for pair, text in zip(records, outputs, strict=True)]
        rows = [(pair.source, text, pair.target) for pair, text in zip(records, marked, strict=True)]
        return {"copied": tables.markdown(("source", "output, copies in bold", "target"), rows)}
