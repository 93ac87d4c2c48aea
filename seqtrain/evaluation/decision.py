"""From the scores of classes to an answer: probabilities by a temperature, and thresholds."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from seqtrain.config import UserError
from seqtrain.config.json_values import is_a
from seqtrain.config.spelling import did_you_mean, near
from seqtrain.evaluation import calibration

log = logging.getLogger(__name__)
STEPS = np.round(np.arange(0.05, 1, 0.05), 2)  # thresholds in a table
GOALS = ("precision", "recall")


@dataclass
class Rule:
    """How a classification answers. Its fields are settings of the task; `temperature` and `limits`, the threshold of
    each class (NaN: it has none), hold from `load` on."""

    calibrate: bool
    thresholds: Any
    temperature: float = field(default=1.0, init=False)
    limits: Float[np.ndarray, " C"] | None = field(default=None, init=False)
    settled: bool = field(default=False, init=False)  # whether training has ended

    def __post_init__(self) -> None:
        self.wanted = self.thresholds if isinstance(self.thresholds, dict) else {}
        self.wanted = {str(label): parse(value, f"task.thresholds.{label}") for label, value in self.wanted.items()}

    def check(self, names: Sequence[str]) -> None:
        """Raises `UserError` for a threshold of a label that training does not have."""
        for label in self.wanted:
            if label not in names:
                raise UserError(f"task.thresholds: {label!r} is no label of the data{did_you_mean(near(label, names))}")

    def learn(self, scores: Float[np.ndarray, "N C"], true: Int[np.ndarray, " N"], names: Sequence[str]) -> Any:
        """What `load` takes, of the scores and the classes of the validation split."""
        learned: dict[str, Any] = {}
        if self.calibrate:
            learned["temperature"] = calibration.fit_temperature(scores, true)
        probabilities = calibration.softmax(scores / learned.get("temperature", 1.0))
        goals = {label: goal for label, goal in self.wanted.items() if isinstance(goal, tuple)}
        if goals:
            learned["thresholds"] = {
                label: best_threshold(probabilities[:, names.index(label)], true == names.index(label), goal, label)
                for label, goal in goals.items()
            }
        return learned

    def load(self, learned: dict[str, Any], names: Sequence[str]) -> None:
        """Takes what `learn` gave; {}: there is nothing. Raises ValueError for what it never gives."""
        temperature, found = learned.get("temperature", 1.0), learned.get("thresholds", {})
        if not is_a(temperature, float) or not calibration.COLDEST <= temperature <= calibration.HOTTEST:
            raise ValueError("calibration: wrong temperature")
        if not is_a(found, dict[str, float]) or not all(0 <= value <= 1 for value in found.values()):
            raise ValueError("calibration: wrong thresholds")
        self.temperature, self.settled = temperature, True
        if self.thresholds is None:
            return
        values = dict.fromkeys(names, self.thresholds) if not self.wanted else self.wanted
        for label, value in values.items():
            if isinstance(value, tuple) and label not in found:
                goal = " ".join(map(str, value))
                raise UserError(f"task.thresholds.{label}={goal} is found when training ends, and this run has no such "
                                "threshold; give a number, by thresholds.csv")  # fmt: skip
        limits = {label: found[label] if isinstance(value, tuple) else value for label, value in values.items()}
        self.limits = np.array([limits.get(name, np.nan) for name in names], float)

    def probabilities(self, scores: Float[np.ndarray, "N C"]) -> Float[np.ndarray, "N C"]:
        return calibration.softmax(scores.astype(np.float64) / self.temperature)

    def choose(self, probabilities: Float[np.ndarray, "N C"]) -> Int[np.ndarray, " N"]:
        """The class of each answer: one whose probability reaches its threshold (of several the one that exceeds it
        most), else the most probable of those without a threshold; -1 where all have one, and none reaches it."""
        if self.limits is None:
            return probabilities.argmax(1)
        reached = np.where(probabilities >= self.limits, probabilities / np.maximum(self.limits, 1e-9), -1)
        others = np.where(np.isnan(self.limits), probabilities, -1)
        rest = np.where(others.max(1) < 0, -1, others.argmax(1))
        return np.where(reached.max(1) < 0, rest, reached.argmax(1))


def parse(value: Any, setting: str) -> float | tuple[str, float] | tuple[str]:
    """A threshold: a number, or what it is to reach on the validation split."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1:
        return float(value)
    word, _, rest = str(value).partition(" ")
    if word == "f1" and not rest:
        return ("f1",)
    try:
        if word in GOALS and 0 < float(rest) <= 1:
            return word, float(rest)
    except ValueError:
        pass
    raise UserError(f"{setting}={value}: expected a probability above 0, at most 1, or what is to be reached on the "
                    "validation split: f1, precision 0.95 or recall 0.9")  # fmt: skip


def curve(
    probabilities: Float[np.ndarray, " N"], true: Bool[np.ndarray, " N"], limits: Float[np.ndarray, " K"]
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    """Precision and recall of a class by threshold; a precision of nothing is 1, and so is the recall of nothing."""
    order = np.argsort(probabilities)
    right_below = np.concatenate([[0], np.cumsum(true[order])])
    below = np.searchsorted(probabilities[order], limits, "left")
    right, answered = right_below[-1] - right_below[below], len(true) - below
    precision = np.divide(right, answered, np.ones(len(limits)), where=answered > 0)
    return precision, right / right_below[-1] if right_below[-1] else np.ones(len(limits))


def f1(precision: Any, recall: Any) -> Any:
    return 2 * precision * recall / np.maximum(precision + recall, 1e-12)


def best_threshold(
    probabilities: Float[np.ndarray, " N"], true: Bool[np.ndarray, " N"], goal: tuple[Any, ...], label: str
) -> float:
    """The threshold of the highest F1; the lowest that reaches a precision, or the highest that keeps a recall. Where
    none reaches a precision, that of the highest one, with a warning."""
    values = np.unique(probabilities)
    limits = (values + np.concatenate([[0.0], values[:-1]])) / 2  # between two values, not on one, which is rounded
    precision, recall = curve(probabilities, true, limits)
    if goal == ("f1",):
        return float(limits[f1(precision, recall).argmax()])
    reached = np.flatnonzero((precision if goal[0] == "precision" else recall) >= goal[1])
    if not len(reached):
        log.warning("task.thresholds.%s: no threshold reaches a precision of %g on the validation split; the best one, "
                    "of %.3f, is taken", label, goal[1], precision.max())  # fmt: skip
        return float(limits[precision.argmax()])
    return float(limits[reached[0 if goal[0] == "precision" else -1]])


def table(probabilities: Float[np.ndarray, "N C"], true: Int[np.ndarray, " N"], names: Sequence[str]) -> list[dict]:
    """Precision, recall and F1 of each class by threshold."""
    rows = []
    for i, name in enumerate(names):
        precision, recall = curve(probabilities[:, i], true == i, STEPS)
        columns = zip(STEPS, precision, recall, f1(precision, recall), strict=True)
        rows += [
            {"label": name, **dict(zip(("threshold", "precision", "recall", "f1"), map(float, values), strict=True))}
            for values in columns
        ]
    return rows
