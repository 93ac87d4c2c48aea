"""Text files of the user: finds, opens and decodes them, and finds their lines without a Python object for each."""

from __future__ import annotations

import codecs
import glob
import gzip
import hashlib
import mmap
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqtrain.config import UserError, expanded, near_path
from seqtrain.config.spelling import did_you_mean, near
from seqtrain.reading.archives import Member, find_member

MAX_RECORD = 1_000_000  # bytes of a line or a row; a file with a longer one has probably lost its line ends
CHUNK = 1 << 24  # bytes of a file that are processed at a time
SAMPLE = 1 << 16  # bytes that an encoding is guessed from
COMMON_ENCODINGS = [
    *("utf-16", "cp1252", "cp1250", "cp1251", "koi8-r", "cp1253", "cp1254", "cp1255", "cp1256"),
    *("cp932", "euc-jp", "gb18030", "big5", "euc-kr"),
]
Bytes = bytes | mmap.mmap
PIPED = "standard input"  # what messages call what came in there


class File(NamedTuple):
    """The bytes of a text file, in UTF-8. A file that is UTF-8 on the disk is mapped into memory.

    begin: the offset of the text, which is 3 after a byte order mark. digest: the SHA-256 of the bytes.
    """

    name: str
    data: Bytes
    begin: int
    digest: str

    def line_starts(self) -> np.ndarray:
        """Returns the offset at which each line begins, and that at which the last one ends: (lines + 1,) int64. Only
        \\n and \\r\\n end a line. Raises `UserError` for a line of more than `MAX_RECORD` bytes."""
        arrays = (np.frombuffer(chunk, np.uint8) for chunk in chunks(self.data))
        ends = [np.flatnonzero(array == ord("\n")) + i * CHUNK + 1 for i, array in enumerate(arrays)]
        starts = np.concatenate([[0], *ends]).astype(np.int64)
        starts[0] = self.begin
        if starts[-1] != len(self.data):  # the last line has no line end
            starts = np.append(starts, len(self.data))
        sizes = np.diff(starts)
        if (sizes > MAX_RECORD).any():
            line = int((sizes > MAX_RECORD).argmax())
            raise UserError(
                f"{self.name}, line {line + 1}: {sizes[line]:,} bytes, expected at most {MAX_RECORD:,} in a line; are "
                "its line ends lost? Break it up or leave it out"
            )
        return starts

    def line(self, start: int, end: int) -> str:
        """Returns the text between two offsets, without the line end."""
        return self.data[start:end].removesuffix(b"\n").removesuffix(b"\r").decode()


def chunks(data: Bytes) -> Iterator[bytes]:
    return (data[start : start + CHUNK] for start in range(0, len(data), CHUNK))


def open_text(name: str, setting: str, encoding: str) -> File:
    """Opens a text file, which may be gzipped. setting: the key of the configuration that names it, such as data.train.

    Raises `UserError` where the file is missing, unreadable, damaged, empty or binary, or not in the encoding.
    """
    find(name, setting)
    key = f"{setting.rpartition('.')[0]}.encoding".lstrip(".")
    data = read_utf8(name, f"{setting}={name}", encoding, key)
    digest = check_utf8(data, name, key)
    if data.find(b"\n") < 0 and data.find(b"\r") >= 0:  # lines end in \r alone, as on old Macs
        data = bytes(data).replace(b"\r", b"\n")
    begin = len(codecs.BOM_UTF8) if data[:3] == codecs.BOM_UTF8 else 0
    if not any(chunk.removeprefix(codecs.BOM_UTF8).strip() for chunk in chunks(data)):
        raise UserError(f"{setting}={name}: the file is empty")
    return File(name, data, begin, digest)


def ending(name: str) -> str:
    """Returns the ending of a file's name in lower case, ignoring .gz: ".csv" for Mails.CSV.GZ."""
    return Path(name.lower().removesuffix(".gz")).suffix


def find(name: str, setting: str) -> Path:
    """Returns the path of a file; raises `UserError` where there is none. setting: the key that names it."""
    path = expanded(name)
    if not os.path.exists(path):
        hint = did_you_mean(near_path(path)) or searched_folder(path, setting)
        if glob.has_magic(name):
            hint = "; expected one file: patterns are for shards, which data.train of some data takes"
        raise UserError(f"{setting}={name}: there is no such file{hint}")
    if path.is_dir():
        raise UserError(f"{setting}={name}: this is a folder; expected a file")
    if not path.is_file():
        raise UserError(f"{setting}={name}: this is a pipe or a device; write its content into a file first")
    return path


def find_file(name: str, setting: str) -> Path | Member:
    """Returns the path of a file, or its place in a tar archive: see `find`, `find_member`."""
    return find_member(name) or find(name, setting)


def searched_folder(path: Path, setting: str) -> str:
    """Returns the end of a message that says in which folder a relative path was looked for: a run may be used in
    another folder than it was trained in."""
    return "" if path.is_absolute() else f"; it is looked for in {os.getcwd()}; {setting}=… says where it is"


def read_utf8(name: str, label: str, encoding: str, key: str = "data.encoding") -> Bytes:
    """Reads a text file and converts it to UTF-8. label: what messages call the file. key: the key of the configuration
    that sets the encoding."""
    data = content(expanded(name), label)
    if codecs.lookup(encoding).name == "utf-8":
        return data
    try:
        return bytes(data).decode(encoding).removeprefix("\ufeff").encode()
    except UnicodeError as error:
        offset = getattr(error, "start", 0)
        line = 1 + data[:offset].count(b"\n")
        raise UserError(f"{name}: not {encoding} at line {line}; {encoding_hint(data, offset, key)}") from None


def hash_of(path: Path) -> str:
    """Returns the SHA-256 of the content of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content(path: Path | Member, label: str) -> Bytes:
    """Reads the bytes of a file, and decompresses them if it is gzipped. label: what messages call the file."""
    try:
        with path.open("rb") as file:
            if file.peek(2)[:2] == b"\x1f\x8b":
                return gzip.GzipFile(fileobj=file).read()
            try:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError):  # an empty file, a pipe
                return file.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{label}: the gzipped file is damaged or cut off ({error})") from None
    except OSError as error:
        raise UserError(f"{label}: the file cannot be read ({error.strerror or error})") from None


def check_utf8(data: Bytes, name: str, key: str) -> str:
    """Returns the SHA-256 of UTF-8 text. Raises `UserError` for other data, with the line and the encoding that it may
    be in. key: the key of the configuration that sets the encoding."""
    digest = hashlib.sha256()
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    for i, chunk in enumerate(chunks(data)):
        start = i * CHUNK
        digest.update(chunk)
        if (zero := chunk.find(b"\0")) >= 0:
            utf16 = data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
            cure = f"it looks like utf-16: {key}=utf-16 reads it" if utf16 else "is it compressed, or a binary table?"
            raise UserError(f"{name}: this is not UTF-8 text, byte {start + zero:,} is zero; {cure}")
        try:
            decoder.decode(chunk, start + CHUNK >= len(data))
        except UnicodeDecodeError as error:
            # error.object is this chunk, and before it the bytes of a character that began in the chunk before.
            offset = start + len(chunk) - len(error.object) + error.start
            line += chunk[: max(0, offset - start)].count(b"\n")
            raise UserError(f"{name}: not UTF-8 at line {line:,}; {encoding_hint(data, offset, key)}") from None
        line += chunk.count(b"\n")
    return digest.hexdigest()


def check_encoding(encoding: str, key: str = "data.encoding") -> None:
    """Raises `UserError` for an encoding that Python does not know."""
    try:
        "".encode(encoding)
    except (LookupError, UnicodeError):  # the encoding "undefined" refuses all text
        hint = did_you_mean(near(encoding, ["utf-8", *COMMON_ENCODINGS])) or "; for example utf-8, utf-16, cp1252"
        raise UserError(f"{key}={encoding}: there is no such encoding{hint}") from None


def encoding_hint(data: Bytes, offset: int, key: str) -> str:
    """Returns the end of a message that names the probable encoding of the text around an offset. key: the key of the
    configuration that sets the encoding."""
    from charset_normalizer import from_bytes

    start = data.rfind(b"\n", 0, max(0, offset - SAMPLE // 2)) + 1
    matches = from_bytes(data[start : start + SAMPLE], cp_isolation=["utf-8", *COMMON_ENCODINGS])
    best = matches.best()
    if best is None:
        return f"{key}=NAME says what it is"
    # Several encodings may give the same or nearly the same text: cp1252 is the most common of them.
    equally_good = {name for match in matches if match.chaos <= best.chaos for name in match.could_be_from_charset}
    name = "cp1252" if "cp1252" in equally_good else best.encoding.replace("_", "-")
    return f"it looks like {name}: {key}={name} reads it"
