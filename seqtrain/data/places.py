"""Names of the territories of the world in many languages."""

from __future__ import annotations

import random
from collections import Counter

from seqtrain.data import Labelled, check_split, find_locale


class Places:
    """`Labelled` names of territories, the label being the language (its CLDR code), as Babel ships them.

    Splits by territory: one is in the same split in every language. A name that several of the languages write alike is
    left out of all of them: it tells no language.
    """

    kind = "labelled"

    def __init__(self, languages: list[str], valid_share: float, test_share: float, seed: int):
        names: dict[str, dict[str, str]] = {code: dict(find_locale(code).territories) for code in languages}
        writers = Counter(name for territories in names.values() for name in set(territories.values()))
        # Two letters are a country or territory, and ZZ is none; digits are continents and other groups.
        codes = sorted({code for found in names.values() for code in found if len(code) == 2 and code != "ZZ"})
        random.Random(seed).shuffle(codes)
        test, valid = round(len(codes) * test_share), round(len(codes) * (valid_share + test_share))
        self.splits = {
            split: [
                Labelled(found[code], language)
                for code in members
                for language, found in names.items()
                if code in found and writers[found[code]] == 1
            ]
            for split, members in (("train", codes[valid:]), ("valid", codes[test:valid]), ("test", codes[:test]))
        }

    def read(self, split: str) -> list[Labelled]:
        check_split(split)
        return self.splits[split]
