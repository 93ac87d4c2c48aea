"""Captioning: a picture, or a list of attributes, becomes a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from seqtrain.codecs.attributes import Attributes, parsed
from seqtrain.codecs.image import Image
from seqtrain.codecs.prepared import Column, Text
from seqtrain.codecs.text import BEGIN
from seqtrain.evaluation import captions, plots, report
from seqtrain.evaluation.baselines.nearest import nearest
from seqtrain.evaluation.metrics import METRICS, Metric, Weighted
from seqtrain.tasks.base import Task

METRICS |= {"cider_d": Metric("max", "0 to 10"), "nist": Metric("max", "bits"), "rouge_l": Metric("max", "0 to 100")}


class Captioning(Task):
    """Learns p(caption | picture), or p(caption | attributes). The loss is the cross-entropy of each item, the end mark
    included.

    A value of an attribute in `names` is written as the attribute's name, and put back into what the model writes.
    """

    kinds = ("pictures", "attributes")
    columns = ("output", "log_prob")
    several = True

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

    def targets(self, record: Any) -> list[str]:
        """The captions of a record as a model writes them."""
        texts = list(record.captions)
        for name, value in self.named(record):
            texts = [text.replace(value, mark(name)) for text in texts]
        return texts

    def named(self, record: Any) -> list[tuple[str, str]]:
        """The attributes of a record whose values are not written as they are."""
        if self.kind == "pictures" or not self.names:
            return []
        values = parsed(record.attributes)
        return [(name, values[name]) for name in self.names if values.get(name)]

    def report(self, records: dict[str, Sequence[Any]]) -> report.Report:
        return report.sizes(records)

    def compare_weighted(self, outputs: Sequence[str], targets: Sequence[tuple[str, ...]]) -> Weighted:
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

    def show_more(self, model: Any, records: Sequence[Any], outputs: Sequence[str]) -> dict[str, Any]:
        if self.kind == "attributes":
            return {}
        return {"pictures": plots.captioned([self.picture(record) for record in records], outputs)}

    def draw(self, record: Any, output: str, sources: list[str], targets: list[str], weights: np.ndarray) -> Any:
        if self.kind == "attributes":
            return super().draw(record, output, sources, targets, weights)
        return plots.looks(self.picture(record), targets, weights)

    def picture(self, record: Any) -> np.ndarray:
        """(H, W, 3) as a model sees it."""
        return np.moveaxis(self.source.pixels(record.picture), 0, 2)


def mark(name: str) -> str:
    """The word that stands for the value of an attribute."""
    return f"_{name.replace(' ', '_')}_"
