"""Metrics of captions, each of which has one reference or several."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from seqtrain.evaluation.bleu import counted, scorer
from seqtrain.evaluation.metrics import Weighted, of_sums
from seqtrain.evaluation.rouge import common_length, ngrams, words

Texts = Sequence[str]
SIGNATURES = {
    "bleu": "sacreBLEU's, 13a, of lowercased texts, all references",
    "rouge_l": "lowercased words, no stemming, the best precision and recall of all references, beta 1.2 (as COCO)",
    "cider_d": "lowercased words, no stemming, n-grams of 1 to 4, sigma 6; rarity by the references scored",
    "nist": "words and marks as 13a cuts lowercased texts, n-grams of 1 to 5",
}
SIGMA = 6.0  # words: how fast CIDEr-D falls with a difference in length
BETA = 1.2  # weight of recall in ROUGE-L


def scored(outputs: Texts, references: Sequence[Texts]) -> Weighted:
    """BLEU, chrF and ROUGE-L (0 to 100), CIDEr-D (0 to 10), NIST, and the share that is one of the references."""
    from sacrebleu.metrics.chrf import CHRF

    lower, streams = [text.lower() for text in outputs], [[text.lower() for text in some] for some in references]
    columns = list(zip_longest(*streams))  # sacreBLEU leaves None out
    exact = [output in several for output, several in zip(outputs, references, strict=True)]
    cut = scorer("13a").tokenizer
    bleu, bleu_of = counted(scorer("13a"), lower, columns)
    chrf, chrf_of = counted(CHRF(), outputs, list(zip_longest(*references)))
    rows = {
        "texts": np.ones(len(outputs)),
        "bleu": bleu,
        "chrf": chrf,
        "rouge_l": np.array([*map(rouge_l, outputs, references)]),
        "cider_d": cider_d(outputs, references),
        "nist": nist([cut(text).split() for text in lower], [[cut(text).split() for text in some] for some in streams]),
        "exact": np.array(exact),
    }

    def score(sums: dict[str, Any]) -> dict[str, float]:
        return {
            "bleu": bleu_of(sums["bleu"]),
            "chrf": chrf_of(sums["chrf"]),
            "rouge_l": 100 * sums["rouge_l"] / sums["texts"],
            "cider_d": sums["cider_d"] / sums["texts"],
            "nist": nist_of(sums["nist"]),
            "exact_match": sums["exact"] / sums["texts"],
        }

    return of_sums(rows, score)


def rouge_l(output: str, references: Texts) -> float:
    """ROUGE-L as the evaluation of COCO has it."""
    written = words(output)
    cut = [words(reference) for reference in references]
    common = [common_length(written, reference) for reference in cut]
    precision = max(common) / max(len(written), 1)
    recall = max(n / max(len(reference), 1) for n, reference in zip(common, cut, strict=True))
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision) if precision and recall else 0.0


def cider_d(outputs: Texts, references: Sequence[Texts]) -> np.ndarray:
    """CIDEr-D (Vedantam et al. 2015, arXiv:1411.5726) of each output, (N,): how much the n-grams that are rare among
    all references agree, a mean over n-grams of 1 to 4 words and its references, times ten."""
    cut = [[words(reference) for reference in several] for several in references]
    found = np.zeros(len(outputs))
    for order in range(1, 5):
        seen = Counter(gram for several in cut for gram in {g for text in several for g in ngrams(text, order)})

        def weighed(text: list[str], order: int = order, seen: Counter = seen) -> dict[tuple[str, ...], float]:
            counts = Counter(ngrams(text, order))
            return {gram: n * (math.log(len(cut)) - math.log(max(seen[gram], 1))) for gram, n in counts.items()}

        for place, (output, several) in enumerate(zip(map(words, outputs), cut, strict=True)):
            written = weighed(output)
            for reference in several:
                known = weighed(reference)
                both = sum(min(value, known[gram]) * known[gram] for gram, value in written.items() if gram in known)
                sizes = norm(written) * norm(known)
                near = math.exp(-((len(output) - len(reference)) ** 2) / (2 * SIGMA**2))
                found[place] += both / sizes * near / len(several) if sizes else 0.0
    return 10 * found / 4


def norm(vector: dict[tuple[str, ...], float]) -> float:
    return math.sqrt(sum(value**2 for value in vector.values()))


def nist(outputs: Sequence[list[str]], references: Sequence[Sequence[list[str]]], longest: int = 5) -> np.ndarray:
    """What `nist_of` takes the sums of, (N, 2 + 2 longest): the lengths of an output and, as a mean, of its references,
    and for each order of n-grams what those that are right tell, and how many there are. An n-gram tells the bits of
    its last word after those before, by the counts of all references."""
    counts: Counter[tuple[str, ...]] = Counter()
    for text in (text for several in references for text in several):
        counts[()] += len(text)
        for order in range(1, longest + 1):
            counts.update(ngrams(text, order))
    rows = []
    for output, several in zip(outputs, references, strict=True):
        row = [len(output), sum(map(len, several)) / len(several)]
        for order in range(1, longest + 1):
            found = Counter(ngrams(output, order))
            best: Counter[tuple[str, ...]] = Counter()
            for text in several:
                best |= Counter(ngrams(text, order))
            told = sum(n * math.log2(counts[gram[:-1]] / counts[gram]) for gram, n in (found & best).items())
            row += [told, found.total()]
        rows.append(row)
    return np.array(rows, float)


def nist_of(sums: Sequence[float]) -> float:
    """NIST (Doddington 2002): as BLEU, but an n-gram counts by what it tells; the penalty of short outputs is half at
    two thirds of the mean length. sums: see `nist`."""
    length, mean, *orders = sums
    score = sum(told / written for told, written in zip(orders[::2], orders[1::2], strict=True) if written)
    short = min(length / mean, 1.0) if mean else 0.0
    return score * math.exp(math.log(0.5) / math.log(1.5) ** 2 * math.log(short) ** 2) if short else 0.0
