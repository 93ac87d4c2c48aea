"""Classification: a text, a list of numbers, a recording, or handwriting gets a label."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from seqtrain.codecs.labels import Labels
from seqtrain.codecs.line_image import PixelColumns
from seqtrain.codecs.numbers import Numbers
from seqtrain.codecs.prepared import Column, Text
from seqtrain.codecs.signal import Signal
from seqtrain.codecs.sound import LogMel
from seqtrain.codecs.strokes import Strokes
from seqtrain.config import UserError
from seqtrain.config.json_values import is_a
from seqtrain.config.spelling import did_you_mean, near
from seqtrain.contract import Batch, Fixed, Likelihood, Output
from seqtrain.evaluation import calibration, decision, metrics, plots, report, tables
from seqtrain.evaluation.baselines.linear import LinearClassifier
from seqtrain.evaluation.baselines.nearest import nearest_neighbour
from seqtrain.evaluation.decision import Rule
from seqtrain.evaluation.metrics import Totals, Weighted
from seqtrain.likelihoods.categorical import Categorical
from seqtrain.tasks.base import Task

MANY = 10  # labels: with more, the five most probable ones are of interest, too
NONE = "(none)"  # in a confusion matrix: no label has reached its threshold
PAIRS = 20  # labels that are taken for each other, in a table


@dataclass
class Signals:
    """Settings of the codecs of what is no text."""

    sound: dict[str, Any]
    strokes: dict[str, Any]
    image: dict[str, Any]


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
        signals: Signals,
        label_smoothing: float,
        class_weights: dict[str, Any] | str | None,
        rule: Rule,
        monitor: str,
    ):
        texts = reads == "text"
        labelled = Text(tokenizer, None, max_length, decoded=False) if texts else Numbers(max_length)
        self.sources = {
            "labelled": labelled,
            "recordings": LogMel(**signals.sound),
            "strokes": Strokes(**signals.strokes),
            "line_images": PixelColumns(**signals.image),
        }
        self.choose("labelled")
        self.target = self.labels = Labels()
        self.label_smoothing = label_smoothing
        self.class_weights = checked_weights(class_weights)
        self.weights: list[float] | None = None
        self.rule = rule
        self.monitor = monitor

    # ------------------------------------------------------------------------------------------------ what is learned

    def fit(self, records: Sequence[Any], start: dict[str, Any] | None = None) -> None:
        super().fit(records, start)
        self.rule.check(self.labels.names)
        self.weights = weights(self.class_weights, self.labels.names, Counter(Column(records, self.fields[1])))
        self.spec = self.described()

    def likelihood(self) -> Likelihood:
        weights = None if self.weights is None else tuple(self.weights)
        return Categorical(len(self.labels.names), self.label_smoothing, weights)

    def state(self) -> dict[str, Any]:
        return super().state() | ({} if self.weights is None else {"weights": self.weights})

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.rule.check(self.labels.names)
        self.weights = state.get("weights")
        if self.weights is not None:
            if not is_a(self.weights, list[float]) or len(self.weights) != len(self.labels.names):
                raise ValueError("weights: expected a number for each label")
            if not all(map(math.isfinite, self.weights)):
                raise ValueError("weights: expected finite numbers")
        self.spec = self.described()

    def calibrate(self, model: Any, examples: Any, totals: Totals) -> dict[str, Any]:
        return self.rule.learn(totals["scores"], self.classes(totals["targets"]), self.labels.names)

    def load_calibration(self, learned: dict[str, Any]) -> None:
        self.rule.load(learned, self.labels.names)

    # ------------------------------------------------------------------------------------------------ answers

    def calibrated(self, output: Output) -> Output:
        return output._replace(scores=output.scores.float() / self.rule.temperature)

    def measure(self, model: Any, rows: Any, batch: Batch, output: Output, examples: Any, decoder: Any) -> Totals:
        scores = output.scores.float().cpu().numpy()
        return super().measure(model, rows, batch, output, examples, decoder) | {"scores": scores}

    def outputs(self, output: Output) -> list[str]:
        return self.named(self.rule.probabilities(output.scores.float().cpu().numpy()))

    def named(self, probabilities: np.ndarray) -> list[str]:
        """The label of each answer; empty where none has reached its threshold."""
        names = [*self.labels.names, ""]
        return [names[place] for place in self.rule.choose(probabilities)]

    def exported(self) -> tuple[Any, Any] | None:
        if (sides := super().exported()) is None or self.rule.limits is None:
            return sides
        limits = dict(zip(self.labels.names, self.rule.limits.tolist(), strict=True))
        return sides[0], sides[1] | {"thresholds": {label: x for label, x in limits.items() if not math.isnan(x)}}

    @torch.inference_mode()
    def answer(self, model: Any, batch: Batch, records: Sequence[Any], decoder: Any) -> list[dict[str, Any]]:
        probabilities = self.rule.probabilities(model(batch).scores.float().cpu().numpy())
        answers = []
        for output, row in zip(self.named(probabilities), probabilities.tolist(), strict=True):
            scores = dict(zip(self.labels.names, row, strict=True))
            answer = {"output": output, "probability": scores.get(output, max(row)), "scores": scores}
            if decoder.n_best > 1:
                best = sorted(scores, key=scores.__getitem__, reverse=True)[: decoder.n_best]
                answer["n_best"] = [{"output": label, "probability": scores[label]} for label in best]
            answers.append(answer)
        return answers

    def given(self, source: Any, target: str, number: int) -> Any:
        self.labels.check(target, number)
        return super().given(source, target, number)

    # ------------------------------------------------------------------------------------------------ metrics

    def classes(self, labels: Sequence[str]) -> np.ndarray:
        return self.labels.encode_all(labels).values

    def score_weighted(self, totals: Totals) -> Weighted:
        scores, true = totals["scores"], self.classes(totals["targets"])
        parts = [
            super().score_weighted(totals),
            calibration.calibration_error(self.rule.probabilities(scores), true),
        ]
        if self.rule.temperature != 1:
            before = calibration.calibration_error(calibration.softmax(scores), true)
            parts.append(lambda weights=None: {"ece_uncalibrated": before(weights)["ece"]})
        if len(self.labels.names) > MANY:
            above = (scores > scores[np.arange(len(true)), true][:, None]).sum(1)
            rows = {"right": (above < 5).astype(float), "count": np.ones(len(true))}
            parts.append(metrics.of_sums(rows, lambda sums: {"top5_accuracy": sums["right"] / sums["count"]}))
        return lambda weights=None: {name: value for part in parts for name, value in part(weights).items()}

    def compare_weighted(self, outputs: Sequence[str], targets: Sequence[str]) -> Weighted:
        size, true, guesses = len(self.labels.names), self.classes(targets), self.guessed(outputs)

        def score(weights: np.ndarray | None = None) -> dict[str, float]:
            cells = np.bincount(true * (size + 1) + guesses, weights, size * (size + 1)).reshape(size, size + 1)
            missing = {} if cells[:, size].sum() == 0 else {"answered": float(1 - cells[:, size].sum() / cells.sum())}
            return metrics.classification(cells) | missing

        return score

    def guessed(self, outputs: Sequence[str]) -> np.ndarray:
        """The class of each output; behind all of them where there is none."""
        places = {label: i for i, label in enumerate([*self.labels.names, ""])}
        return np.array([places[output] for output in outputs], np.int64)

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

    def confusion(self, outputs: Sequence[str], targets: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """How often each label (row) is taken for each (column), and what these are called; the last stands for outputs
        that are none, if there are such."""
        size = len(self.labels.names) + 1
        cells = self.classes(targets) * size + self.guessed(outputs)
        counts, names = np.bincount(cells, minlength=size**2).reshape(size, size), [*self.labels.names, NONE]
        return (counts, names) if counts[:, -1].any() else (counts[:-1, :-1], names[:-1])

    def tables(self, examples: Any, totals: Totals, split: str) -> dict[str, list[dict[str, Any]]]:
        if split == "valid":  # by which thresholds are chosen
            probabilities = self.rule.probabilities(totals["scores"])
            return {"thresholds": decision.table(probabilities, self.classes(totals["targets"]), self.labels.names)}
        counts, names = self.confusion(totals["outputs"], totals["targets"])
        return {
            "classes": metrics.by_class(counts, self.labels.names),
            "confusions": metrics.confusions(counts, names),
        }

    def show(self, model: Any, examples: Any, totals: Totals, decoder: Any) -> dict[str, Any]:
        counts, names = self.confusion(totals["outputs"], totals["targets"])
        pairs = metrics.confusions(counts, names)[:PAIRS]
        shown: dict[str, Any] = {"confusion matrix": plots.confusion(counts, names)}
        if pairs:
            shown["confusions"] = tables.markdown([*pairs[0]], [[*pair.values()] for pair in pairs])
        if self.rule.settled:
            shown |= self.show_probabilities(totals["scores"], self.classes(totals["targets"]))
        return super().show(model, examples, totals, decoder) | shown

    def show_probabilities(self, scores: np.ndarray, true: np.ndarray) -> dict[str, Any]:
        """How true probabilities are, before and after calibration, and what a threshold on them reaches."""
        found = {"before": calibration.softmax(scores), "after": self.rule.probabilities(scores)}
        panels = {name: calibration.reliability(some, true) for name, some in found.items()}
        frequent = np.argsort(-np.bincount(true, minlength=len(self.labels.names)), kind="stable")[:MANY]
        curves = {
            self.labels.names[i]: decision.curve(found["after"][:, i], true == i, decision.STEPS)
            for i in sorted(frequent.tolist())
        }
        return {"reliability": plots.reliability(panels), "precision and recall": plots.precision_recall(curves)}


def checked_weights(given: dict[str, Any] | str | None) -> dict[str, float] | str | None:
    """Class weights as the settings give them; raises `UserError` for what is no weight."""
    if not isinstance(given, dict):
        return given
    for label, weight in given.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
            raise UserError(f"task.class_weights.{label}={weight}: expected a number above 0")
    return {str(label): float(weight) for label, weight in given.items()}


def weights(given: dict[str, float] | str | None, names: Sequence[str], counts: Counter[str]) -> list[float] | None:
    """The weight of each class in the loss, 1 in the mean over all training records. given: "balanced", which makes all
    classes count alike; or weights by label, 1 where there is none; None: no weights."""
    if given is None:
        return None
    if isinstance(given, str):
        found = {label: 1 / count for label, count in counts.items()}
    else:
        for label in given:
            if label not in names:
                hint = did_you_mean(near(label, names))
                raise UserError(f"task.class_weights: {label!r} is no label of the training data{hint}")
        found = given
    mean = sum(found.get(label, 1.0) * count for label, count in counts.items()) / counts.total()
    return [found.get(name, 1.0 if isinstance(given, dict) else mean) / mean for name in names]
