"""Pen-Based Recognition of Handwritten Digits (Alimoğlu & Alpaydın 1998, UCI 81, CC BY 4.0): 44 writers on a tablet."""

from __future__ import annotations

import re
from collections.abc import Iterator

from seqtrain.data.writers import Digit, Writers
from seqtrain.reading.ink import unipen
from seqtrain.storage.downloads import fetch_text

SEGMENT = re.compile(r"^\.SEGMENT DIGIT.*\n\.COMMENT\s+(\d+)\s+(\d+).*\n((?:.*\n)*?)(?=\.SEGMENT|\Z)", re.M)


class Pendigits(Writers):
    """`Written` digits as the tablet recorded them: 7,494 of 30 writers, of which four are for validation, and 3,498 of
    14 others, the test. Strings of them are a protocol of our own."""

    def digits(self, test: bool) -> Iterator[Digit]:
        text = fetch_text(f"pendigits/pendigits-orig-{'test' if test else 'train'}.unp")
        for found in SEGMENT.finditer(text):
            yield Digit(int(found[1]), int(found[2]), tuple(filter(len, unipen(found[3]))))
