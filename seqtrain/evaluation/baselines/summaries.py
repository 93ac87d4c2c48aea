"""Summaries without learning, or nearly: the usual baselines."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from seqtrain.data.kinds import Pair

_WORDS = re.compile(r"\w+|[^\w\s]|\s+")
_SENTENCES = re.compile(r"(?<=[.!?。！？])\s+|\n+")


def lead(text: str) -> str:
    """The first sentence (of news the usual baseline, which says most)."""
    return _SENTENCES.split(text.strip())[0]


class Template:
    """The most frequent form of a summary, whose gaps are filled with rare words of the source in their order.

    A word of a training summary that is rare and stands in its source is a gap, known by its place among the rare words
    of that source: of "Ulm met Bonn. Kai scored." and "Ulm beat Bonn 1-0" the form is "{0} beat {1} 1-0". Of equally
    frequent forms the longest is taken.
    """

    RARE = 0.01  # share of the training sources above which a word is not rare

    def fit(self, pairs: Sequence[Pair]) -> Template:
        seen = Counter(word for pair in pairs for word in set(_WORDS.findall(pair.source)))
        self.common = {word for word, count in seen.items() if count > self.RARE * len(pairs)}
        forms = Counter(tuple(self.form(pair)) for pair in pairs)
        self.best = max(forms, key=lambda form: (forms[form], len(form), form))
        return self

    def rare(self, source: str) -> list[str]:
        """The rare words of a source, each once, in the order of their first places."""
        return [word for word in dict.fromkeys(_WORDS.findall(source)) if word[0].isalpha() and word not in self.common]

    def form(self, pair: Pair) -> Iterable[str]:
        gaps = {word: f"{{{place}}}" for place, word in enumerate(self.rare(pair.source))}
        words: list[str] = _WORDS.findall(pair.target)
        return [gaps.get(word, word) for word in words]

    def __call__(self, source: str) -> str:
        words = {f"{{{place}}}": word for place, word in enumerate(self.rare(source))}
        return "".join(
            "" if part.startswith("{") and part not in words else words.get(part, part) for part in self.best
        )
