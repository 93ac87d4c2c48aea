"""Digits that 44 people wrote on a tablet: Pen-Based Recognition of Handwritten Digits (Alimoğlu & Alpaydın 1998,
UCI 81, CC BY 4.0), each stroke simplified to a few points by scripts/pen_digits.py."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from itertools import islice

import numpy as np

from seqtrain.data.kinds import LineImage
from seqtrain.data.writers import Digit, Writers

TRAINING = 30  # writers; those with a higher number are the test


class PenDigits(Writers):
    """`Written` digits: 7,494 of 30 writers, of which four are for validation, and 3,498 of 14 others, the test."""

    def digits(self, test: bool) -> list[Digit]:
        return [one for one in everyone() if (one.writer > TRAINING) == test]


@cache
def everyone() -> list[Digit]:
    with files("seqtrain.data").joinpath("pen_digits.npz").open("rb") as file:
        arrays = dict(np.load(file))
    points = np.stack([arrays["x"], arrays["y"]], 1).cumsum(0, np.int64).astype(float)
    strokes = iter(np.split(points, arrays["points"].cumsum(dtype=np.int64)[:-1]))
    columns = (arrays[name].tolist() for name in ("digits", "writers", "strokes"))
    return [Digit(digit, writer, tuple(islice(strokes, count))) for digit, writer, count in zip(*columns, strict=True)]


class PenDigitImages(PenDigits):
    """The same, drawn as images."""

    kind = "line_images"
    record = LineImage
