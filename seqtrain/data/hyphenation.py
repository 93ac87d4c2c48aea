"""Where words of 16 languages may be broken: CLDR's names of places, languages and currencies, from Babel, and the
breaks that Pyphen finds in them by the patterns of Liang (1983)."""

from __future__ import annotations

import random
import re

from seqtrain.config import UserError
from seqtrain.data.kinds import Source, Tagged
from seqtrain.data.locales import find_locale

WORD = re.compile(r"[^\W\d_]{5,20}")
BREAK, NONE = "-", "O"


class Hyphenation(Source[Tagged]):
    """`Tagged` words: each letter is a token, whose tag says whether the word may be broken behind it. The language is
    not told: a word of several languages is there once for each, with the breaks of each. Splits share no word."""

    kind = "tagged"

    def __init__(self, languages: list[str], valid_share: float, test_share: float, seed: int):
        try:
            from pyphen import LANGUAGES, Pyphen, language_fallback
        except ImportError:
            raise UserError("data=hyphenation needs pyphen: pip install 'seqtrain[hyphenation]'") from None
        found: dict[str, list[Tagged]] = {}
        for language in languages:
            if language_fallback(language) is None:
                raise UserError(f"data.languages: Pyphen knows no {language!r}, but {', '.join(sorted(LANGUAGES))}")
            breaks = Pyphen(lang=language)
            for word in sorted(words(language)):
                ends = {position - 1 for position in breaks.positions(word)}
                tags = tuple(BREAK if i in ends else NONE for i in range(len(word)))
                found.setdefault(word, []).append(Tagged((tuple(word),), tags))
        order = sorted(found)
        random.Random(seed).shuffle(order)
        valid, test = (round(share * len(order)) for share in (valid_share, test_share))
        parts = {"test": order[:test], "valid": order[test : test + valid], "train": order[test + valid :]}
        self.splits = {split: [record for word in part for record in found[word]] for split, part in parts.items()}


def words(language: str) -> set[str]:
    """The words of a language's names, in small letters."""
    locale = find_locale(language)
    names = (locale.territories, locale.languages, locale.scripts, locale.currencies, locale.variants)
    return {word.lower() for part in names for name in part.values() for word in WORD.findall(name)}
