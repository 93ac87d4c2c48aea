"""Dates as people write them in many languages, and the same dates in ISO 8601."""

from __future__ import annotations

import datetime
import random
import re

from babel import Locale
from babel.dates import format_date

from seqtrain.config import UserError
from seqtrain.data.kinds import Pair, Source
from seqtrain.data.locales import find_locale

FORMATS = ("full", "long", "medium", "short")
SKELETONS = ("yMd", "yMEd", "yMMMd", "yMMMEd", "yMMMMd", "yMMMEEEEd", "yMMMMEEEEd")


def clear(pattern: str) -> bool:
    """Whether a CLDR date pattern has only one meaning.

    The year has all its digits, and a month in digits is never first in a date that ends with the year, since most of
    the world reads 3/4/2021 as a day in April.
    """
    fields = re.findall(r"y+|M+|L+|d+", re.sub(r"'[^']*'", "", pattern))
    order = "".join(field[0] for field in fields).replace("L", "M")
    if "yy" in fields:
        return False
    return order in ("dMy", "yMd") or (order == "Mdy" and len(fields[0]) > 2)


def date_patterns(locale: Locale) -> list[str]:
    """The different patterns of a language for a whole day that are clear."""
    styles, skeletons = locale.date_formats, locale.datetime_skeletons
    patterns = [styles[name].pattern for name in FORMATS] + [skeletons[s].pattern for s in SKELETONS if s in skeletons]
    return [pattern for pattern in dict.fromkeys(patterns) if clear(pattern)]


class Dates(Source[Pair]):
    """`Pair`s of a date written in one of `languages` and its ISO 8601 form, from `first_year` to `last_year`.

    Every date occurs once, so splits share no date. Patterns and names are those of CLDR as Babel ships them.
    """

    kind = "pairs"

    def __init__(
        self,
        languages: list[str],
        first_year: int,
        last_year: int,
        size: int,
        valid_size: int,
        test_size: int,
        seed: int,
    ):
        rng = random.Random(seed)
        first, last = datetime.date(first_year, 1, 1).toordinal(), datetime.date(last_year, 12, 31).toordinal()
        total = size + valid_size + test_size
        if total > last - first + 1:
            raise UserError(
                f"data.size, data.valid_size and data.test_size ask for {total} dates; "
                f"{first_year} to {last_year} have {max(0, last - first + 1)}"
            )
        locales = [find_locale(language) for language in languages]
        patterns = {locale: date_patterns(locale) for locale in locales}
        pairs = []
        for day in rng.sample(range(first, last + 1), total):
            date = datetime.date.fromordinal(day)
            locale = rng.choice(locales)
            pairs.append(Pair(format_date(date, rng.choice(patterns[locale]), locale), date.isoformat()))
        valid = size + valid_size
        self.splits = {"train": pairs[:size], "valid": pairs[size:valid], "test": pairs[valid:]}
