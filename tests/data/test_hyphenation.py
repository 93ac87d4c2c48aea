"""Break points of words, where Pyphen is installed."""

import sys

import pytest

from seqtrain.config import UserError
from seqtrain.data.hyphenation import Hyphenation


def test_breaks_are_those_of_pyphen():
    pyphen = pytest.importorskip("pyphen")
    data = Hyphenation(["lt", "lv"], 0.1, 0.1, seed=1)
    found = {split: data.read(split) for split in ("train", "valid", "test")}
    inserted = [pyphen.Pyphen(lang=language).inserted for language in ("lt", "lv")]
    for record in found["valid"]:
        word = "".join(
            letter + ("-" if tag == "-" else "") for letter, tag in zip(record.tokens, record.tags, strict=True)
        )
        assert word in [insert(word.replace("-", "")) for insert in inserted]
    words = [{record.tokens for record in part} for part in found.values()]
    assert len(set.union(*words)) == sum(map(len, words))
    assert len(words[1]) == len(words[2]) == round(0.1 * sum(map(len, words)))
    assert found["test"] != Hyphenation(["lt", "lv"], 0.1, 0.1, seed=2).read("test")
    with pytest.raises(UserError, match="Pyphen knows no 'ja', but "):
        Hyphenation(["ja"], 0.1, 0.1, seed=1)


def test_without_pyphen_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyphen", None)
    with pytest.raises(UserError, match=r"pip install 'seqtrain\[hyphenation\]'"):
        Hyphenation(["de"], 0.1, 0.1, seed=1)
