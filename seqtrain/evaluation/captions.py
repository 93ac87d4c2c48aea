"""Metrics of captions, each of which has one reference or several."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest

from seqtrain.evaluation.bleu import scorer
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


def scored(outputs: Texts, references: Sequence[Texts]) -> dict[str, float]:
    """BLEU, chrF and ROUGE-L (0 to 100), CIDEr-D (0 to 10), NIST, and the share that is one of the references."""
    from sacrebleu.metrics.chrf import CHRF

    lower, streams = [text.lower() for text in outputs], [[text.lower() for text in some] for some in references]
    columns = list(zip_longest(*streams))  # sacreBLEU leaves None out
    exact = sum(output in several for output, several in zip(outputs, references, strict=True))
    cut = scorer("13a").tokenizer
    return {
        "bleu": scorer("13a").corpus_score(lower, columns).score,
        "chrf": CHRF().corpus_score(outputs, list(zip_longest(*references))).score,
        "rouge_l": 100 * sum(map(rouge_l, outputs, references)) / len(outputs),
        "cider_d": cider_d(outputs, references),
        "nist": nist([cut(text).split() for text in lower], [[cut(text).split() for text in some] for some in streams]),
        "exact_match": exact / len(outputs),
    }


def rouge_l(output: str, references: Texts) -> float:
    """ROUGE-L as the evaluation of COCO has it."""
    written = words(output)
    cut = [words(reference) for reference in references]
    common = [common_length(written, reference) for reference in cut]
    precision = max(common) / max(len(written), 1)
    recall = max(n / max(len(reference), 1) for n, reference in zip(common, cut, strict=True))
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision) if precision and recall else 0.0


def cider_d(outputs: Texts, references: Sequence[Texts]) -> float:
    """CIDEr-D (Vedantam et al. 2015, arXiv:1411.5726): how much the n-grams that are rare among the references agree,
    a mean over n-grams of 1 to 4 words, all references and all outputs, times ten."""
    cut = [[words(reference) for reference in several] for several in references]
    total = 0.0
    for order in range(1, 5):
        seen = Counter(gram for several in cut for gram in {g for text in several for g in ngrams(text, order)})

        def weighed(text: list[str], order: int = order, seen: Counter = seen) -> dict[tuple[str, ...], float]:
            counts = Counter(ngrams(text, order))
            return {gram: n * (math.log(len(cut)) - math.log(max(seen[gram], 1))) for gram, n in counts.items()}

        for output, several in zip(map(words, outputs), cut, strict=True):
            written = weighed(output)
            for reference in several:
                known = weighed(reference)
                both = sum(min(value, known[gram]) * known[gram] for gram, value in written.items() if gram in known)
                sizes = norm(written) * norm(known)
                near = math.exp(-((len(output) - len(reference)) ** 2) / (2 * SIGMA**2))
                total += both / sizes * near / len(several) if sizes else 0.0
    return 10 * total / (4 * len(outputs))


def norm(vector: dict[tuple[str, ...], float]) -> float:
    return math.sqrt(sum(value**2 for value in vector.values()))


def nist(outputs: Sequence[list[str]], references: Sequence[Sequence[list[str]]], longest: int = 5) -> float:
    """NIST (Doddington 2002): as BLEU, but an n-gram counts by what it tells, the bits of its last word after those
    before, by the counts of the references; the penalty of short outputs is half at two thirds of the mean length."""
    counts: Counter[tuple[str, ...]] = Counter()
    for text in (text for several in references for text in several):
        counts[()] += len(text)
        for order in range(1, longest + 1):
            counts.update(ngrams(text, order))
    score = 0.0
    for order in range(1, longest + 1):
        told, written = 0.0, 0
        for output, several in zip(outputs, references, strict=True):
            found = Counter(ngrams(output, order))
            best: Counter[tuple[str, ...]] = Counter()
            for text in several:
                best |= Counter(ngrams(text, order))
            told += sum(n * math.log2(counts[gram[:-1]] / counts[gram]) for gram, n in (found & best).items())
            written += found.total()
        score += told / written if written else 0.0
    length = sum(map(len, outputs))
    mean = sum(sum(map(len, several)) / len(several) for several in references)
    short = min(length / mean, 1.0) if mean else 0.0
    return score * math.exp(math.log(0.5) / math.log(1.5) ** 2 * math.log(short) ** 2) if short else 0.0
