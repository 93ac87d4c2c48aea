"""Handwritten digits: the same for the same seed, every string by one writer, no writer in two splits."""

import os
from typing import Any

import numpy as np
import pytest

from seqtrain.data.pen_digits import PenDigitImages, PenDigits, everyone
from seqtrain.data.pendigits import Pendigits

SPLITS = ("train", "valid", "test")
STRINGS = {"shortest": 3, "longest": 6, "size": 50}
needs_public = pytest.mark.skipif("SEQTRAIN_DATA" not in os.environ, reason="SEQTRAIN_DATA names no public files")


def writers_of(source: Any) -> list[set[int]]:
    """Who wrote the single digits of each split, known by their strokes."""
    who = {b"".join(stroke.tobytes() for stroke in one.strokes): one.writer for one in everyone()}
    return [
        {who[b"".join(stroke.tobytes() for stroke in record.ink.strokes)] for record in source.read(split)}
        for split in SPLITS
    ]


def test_every_digit_is_there_and_the_writers_of_splits_are_disjoint():
    source, valid = PenDigits(1, 1, None, 1), {7, 14, 21, 28}
    assert [len(source.read(split)) for split in SPLITS] == [6494, 1000, 3498]
    assert {record.text for record in source.read("train")} == set("0123456789")
    assert writers_of(source) == [set(range(1, 31)) - valid, valid, set(range(31, 45))]


def test_strings_are_deterministic_and_depend_on_the_seed():
    first, again, other = (PenDigits(**STRINGS, seed=seed).read("train") for seed in (1, 1, 2))
    assert [record.text for record in first] == [record.text for record in again]
    assert first.key == again.key != other.key
    for one, same in zip(first, again, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.ink.strokes, same.ink.strokes, strict=True))


def test_a_string_is_digits_of_one_writer_side_by_side():
    digits = {}  # by what does not change where a digit is moved aside
    for one in everyone():
        digits[tuple(np.diff(stroke, axis=0).tobytes() for stroke in one.strokes)] = one
    for split in SPLITS:
        records = PenDigits(**STRINGS, seed=3).read(split)
        assert len(records) == (50 if split == "train" else 5)
        for record in records:
            assert 3 <= len(record.text) <= 6
            shapes = [np.diff(stroke, axis=0).round().tobytes() for stroke in record.ink.strokes]
            found, begin = [], 0
            while begin < len(shapes):
                key = next(key for n in range(1, 9) if (key := tuple(shapes[begin : begin + n])) in digits)
                found.append(digits[key])
                begin += len(key)
            assert "".join(str(one.digit) for one in found) == record.text
            assert len({one.writer for one in found}) == 1


def test_images_are_drawn_of_the_same_strings():
    drawn, written = PenDigitImages(**STRINGS, seed=1).read("valid"), PenDigits(**STRINGS, seed=1).read("valid")
    assert [record.text for record in drawn] == [record.text for record in written]
    assert drawn.key != written.key


@needs_public
def test_the_embedded_digits_are_the_public_ones_simplified():
    for split in ("valid", "test"):
        public, own = (source(1, 1, None, 1).read(split) for source in (Pendigits, PenDigits))
        assert [record.text for record in public] == [record.text for record in own]
        for one, other in zip(public[::50], own[::50], strict=True):
            for full, few in zip(one.ink.strokes, other.ink.strokes, strict=True):
                np.testing.assert_allclose(full[[0, -1]], 3 * few[[0, -1]], atol=1.5)
                assert len(few) <= len(full)


@needs_public
def test_public_strings_are_as_long_as_asked():
    records = Pendigits(**STRINGS, seed=1).read("test")
    assert len(records) == 5
    assert all(3 <= len(record.text) <= 6 for record in records)
