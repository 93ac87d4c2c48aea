"""Character n-grams: a language model, and a classifier made of one for each label."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from seqtrain.terminal.progress import bar

BEGIN, END = "\ufdd0", "\ufdd1"  # Unicode noncharacters: no text contains them


class CharNgram:
    """Interpolated Witten-Bell character n-gram (Witten & Bell 1991, method C).

    p(c | h) = (count(h, c) + types(h) p(c | h')) / (count(h) + types(h)), where types(h) is the number of different
    characters seen after h and h' is h without its first character; below the unigram stands a uniform distribution
    over the characters seen and one unseen. Texts are independent; `end` makes the end of a text an item like any
    other, for texts whose length is part of what is modelled.
    """

    def __init__(self, order: int, end: bool = False):
        if order < 1:
            raise ValueError(f"the order of an n-gram is 1 or more, not {order}")
        self.order, self.end = order, end

    def fit(self, texts: Iterable[str]) -> CharNgram:
        self.grams: Counter[str] = Counter()  # context + character -> count, for contexts of every length
        pad = BEGIN * (self.order - 1)
        for text in texts:
            padded = pad + text + END * self.end
            for n in range(1, self.order + 1):
                self.grams.update(map("".join, zip(*(padded[len(pad) - n + 1 + k :] for k in range(n)), strict=False)))
        self.totals: Counter[str] = Counter()  # context -> characters that followed it
        self.types: Counter[str] = Counter()  # context -> different characters that followed it
        for gram, count in self.grams.items():
            self.totals[gram[:-1]] += count
            self.types[gram[:-1]] += 1
        self.uniform = 1 / (self.types[""] + 1)
        return self

    def probability(self, context: str, char: str, below: float | None = None) -> float:
        """Returns p(char | context). Where the context was never seen, a shorter one is used. below: the probability
        that stands below the unigram, where that is not uniform."""
        p = self.uniform if below is None else below
        for start in range(len(context), -1, -1):
            history = context[start:]
            total = self.totals.get(history)
            if total is None:
                break
            types = self.types[history]
            p = (self.grams.get(history + char, 0) + types * p) / (total + types)
        return p

    def bits(self, text: str) -> float:
        """Returns -log2 p(text), summed over len(text) items, and the end where `end` is set."""
        size = self.order - 1
        padded = BEGIN * size + text + END * self.end
        return -sum(math.log2(self.probability(padded[i - size : i], padded[i])) for i in range(size, len(padded)))


def bits_per_char(train: Sequence[Any], records: Sequence[Any], labels: Sequence[str]) -> dict[str, float]:
    """Returns the bits per character of the texts of `records` by n-grams learned from those of `train`, for each
    order. Where there are labels, each label has an n-gram of its own."""

    def texts_of(label: str | None, records: Sequence[Any]) -> list[str]:
        return [record.text for record in records if label is None or record.label == label]

    results = {}
    for name, order in {"character unigram": 1, "character 5-gram": 5}.items():
        bits = 0.0
        with bar(len(train) + len(records), "text", f"baseline, {name}") as progress:
            for label in labels or [None]:
                train_texts = texts_of(label, train)
                model = CharNgram(order, end=True).fit(train_texts)
                progress.update(len(train_texts))
                for text in texts_of(label, records):
                    bits += model.bits(text)
                    progress.update()
        results[name] = bits / sum(len(record.text) for record in records)
    return results


class LanguageJudge:
    """Recognizes the label of a text by a character n-gram for each label; all labels are equally likely before."""

    def __init__(self, order: int = 3):
        self.order = order

    def fit(self, texts: Sequence[str], labels: Sequence[str]) -> LanguageJudge:
        by_label: dict[str, list[str]] = {label: [] for label in sorted(set(labels))}
        for text, label in zip(texts, labels, strict=True):
            by_label[label].append(text)
        self.models = {label: CharNgram(self.order, end=True).fit(texts) for label, texts in by_label.items()}
        return self

    def __call__(self, text: str) -> str:
        return min(self.models, key=lambda label: self.models[label].bits(text))


def judged(train: Sequence[Any], predictions: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Returns how often a `LanguageJudge` recognizes the label ("source") of a sample ("prediction"), how often that of
    a held-out text ("target"), and the share of samples that are not in the training texts."""
    judge = LanguageJudge().fit([record.text for record in train], [record.label for record in train])
    seen = {record.text for record in train}
    rows = {
        "recognised_samples": [judge(row["prediction"]) == row["source"] for row in predictions],
        "recognised_held_out": [judge(row["target"]) == row["source"] for row in predictions],
        "novel_samples": [row["prediction"] not in seen for row in predictions],
    }
    return {name: sum(hits) / len(hits) for name, hits in rows.items()}
