"""The user's own text files: found, opened, decoded, and cut into lines without a Python object for each line."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import mmap
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqtrain.config import UserError, near_path
from seqtrain.config.spelling import did_you_mean, near

MAX_RECORD = 1_000_000  # bytes of a line or a row; more is taken for lost line ends
CHUNK = 1 << 24
SAMPLE = 1 << 16  # bytes that an encoding is guessed from
COMMON = [
    *("utf-16", "cp1252", "cp1250", "cp1251", "koi8-r", "cp1253", "cp1254", "cp1255", "cp1256"),
    *("cp932", "euc-jp", "gb18030", "big5", "euc-kr"),
]


class File(NamedTuple):
    """A text file as UTF-8 bytes: mapped into memory where it is that already, otherwise held there.

    begin: where the text begins, behind a byte order mark. digest: SHA-256 of the bytes.
    """

    name: str
    data: bytes | mmap.mmap
    begin: int
    digest: str

    def line_number(self, place: int) -> int:
        """The line, counted from 1, that a byte stands in."""
        return 1 + sum(self.data[start : min(start + CHUNK, place)].count(b"\n") for start in range(0, place, CHUNK))

    def line_starts(self) -> np.ndarray:
        """(lines + 1,) int64: where each line begins, and where the last one ends. Only \\n, or \\r\\n, ends a line."""
        chunks = (np.frombuffer(part, np.uint8) for part in self.chunks())
        ends = [np.flatnonzero(chunk == ord("\n")) + i * CHUNK + 1 for i, chunk in enumerate(chunks)]
        starts = np.concatenate([[0], *ends]).astype(np.int64)
        starts[0] = self.begin
        starts = starts if starts[-1] == len(self.data) else np.append(starts, len(self.data))
        too_long = np.flatnonzero(np.diff(starts) > MAX_RECORD)
        if len(too_long):
            line = int(too_long[0])
            raise UserError(
                f"{self.name}, line {line + 1}: {starts[line + 1] - starts[line]:,} bytes; more than {MAX_RECORD:,} "
                "in a line are taken for lost line ends, so break it up or leave it out"
            )
        return starts

    def line(self, start: int, end: int) -> str:
        """The text of a line without its end."""
        return self.data[start:end].removesuffix(b"\n").removesuffix(b"\r").decode()

    def chunks(self) -> Iterator[bytes]:
        return (self.data[start : start + CHUNK] for start in range(0, len(self.data), CHUNK))


def open_text(name: str, setting: str, encoding: str) -> File:
    """Opens a text file, gzipped or not; `setting` is the key that names it, such as data.train.

    Raises `UserError` where it is missing, unreadable, damaged, empty or binary, or not in the encoding.
    """
    find(name, setting)
    data = read_utf8(name, f"{setting}={name}", encoding)
    digest = checked(data, name)
    begin = len(codecs.BOM_UTF8) if data[:3] == codecs.BOM_UTF8 else 0
    file = File(name, data, begin, digest)
    if not any(chunk.removeprefix(codecs.BOM_UTF8).strip() for chunk in file.chunks()):
        raise UserError(f"{setting}={name}: the file is empty")
    return file


def find(name: str, setting: str) -> Path:
    """The file of a name; `UserError` where there is none."""
    path = Path(name).expanduser()
    if not path.exists():
        raise UserError(f"{setting}={name}: there is no such file{did_you_mean(near_path(path))}")
    if path.is_dir():
        raise UserError(f"{setting}={name}: this is a folder; expected a file")
    return path


def read_utf8(name: str, named: str, encoding: str) -> bytes | mmap.mmap:
    """The bytes of a text file, made UTF-8 if they are in another encoding. named: what messages call the file."""
    data = content(Path(name).expanduser(), named)
    return data if codecs.lookup(encoding).name == "utf-8" else recoded(data, name, encoding)


def content(path: Path, named: str) -> bytes | mmap.mmap:
    """The bytes of a file, unpacked if it is gzipped."""
    try:
        with path.open("rb") as file:
            if file.peek(2)[:2] == b"\x1f\x8b":
                return gzip.GzipFile(fileobj=file).read()
            try:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError):  # an empty file, a pipe
                return file.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{named}: the gzipped file is damaged or cut off ({error})") from None
    except OSError as error:
        raise UserError(f"{named}: the file cannot be read ({error.strerror or error})") from None


def check_encoding(encoding: str) -> None:
    """Raises `UserError` where Python knows no such encoding of text."""
    try:
        "".encode(encoding)
    except LookupError:
        hint = did_you_mean(near(encoding, ["utf-8", *COMMON])) or "; for example utf-8, utf-16, cp1252"
        raise UserError(f"data.encoding={encoding}: there is no such encoding{hint}") from None


def recoded(data: bytes | mmap.mmap, name: str, encoding: str) -> bytes:
    """Text of another encoding as UTF-8."""
    try:
        return bytes(data).decode(encoding).removeprefix("\ufeff").encode()
    except UnicodeError as error:
        place = getattr(error, "start", 0)
        line = 1 + data[:place].count(b"\n")
        raise UserError(f"{name}: not {encoding} at line {line}; {likely(data, place)}") from None


def checked(data: bytes | mmap.mmap, name: str) -> str:
    """The SHA-256 of text that is valid UTF-8; for anything else `UserError` with the line and the likely cure."""
    digest, decoder = hashlib.sha256(), codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(data), CHUNK):
        chunk = data[start : start + CHUNK]
        digest.update(chunk)
        if (zero := chunk.find(b"\0")) >= 0:
            wide = data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
            cure = "it looks like utf-16: data.encoding=utf-16 reads it" if wide else "is it packed or a binary table?"
            raise UserError(f"{name}: this is no UTF-8 text, byte {start + zero:,} is zero; {cure}")
        try:
            decoder.decode(chunk, start + CHUNK >= len(data))
        except UnicodeDecodeError as error:  # its object is the chunk behind what was left of the last one
            place = start + len(chunk) - len(error.object) + error.start
            line = File(name, data, 0, "").line_number(place)
            raise UserError(f"{name}: not UTF-8 at line {line:,}; {likely(data, place)}") from None
    return digest.hexdigest()


def likely(data: bytes | mmap.mmap, place: int) -> str:
    """What the encoding of the text around a place looks like, and the setting that reads it."""
    from charset_normalizer import from_bytes

    start = data.rfind(b"\n", 0, max(0, place - SAMPLE // 2)) + 1
    matches = from_bytes(data[start : start + SAMPLE], cp_isolation=["utf-8", *COMMON])
    best = matches.best()
    if best is None:
        return "data.encoding=NAME says what it is"
    # Where several encodings read the same or nearly the same, the most common one is the best guess.
    alike = {name for match in matches if match.chaos <= best.chaos for name in match.could_be_from_charset}
    name = "cp1252" if "cp1252" in alike else best.encoding.replace("_", "-")
    return f"it looks like {name}: data.encoding={name} reads it"
