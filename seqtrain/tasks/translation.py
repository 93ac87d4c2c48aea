"""Translation: a text becomes another text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seqtrain import metrics, plots, text
from seqtrain.batch import Batch, Free, Source, Spec, Tokens, real_positions
from seqtrain.data import Pair, report
from seqtrain.metrics import Totals
from seqtrain.prepare import beside, fitted, tokenized
from seqtrain.tasks.base import Task, by_length, cross_entropy, table
from seqtrain.text import BEGIN, END, PAD, UNKNOWN


class Translation(Task):
    """Learns p(target text | source text). The loss is the cross-entropy of each target item, the end mark included.

    tokenizer: options of `text.fit`. joint_vocab: source and target share it, else each has its own. max_length:
    items of a text that are kept. label_smoothing: see `cross_entropy`; validation losses go without. monitor: a metric
    of `score`. moses: the target's language, for `metrics.moses_bleu` beside the other metrics.
    """

    kinds = ("pairs",)

    def __init__(
        self,
        tokenizer: dict[str, Any],
        joint_vocab: bool,
        max_length: int,
        label_smoothing: float,
        monitor: str,
        moses: str | None,
    ):
        self.options = tokenizer
        self.joint_vocab = joint_vocab
        self.max_length = max_length
        self.label_smoothing = label_smoothing
        self.monitor = monitor
        self.moses = moses

    @staticmethod
    def outline(kind: str) -> Spec:
        return Spec(Tokens(0), Source.MANY, Tokens(0), 0, Free())

    def fit(self, records: Sequence[Pair]) -> None:
        if self.joint_vocab:
            self.source = self.target = fitted(records, ("source", "target"), self.options)
        else:
            source, target = (partial(fitted, records, (side,), self.options) for side in ("source", "target"))
            with beside(records, self.options["unit"], target):
                self.source = source()
            self.target = target()
        self.describe()

    def describe(self) -> None:
        source, target = Tokens(self.source.size, PAD, UNKNOWN), Tokens(self.target.size, PAD, UNKNOWN)
        self.spec = Spec(source, Source.MANY, target, target.size, Free(), one_vocab=self.joint_vocab)

    def state(self) -> dict[str, Any]:
        target = None if self.joint_vocab else self.target.state()
        return {"source": self.source.state(), "target": target}

    def load_state(self, state: dict[str, Any]) -> None:
        self.source = text.load(state["source"])
        self.target = self.source if state["target"] is None else text.load(state["target"])
        self.describe()

    def report(self, records: dict[str, Sequence[Pair]]) -> report.Report:
        source = report.Field("source", lambda pair: pair.source, self.source.encode, self.max_length)
        target = report.Field("target", lambda pair: pair.target, self.target.encode, self.max_length)
        return report.texts(records, [source, target])

    def examples(self, records: Sequence[Pair]) -> Pairs:
        return Pairs(self, records)

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
        return {"loss": loss, **metrics.translation(totals["outputs"], totals["references"], self.moses)}

    def translate(self, model: Any, batch: Batch, decoder: Any) -> list[dict[str, Any]]:
        """One answer for each source of the batch: the best text and its log-probability."""
        first = batch.target_lengths.new_full((len(batch.rows), 1), BEGIN)
        found = decoder(model, batch._replace(inputs=first), END)
        return [{"output": self.target.decode(ids), "log_prob": log_prob} for ids, log_prob in found]

    def baselines(self, train: Sequence[Pair], records: Sequence[Pair]) -> dict[str, dict[str, float]]:
        sources, targets = map(list, zip(*records, strict=True))
        return {"copy of the source": metrics.translation(sources, targets, self.moses)}

    def predict(self, model: Any, lines: list[str], decoder: Any) -> list[dict[str, Any]]:
        device = next(model.parameters()).device
        examples = Pairs(self, [Pair(line, "") for line in lines])
        answers: list[dict[str, Any]] = [{}] * len(lines)
        for rows in by_length(examples.lengths):
            batch = examples.batch(rows).to(device)
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
        targets = partial(tokenized, records, "target", task.target, [BEGIN], [END], task.max_length)
        with beside(records, task.target.unit, targets):
            self.sources = tokenized(records, "source", task.source, [], [END], task.max_length)
        self.targets = targets()

    @property
    def lengths(self) -> np.ndarray:
        """By target, among equals by source: upwards and downwards in turn, so that sources are about equally long also
        where a batch has targets of two lengths."""
        turn = np.where(self.targets.lengths % 2, 1e-6, -1e-6)
        return self.targets.lengths + 0.5 + turn * self.sources.lengths

    def batch(self, rows: np.ndarray) -> Batch:
        source, source_lengths = self.sources.padded(rows, PAD)
        target, lengths = self.targets.padded(rows, PAD)
        index = real_positions(lengths.numpy() - 1)
        return Batch(source, source_lengths, target[:, :-1], target[:, 1:], lengths - 1, index, rows)
