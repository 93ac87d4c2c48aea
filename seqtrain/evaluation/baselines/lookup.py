"""A tagger by a table: the most frequent tag of a token between its neighbours."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

EDGE = ""  # beyond the ends of a sentence


class Lookup:
    """Gives a token the tag that it had most often in training between the same `radius` tokens on either side.

    Where the token was never seen between them, fewer neighbours count. An unknown token gets the most frequent tag of
    the tokens that occur only once.
    """

    def __init__(self, radius: int):
        self.radius = radius

    def windows(self, tokens: Sequence[str]) -> Iterator[list[tuple[str, ...]]]:
        """Yields the windows around each token, the widest first, down to the token itself."""
        edge = [EDGE] * self.radius
        padded = [*edge, *tokens, *edge]
        for i in range(self.radius, len(tokens) + self.radius):
            yield [tuple(padded[i - r : i + r + 1]) for r in range(self.radius, -1, -1)]

    def fit(self, sentences: Iterable[tuple[Sequence[str], Sequence[str]]]) -> Lookup:
        counts: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for tokens, tags in sentences:
            for windows, tag in zip(self.windows(tokens), tags, strict=True):
                for window in windows:
                    counts[window][tag] += 1
        self.best = {window: most_frequent(tags) for window, tags in counts.items()}
        of_tokens = [tags for window, tags in counts.items() if len(window) == 1]
        of_rare_tokens = [tags for tags in of_tokens if tags.total() == 1] or of_tokens
        self.unknown = most_frequent(sum(of_rare_tokens, Counter()))
        return self

    def __call__(self, tokens: Sequence[str]) -> list[str]:
        return [
            next((self.best[window] for window in windows if window in self.best), self.unknown)
            for windows in self.windows(tokens)
        ]


def most_frequent(tags: Counter[str]) -> str:
    """Returns the most frequent tag; of equally frequent ones the first in alphabetical order."""
    return min(tags, key=lambda tag: (-tags[tag], tag))
