"""Metrics. They are computed from what each example adds to losses, errors and counts; texts are collected and scored
at the end. So metrics can be had where examples count several times, which is what a bootstrap asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Literal, NamedTuple

import numpy as np

from seqtrain.config import UserError
from seqtrain.evaluation.bleu import counted, scorer

Totals = dict[str, Any]
# The metrics of some examples, where each counts weights[i] times, (N,); without weights, once.
Weighted = Callable[..., dict[str, float]]


class Metric(NamedTuple):
    """direction: whether the smallest or the largest value is best. unit: what the value is measured in."""

    direction: Literal["min", "max"]
    unit: str

    @property
    def sign(self) -> int:
        """Returns 1 or -1: a value times this is better the larger it is."""
        return 1 if self.direction == "max" else -1


DATA = "unit of the data"
METRICS = {  # a task with a metric of its own adds it here when it is imported
    "loss": Metric("min", "per item"),  # in the unit of the likelihood
    "perplexity": Metric("min", "choices per item"),
    "bits_per_char": Metric("min", "bits per character"),
    "accuracy": Metric("max", "share"),
    "frame_accuracy": Metric("max", "share"),
    "macro_f1": Metric("max", "share"),
    "answered": Metric("max", "share"),
    "top5_accuracy": Metric("max", "share"),
    "ece": Metric("min", "share"),
    "ece_uncalibrated": Metric("min", "share"),
    "precision": Metric("max", "share"),
    "recall": Metric("max", "share"),
    "f1": Metric("max", "share"),
    "exact_match": Metric("max", "share"),
    "bleu": Metric("max", "0 to 100"),
    "bleu_tok_lc": Metric("max", "0 to 100"),
    "chrf": Metric("max", "0 to 100"),
    "wer": Metric("min", "errors a word"),
    "cer": Metric("min", "errors a character"),
    "mae": Metric("min", DATA),
    "rmse": Metric("min", DATA),
    "mse": Metric("min", f"{DATA}, squared"),
    "mase": Metric("min", "errors of the seasonal naive forecast"),
    "smape": Metric("min", "%"),
    "crps": Metric("min", DATA),
    "pinball": Metric("min", DATA),
    "coverage": Metric("max", "share"),
    "width": Metric("min", DATA),
    "recognised_samples": Metric("max", "share"),
    "recognised_held_out": Metric("max", "share"),
    "novel_samples": Metric("max", "share"),
    "novelty": Metric("max", "share"),
    "parses": Metric("max", "share"),
}


def joined(parts: Iterable[Totals]) -> Totals:
    """The totals of all parts: lists and arrays, which hold an item for each example, are put one after the other,
    numbers are summed."""
    values: dict[str, list[Any]] = {}
    for part in parts:
        for key, value in part.items():
            values.setdefault(key, []).append(value)
    return {key: together(several) for key, several in values.items()}


def together(values: list[Any]) -> Any:
    if isinstance(values[0], np.ndarray):
        return np.concatenate(values)
    return list(chain.from_iterable(values)) if isinstance(values[0], list) else sum(values)


def of_sums(rows: Mapping[str, np.ndarray], score: Callable[[dict[str, Any]], dict[str, float]]) -> Weighted:
    """Metrics that are made of sums. rows: what each example adds to them, (N, *K), by name."""

    def metrics(weights: np.ndarray | None = None) -> dict[str, float]:
        sums = {name: values.sum(0) if weights is None else weights @ values for name, values in rows.items()}
        return score({name: total.tolist() for name, total in sums.items()})

    return metrics


def matches(outputs: Sequence[Any], references: Sequence[Any]) -> dict[str, np.ndarray]:
    """For `exact_match`: whether each output is its reference, and that it is one of so many."""
    exact = [output == reference for output, reference in zip(outputs, references, strict=True)]
    return {"exact": np.array(exact, float), "texts": np.ones(len(exact))}


def language_model(nats: float, items: float, characters: float) -> dict[str, float]:
    """Returns the loss (nats) and the perplexity per item, where end marks are items, and the bits per character."""
    loss = nats / items
    return {"loss": loss, "perplexity": math.exp(min(loss, 700)), "bits_per_char": nats / math.log(2) / characters}


def notes(predicted: np.ndarray, true: np.ndarray) -> Totals:
    """Of each of (N, H) frames of yes-or-no values, for `frame_accuracy`: notes that are in both, and in either."""
    both, either = (predicted > 0) & (true > 0), (predicted > 0) | (true > 0)
    return {"both": both.sum(1), "either": either.sum(1)}


def frame_accuracy(both: float, either: float) -> float:
    """Of the notes that sound or are predicted, how many are both (Bay et al. 2009); 1 where there are none."""
    return both / either if either else 1.0


def classification(confusion: np.ndarray) -> dict[str, float]:
    """Returns the accuracy and the macro F1, over the classes that occur or are predicted. confusion: counts by (true
    class, predicted class); further columns are for no prediction."""
    correct = np.diag(confusion)
    predicted_or_true = confusion.sum(0)[: len(confusion)] + confusion.sum(1)
    counted = predicted_or_true > 0
    f1 = 2 * correct[counted] / predicted_or_true[counted]
    return {"accuracy": float(correct.sum() / confusion.sum()), "macro_f1": float(f1.mean())}


def by_class(confusion: np.ndarray, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Returns precision, recall, F1 and support (how often it occurs) of each class; None for a division by zero.
    confusion: counts by (true class, predicted class); further columns are for no prediction."""
    correct, predicted, support = np.diag(confusion), confusion.sum(0), confusion.sum(1)
    ratios = {  # (numerator, denominator) of all classes
        "precision": (correct, predicted),
        "recall": (correct, support),
        "f1": (2 * correct, predicted + support),
    }
    rows = []
    for i, label in enumerate(labels):
        scores = {name: above[i] / below[i] if below[i] else None for name, (above, below) in ratios.items()}
        rows.append({"label": label, **scores, "support": support[i]})
    return rows


def confusions(confusion: np.ndarray, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Returns which label is taken for which other one, the most frequent first: how often, and in what share of its
    examples."""
    wrong, support = confusion * (1 - np.eye(len(confusion), dtype=int)), confusion.sum(1)
    cells = np.argwhere(wrong)
    order = np.argsort(-wrong[tuple(cells.T)], kind="stable")
    return [
        {"label": labels[i], "output": labels[j], "count": int(wrong[i, j]), "share": float(wrong[i, j] / support[i])}
        for i, j in cells[order].tolist()
    ]


def translation(
    outputs: list[str], references: list[str], tokenizer: str = "13a", language: str | None = None
) -> Weighted:
    """Exact match, and sacreBLEU's BLEU (cased, with its `tokenizer`) and chrF2.

    language: if it is given, `bleu_tok_lc` is computed as well, the BLEU of lowercased texts with the Moses tokenizer
    of this language, which most papers on Multi30k print.
    """
    from sacrebleu.metrics.chrf import CHRF

    found = {
        "bleu": counted(scorer(tokenizer), outputs, [references]),
        "chrf": counted(CHRF(), outputs, [references]),
    }
    if language is not None:
        tokenized, of_references = ([moses(language)(text) for text in texts] for texts in (outputs, references))
        found["bleu_tok_lc"] = counted(scorer("none"), tokenized, [of_references])

    def score(sums: dict[str, Any]) -> dict[str, float]:
        scores = {name: score_of(sums[name]) for name, (_, score_of) in found.items()}
        return {"exact_match": sums["exact"] / sums["texts"]} | scores

    return of_sums(matches(outputs, references) | {name: rows for name, (rows, _) in found.items()}, score)


def transcription(outputs: Sequence[str], references: Sequence[str]) -> Weighted:
    """Words and characters that have to be put in, left out or changed to make the references of the outputs, by the
    words and characters of all references: WER and CER, 0 where all are right, and above 1 where too much is written.
    Words are what stands between spaces."""
    pairs = [*zip(outputs, references, strict=True)]
    words = [(output.split(), reference.split()) for output, reference in pairs]
    errors = {"wer": words, "cer": pairs}
    rows = {name: np.array([[edits(*pair), len(pair[1])] for pair in several]) for name, several in errors.items()}

    def score(sums: dict[str, Any]) -> dict[str, float]:
        rates = {name: sums[name][0] / max(1, sums[name][1]) for name in errors}
        return rates | {"exact_match": sums["exact"] / sums["texts"]}

    return of_sums(rows | matches(outputs, references), score)


def edits(output: Sequence[Any], reference: Sequence[Any]) -> int:
    """The fewest insertions, deletions and substitutions that make one sequence of another (Levenshtein 1966)."""
    row = [*range(len(reference) + 1)]
    for i, item in enumerate(output, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(reference, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (item != other))
    return row[-1]


@lru_cache
def moses(language: str) -> Callable[[str], str]:
    """Returns a function that lowercases a text, normalizes its punctuation and tokenizes it, as the scripts of Moses
    do (Koehn et al. 2007, aclanthology.org/P07-2045)."""
    try:
        from sacremoses import MosesPunctNormalizer, MosesTokenizer
    except ModuleNotFoundError:
        raise UserError("task.moses needs sacremoses: pip install 'seqtrain[moses]'") from None
    normalizer, tokenizer = MosesPunctNormalizer(language), MosesTokenizer(language)
    return lambda text: str(tokenizer.tokenize(normalizer.normalize(text.lower()), return_str=True))


def forecast_sums(predicted: np.ndarray, true: np.ndarray, scale: np.ndarray) -> Totals:
    """Returns for each of (N, T, C) forecasts sums over its known values, in the units of the data, for `forecast`.

    scale: (N, C), the mean absolute error of the seasonal naive forecast on the training part of each series, by which
    MASE divides (Hyndman & Koehler 2006). NaN leaves a series out of MASE.
    """
    known = ~np.isnan(true)
    error = np.where(known, predicted - true, 0.0)
    size = np.abs(predicted) + np.where(known, np.abs(true), 0.0)
    relative = np.divide(2 * np.abs(error), size, out=np.zeros_like(error), where=known & (size > 0))
    has_scale = known & ~np.isnan(scale)[:, None]
    values = {
        "absolute": np.abs(error),
        "squared": error**2,
        "scaled": np.divide(np.abs(error), scale[:, None], out=np.zeros_like(error), where=has_scale),
        "with_scale": has_scale,
        "relative": relative,
        "known": known,
    }
    return {name: value.sum((1, 2)).astype(float) for name, value in values.items()}


def forecast(totals: Totals) -> dict[str, float]:
    """Returns MAE, RMSE and MSE in the units of the data, MASE if any series has a scale, and sMAPE in percent (0 to
    200), from sums of those of `forecast_sums`."""
    count = totals["known"]
    mse = totals["squared"] / count
    scores = {"mae": totals["absolute"] / count, "rmse": math.sqrt(mse), "mse": mse}
    if totals["with_scale"]:
        scores["mase"] = totals["scaled"] / totals["with_scale"]
    return scores | {"smape": 100 * totals["relative"] / count}
