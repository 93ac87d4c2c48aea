"""Metrics. They are computed from totals that are added up over batches: sums of losses and errors, confusion counts.
Texts are collected and scored at the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np

from seqtrain.config import UserError
from seqtrain.evaluation.bleu import scorer

Totals = dict[str, Any]


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
    "loss": Metric("min", "nats per item"),
    "perplexity": Metric("min", "choices per item"),
    "bits_per_char": Metric("min", "bits per character"),
    "accuracy": Metric("max", "share"),
    "frame_accuracy": Metric("max", "share"),
    "macro_f1": Metric("max", "share"),
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
    "recognised_samples": Metric("max", "share"),
    "recognised_held_out": Metric("max", "share"),
    "novel_samples": Metric("max", "share"),
    "novelty": Metric("max", "share"),
    "parses": Metric("max", "share"),
}


def add(totals: Totals, more: Totals) -> Totals:
    """Adds totals to totals: numbers and arrays are summed, lists are concatenated."""
    return {key: totals[key] + value if key in totals else value for key, value in more.items()}


def language_model(nats: float, items: float, characters: float) -> dict[str, float]:
    """Returns the loss (nats) and the perplexity per item, where end marks are items, and the bits per character."""
    loss = nats / items
    return {"loss": loss, "perplexity": math.exp(min(loss, 700)), "bits_per_char": nats / math.log(2) / characters}


def notes(predicted: np.ndarray, true: np.ndarray) -> Totals:
    """Sums over (N, H) frames of yes-or-no values, for `frame_accuracy`: notes that are in both, and in either."""
    both, either = (predicted > 0) & (true > 0), (predicted > 0) | (true > 0)
    return {"both": float(both.sum()), "either": float(either.sum())}


def frame_accuracy(totals: Totals) -> float:
    """Of the notes that sound or are predicted, how many are both (Bay et al. 2009); 1 where there are none."""
    return totals["both"] / totals["either"] if totals["either"] else 1.0


def classification(confusion: np.ndarray) -> dict[str, float]:
    """Returns the accuracy and the macro F1, over the classes that occur or are predicted. confusion: counts by (true
    class, predicted class)."""
    correct = np.diag(confusion)
    predicted_or_true = confusion.sum(0) + confusion.sum(1)
    counted = predicted_or_true > 0
    f1 = 2 * correct[counted] / predicted_or_true[counted]
    return {"accuracy": float(correct.sum() / confusion.sum()), "macro_f1": float(f1.mean())}


def by_class(confusion: np.ndarray, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Returns precision, recall, F1 and support (how often it occurs) of each class; None for a division by zero.
    confusion: counts by (true class, predicted class)."""
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


def translation(
    outputs: list[str], references: list[str], tokenizer: str = "13a", language: str | None = None
) -> dict[str, float]:
    """Returns exact match, and sacreBLEU's BLEU (cased, with its `tokenizer`) and chrF2.

    language: if it is given, `bleu_tok_lc` is computed as well, the BLEU of lowercased texts with the Moses tokenizer
    of this language, which most papers on Multi30k print.
    """
    from sacrebleu.metrics.chrf import CHRF

    exact = sum(a == b for a, b in zip(outputs, references, strict=True))
    bleu = scorer(tokenizer).corpus_score(outputs, [references]).score
    chrf = CHRF().corpus_score(outputs, [references]).score
    scores = {"exact_match": exact / len(references), "bleu": bleu, "chrf": chrf}
    if language is not None:
        tokenize = moses(language)
        tokenized = [tokenize(text) for text in outputs]
        tokenized_references = [tokenize(text) for text in references]
        scores["bleu_tok_lc"] = scorer("none").corpus_score(tokenized, [tokenized_references]).score
    return scores


def transcription(outputs: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Words and characters that have to be put in, left out or changed to make the references of the outputs, by the
    words and characters of all references: WER and CER, 0 where all are right, and above 1 where too much is written.
    Words are what stands between spaces."""
    pairs = [*zip(outputs, references, strict=True)]
    words = [(output.split(), reference.split()) for output, reference in pairs]
    return {
        "wer": sum(edits(*pair) for pair in words) / max(1, sum(len(reference) for _, reference in words)),
        "cer": sum(edits(*pair) for pair in pairs) / max(1, sum(len(reference) for _, reference in pairs)),
        "exact_match": sum(output == reference for output, reference in pairs) / len(pairs),
    }


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
    """Returns sums over the known values of forecasts (N, T, C), in the units of the data, for `forecast`.

    scale: (N, C), the mean absolute error of the seasonal naive forecast on the training part of each series, by which
    MASE divides (Hyndman & Koehler 2006). NaN leaves a series out of MASE.
    """
    known = ~np.isnan(true)
    error = np.where(known, predicted - true, 0.0)
    size = np.abs(predicted) + np.where(known, np.abs(true), 0.0)
    relative = np.divide(2 * np.abs(error), size, out=np.zeros_like(error), where=known & (size > 0))
    has_scale = known & ~np.isnan(scale)[:, None]
    return {
        "absolute": float(np.abs(error).sum()),
        "squared": float((error**2).sum()),
        "scaled": float(np.divide(np.abs(error), scale[:, None], out=np.zeros_like(error), where=has_scale).sum()),
        "with_scale": float(has_scale.sum()),
        "relative": float(relative.sum()),
        "known": float(known.sum()),
    }


def forecast(totals: Totals) -> dict[str, float]:
    """Returns MAE, RMSE and MSE in the units of the data, MASE if any series has a scale, and sMAPE in percent (0 to
    200), from the sums of `forecast_sums`."""
    count = totals["known"]
    mse = totals["squared"] / count
    scores = {"mae": totals["absolute"] / count, "rmse": math.sqrt(mse), "mse": mse}
    if totals["with_scale"]:
        scores["mase"] = totals["scaled"] / totals["with_scale"]
    return scores | {"smape": 100 * totals["relative"] / count}
