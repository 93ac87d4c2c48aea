import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtrain.text import BEGIN, END, PAD, SPECIALS, UNKNOWN, Tokenizer

TEXTS = ["Don't stop, don't!", "Stop: it’s late"]


def test_the_most_frequent_items_come_first_and_equals_in_order():
    tokenizer = Tokenizer.fit(["bca", "ab", "a"], "char")
    assert tokenizer.items == [*SPECIALS, "a", "b", "c"]
    assert len(tokenizer) == 7
    assert (PAD, UNKNOWN, BEGIN, END) == (0, 1, 2, 3)
    assert tokenizer.encode("cab?") == [6, 4, 5, UNKNOWN]


def test_words_keep_their_apostrophes_and_signs_stand_alone():
    assert Tokenizer("word", False, ()).split(TEXTS[0]) == ["Don't", "stop", ",", "don't", "!"]
    assert Tokenizer("word", True, ()).split(TEXTS[1]) == ["stop", ":", "it’s", "late"]
    assert Tokenizer("word", False, ()).split(" größer 3.5 日本 \n") == ["größer", "3", ".", "5", "日本"]


@pytest.mark.parametrize(("min_count", "kept"), [(1, 7), (2, 2), (3, 0)])
def test_rare_items_are_unknown(min_count, kept):
    tokenizer = Tokenizer.fit(TEXTS, "word", lowercase=True, min_count=min_count)
    assert len(tokenizer) == len(SPECIALS) + kept
    assert tokenizer.encode("stop") == [UNKNOWN if kept == 0 else tokenizer.ids["stop"]]


def test_case_is_folded_on_demand():
    assert Tokenizer.fit(["aA"], "char", lowercase=True).encode("Aa") == [4, 4]
    assert Tokenizer.fit(["aA"], "char").encode("Aa") == [4, 5]


def test_decoding_leaves_marks_out():
    tokenizer = Tokenizer.fit(TEXTS, "word", lowercase=True)
    ids = [BEGIN, *tokenizer.encode("Stop, late"), END, PAD, PAD]
    assert tokenizer.decode(ids) == "stop , late"


@given(st.text())
def test_characters_survive_the_way_there_and_back(text):
    tokenizer = Tokenizer.fit([text], "char")
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_tokenizer_comes_back_from_json():
    tokenizer = Tokenizer.fit(["日本 ne\n\t\u2028e", "ab"], "char", lowercase=True, min_count=1)
    other = Tokenizer(**json.loads(json.dumps(tokenizer.state())))
    assert other.state() == tokenizer.state()
    assert other.encode("本 \nz") == tokenizer.encode("本 \nz")
