import codecs
import gzip
import hashlib
import os
import random
from itertools import pairwise
from pathlib import Path

import pytest

from seqtrain.config import UserError
from seqtrain.reading import files
from seqtrain.reading.files import check_encoding, open_text

TEXT = "Ein schöner Tag\nfür Käse\n"


def write(path: Path, content: bytes | str) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def lines(path: str, encoding: str = "utf-8") -> list[str]:
    file = open_text(path, "data.train", encoding)
    starts = file.line_starts()
    return [file.line(int(a), int(b)) for a, b in pairwise(starts)]


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (TEXT.encode(), "utf-8"),
        (TEXT.encode(), "UTF8"),
        (codecs.BOM_UTF8 + TEXT.encode(), "utf-8"),
        (TEXT.replace("\n", "\r\n").encode(), "utf-8"),
        (TEXT.rstrip("\n").encode(), "utf-8"),
        (gzip.compress(TEXT.encode(), mtime=0), "utf-8"),
        (TEXT.encode("cp1252"), "cp1252"),
        (TEXT.encode("utf-16"), "utf-16"),
        (gzip.compress(TEXT.encode("utf-16"), mtime=0), "utf-16"),
    ],
)
def test_lines_of_a_file_in_any_dress(content: bytes, encoding: str, tmp_path: Path):
    assert lines(write(tmp_path / "file", content), encoding) == ["Ein schöner Tag", "für Käse"]


def test_only_line_feeds_end_lines(tmp_path: Path):
    assert lines(write(tmp_path / "file", "a\u2028b\vc\x85d\n\ne\rf")) == ["a\u2028b\vc\x85d", "", "e\rf"]


def test_a_plain_file_is_mapped_and_its_digest_is_that_of_its_bytes(tmp_path: Path):
    file = open_text(write(tmp_path / "file", TEXT), "data.train", "utf-8")
    assert not isinstance(file.data, bytes)
    assert file.digest == hashlib.sha256(TEXT.encode()).hexdigest()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "data.train=.*file: the file is empty"),
        (b" \n\n", "the file is empty"),
        (codecs.BOM_UTF8, "the file is empty"),
        (gzip.compress(TEXT.encode() * 99, mtime=0)[:-9], "gzipped file is damaged or cut off"),
        (gzip.compress(random.Random(0).randbytes(99), mtime=0)[:30] + bytes(9), "gzipped file is damaged or cut off"),
        (b"a\0b\n", "not UTF-8 text, byte 1 is zero; is it compressed, or a binary table"),
        (TEXT.encode("utf-16"), "it looks like utf-16: data.encoding=utf-16 reads it"),
        (b"x\n" * 16 + TEXT.encode("cp1252"), "not UTF-8 at line 17; it looks like cp1252: data.encoding=cp1252 reads"),
        ("Привет, как дела?\n".encode("cp1251"), "not UTF-8 at line 1; it looks like cp1251"),
        (TEXT.encode() + "ö".encode()[:1], "not UTF-8 at line 3"),
    ],
)
def test_what_cannot_be_read_is_told(content: bytes, told: str, tmp_path: Path):
    with pytest.raises(UserError, match=told):
        open_text(write(tmp_path / "file", content), "data.train", "utf-8")


def test_a_wrong_encoding_is_told_with_its_line(tmp_path: Path):
    with pytest.raises(UserError, match=r"not ascii at line 1; it looks like utf-8: data.encoding=utf-8 reads it"):
        open_text(write(tmp_path / "file", TEXT), "data.train", "ascii")
    with pytest.raises(UserError, match=r"data\.encoding=cp1225: there is no such encoding; did you mean cp125"):
        check_encoding("cp1225")
    for name in ("rot13", "undefined"):
        with pytest.raises(UserError, match="there is no such encoding; for example utf-8"):
            check_encoding(name)


def test_places_behind_the_first_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path / "file", "äö\n" * 50 + "ü")
    expected = lines(path)
    for chunk in range(1, 12):
        monkeypatch.setattr(files, "CHUNK", chunk)
        assert lines(path) == expected == ["äö"] * 50 + ["ü"]
    broken = write(tmp_path / "broken", "äö\n".encode() * 50 + b"\xff")
    with pytest.raises(UserError, match="not UTF-8 at line 51"):
        lines(broken)


def test_missing_files_folders_and_endless_lines_are_told(tmp_path: Path):
    path = write(tmp_path / "corpus.tsv", "a\n" + "x" * 1_000_001)
    with pytest.raises(UserError, match=r"there is no such file; did you mean .*corpus\.tsv\?"):
        open_text(str(tmp_path / "corpsu.tsv"), "data.train", "utf-8")
    with pytest.raises(UserError, match=r"there is no such file$"):  # a like ending makes no like name
        open_text(str(tmp_path / "sales.tsv"), "data.train", "utf-8")
    with pytest.raises(UserError, match="this is a folder; expected a file"):
        open_text(str(tmp_path), "data.train", "utf-8")
    os.mkfifo(tmp_path / "pipe")
    for name in (str(tmp_path / "pipe"), "/dev/zero"):
        with pytest.raises(UserError, match="this is a pipe or a device"):
            open_text(name, "data.train", "utf-8")
    with pytest.raises(UserError, match="line 2: 1,000,001 bytes"):
        lines(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_told(tmp_path: Path):
    path = write(tmp_path / "file", TEXT)
    os.chmod(path, 0)
    with pytest.raises(UserError, match="cannot be read \\(Permission denied\\)"):
        lines(path)
