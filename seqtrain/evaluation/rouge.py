"""ROUGE (Lin 2004, aclanthology.org/W04-1013): how much a text and its reference have in common."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Sequence

SIGNATURE = (
    "F1 of lowercased words (runs of letters and digits), no stemming, mean of the texts, best reference of each"
)
_WORDS = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    return _WORDS.findall(text.lower())


def rouge(output: str, references: Sequence[str]) -> dict[str, float]:
    """ROUGE-1, ROUGE-2 and ROUGE-L of a whole text, 0 to 100, by the best of its references."""
    written = words(output)
    pairs = [(written, words(reference)) for reference in references]
    return {
        "rouge_1": 100 * max(overlap(*pair, 1) for pair in pairs),
        "rouge_2": 100 * max(overlap(*pair, 2) for pair in pairs),
        "rouge_l": 100 * max(f1(common_length(*pair), *map(len, pair)) for pair in pairs),
    }


def overlap(written: Sequence[str], reference: Sequence[str], order: int) -> float:
    """The F1 of the n-grams that both have."""
    counts = [Counter(ngrams(some, order)) for some in (written, reference)]
    return f1((counts[0] & counts[1]).total(), counts[0].total(), counts[1].total())


def ngrams(items: Sequence[str], order: int) -> list[tuple[str, ...]]:
    return list(zip(*(items[start:] for start in range(order)), strict=False))


def f1(common: int, written: int, reference: int) -> float:
    """Of precision and recall, by counts; 0 where there is nothing in common."""
    return 2 * common / (written + reference) if common else 0.0


def common_length(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for item in a:
        before, row = row, [0]
        for place, other in enumerate(b, 1):
            row.append(before[place - 1] + 1 if item == other else max(before[place], row[-1]))
    return row[-1]
