"""Simple methods that every trained model stands beside: n-grams, a linear classifier and naive forecasts."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np

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

    def probability(self, context: str, char: str) -> float:
        """p(char | context). A context that was never seen says nothing: the shorter one decides."""
        p = self.uniform
        for start in range(len(context), -1, -1):
            history = context[start:]
            total = self.totals.get(history)
            if total is None:
                break
            types = self.types[history]
            p = (self.grams.get(history + char, 0) + types * p) / (total + types)
        return p

    def bits(self, text: str) -> float:
        """-log2 p(text), over len(text) items, and one more with `end`."""
        size = self.order - 1
        padded = BEGIN * size + text + END * self.end
        return -sum(math.log2(self.probability(padded[i - size : i], padded[i])) for i in range(size, len(padded)))


class LanguageJudge:
    """Names the label a text most probably has: one character trigram for each label, all labels equally likely."""

    def __init__(self, order: int = 3):
        self.order = order

    def fit(self, texts: Sequence[str], labels: Sequence[str]) -> LanguageJudge:
        self.models = {
            label: CharNgram(self.order, end=True).fit(
                t for t, other in zip(texts, labels, strict=True) if other == label
            )
            for label in sorted(set(labels))
        }
        return self

    def __call__(self, text: str) -> str:
        return min(self.models, key=lambda label: self.models[label].bits(text))


def word_ngrams(text: str, order: int) -> set[str]:
    """The different n-grams of 1 to `order` words, which are runs of letters in lower case and signs by themselves."""
    words = re.findall(r"\w+(?:['’]\w+)?|[^\w\s]", text.lower())
    return {" ".join(words[i : i + n]) for n in range(1, order + 1) for i in range(len(words) - n + 1)}


def linear_classifier(
    train_texts: Sequence[str], train_labels: Sequence[str], texts: Sequence[str], order: int, naive_bayes: bool = False
) -> list[str]:
    """Labels for `texts` by logistic regression on the presence of word n-grams up to `order`; with `naive_bayes`, by
    NB-SVM (Wang & Manning 2012, aclanthology.org/P12-2018): n-grams count with the logarithm of how much more often
    they come with a label than without, and a linear SVM a label is drawn three quarters of the way to naive Bayes.

    The summed loss plus half of the squared weights is minimised by L-BFGS from zero: no chance is involved.
    """
    import torch  # only here: the other baselines do not need it
    from torch.nn import functional as F

    labels = sorted(set(train_labels))
    grams = sorted(set(chain.from_iterable(word_ngrams(text, order) for text in train_texts)))
    column = {gram: i for i, gram in enumerate(grams)}

    def bags(rows: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """The columns present in all rows, one row after the other, and where each row begins."""
        columns = [[column[gram] for gram in word_ngrams(row, order) if gram in column] for row in rows]
        begins = np.cumsum([0, *map(len, columns)])[:-1]
        return torch.tensor([i for row in columns for i in sorted(row)], dtype=torch.long), torch.from_numpy(begins)

    def scores(present: torch.Tensor, begins: torch.Tensor) -> torch.Tensor:
        return F.embedding_bag(present, weight * ratio, begins, mode="sum") + bias

    train = bags(train_texts)
    target = torch.tensor([labels.index(label) for label in train_labels])
    weight = torch.zeros(len(column), len(labels), requires_grad=True)
    ratio = torch.ones(len(column), len(labels))
    own = F.one_hot(target, len(labels)).float()  # (N, labels)
    if naive_bayes:
        rows = torch.repeat_interleave(
            torch.arange(len(target)), torch.diff(train[1], append=torch.tensor([len(train[0])]))
        )
        counts = [ratio.index_add(0, train[0], which[rows]) for which in (own, 1 - own)]  # one more than counted
        ratio = torch.log(counts[0] / counts[0].sum(0)) - torch.log(counts[1] / counts[1].sum(0))
    bias = torch.zeros(len(labels), requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        found = scores(*train)
        if naive_bayes:
            loss = (1 - (2 * own - 1) * found).clamp(min=0).square().sum()
        else:
            loss = F.cross_entropy(found, target, reduction="sum")
        loss = loss + weight.square().sum() / 2
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        if naive_bayes:
            weight = 0.75 * weight.abs().mean(0) + 0.25 * weight
        chosen = scores(*bags(texts)).argmax(1)
    return [labels[i] for i in chosen.tolist()]


def last_known(context: np.ndarray) -> np.ndarray:
    """The last value of every channel that is not missing; NaN where there is none. (N, S, C) -> (N, C)."""
    known = ~np.isnan(context)
    last = context.shape[1] - 1 - known[:, ::-1].argmax(1)  # (N, C); the last step where nothing is known
    return np.take_along_axis(context, last[:, None], axis=1)[:, 0]


def repeat_last(context: np.ndarray, horizon: int) -> np.ndarray:
    """The last known value of every channel, again and again. (N, S, C), NaN = missing -> (N, horizon, C)."""
    return np.repeat(last_known(context)[:, None], horizon, axis=1)


def seasonal_naive(context: np.ndarray, horizon: int, period: int) -> np.ndarray:
    """The value of the same phase in the last period. (N, S, C), NaN = missing -> (N, horizon, C).

    Where it is missing, that of a period earlier, and so on; a phase that was never seen takes the last known value.
    """
    return phases(context, horizon, period)[0]


def seasonal_naive_drift(context: np.ndarray, horizon: int, period: int) -> np.ndarray:
    """Seasonal naive, plus the mean change from one period to the next in the context for every period in between.

    Without two known values a period apart there is no drift. (N, S, C), NaN = missing -> (N, horizon, C).
    """
    values, elapsed = phases(context, horizon, period)
    change = context[:, period:] - context[:, :-period]
    known = ~np.isnan(change)
    drift = np.where(known, change, 0).sum(1) / np.maximum(known.sum(1), 1)  # (N, C)
    return values + elapsed * drift[:, None]


def phases(context: np.ndarray, horizon: int, period: int) -> tuple[np.ndarray, np.ndarray]:
    """For each future step, the newest known value of its phase and how many periods ago it was: (N, horizon, C) both.

    A phase that was never seen has the last known value, and no periods.
    """
    n, steps, channels = context.shape
    lead = -steps % period  # so that the context is a whole number of periods
    folded = np.concatenate([np.full((n, lead, channels), np.nan), context], axis=1)
    folded = folded.reshape(n, -1, period, channels)[:, ::-1]  # (N, periods, period, C), newest first
    known = ~np.isnan(folded)
    age = known.argmax(1)  # (N, period, C)
    values = np.take_along_axis(folded, age[:, None], axis=1)[:, 0]
    seen = np.any(known, axis=1)
    values = np.where(seen, values, last_known(context)[:, None])
    step = np.arange(horizon)
    elapsed = age[:, step % period] + 1 + (step // period)[:, None]
    return values[:, step % period], np.where(seen[:, step % period], elapsed, 0)
