"""The public sets of texts, where they lie in $SEQTRAIN_DATA."""

import os
from pathlib import Path

import pytest

from seqtrain.config import UserError
from seqtrain.data.multi30k import Multi30k
from seqtrain.data.sst2 import Sst2
from seqtrain.data.tinyshakespeare import Tinyshakespeare
from seqtrain.evaluation import metrics

PLACE = os.environ.get("SEQTRAIN_DATA")
there = pytest.mark.skipif(PLACE is None, reason="SEQTRAIN_DATA is not set: the public files are not here")


@there
def test_multi30k():
    data = Multi30k("en", "de", "test_2016_flickr")
    assert [len(data.read(split)) for split in ("train", "valid", "test")] == [29_000, 1_014, 1_000]
    assert data.read("train")[0].source.startswith("Two young, White males")
    assert Multi30k("de", "en", "test_2016_flickr").read("test")[0] == data.read("test")[0][::-1]


def test_a_translation_needs_two_languages():
    with pytest.raises(UserError, match=r"data\.source=en and data\.target=en: a translation needs two languages"):
        Multi30k("en", "en", "test_2016_flickr")


@there
def test_tokenized_references_are_those_of_the_set():
    """What `bleu_tok_lc` compares are the very `lc.norm.tok` files: all 12,103 words."""
    assert PLACE is not None
    expected = Path(PLACE, "multi30k", "test_2016_flickr.lc.norm.tok.de").read_text(encoding="utf-8").splitlines()
    tokenize = metrics.moses("de")
    found = [tokenize(pair.target) for pair in Multi30k("en", "de", "test_2016_flickr").read("test")]
    assert found == expected
    assert sum(len(line.split()) for line in found) == 12_103


@there
def test_sst2():
    data = Sst2()
    assert [len(data.read(split)) for split in ("train", "valid", "test")] == [6_920, 872, 1_821]
    assert {record.label for record in data.read("test")} == {"negative", "positive"}
    assert data.read("valid")[0] == ("one long string of cliches .", "negative")


@there
def test_tinyshakespeare():
    data = Tinyshakespeare()
    assert [len(data.read(split)[0].text) for split in ("train", "valid", "test")] == [1_003_854, 111_540, 111_540]
