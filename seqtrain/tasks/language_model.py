"""A language model of texts, or of texts of a given kind, where each has a label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from seqtrain.codecs.encoded import Encoded
from seqtrain.codecs.labels import Labels
from seqtrain.codecs.prepared import Column, Text
from seqtrain.codecs.ragged import Ragged
from seqtrain.codecs.stream import Stream, Window
from seqtrain.codecs.text import END
from seqtrain.config import in_brief
from seqtrain.contract import Batch, Output, Spec
from seqtrain.data.kinds import Document, Labelled
from seqtrain.evaluation import metrics, tables
from seqtrain.evaluation.baselines import ngrams
from seqtrain.evaluation.metrics import Totals, Weighted, of_sums
from seqtrain.tasks.base import Task


class LanguageModel(Task):
    """Learns p(text), or p(text | label). The loss is the cross-entropy of each item, end marks included.

    Texts without labels are one long text to the model, an end mark between them, cut into windows of `window` items.
    With `carry` the state goes on from one to the next (truncated backpropagation through time); without it every
    window stands alone, in training in random order. Labelled texts are short and stand alone.
    """

    fields = ("label", "text")
    keys = ("labels", "tokenizer")
    many = False
    columns = ("output", "log_prob")
    measures = (*Task.measures, "bits_per_char")

    def __init__(self, tokenizer: dict[str, Any], window: int, carry: bool, monitor: str):
        self.target = self.text = Text(tokenizer)
        self.window = window
        self.carry = carry
        self.monitor = monitor

    def condition(self, labelled: bool) -> None:
        """Settles whether texts have labels: then each is a target by itself, behind a mark."""
        if labelled != (self.source is not None):
            self.source = Labels(first=1, least=1) if labelled else None  # 0 is padding
            self.text.begin = [END] if labelled else []

    def outline(self, kind: str) -> Spec:
        self.condition(kind == "labelled")
        return super().outline(kind)

    def fit(self, records: Sequence[Any], start: dict[str, Any] | None = None) -> None:
        self.condition(isinstance(records[0], Labelled))
        super().fit(records, start)

    def state(self) -> dict[str, Any]:
        return {"labels": []} | super().state()

    def load_state(self, state: dict[str, Any]) -> None:
        self.condition(state["labels"] != [])
        super().load_state(state)

    @property
    def labels(self) -> list[str]:
        return self.source.names if isinstance(self.source, Labels) else []

    def examples(self, records: Sequence[Any]) -> Any:
        if self.source is not None:
            examples = super().examples(records)
            items = int(examples.target.lengths.sum()) - len(records)
        else:
            examples: Any = Stream(self.text.encode_all(Column(records, "text")).values, END, self.window, self.carry)
            items = len(examples.ids)
        examples.characters = sum(len(record.text) for record in records) / items  # an item
        return examples

    def measure(self, model: Any, rows: Any, batch: Batch, output: Output, examples: Any, decoder: Any) -> Totals:
        found = self.loss(batch, output)
        places = rows.starts if isinstance(rows, Window) else rows
        return found | {"rows": places.tolist(), "characters": examples.characters * found["items"]}

    def score_weighted(self, totals: Totals) -> Weighted:
        rows = {name: totals[name] for name in ("nats", "items", "characters")}
        return of_sums(rows, lambda sums: metrics.language_model(**sums))

    def baselines(self, train: Sequence[Any], records: Sequence[Any]) -> dict[str, dict[str, float]]:
        found = ngrams.bits_per_char(train, records, self.labels)
        return {name: {"bits_per_char": bits} for name, bits in found.items()}

    def predictions(self, model: Any, examples: Any, totals: Totals, decoder: Any) -> list[dict[str, Any]]:
        """A free sample for the label of each text. Of unlabelled texts there is nothing to predict."""
        if self.source is None:
            return []
        asked = [record._replace(text="") for record in examples.records]
        return [
            {"source": record.label, "target": record.text, "prediction": answer["output"]}
            for record, answer in zip(examples.records, self.answers(model, asked, decoder), strict=True)
        ]

    def example(self, examples: Any, row: int) -> str:
        """The text, or the beginning of the window."""
        if self.source is None:
            return in_brief(self.text.decode(examples.ids[row : row + self.window].tolist()), 80)
        return examples.records[row].text

    def judge(self, train: Sequence[Any], predictions: list[dict[str, Any]]) -> dict[str, float]:
        return {} if self.source is None else ngrams.judged(train, predictions)

    def about(self) -> dict[str, Any]:
        """labels: those of the texts, if they have any; see `parse` for an input."""
        return super().about() | {"labels": self.labels}

    def lines(self, records: Sequence[Any], count: int) -> list[str]:
        """Beginnings of texts, behind their label if they have one."""
        if self.source is not None:
            return super().lines(records, count)
        return [" ".join(record.text[:20].split()) for record in records[:count]]

    def blank(self, line: str) -> bool:
        """An empty prompt is one, too."""
        return self.source is not None and super().blank(line)

    def parse(self, line: str, number: int) -> Document | Labelled:
        """A prompt. Where texts have labels, a line is a label, then, after a tab, the prompt, if any."""
        if self.source is None:
            return Document(line)
        label, _, prompt = line.partition("\t")
        self.source.check(label, number)
        return Labelled(prompt, label)

    def given(self, source: str, target: str, number: int) -> Document | Labelled:
        return self.parse(source if self.source is None else f"{source}\t{target}", number)

    def apart(self, records: Sequence[Any]) -> Any:
        if self.source is not None:
            return self.examples(records)
        texts = Ragged.of([np.array([END, *self.text.encode(record.text)]) for record in records])
        return Encoded(records, None, texts, shifted=True)

    def log_probs(self, model: Any, records: Sequence[Any]) -> list[dict[str, Any]]:
        """Of each text by itself; beside that the bits per character."""
        found = super().log_probs(model, records)
        for record, scores in zip(records, found, strict=True):
            scores["bits_per_char"] = -scores["log_prob"] / math.log(2) / len(record.text)
        return found

    def prompt(self, record: Any) -> np.ndarray:
        return np.array([END, *self.text.encode(record.text)[len(self.text.begin) : -1]])

    def written(self, record: Any, ids: Sequence[int]) -> str:
        return self.text.tokenizer.continued(record.text, ids)

    def show(self, model: Any, examples: Any, totals: Totals, decoder: Any) -> dict[str, Any]:
        if self.source is None:
            samples = self.predict(model, [""] * 3, decoder)
            return {"samples": "\n\n".join(f"```\n{sample['output']}\n```" for sample in samples)}
        labels = [label for label in self.labels for _ in range(2)][:24]
        rows = [(answer["input"], answer["output"]) for answer in self.predict(model, labels, decoder)]
        return {"samples": tables.markdown(("label", "sample"), rows)}
