"""Compares a model with the baselines: finds the best baseline, and says what to try if the model is not better."""

from __future__ import annotations

import math
from itertools import chain
from typing import Any

from seqtrain.evaluation.metrics import METRICS

Baselines = dict[str, dict[str, float]]


def best_baseline(baselines: Baselines, monitor: str) -> tuple[str, dict[str, float]]:
    """Returns name and metrics of the baseline that is best by `compared_by`."""
    metric = compared_by(baselines, monitor)
    finite = {name: scores for name, scores in baselines.items() if math.isfinite(scores.get(metric, math.nan))}
    name = max(finite, key=lambda name: METRICS[metric].sign * finite[name][metric], default=next(iter(baselines)))
    return name, baselines[name]


def compared_by(baselines: Baselines, monitor: str) -> str:
    """Returns the metric for the comparison: the monitor, or the baselines' first metric if none has the monitor."""
    metrics = dict.fromkeys(chain.from_iterable(baselines.values()))
    return monitor if monitor in metrics else next(iter(metrics))


def verdict(
    split: str, scores: dict[str, float], baselines: Baselines, monitor: str, curve: list[dict[str, Any]]
) -> str:
    """Returns a message that the model is not better than the best baseline, and what to try; "" where it is better.

    scores: the metrics of the model on the split. curve: its metrics at each evaluation on the validation split.
    """
    metric = compared_by(baselines, monitor)
    name, baseline = best_baseline(baselines, monitor)
    sign = METRICS[metric].sign
    if sign * scores[metric] > sign * baseline[metric]:
        return ""
    if scores[metric] == baseline[metric] == (1.0 if sign > 0 else 0.0):
        return f"{name} is perfect on the {split} split, too: these data are too easy to tell models apart"
    sign = METRICS[monitor].sign
    best = max(range(len(curve)), key=lambda i: (sign * curve[i][monitor], -curve[i]["loss"]))
    if best == len(curve) - 1:
        advice = "its last evaluation was its best: more trainer.epochs, or another optimizer.lr"
    else:
        advice = (f"its best evaluation was that of step {curve[best]['step']} of {curve[-1]['step']}: more training "
                  "data, more model.dropout, a smaller model, or another optimizer.lr")  # fmt: skip
    return (f"the model is not better than {name} ({split} {metric} {scores[metric]:.4g} against "
            f"{baseline[metric]:.4g}); to try: {advice}")  # fmt: skip
