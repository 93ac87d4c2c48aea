"""Names of the territories of the world in many languages."""

from __future__ import annotations

import random
from collections import Counter

from seqtrain.data.kinds import Labelled, Source
from seqtrain.data.locales import find_locale


class Places(Source[Labelled]):
    """`Labelled` names of territories, the label being the language (its CLDR code), as Babel ships them.

    Splits by territory: one is in the same split in every language. A name that several of the languages share is left
    out: it does not tell the language.
    """

    kind = "labelled"

    def __init__(self, languages: list[str], valid_share: float, test_share: float, seed: int):
        names: dict[str, dict[str, str]] = {code: dict(find_locale(code).territories) for code in languages}
        uses = Counter(name for territories in names.values() for name in set(territories.values()))
        # Two letters are a country or territory, except ZZ; digits are continents and other groups.
        codes = sorted({code for territories in names.values() for code in territories if len(code) == 2} - {"ZZ"})
        random.Random(seed).shuffle(codes)
        test, valid = round(len(codes) * test_share), round(len(codes) * (valid_share + test_share))
        self.splits = {
            split: [
                Labelled(territories[code], language)
                for code in members
                for language, territories in names.items()
                if code in territories and uses[territories[code]] == 1
            ]
            for split, members in (("train", codes[valid:]), ("valid", codes[test:valid]), ("test", codes[:test]))
        }
