"""Transcription: what was spoken or written, as text. The base of the tasks that read signals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from seqtrain.codecs.prepared import Column, Text
from seqtrain.codecs.signal import Signal
from seqtrain.codecs.text import BEGIN
from seqtrain.evaluation import metrics, report
from seqtrain.evaluation.baselines.nearest import nearest_by_warping
from seqtrain.evaluation.metrics import Weighted
from seqtrain.tasks.base import Task

KNOWN, LONG = 500, 400  # examples among which the nearest is looked for, and positions up to which it is


class Transcription(Task):
    """Learns p(text | signal). The loss is the cross-entropy of each item, the end mark included, or where a likelihood
    aligns the items, the logarithm of the probability of all alignments."""

    keys = ("signal", "tokenizer")
    columns = ("output", "log_prob")

    def __init__(self, sources: dict[str, Signal], tokenizer: dict[str, Any], label_smoothing: float, monitor: str):
        self.sources = sources
        self.target = Text(tokenizer, BEGIN)
        self.label_smoothing = label_smoothing
        self.monitor = monitor

    def compare_weighted(self, outputs: Sequence[str], targets: Sequence[str]) -> Weighted:
        normalized = self.target.tokenizer.normalized
        return metrics.transcription(list(map(normalized, outputs)), list(map(normalized, targets)))

    def guesses(self, train: Sequence[Any], records: Sequence[Any]) -> dict[str, Sequence[str]]:
        common = Counter(record.text for record in train).most_common(1)[0][0]
        found: dict[str, Sequence[str]] = {"most frequent text": [common] * len(records)}
        asked = self.source.encode_all(Column(records, self.fields[0]))
        if np.median(asked.lengths) <= LONG:
            known = report.evenly(train, KNOWN)
            signals = (self.source.encode(getattr(record, self.fields[0])) for record in known)
            texts, series = [record.text for record in known], [asked[row] for row in range(len(records))]
            found["nearest neighbour by time warping"] = nearest_by_warping(signals, texts, series)
        return found

    def caption(self, record: Any, output: str) -> str:
        """What a figure shows: the output, and where it is another, the true text."""
        return output if output == record.text else f"{output or '(nothing)'}, for: {record.text}"
