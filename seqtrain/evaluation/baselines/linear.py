"""A linear classifier of texts by the word n-grams that occur in them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from seqtrain.codecs.words import words
from seqtrain.terminal.progress import bar

if TYPE_CHECKING:
    from torch import Tensor

NAIVE_BAYES_SHARE = 0.75  # how far the weights of NB-SVM are moved towards naive Bayes


class LinearClassifier:
    """Classifies texts by the presence of word n-grams up to `order`: logistic regression, or NB-SVM.

    NB-SVM (Wang & Manning 2012, aclanthology.org/P12-2018) multiplies each n-gram by its log-count ratio, the logarithm
    of how much more often it occurs with a label than without it, and trains a linear SVM for each label. Weights and
    intercept are then interpolated with those of naive Bayes. All labels share one scale of naive Bayes, so that a rare
    label is not predicted too often.

    L-BFGS minimizes the summed loss plus half of the squared weights, from zero: the result does not depend on chance.
    """

    def __init__(self, order: int, naive_bayes: bool = False):
        self.order, self.naive_bayes = order, naive_bayes

    def fit(self, texts: Sequence[str], labels: Sequence[str]) -> LinearClassifier:
        """Learns the weights from labelled texts."""
        import torch
        from torch.nn import functional as F

        self.labels = sorted(set(labels))
        grams = sorted(set(chain.from_iterable(word_ngrams(text, self.order) for text in texts)))
        self.columns = {gram: i for i, gram in enumerate(grams)}
        bags = self.bags(texts)
        target = torch.tensor([self.labels.index(label) for label in labels])
        one_hot = F.one_hot(target, len(self.labels)).float()  # (N, labels)
        self.ratio = torch.ones(len(grams), len(self.labels))
        if self.naive_bayes:
            self.ratio = log_count_ratio(bags, one_hot, len(grams))
        self.weight = torch.zeros_like(self.ratio, requires_grad=True)
        self.bias = torch.zeros(len(self.labels), requires_grad=True)
        optimizer = torch.optim.LBFGS([self.weight, self.bias], max_iter=100, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            scores = self.scores(bags)
            if self.naive_bayes:
                loss = (1 - (2 * one_hot - 1) * scores).clamp(min=0).square().sum()  # the squared hinge loss
            else:
                loss = F.cross_entropy(scores, target, reduction="sum")
            loss = loss + self.weight.square().sum() / 2
            loss.backward()
            progress.update()
            return loss

        name = f"baseline, {'NB-SVM' if self.naive_bayes else 'logistic regression'} on {self.order}-grams"
        with bar(None, "pass", name) as progress:
            optimizer.step(closure)
        self.weight, self.bias = self.weight.detach(), self.bias.detach()
        if self.naive_bayes:
            scale = NAIVE_BAYES_SHARE * self.weight.abs().mean()
            log_odds = torch.log(one_hot.sum(0) / (1 - one_hot).sum(0))  # of each label
            self.weight = scale + (1 - NAIVE_BAYES_SHARE) * self.weight
            self.bias = scale * log_odds + (1 - NAIVE_BAYES_SHARE) * self.bias
        return self

    def predict(self, texts: Sequence[str]) -> list[str]:
        """Returns the label with the highest score for each text."""
        return [self.labels[i] for i in self.scores(self.bags(texts)).argmax(1).tolist()]

    def bags(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Returns the columns of the n-grams in all texts, concatenated, and the offset at which each text begins, as
        `embedding_bag` reads them."""
        import torch

        columns = [
            sorted(self.columns[gram] for gram in word_ngrams(text, self.order) if gram in self.columns)
            for text in texts
        ]
        begins = np.cumsum([0, *map(len, columns)])[:-1]
        return torch.tensor(list(chain.from_iterable(columns)), dtype=torch.long), torch.from_numpy(begins)

    def scores(self, bags: tuple[Tensor, Tensor]) -> Tensor:
        """Returns the score of each label for each text, (N, labels)."""
        from torch.nn import functional as F

        columns, offsets = bags
        return F.embedding_bag(columns, self.weight * self.ratio, offsets, mode="sum") + self.bias


def word_ngrams(text: str, order: int) -> set[str]:
    """Returns the different n-grams of 1 to `order` words, in lower case."""
    items = list(words(text.lower()))
    return {" ".join(items[i : i + n]) for n in range(1, order + 1) for i in range(len(items) - n + 1)}


def log_count_ratio(bags: tuple[Tensor, Tensor], one_hot: Tensor, num_grams: int) -> Tensor:
    """Returns the logarithm of how much more often each n-gram occurs with a label than without it, (n-grams, labels).

    one_hot: (N, labels), the labels of the texts. All counts begin at one (Laplace smoothing).
    """
    import torch

    columns, offsets = bags
    sizes = torch.diff(offsets, append=torch.tensor([len(columns)]))
    rows = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
    ones = torch.ones(num_grams, one_hot.size(1))
    with_label = ones.index_add(0, columns, one_hot[rows])
    without = ones.index_add(0, columns, 1 - one_hot[rows])
    return torch.log(with_label / with_label.sum(0)) - torch.log(without / without.sum(0))
