"""Sentiment, or any other classification of texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seqtrain import metrics, plots, text
from seqtrain.baselines import linear_classifier
from seqtrain.batch import Batch, Fixed, Source, Spec, Tokens, real_positions
from seqtrain.config import UserError
from seqtrain.data import Labelled, report
from seqtrain.metrics import Totals
from seqtrain.prepare import fitted, tokenized
from seqtrain.tasks.base import Task, by_length, cross_entropy, label_numbers, sample, table
from seqtrain.text import END, PAD, UNKNOWN


class Sentiment(Task):
    """Learns p(label | text). The loss is the cross-entropy of the label.

    tokenizer: options of `text.fit`. max_length: items of a text that are kept. label_smoothing: see `cross_entropy`.
    monitor: a metric of `score`.
    """

    kinds = ("labelled",)

    def __init__(self, tokenizer: dict[str, Any], max_length: int, label_smoothing: float, monitor: str):
        self.options = tokenizer
        self.max_length = max_length
        self.label_smoothing = label_smoothing
        self.monitor = monitor

    @staticmethod
    def outline(kind: str) -> Spec:
        return Spec(Tokens(0), Source.MANY, None, 0, Fixed(1))

    def fit(self, records: Sequence[Labelled]) -> None:
        self.tokenizer = fitted(records, ("text",), self.options)
        self.labels = sorted({record.label for record in records})
        if len(self.labels) < 2:
            raise UserError(f"data: all training examples have the label {self.labels[0]!r}; two or more are needed")
        self.describe()

    def describe(self) -> None:
        self.spec = Spec(Tokens(len(self.tokenizer), PAD, UNKNOWN), Source.MANY, None, len(self.labels), Fixed(1))

    def state(self) -> dict[str, Any]:
        return {"tokenizer": self.tokenizer.state(), "labels": self.labels}

    def load_state(self, state: dict[str, Any]) -> None:
        self.tokenizer, self.labels = text.load(state["tokenizer"]), state["labels"]
        self.describe()

    def report(self, records: dict[str, Sequence[Labelled]]) -> report.Report:
        field = report.Field("text", lambda record: record.text, self.tokenizer.encode, self.max_length)
        return report.texts(records, [field], lambda record: record.label)

    def examples(self, records: Sequence[Labelled]) -> Texts:
        return Texts(self, records)

    def loss(self, scores: Float[Tensor, "N O"], batch: Batch) -> tuple[Tensor, Tensor]:
        return cross_entropy(scores, batch.real(batch.target), self.label_smoothing)

    def measure(self, model: Any, batch: Batch, scores: Float[Tensor, "N O"], examples: Texts, decoder: Any) -> Totals:
        target = batch.real(batch.target)
        nats, items = cross_entropy(scores, target)
        confusion = np.zeros((len(self.labels), len(self.labels)), np.int64)
        np.add.at(confusion, (target.cpu().numpy(), scores.argmax(-1).cpu().numpy()), 1)
        return {"nats": float(nats), "items": float(items), "confusion": confusion}

    def score(self, totals: Totals) -> dict[str, float]:
        return {"loss": totals["nats"] / totals["items"], **metrics.classification(totals["confusion"])}

    def baselines(self, train: Sequence[Labelled], records: Sequence[Labelled]) -> dict[str, dict[str, float]]:
        texts, labels = map(list, zip(*sample(train, 50_000), strict=True))
        asked = [record.text for record in records]
        guesses = {
            "majority class": [Counter(labels).most_common(1)[0][0]] * len(records),
            "bag of words": linear_classifier(texts, labels, asked, order=1),
            "bag of bigrams": linear_classifier(texts, labels, asked, order=2),
            "NB-SVM of words": linear_classifier(texts, labels, asked, order=1, naive_bayes=True),
            "NB-SVM of bigrams": linear_classifier(texts, labels, asked, order=2, naive_bayes=True),
        }
        return {name: metrics.classification(self.confusion(records, guess)) for name, guess in guesses.items()}

    def confusion(self, records: Sequence[Labelled], guesses: Sequence[str]) -> np.ndarray:
        counts = np.zeros((len(self.labels), len(self.labels)), np.int64)
        for record, guess in zip(records, guesses, strict=True):
            counts[self.labels.index(record.label), self.labels.index(guess)] += 1
        return counts

    def predict(self, model: Any, lines: list[str], decoder: Any) -> list[dict[str, Any]]:
        device = next(model.parameters()).device
        examples = Texts(self, [Labelled(line, self.labels[0]) for line in lines])
        answers: list[dict[str, Any]] = [{}] * len(lines)
        for rows in by_length(examples.lengths):
            batch = examples.batch(rows).to(device)
            with torch.inference_mode():
                probabilities = model(batch).scores.float().softmax(-1).tolist()
            for row, probability in zip(rows, probabilities, strict=True):
                scores = dict(zip(self.labels, probability, strict=True))
                answers[row] = {"input": lines[row], "output": max(scores, key=scores.__getitem__), "scores": scores}
        return answers

    def show(self, model: Any, examples: Texts, totals: Totals, decoder: Any) -> dict[str, Any]:
        records = examples.records[:12]
        answers = self.predict(model, [record.text for record in records], decoder)
        rows = [
            (record.text, answer["output"], f"{answer['scores'][answer['output']]:.3f}", record.label)
            for record, answer in zip(records, answers, strict=True)
        ]
        return {
            "labels": table(("text", "output", "probability", "label"), rows),
            "confusion matrix": plots.confusion(totals["confusion"], self.labels),
        }


class Texts:
    """Texts with an end mark, and the place of their label."""

    def __init__(self, task: Sentiment, records: Sequence[Labelled]):
        self.records = records
        self.labels = label_numbers(records, task.labels)
        self.texts = tokenized(records, "text", task.tokenizer, [], [END], task.max_length)

    @property
    def lengths(self) -> np.ndarray:
        return self.texts.lengths

    def batch(self, rows: np.ndarray) -> Batch:
        source, lengths = self.texts.padded(rows, PAD)
        ones = np.ones(len(rows), np.int64)
        target = torch.from_numpy(self.labels[rows])[:, None]
        return Batch(source, lengths, None, target, torch.from_numpy(ones), real_positions(ones), rows)
