"""MATLAB files of version 5, as far as they hold arrays of numbers and cells of such."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

HEADER = 128  # bytes
MATRIX, COMPRESSED = 14, 15  # types of elements
CELL = 1  # class of an array
NUMBERS = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8", 12: "<i8", 13: "<u8"}


def read_matlab(data: bytes) -> dict[str, Any]:
    """The arrays of a file by name; a cell array is a list (MATLAB: MAT-File Format, "Level 5"). Raises ValueError for
    what is no such file."""
    if len(data) < HEADER or data[126:128] != b"IM":
        raise ValueError("no MATLAB file of version 5")
    try:
        return dict(array(content) for kind, content in elements(data[HEADER:]) if kind == MATRIX)
    except (struct.error, zlib.error, StopIteration, KeyError) as error:
        raise ValueError(f"a damaged MATLAB file ({error})") from None


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The type and the content of each element. Small ones have both in one word; others are filled up to words."""
    place = 0
    while place < len(data):
        kind, size = struct.unpack_from("<II", data, place)
        if kind >> 16:
            kind, size, place = kind & 0xFFFF, kind >> 16, place + 4
            end = place + 4
        else:
            place += 8
            end = place + (size if kind == COMPRESSED else -(-size // 8) * 8)
        content = data[place : place + size]
        yield from elements(zlib.decompress(content)) if kind == COMPRESSED else [(kind, content)]
        place = end


def array(data: bytes) -> tuple[str, Any]:
    """The name and the value of a matrix element: an array, or of a cell the list of its contents, column by column."""
    parts = elements(data)
    (_, flags), (_, sizes), (_, name) = next(parts), next(parts), next(parts)
    if flags[0] == CELL:  # the first byte is the class
        return name.decode(), [array(content)[1] for _, content in parts]
    kind, numbers = next(parts)
    return name.decode(), np.frombuffer(numbers, NUMBERS[kind]).reshape(np.frombuffer(sizes, "<i4"), order="F")
