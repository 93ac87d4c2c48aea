"""Metrics from sums that add up over batches: losses, confusion counts, error sums; texts are kept and scored at the
end.

The units are those that people print: accuracy, macro_f1, exact_match 0 to 1; bleu, chrf 0 to 100; loss in nats an
item.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from seqtrain.config import UserError

Totals = dict[str, Any]


def add(totals: Totals, more: Totals) -> Totals:
    """Adds sums to sums: numbers and arrays are added up, lists are strung together."""
    return {key: totals[key] + value if key in totals else value for key, value in more.items()}


def language_model(nats: float, items: float, characters: float) -> dict[str, float]:
    """Loss and perplexity an item (end marks are items), bits a character."""
    loss = nats / items
    return {"loss": loss, "perplexity": math.exp(min(loss, 700)), "bits_per_char": nats / math.log(2) / characters}


def classification(confusion: np.ndarray) -> dict[str, float]:
    """Accuracy, and the mean F1 of the classes, from counts (true class, predicted class). A class that neither occurs
    nor is predicted has an F1 of 0."""
    right = np.diag(confusion)
    both = confusion.sum(0) + confusion.sum(1)
    f1 = 2 * right / np.maximum(both, 1)
    return {"accuracy": float(right.sum() / confusion.sum()), "macro_f1": float(f1.mean())}


def translation(outputs: list[str], references: list[str], language: str | None = None) -> dict[str, float]:
    """Exact match, and sacreBLEU's BLEU (13a, cased) and chrF2; with the language of the texts, also `bleu_tok_lc`, the
    BLEU of lowercased texts cut by the Moses tokenizer, which most papers on Multi30k print."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    exact = sum(a == b for a, b in zip(outputs, references, strict=True))
    # Smoothing and tokenizer are sacreBLEU's defaults; `force` only silences a hint about tokenized text.
    bleu = BLEU(force=True).corpus_score(outputs, [references]).score
    chrf = CHRF().corpus_score(outputs, [references]).score
    found = {"exact_match": exact / len(references), "bleu": bleu, "chrf": chrf}
    if language is not None:
        tokenize = moses(language)
        pieces = list(map(tokenize, outputs)), list(map(tokenize, references))
        found["bleu_tok_lc"] = BLEU(tokenize="none", force=True).corpus_score(pieces[0], [pieces[1]]).score
    return found


@lru_cache
def moses(language: str) -> Callable[[str], str]:
    """Lowercases, normalises punctuation and tokenizes a text as the scripts of Moses do (Koehn et al. 2007,
    aclanthology.org/P07-2045)."""
    try:
        from sacremoses import MosesPunctNormalizer, MosesTokenizer
    except ModuleNotFoundError:
        raise UserError("task.moses needs sacremoses: pip install 'seqtrain[moses]'") from None
    normalizer, tokenizer = MosesPunctNormalizer(language), MosesTokenizer(language)
    return lambda text: str(tokenizer.tokenize(normalizer.normalize(text.lower()), return_str=True))


def forecast_sums(predicted: np.ndarray, true: np.ndarray, scale: np.ndarray) -> Totals:
    """Sums over the known values of (N, T, C) arrays in the units of the data. scale: (N, C), each series' own mean
    absolute error of the seasonal naive forecast on its training part (Hyndman & Koehler 2006), for MASE; NaN where it
    has none, which leaves the series out of MASE."""
    known = ~np.isnan(true)
    error = np.where(known, predicted - true, 0.0)
    size = np.abs(predicted) + np.where(known, np.abs(true), 0.0)
    relative = np.divide(2 * np.abs(error), size, out=np.zeros_like(error), where=known & (size > 0))
    judged = known & ~np.isnan(scale)[:, None]
    return {
        "absolute": float(np.abs(error).sum()),
        "squared": float((error**2).sum()),
        "scaled": float(np.divide(np.abs(error), scale[:, None], out=np.zeros_like(error), where=judged).sum()),
        "judged": float(judged.sum()),
        "relative": float(relative.sum()),
        "known": float(known.sum()),
    }


def forecast(totals: Totals) -> dict[str, float]:
    """MAE, RMSE and MSE in the units of the data, MASE, and sMAPE in percent (0 to 200)."""
    count = totals["known"]
    mse = totals["squared"] / count
    return {
        "mae": totals["absolute"] / count,
        "rmse": math.sqrt(mse),
        "mse": mse,
        "mase": totals["scaled"] / totals["judged"] if totals["judged"] else math.nan,
        "smape": 100 * totals["relative"] / count,
    }
