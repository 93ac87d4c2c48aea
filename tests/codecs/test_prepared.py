"""Large records are prepared once, in the cache, and mapped, the others in memory; the ids are the same."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqtrain.codecs.prepared import Column, fitted, tokenized
from seqtrain.codecs.text import BEGIN, END
from seqtrain.config import UserError
from seqtrain.data.kinds import Pair
from seqtrain.storage.cache import cached_value, prepared

OPTIONS = {"unit": "bpe", "lowercase": False, "nfc": False, "min_count": 1, "vocab_size": 300}
PAIRS = [Pair("a b c", "x"), Pair("", "x y"), Pair("c", "z")]


class Keyed(list[Any]):
    """Records that come from somewhere; `read` counts how often they were walked."""

    key, large = "some-content", True
    read = 0

    def __iter__(self) -> Iterator[Any]:
        self.read += 1
        yield from super().__iter__()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEQTRAIN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "prepared"


def test_mapped_arrays_hold_what_memory_would(cache: Path):
    keyed, tokenizer = Keyed(PAIRS), fitted(Column(PAIRS, "source", "target"), OPTIONS)
    for _ in range(2):
        assert fitted(Column(keyed, "source", "target"), OPTIONS).state() == tokenizer.state()
        mapped = tokenized(Column(keyed, "source"), tokenizer, [BEGIN], [END], 3)
        plain = tokenized(Column(PAIRS, "source"), tokenizer, [BEGIN], [END], 3)
        assert isinstance(mapped.values, np.memmap)
        assert mapped.values.tolist() == plain.values.tolist()
        assert mapped.lengths.tolist() == plain.lengths.tolist()
    assert keyed.read == 3  # twice for the two sides the tokenizer learns from, once for the ids
    assert len(list(cache.iterdir())) == 2


def test_other_settings_are_prepared_anew(cache: Path):
    keyed, tokenizer = Keyed(PAIRS), fitted(Column(PAIRS, "source"), OPTIONS)
    assert len(tokenized(Column(keyed, "source"), tokenizer, [], [END], 1)[0]) == 2
    assert len(tokenized(Column(keyed, "source"), tokenizer, [], [END], 2)[0]) == 3
    assert tokenized(Column(keyed, "target"), tokenizer, [], [END], 2).lengths.sum() > 3
    assert len(list(cache.iterdir())) == 3


def test_an_interrupted_preparation_leaves_nothing(cache: Path):
    def interrupted(folder: Path) -> None:
        (folder / "half").write_text("…", encoding="utf-8")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepared("k", interrupted)
    assert list(cache.iterdir()) == []


def test_of_two_that_prepare_at_once_the_first_wins():
    def slow(folder: Path) -> None:
        prepared("k", lambda other: (other / "name").write_text("first", encoding="utf-8") and None)
        (folder / "name").write_text("second", encoding="utf-8")

    assert (prepared("k", slow) / "name").read_text(encoding="utf-8") == "first"


def test_a_full_disk_is_told_with_its_folder_and_leaves_nothing(cache: Path):
    def full(folder: Path) -> None:
        (folder / "half").write_bytes(b"1")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"prepared.*cannot be written there \(No space left on device\).*MiB are free"):
        prepared("k", full)
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("SEQTRAIN_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="SEQTRAIN_CACHE names another folder"):
        prepared("k", lambda folder: None)


# ---------------------------------------------------------------------------------------------------- damage


def edit(file: Path, place: int, length: int | None = None) -> None:
    """One byte flipped, or all from there on zero, as a power failure leaves a file that was never written out."""
    content = bytearray(file.read_bytes())
    if length is None:
        content[place] ^= 1
    else:
        content[place:] = bytes(length - place)
    file.write_bytes(content)


def replace(file: Path, make: Callable[[Path], object]) -> None:
    shutil.rmtree(file) if file.is_dir() else file.unlink()
    make(file)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a byte of lengths": lambda entry: edit(entry / "lengths", 0),
    "a byte of values": lambda entry: edit(entry / "values", 3),
    "a byte of the manifest": lambda entry: edit(entry / "manifest.json", 40),
    "zeros": lambda entry: edit(entry / "values", 0, (entry / "values").stat().st_size),
    "a zeroed manifest": lambda entry: edit(entry / "manifest.json", 0, 100),
    "cut": lambda entry: os.truncate(entry / "values", 2),
    "empty": lambda entry: os.truncate(entry / "lengths", 0),
    "longer": lambda entry: edit(entry / "values", (entry / "values").stat().st_size, 1000),
    "a file lacks": lambda entry: (entry / "lengths").unlink(),
    "the manifest lacks": lambda entry: (entry / "manifest.json").unlink(),
    "no list of files": lambda entry: (entry / "manifest.json").write_text('{"files": 3}'),
    "a deep manifest": lambda entry: (entry / "manifest.json").write_text("[" * 100_000),
    "a file more": lambda entry: (entry / "other.npy").write_bytes(b""),
    "a link": lambda entry: replace(entry / "lengths", lambda file: file.symlink_to("values")),
    "a pipe": lambda entry: replace(entry / "values", os.mkfifo),
    "a folder": lambda entry: replace(entry / "values", Path.mkdir),
    "a file for the folder": lambda entry: replace(entry, Path.touch),
    "a link for the folder": lambda entry: replace(entry, lambda file: file.symlink_to(entry.parent)),
    "an empty folder": lambda entry: replace(entry, Path.mkdir),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_damaged_is_made_anew_and_said(name: str, cache: Path, caplog: pytest.LogCaptureFixture):
    keyed, tokenizer = Keyed(PAIRS), fitted(Column(PAIRS, "source"), OPTIONS)
    found = tokenized(Column(keyed, "source"), tokenizer, [], [END], 3)
    whole = found.values.tolist(), found.lengths.tolist()
    (entry,) = cache.iterdir()
    DAMAGE[name](entry)
    for read in (2, 2):  # once more, then found whole
        again = tokenized(Column(keyed, "source"), tokenizer, [], [END], 3)
        assert keyed.read == read
        assert (again.values.tolist(), again.lengths.tolist()) == whole
    (record,) = caplog.records
    assert re.fullmatch(r".*prepared/\w+: damaged \(.+\); it is made again", record.getMessage())
    assert [path.name for path in cache.iterdir()] == [entry.name]


def test_an_entry_under_another_name_is_not_used(cache: Path):
    prepared("a", lambda folder: (folder / "name").write_text("a") and None)
    (entry,) = cache.iterdir()
    other = prepared("b", lambda folder: (folder / "name").write_text("b") and None)
    shutil.rmtree(other)
    entry.rename(other)
    assert (prepared("b", lambda folder: (folder / "name").write_text("b") and None) / "name").read_text() == "b"


def test_what_is_prepared_is_for_this_user_alone(cache: Path, monkeypatch: pytest.MonkeyPatch):
    cache.mkdir(parents=True, mode=0o777)
    entry = prepared("k", lambda folder: None)
    assert [path.stat().st_mode & 0o777 for path in (cache, entry)] == [0o700, 0o700]
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(UserError, match=r"belongs to another user, or is a link.*SEQTRAIN_CACHE names another folder"):
        prepared("k", lambda folder: None)


def test_no_link_is_followed_to_what_is_prepared(cache: Path, tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    cache.parent.mkdir()
    cache.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="or is a link"):
        prepared("k", lambda folder: None)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_all_is_on_the_disk_before_it_has_its_name(cache: Path, monkeypatch: pytest.MonkeyPatch):
    """In the order in which it happened: each file, the manifest, the folder, its name, the folder above."""
    done, fsync, rename = [], os.fsync, Path.rename
    monkeypatch.setattr(os, "fsync", lambda fd: done.append(os.stat(fd).st_ino) or fsync(fd))
    monkeypatch.setattr(Path, "rename", lambda path, target: done.append("rename") or rename(path, target))
    entry = prepared("k", lambda folder: (folder / "name").write_text("x") and None)
    assert done == [
        *(place.stat().st_ino for place in (entry / "name", entry / "manifest.json", entry)),
        "rename",
        cache.stat().st_ino,
    ]


def test_a_value_is_computed_once(cache: Path):
    calls: list[int] = []
    for _ in range(2):
        assert cached_value("k", lambda: calls.append(1) or {"a": [1, "ä"]}) == {"a": [1, "ä"]}
    assert calls == [1]
