"""Captioning: a picture, or a list of attributes, becomes a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from seqtrain.codecs.attributes import Attributes, parsed
from seqtrain.codecs.encoded import Several
from seqtrain.codecs.image import Image
from seqtrain.codecs.prepared import Column, Text
from seqtrain.codecs.text import BEGIN
from seqtrain.data.kinds import Described
from seqtrain.evaluation import captions, plots, report, tables
from seqtrain.evaluation.baselines.nearest import nearest
from seqtrain.evaluation.metrics import METRICS, Metric, Totals
from seqtrain.tasks.base import Task

METRICS |= {"cider_d": Metric("max", "0 to 10"), "nist": Metric("max", "bits"), "rouge_l": Metric("max", "0 to 100")}
SHOWN = 8  # pictures


class Captioning(Task):
    """Learns p(caption | picture), or p(caption | attributes). The loss is the cross-entropy of each item, the end mark
    included. Of several captions of a picture, each epoch takes one at random.

    A value of an attribute in `names` is written as the attribute's name, and put back into what the model writes.
    """

    kinds = ("pictures", "attributes")
    columns = ("output", "log_prob")

    def __init__(
        self,
        tokenizer: dict[str, Any],
        image_size: int,
        shift: int,
        names: list[str],
        label_smoothing: float,
        monitor: str,
    ):
        self.sources = {"pictures": Image(image_size, shift), "attributes": Attributes(names)}
        self.target = Text(tokenizer, BEGIN)
        self.names = names
        self.label_smoothing = label_smoothing
        self.monitor = monitor
        self.choose("pictures")

    def choose(self, kind: str) -> None:
        """A picture is a single thing, attributes are a sequence."""
        super().choose(kind)
        self.many = kind == "attributes"

    def fit(self, records: Sequence[Any]) -> None:
        self.choose("attributes" if isinstance(records[0], Described) else "pictures")
        self.source.fit(Column(records, self.fields[0]))
        self.target.fit([text for record in records for text in self.plain(record)])
        self.spec = self.described()

    def plain(self, record: Any) -> list[str]:
        """The captions of a record as a model writes them."""
        texts = [record.captions] if isinstance(record.captions, str) else list(record.captions)
        for name, value in self.named(record):
            texts = [text.replace(value, mark(name)) for text in texts]
        return texts

    def named(self, record: Any) -> list[tuple[str, str]]:
        """The attributes of a record whose values are not written as they are."""
        if self.kind == "pictures" or not self.names:
            return []
        values = parsed(record.attributes)
        return [(name, values[name]) for name in self.names if values.get(name)]

    def examples(self, records: Sequence[Any]) -> Any:
        texts = [self.plain(record) for record in records]
        target = self.target.encode_all([text for several in texts for text in several])
        source = self.source.encode_all(Column(records, self.fields[0]))
        return Several(records, source, target, np.array([len(several) for several in texts]))

    def report(self, records: dict[str, Sequence[Any]]) -> report.Report:
        return report.sizes(records)

    def compare(self, outputs: Sequence[str], targets: Sequence[tuple[str, ...]]) -> dict[str, float]:
        return captions.scored(outputs, targets)

    def signatures(self) -> dict[str, str]:
        return captions.SIGNATURES

    def guesses(self, train: Sequence[Any], records: Sequence[Any]) -> dict[str, Sequence[str]]:
        """The most frequent caption; the first caption of the training record that is most alike."""
        some = report.evenly(train, 10_000)
        counts = Counter(text for record in some for text in record.captions)
        best = max(counts, key=lambda text: (counts[text], text))
        places = nearest(self.features(some), self.features(records))
        return {
            "most frequent caption": [best] * len(records),
            "nearest neighbour": [some[i].captions[0] for i in places],
        }

    def features(self, records: Sequence[Any]) -> np.ndarray:
        """(N, F) records as vectors: pixels, or which attributes there are."""
        sources = Column(records, self.fields[0])
        if self.kind == "pictures":
            return np.stack([self.source.encode(value).ravel() for value in sources])
        rows = np.zeros((len(records), self.source.positions.size), np.float32)
        for row, value in zip(rows, sources, strict=True):
            row[self.source.encode(value)] = 1
        return rows

    def written(self, record: Any, ids: Sequence[int]) -> str:
        text = super().written(record, ids)
        for name, value in self.named(record):
            text = text.replace(mark(name), value)
        return text

    def predictions(self, model: Any, examples: Any, totals: Totals, decoder: Any) -> list[dict[str, Any]]:
        outputs = dict(zip(totals["rows"], totals["outputs"], strict=True))
        return [
            {"source": self.title(record, row), "target": " | ".join(record.captions), "prediction": outputs[row]}
            for row, record in enumerate(examples.records)
        ]

    def title(self, record: Any, row: int) -> str:
        """What a record is called: its attributes, or the name or the place of its picture."""
        return record[0] if isinstance(record[0], str) else str(row)

    def show(self, model: Any, examples: Any, totals: Totals, decoder: Any) -> dict[str, Any]:
        records = examples.records[:SHOWN]
        outputs = [answer["output"] for answer in self.answers(model, records, decoder)]
        rows = [(self.title(record, i), outputs[i], record.captions[0]) for i, record in enumerate(records)]
        shown: dict[str, Any] = {"captions": tables.markdown((self.fields[0], "output", "caption"), rows)}
        if self.kind == "attributes":
            return shown | self.looks(model, records[0], outputs[0])
        pictures = [np.moveaxis(self.source.pixels(record.picture), 0, 2) for record in records]
        return shown | {"pictures": plots.captioned(pictures, outputs)} | self.looks(model, records[0], outputs[0])

    @torch.inference_mode()
    def looks(self, model: Any, record: Any, output: str) -> dict[str, Any]:
        """A figure of what each word of an output looked at, where the model can tell."""
        batch = self.examples([record._replace(captions=output)]).batch(np.arange(1))
        weights = model.align(batch.to(next(model.parameters()).device)) if model.attends else None
        if weights is None:
            return {}
        items, weights = (
            self.target.shown(self.plain(record._replace(captions=output))[0]),
            weights[0].float().cpu().numpy(),
        )
        if self.kind == "attributes":
            return {"attention": plots.attention(self.source.shown(record.attributes), items, weights)}
        picture = np.moveaxis(self.source.pixels(record.picture), 0, 2)
        return {"attention": plots.looks(picture, items, weights)}


def mark(name: str) -> str:
    """The word that stands for the value of an attribute."""
    return f"_{name.replace(' ', '_')}_"
