"""Classification: a text, a list of numbers, a recording, or handwriting gets a label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from seqtrain.codecs.labels import Labels
from seqtrain.codecs.line_image import PixelColumns
from seqtrain.codecs.numbers import Numbers
from seqtrain.codecs.prepared import Text
from seqtrain.codecs.signal import Signal
from seqtrain.codecs.sound import LogMel
from seqtrain.codecs.strokes import Strokes
from seqtrain.contract import Batch, Fixed
from seqtrain.evaluation import metrics, plots, report
from seqtrain.evaluation.baselines.linear import LinearClassifier
from seqtrain.evaluation.baselines.nearest import nearest_neighbour
from seqtrain.evaluation.metrics import Totals, Weighted
from seqtrain.tasks.base import Task


class Classification(Task):
    """Learns p(label | text), p(label | numbers), or of a recording, strokes or an image of writing, whose text is then
    the label. The loss is the cross-entropy of the label."""

    kinds = ("labelled", "recordings", "strokes", "line_images")
    keys = ("tokenizer", "labels")
    form = Fixed(1)
    columns = ("output", "probability")

    def __init__(
        self,
        reads: str,
        tokenizer: dict[str, Any],
        max_length: int,
        sound: dict[str, Any],
        strokes: dict[str, Any],
        image: dict[str, Any],
        label_smoothing: float,
        monitor: str,
    ):
        texts = reads == "text"
        labelled = Text(tokenizer, None, max_length, decoded=False) if texts else Numbers(max_length)
        self.sources = {
            "labelled": labelled,
            "recordings": LogMel(**sound),
            "strokes": Strokes(**strokes),
            "line_images": PixelColumns(**image),
        }
        self.choose("labelled")
        self.target = self.labels = Labels()
        self.label_smoothing = label_smoothing
        self.monitor = monitor

    def compare_weighted(self, outputs: Sequence[str], targets: Sequence[str]) -> Weighted:
        size = len(self.labels.names)
        true, guesses = (self.labels.encode_all(labels).values for labels in (targets, outputs))

        def score(weights: np.ndarray | None = None) -> dict[str, float]:
            cells = np.bincount(true * size + guesses, weights, size**2)
            return metrics.classification(cells.reshape(size, size))

        return score

    def guesses(self, train: Sequence[Any], records: Sequence[Any]) -> dict[str, Sequence[str]]:
        values, labels = map(list, zip(*report.evenly(train, 50_000), strict=True))
        asked = [record[0] for record in records]
        found: dict[str, Sequence[str]] = {"majority class": [Counter(labels).most_common(1)[0][0]] * len(records)}
        if isinstance(self.source, Signal):
            encode = self.source.encode
            found["nearest neighbour"] = nearest_neighbour(map(encode, values), labels, map(encode, asked))
        else:
            for name, bayes in {"bag of": False, "NB-SVM of": True}.items():
                for unit, order in {"words": 1, "bigrams": 2}.items():
                    found[f"{name} {unit}"] = LinearClassifier(order, bayes).fit(values, labels).predict(asked)
        return found

    def confusion(self, true: Sequence[str], guesses: Sequence[str]) -> np.ndarray:
        """How often each label (row) is taken for each (column)."""
        counts = np.zeros((len(self.labels.names),) * 2, np.int64)
        np.add.at(counts, (self.labels.encode_all(true).values, self.labels.encode_all(guesses).values), 1)
        return counts

    def given(self, source: Any, target: str, number: int) -> Any:
        self.labels.check(target, number)
        return super().given(source, target, number)

    @torch.inference_mode()
    def answer(self, model: Any, batch: Batch, records: Sequence[Any], decoder: Any) -> list[dict[str, Any]]:
        answers = []
        for row in model(batch).scores.float().softmax(-1).tolist():
            scores = dict(zip(self.labels.names, row, strict=True))
            best = max(scores, key=scores.__getitem__)
            answers.append({"output": best, "probability": scores[best], "scores": scores})
        return answers

    def tables(self, totals: Totals) -> dict[str, list[dict[str, Any]]]:
        confusion = self.confusion(totals["targets"], totals["outputs"])
        return {"classes": metrics.by_class(confusion, self.labels.names)}

    def show(self, model: Any, examples: Any, totals: Totals, decoder: Any) -> dict[str, Any]:
        confusion = self.confusion(totals["targets"], totals["outputs"])
        figure = plots.confusion(confusion, self.labels.names)
        return super().show(model, examples, totals, decoder) | {"confusion matrix": figure}
