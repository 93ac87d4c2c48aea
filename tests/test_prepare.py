"""Large records are prepared once, in the cache, and mapped, the others in memory; the ids are the same."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqtrain.config import UserError
from seqtrain.data import Pair
from seqtrain.data.cache import prepared
from seqtrain.prepare import beside, fitted, tokenized
from seqtrain.text import BEGIN, END

OPTIONS = {"unit": "bpe", "lowercase": False, "min_count": 1, "vocab_size": 300}
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
    keyed, tokenizer = Keyed(PAIRS), fitted(PAIRS, ("source", "target"), OPTIONS)
    for _ in range(2):
        assert fitted(keyed, ("source", "target"), OPTIONS).state() == tokenizer.state()
        mapped = tokenized(keyed, "source", tokenizer, [BEGIN], [END], 3)
        plain = tokenized(PAIRS, "source", tokenizer, [BEGIN], [END], 3)
        assert isinstance(mapped.values, np.memmap)
        assert mapped.values.tolist() == plain.values.tolist()
        assert mapped.lengths.tolist() == plain.lengths.tolist()
    assert keyed.read == 3  # twice for the two sides the tokenizer learns from, once for the ids
    assert len(list(cache.iterdir())) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process cannot be forked in safety")
def test_what_was_done_beside_is_found_in_the_cache(cache: Path):
    keyed, options = Keyed(PAIRS), OPTIONS | {"unit": "char"}
    with beside(keyed, "char", lambda: fitted(keyed, ("target",), options)):
        pass
    assert len(list(cache.iterdir())) == 1
    assert fitted(keyed, ("target",), options).items[4:] == ["x", " ", "y", "z"]
    assert keyed.read == 0  # here


def test_what_goes_wrong_beside_goes_wrong_here(capfd: pytest.CaptureFixture[str]):
    def fail() -> None:
        raise UserError("no room")

    with beside(Keyed(PAIRS), "word", fail):
        pass
    with pytest.raises(UserError, match="no room"):
        fail()
    with pytest.raises(KeyboardInterrupt), beside(Keyed(PAIRS), "word", lambda: time.sleep(600)):
        raise KeyboardInterrupt  # and nothing is waited for
    assert not "".join(capfd.readouterr())


def test_other_settings_are_prepared_anew(cache: Path):
    keyed, tokenizer = Keyed(PAIRS), fitted(PAIRS, ("source",), OPTIONS)
    assert len(tokenized(keyed, "source", tokenizer, [], [END], 1)[0]) == 2
    assert len(tokenized(keyed, "source", tokenizer, [], [END], 2)[0]) == 3
    assert tokenized(keyed, "target", tokenizer, [], [END], 2).lengths.sum() > 3
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
