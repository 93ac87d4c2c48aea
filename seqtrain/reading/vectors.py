"""Files of word vectors: text as GloVe and fastText write it, and word2vec's binary form. Nothing in them is run."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Set
from io import BufferedReader
from itertools import chain
from typing import Any

import numpy as np
from jaxtyping import Float32

from seqtrain.config import UserError
from seqtrain.reading.files import CHUNK, MAX_RECORD, find

SETTING = "frontend.vectors"
GZIPPED = b"\x1f\x8b"


def read_vectors(name: str, words: Set[str], size: int) -> dict[str, Float32[np.ndarray, " E"]]:
    """Reads the vectors of those of the `words` that a file has; others are passed over. size: of a vector.

    The file is text, a word and its numbers on each line, below a line of two counts or not, or binary below such a
    line; it may be gzipped. Raises `UserError` for a damaged file, with the line or the vector that is wrong, and for
    vectors of another size.
    """
    path, label = find(name, SETTING), f"{SETTING}={name}"
    wanted, known = {word.encode(): word for word in words}, dict[str, np.ndarray]()
    try:
        with path.open("rb") as raw:
            packed = raw.peek(2)[:2] == GZIPPED
            file: Any = BufferedReader(gzip.GzipFile(fileobj=raw)) if packed else raw  # pyright: ignore[reportArgumentType]
            for place, word, vector in rows(file, wanted, size, label):
                if len(vector) != size or not np.isfinite(vector).all():
                    raise UserError(f"{label}, {place}: expected {size} numbers behind {word!r}")
                known.setdefault(word, vector)
                if len(known) == len(wanted):
                    break
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{label}: the gzipped file is damaged or cut off ({error})") from None
    except OSError as error:
        raise UserError(f"{label}: the file cannot be read ({error.strerror or error})") from None
    return known


def rows(
    file: BufferedReader, wanted: dict[bytes, str], size: int, label: str
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yields the place, the word and the vector of each wanted row."""
    first = file.readline(MAX_RECORD)
    counts = re.fullmatch(rb"(\d{1,12}) (\d{1,12})\s*", first)
    width = int(counts[2]) if counts else len(first.split()) - 1
    if width < 1 or not (counts or is_text(first)):
        raise UserError(f"{label}: expected a word and its numbers on each line, or word2vec's binary form")
    if width != size:
        fits = f"model.embedding_size={width} fits" if width < 10_000 else "are these word vectors?"
        raise UserError(f"{label}: its vectors have {width} numbers, and model.embedding_size is {size}; {fits}")
    if counts is None:
        yield from lines(chain([first], records(file)), 1, wanted, width, label)
        return
    second, number = file.readline(MAX_RECORD), int(counts[1])
    if is_text(second):
        total = yield from lines(chain([second], records(file)), 2, wanted, width, label)
        if total < number:
            raise UserError(f"{label}: its first line says {number:,} vectors, and there are {total:,}; is it cut off?")
    else:
        yield from binary(file, second, number, wanted, width, label)


def is_text(line: bytes) -> bool:
    try:
        return "\0" not in line.decode()
    except UnicodeDecodeError:
        return False


def records(file: BufferedReader) -> Iterator[bytes]:
    """Yields lines, none of which takes up the memory: a longer one comes in parts."""
    return iter(lambda: file.readline(MAX_RECORD), b"")


def lines(
    found: Iterator[bytes], number: int, wanted: dict[bytes, str], width: int, label: str
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yields the wanted rows of a text, and returns how many rows there are. A word may have blanks in it, as some of
    GloVe have. number: of the first line."""
    total = 0
    for place, line in enumerate(found, number):
        row = line.rstrip(b" \r\n")
        blanks = row.count(b" ")
        if blanks < width:
            raise UserError(f"{label}, line {place:,}: expected a word and {width} numbers, found {blanks} blanks")
        total += 1
        word = row[: row.index(b" ")] if blanks == width else row.rsplit(b" ", width)[0]
        if word in wanted:
            try:
                vector = np.array([float(text) for text in row[len(word) + 1 :].split(b" ")], np.float32)
            except ValueError:
                vector = np.zeros(0, np.float32)
            yield f"line {place:,}", wanted[word], vector
    return total


def binary(
    file: BufferedReader, buffer: bytes, count: int, wanted: dict[bytes, str], width: int, label: str
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yields the wanted rows of word2vec's form: a word, a blank, and numbers of four bytes. buffer: what was read."""
    begin = 0
    for number in range(1, count + 1):
        while (blank := buffer.find(b" ", begin)) < 0 or len(buffer) <= blank + 4 * width:
            more = file.read(CHUNK)
            if not more or len(buffer) - begin > CHUNK + 4 * width:
                raise UserError(f"{label}, vector {number:,} of {count:,}: damaged or cut off")
            buffer, begin = buffer[begin:] + more, 0
        word = buffer[begin:blank].lstrip(b"\n")
        begin = blank + 1 + 4 * width
        if word in wanted:
            vector = np.frombuffer(buffer, "<f4", width, blank + 1).astype(np.float32)
            yield f"vector {number:,}", wanted[word], vector
