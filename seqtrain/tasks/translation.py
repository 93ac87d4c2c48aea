"""Translation: a text becomes another text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seqtrain import metrics, plots
from seqtrain.batch import Batch, Free, Ragged, Source, Spec, Tokens, real_positions
from seqtrain.data import Pair, report
from seqtrain.metrics import Totals
from seqtrain.tasks.base import Task, by_length, cross_entropy, table
from seqtrain.text import BEGIN, END, PAD, Tokenizer


class Translation(Task):
    """Learns p(target text | source text). The loss is the cross-entropy of each target item, the end mark included.

    unit, lowercase, min_count: see `Tokenizer`; source and target have a vocabulary each. max_length: items of a text
    that are kept. label_smoothing: see `cross_entropy`; validation losses go without. monitor: a metric of `score`.
    """

    kinds = ("pairs",)

    def __init__(
        self, unit: str, lowercase: bool, min_count: int, max_length: int, label_smoothing: float, monitor: str
    ):
        self.unit = unit
        self.lowercase = lowercase
        self.min_count = min_count
        self.max_length = max_length
        self.label_smoothing = label_smoothing
        self.monitor = monitor

    @staticmethod
    def outline(kind: str) -> Spec:
        return Spec(Tokens(0), Source.MANY, Tokens(0), 0, Free())

    def fit(self, records: Sequence[Pair]) -> None:
        sources, targets = zip(*records, strict=True)
        self.source = Tokenizer.fit(sources, self.unit, self.lowercase, self.min_count)
        self.target = Tokenizer.fit(targets, self.unit, self.lowercase, self.min_count)
        self.describe()

    def describe(self) -> None:
        size = len(self.target)
        self.spec = Spec(Tokens(len(self.source), PAD), Source.MANY, Tokens(size, PAD), size, Free())

    def state(self) -> dict[str, Any]:
        return {"source": self.source.state(), "target": self.target.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        self.source, self.target = Tokenizer(**state["source"]), Tokenizer(**state["target"])
        self.describe()

    def report(self, records: dict[str, Sequence[Pair]]) -> report.Report:
        source = report.Field("source", lambda pair: pair.source, self.source.encode, self.max_length)
        target = report.Field("target", lambda pair: pair.target, self.target.encode, self.max_length)
        return report.texts(records, [source, target])

    def examples(self, records: Sequence[Pair]) -> Pairs:
        return Pairs(self, records)

    def encode_source(self, text: str) -> list[int]:
        return [*self.source.encode(text)[: self.max_length], END]

    def encode_target(self, text: str) -> list[int]:
        return [BEGIN, *self.target.encode(text)[: self.max_length], END]

    def loss(self, scores: Float[Tensor, "N O"], batch: Batch) -> tuple[Tensor, Tensor]:
        return cross_entropy(scores, batch.real(batch.target), self.label_smoothing)

    def measure(self, model: Any, batch: Batch, scores: Float[Tensor, "N O"], examples: Pairs, decoder: Any) -> Totals:
        nats, items = cross_entropy(scores, batch.real(batch.target))
        outputs = self.translate(model, batch, decoder)
        return {
            "nats": float(nats),
            "items": float(items),
            "outputs": [answer["output"] for answer in outputs],
            "references": [examples.records[row].target for row in batch.rows],
        }

    def score(self, totals: Totals) -> dict[str, float]:
        loss = totals["nats"] / totals["items"]
        return {"loss": loss, **metrics.translation(totals["outputs"], totals["references"])}

    def translate(self, model: Any, batch: Batch, decoder: Any) -> list[dict[str, Any]]:
        """One answer for each source of the batch: the best text and its log-probability."""
        first = batch.target_lengths.new_full((len(batch.rows), 1), BEGIN)
        found = decoder(model, batch._replace(inputs=first), END)
        return [{"output": self.target.decode(ids), "log_prob": log_prob} for ids, log_prob in found]

    def baselines(self, train: Sequence[Pair], records: Sequence[Pair]) -> dict[str, dict[str, float]]:
        sources, targets = map(list, zip(*records, strict=True))
        return {"copy of the source": metrics.translation(sources, targets)}

    def predict(self, model: Any, lines: list[str], decoder: Any) -> list[dict[str, Any]]:
        device = next(model.parameters()).device
        ids = [self.encode_source(line) for line in lines]
        answers: list[dict[str, Any]] = [{}] * len(lines)
        for rows in by_length(ids):
            batch = Pairs(self, [Pair(lines[row], "") for row in rows]).batch(np.arange(len(rows))).to(device)
            for row, answer in zip(rows, self.translate(model, batch, decoder), strict=True):
                answers[row] = {"input": lines[row], **answer}
        return answers

    def align(self, model: Any, source: str, output: str) -> tuple[list[str], list[str], np.ndarray] | None:
        """Items of the source, items of the output, and the (T, S) weights between them, if the model has such."""
        device = next(model.parameters()).device
        with torch.inference_mode():
            weights = model.align(Pairs(self, [Pair(source, output)]).batch(np.arange(1)).to(device))
        if weights is None:
            return None
        end = ["⏎"]
        items = self.source.split(source)[: self.max_length] + end, self.target.split(output)[: self.max_length] + end
        return *items, weights[0].float().cpu().numpy()

    def details(self, model: Any, answer: dict[str, Any]) -> dict[str, Any]:
        """The alignment of an answer: for each item of the output, the place and item of the source that it looked at
        most, and how much."""
        found = self.align(model, answer["input"], answer["output"])
        if found is None:
            return {}
        sources, outputs, weights = found
        best = weights.argmax(1)
        return {
            "alignment": [
                {"output": item, "source": sources[place], "place": int(place), "weight": round(float(row[place]), 4)}
                for item, place, row in zip(outputs, best, weights, strict=True)
            ]
        }

    def show(self, model: Any, examples: Pairs, totals: Totals, decoder: Any) -> dict[str, Any]:
        pairs = examples.records[:8]
        answers = self.predict(model, [pair.source for pair in pairs], decoder)
        rows = [(pair.source, answer["output"], pair.target) for pair, answer in zip(pairs, answers, strict=True)]
        shown: dict[str, Any] = {"translations": table(("source", "output", "reference"), rows)}
        for i, answer in enumerate(answers[:2]):  # drawing takes a third of a second each
            found = self.align(model, answer["input"], answer["output"])
            if found is not None:
                shown[f"attention {i + 1}"] = plots.attention(*found)
        return shown


class Pairs:
    """Sources with an end mark; targets between a begin and an end mark."""

    def __init__(self, task: Translation, records: Sequence[Pair]):
        self.records = records
        self.sources = Ragged([task.encode_source(pair.source) for pair in records])
        self.targets = Ragged([task.encode_target(pair.target) for pair in records])

    @property
    def lengths(self) -> np.ndarray:
        return self.targets.lengths + self.sources.lengths / 1e3  # by target, among equals by source

    def batch(self, rows: np.ndarray) -> Batch:
        source, source_lengths = self.sources.padded(rows, PAD)
        target, lengths = self.targets.padded(rows, PAD)
        index = real_positions(lengths.numpy() - 1)
        return Batch(source, source_lengths, target[:, :-1], target[:, 1:], lengths - 1, index, rows)
